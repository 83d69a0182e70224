"""Peak memory of one piece of work, each in a process of its own: an allocator gives little back."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.bands import draw_call
from benchmarks.models import Column, Sizes, columns, random_model, token_ids
from benchmarks.peaks import Above
from benchmarks.peers import full_form, full_logits_nll
from benchmarks.speed import Bench
from benchmarks.training import step_mib
from benchmarks.ways import applied, entropy_request, results
from longbench_run.harness.attention.bands import attend_bands
from longbench_run.harness.models.score import score
from longbench_run.tasks.base import ScoreWindow

_ROOT = Path(__file__).resolve().parent.parent
ENTROPY_METHOD = "dca"
"""Three bands of keys: attention is computed a band at a time, and their sums are held until all are there."""
Work = Callable[[], object]


def peak_mib(bench: Bench, work: str) -> float:
    """Return MiB above what was there before the work: weights, and its inputs.

    Args:
        bench: Column and threads.
        work: A key of `WORKS`.

    Raises:
        RuntimeError: If the process fails; the message is its last line.
    """
    command = [sys.executable, "-m", "benchmarks.memory", bench.column.name, work]
    command += ["--sizes", json.dumps(asdict(bench.column.sizes))]
    command += ["--threads", str(bench.threads)] if bench.threads else []
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=_ROOT)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"{work} ended with {done.returncode}").splitlines()[-1])
    return float(done.stdout)


def _bands(column: Column, method: str, attend: Callable[..., object]) -> Work:
    call = draw_call(column, method, column.sizes.full_form)
    small = draw_call(column, method, 64)
    attend(small.bands, small.value, scaling=small.scaling)
    return partial(attend, call.bands, call.value, scaling=call.scaling)


def _streamed(column: Column) -> Work:
    loaded = random_model(column.scorer, device=column.device, dtype=column.dtype)
    ids = token_ids(column.sizes.scoring)
    score(loaded, [ScoreWindow(token_ids=ids[:64], first_scored=1)])
    return partial(score, loaded, [ScoreWindow(token_ids=ids, first_scored=1)])


def _full_logits(column: Column) -> Work:
    loaded = random_model(column.scorer, device=column.device, dtype=column.dtype)
    ids = torch.tensor([token_ids(column.sizes.full_logits)], device=column.device)
    full_logits_nll(loaded.model, ids[:, :64])
    return partial(full_logits_nll, loaded.model, ids)


def _entropy(column: Column) -> Work:
    loaded, length = column.load(), column.sizes.prefill

    def take(tokens: int) -> None:
        with applied(loaded, ENTROPY_METHOD, length):
            results(loaded, [entropy_request(tokens)])

    take(64)
    return partial(take, length)


@torch.inference_mode()
def _of_work(column: Column, prepare: Callable[[Column], Work]) -> float:
    """Return the MiB of what a function prepares, warms up and returns."""
    work = prepare(column)
    above = Above(column.device)
    work()
    return above.mib()


WORKS: dict[str, Callable[[Column], float]] = {
    "self_extend in blocks": partial(
        _of_work, prepare=partial(_bands, method="self_extend", attend=attend_bands)
    ),
    "self_extend in full": partial(_of_work, prepare=partial(_bands, method="self_extend", attend=full_form)),
    "scoring streamed": partial(_of_work, prepare=_streamed),
    "scoring full logits": partial(_of_work, prepare=_full_logits),
    "attention entropy": partial(_of_work, prepare=_entropy),
    "tuning step": step_mib,
}
"""Name -> MiB above what was there before the work."""


def main() -> int:
    """Print the MiB of one piece of work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", allow_abbrev=False)
    parser.add_argument("column", choices=("cpu", "gpu"))
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--sizes", type=json.loads, default={})
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    column = columns()[options.column]
    sizes = Sizes(**{**asdict(column.sizes), **options.sizes})
    print(WORKS[options.work](replace(column, sizes=sizes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
