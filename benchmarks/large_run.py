"""How a run of a million records loads and is reported: time and peak memory, one process a figure.

`python -m benchmarks.large_run benchmarks/results/large_run.md` writes the run to a temporary folder, about 2 GB, and then
the page; it takes some minutes of one core.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import product
from pathlib import Path

from longbench_run.results.lines import encoded
from longbench_run.results.records import (
    Bucket,
    CellIdentity,
    MethodIdentity,
    MetricInfo,
    ModelIdentity,
    ModelSummary,
    Record,
    RunHeader,
    TaskIdentity,
    TaskSummary,
)
from longbench_run.results.store import Store, records_path

RECORDS = 1_000_000
WINDOW = 2048
LENGTHS = tuple(WINDOW * factor for factor in (1, 2, 4, 8))
METHODS = ("none", "pi", "yarn", "abf", "entropy_abf", "self_extend")
PACKAGES = ("msgspec", "numpy", "pandas", "pyarrow", "pydantic")
PASSKEY = TaskSummary(
    name="passkey",
    protocol="passkey-v1",
    metrics=(MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True),),
    source="Simulated.",
    licence="Apache-2.0",
)
PERPLEXITY = TaskSummary(
    name="perplexity",
    protocol="plain",
    metrics=(MetricInfo(name="nll", higher_is_better=False, minimum=0.0),),
    source="Simulated.",
    licence="Apache-2.0",
)
TASKS = (PASSKEY, PERPLEXITY)

_MEASURED: Mapping[str, tuple[str, str]] = {
    "load": (
        "reading it into a table, `longbench_run.results.load`",
        "from longbench_run.results import load; load(folder)",
    ),
    "report": (
        "`longbench-run report --format md`, reading included",
        "from longbench_run.reports.report import write_report; write_report([folder], output, formats=['md'])",
    ),
    "html": (
        "`longbench-run report --format html`, reading included",
        "from longbench_run.reports.report import write_report; write_report([folder], output, formats=['html'])",
    ),
}
"""What is measured: in words, and as Python."""

_TIMED = """
import json, resource, sys, time
folder, output = sys.argv[1:]
started, cpu = time.monotonic(), time.process_time()
{}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([time.monotonic() - started, time.process_time() - cpu, peak]))
"""


def header() -> RunHeader:
    """Return the header of the run."""
    model = ModelSummary(
        label="m", original_context_length=WINDOW, original_context_length_source="simulated"
    )
    return RunHeader(
        run_key="0" * 64,
        command=("longbench-run", "--output", "large"),
        config={},
        models=(model,),
        methods=METHODS,
        tasks=TASKS,
        lengths=LENGTHS,
        versions={},
        device="simulated",
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
        status="complete",
    )


def records(count: int) -> Iterator[Record]:
    """Yield about ``count`` records, as many of each cell: what a run writes, with made-up scores and words."""
    state = random.Random(0)
    words = ["".join(state.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(1000)]
    cells = list(product(TASKS, METHODS, LENGTHS))
    for task, method, length in cells:
        cell = CellIdentity(
            model=ModelIdentity(name="m", revision="sha256:" + "0" * 64),
            dtype="float32",
            attention="sdpa",
            original_context_length=WINDOW,
            method=MethodIdentity(resolved=method, versions={method: 1}),
            task=TaskIdentity(name=task.name, version=1, protocol=task.protocol, parameters={}),
            context_length=length,
            seed=0,
            decoding="greedy",
        )
        first = Record(
            cell_id=cell.cell_id(),
            cell=cell,
            model_label="m",
            method_label=method,
            factor_policy="fixed",
            index=0,
            status="ok",
            prompt_tokens=length - 10,
            seconds_prefill=1.0,
            peak_bytes=10**9,
            applied_hash="0" * 64,
        )
        ease = 1 / (1 + (METHODS.index(method) + 1) * LENGTHS.index(length) / 6)
        for index in range(count // len(cells)):
            shared = {
                "index": index,
                "sample_key": f"{TASKS.index(task):016x}{length:016x}{index:032x}",
                "prompt_head": " ".join(state.choices(words, k=35)),
                "prompt_tail": " ".join(state.choices(words, k=70)),
            }
            of_task = _right(index, ease, state) if task is PASSKEY else _nll(index, length, ease, state)
            yield first.model_copy(update=shared | of_task)


def _right(index: int, ease: float, state: random.Random) -> dict[str, object]:
    right = state.random() < ease
    return {
        "depth": index % 10 / 9,
        "generated_tokens": 7,
        "prediction": "12345" if right else "54321",
        "prediction_ids": (1, 2, 3, 4, 5, 6, 7),
        "target": "12345",
        "scores": {"accuracy": float(right)},
        "seconds_decode": 0.1,
    }


def _nll(index: int, length: int, ease: float, state: random.Random) -> dict[str, object]:
    nll = state.lognormvariate(0.5, 0.3) / ease
    size = (length - 1) // 4
    return {
        "document": f"generated-0-{index}",
        "scored_tokens": length - 1,
        "scores": {"nll": nll},
        "weight": float(length - 1),
        "nll_buckets": tuple(
            Bucket(start=place * size, stop=(place + 1) * size, nll_sum=nll * size, tokens=size)
            for place in range(4)
        ),
    }


def write_run(folder: Path, count: int) -> int:
    """Write the run and return how many records it has; without the flush after each that a store makes."""
    with Store.open(folder, header()):
        pass
    written = 0
    with records_path(folder).open("wb") as file:
        for record in records(count):
            file.write(encoded(record))
            written += 1
    return written


def page(count: int) -> Iterator[str]:
    """Yield the lines of the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = write_run(folder / "run", count)
        size = records_path(folder / "run").stat().st_size
        cells = len(TASKS) * len(METHODS) * len(LENGTHS)
        load_before = os.getloadavg()[0]
        yield "# A run of a million records"
        yield ""
        yield (
            f"Written by `python -m benchmarks.large_run` with Python {platform.python_version()}, {versions}. "
            f"{written:,} records in {cells} cells, {size / 1e9:.2f} GB. One process a line; {os.cpu_count()} cores, of "
            f"which other work kept {load_before:.1f} busy."
        )
        yield ""
        yield "| | seconds | seconds of CPU | peak memory, GB |"
        yield "|---|---|---|---|"
        for words, code in _MEASURED.values():
            command = [sys.executable, "-c", _TIMED.format(code), str(folder / "run"), str(folder / "report")]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds, cpu, peak = json.loads(found.stdout)
            yield f"| {words} | {seconds:.1f} | {cpu:.1f} | {peak / 1e9:.2f} |"


def main(output: str, count: str = str(RECORDS)) -> None:
    """Write the page.

    Args:
        output: Path of the page; its folder exists.
        count: Records, about.
    """
    Path(output).write_text("\n".join(page(int(count))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
