"""What two workers are worth against one, and that they record the same, also when one is killed three times.

`python -m benchmarks.executors benchmarks/results/executors.md` computes one matrix on every executor, each in a process of
its own, and writes the page; it takes some minutes of two cores.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stored import OtherLoad
from longbench_run.harness import run
from longbench_run.results.store import read_run

MATRIX: Mapping[str, Any] = {
    "models": "reference",
    "methods": "pi,self_extend",
    "lengths": "2k,4k",
    "samples": 4,
    "tasks": "passkey,perplexity",
}
ROWS: Mapping[str, tuple[int, bool, Mapping[str, Any]]] = {
    "`--executor local`, 1 thread": (1, False, {"device": "cpu"}),
    "`--executor local`, 2 threads": (2, False, {"device": "cpu"}),
    "`--devices cpu,cpu`": (1, False, {"devices": "cpu,cpu"}),
    "`--devices cpu,cpu`, killed 3 times": (1, True, {"devices": "cpu,cpu"}),
    "`--executor ray:cores=1:workers=1`": (1, False, {"executor": "ray:cores=1:workers=1"}),
    "`--executor ray:cores=1`": (1, False, {"executor": "ray:cores=1"}),
    "`--executor ray:cores=1`, killed 3 times": (1, True, {"executor": "ray:cores=1"}),
}
"""What is measured: threads of each worker, whether workers are killed, and the settings."""
KILLS = 3
_SECONDS_OF_REST = 3.0
PACKAGES = ("torch", "transformers", "ray")


def workers() -> list[int]:
    """Return the processes of this one's workers, whichever executor started them."""
    forked = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    parents: dict[int, int] = {}
    actors = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if title.startswith(b"ray::Remote"):
            actors.append(int(folder.name))
    return forked + [actor for actor in actors if os.getpid() in _line_of(actor, parents)]


def _line_of(process: int, parents: Mapping[int, int]) -> Iterator[int]:
    while process in parents:
        process = parents[process]
        yield process


class Watch:
    """Progress that notes when records come, and kills a worker when some numbers of them are there.

    Args:
        kill_at: Records at which one of `workers` is killed; where there is none, at the next record.
        draw: Chooses which.
    """

    def __init__(self, kill_at: Sequence[int], draw: random.Random) -> None:
        """Note nothing yet."""
        self.times: list[float] = []
        self.killed = 0
        self._kill_at, self._draw = kill_at, draw

    def start(self, tokens: int) -> None:
        """Do nothing."""

    def stage(self, text: str, samples: int) -> None:
        """Do nothing."""

    def advance(self, *, tokens: int = 0, samples: int = 0) -> None:
        """Note a record's time."""
        self.times += [time.monotonic()] * samples
        due = sum(number <= len(self.times) for number in self._kill_at)
        if self.killed < due and (found := workers()):
            os.kill(self._draw.choice(found), signal.SIGKILL)
            self.killed += 1

    def finish(self) -> None:
        """Do nothing."""


def measure(row: str, output: str, seed: str) -> None:
    """Compute the matrix and print the seconds: all, and those from the first record on; and the records after it."""
    _, is_killed, settings = ROWS[row]
    draw = random.Random(seed)
    records = 3 * 2 * 2 * MATRIX["samples"]  # the baseline and two methods, two tasks, two lengths
    watch = Watch(draw.sample(range(1, records - 4), KILLS) if is_killed else [], draw)
    started = time.monotonic()
    summary = run(**MATRIX, **settings, output=output, progress=watch)
    seconds = time.monotonic() - started
    if (summary.samples, summary.failed_samples) != (records, 0):
        raise RuntimeError(f"{row}: {records} samples must be there, got {summary}")
    if watch.killed != (KILLS if is_killed else 0):
        raise RuntimeError(f"{row}: {KILLS} workers must be killed, got {watch.killed}")
    print(json.dumps([seconds, watch.times[-1] - watch.times[0], len(watch.times) - 1]))


def differences(folder: Path, reference: Path) -> list[str]:
    """Say which fields of records differ, times and bytes apart, and nll by more than 1e-5 relative."""
    one, other = ({(r.cell_id, r.index): r for r in read_run(path).records} for path in (reference, folder))
    if one.keys() != other.keys():
        return ["which samples there are"]
    timed = {"seconds_prefill", "seconds_decode", "peak_bytes"}
    return sorted(
        {
            field
            for place in one
            for field in _differing(
                one[place].model_dump(exclude=timed), other[place].model_dump(exclude=timed)
            )
        }
    )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for field, value in one.items():
        if not _same(value, other[field]):
            yield field


def _same(one: Any, other: Any) -> bool:
    """Compare values; numbers with a fraction to 1e-5 relative."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def page(rounds: int) -> Iterator[str]:
    """Yield the lines of the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    others: dict[str, list[float]] = {row: [] for row in ROWS}
    seconds: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    differing: dict[str, set[str]] = {row: set() for row in ROWS}
    with tempfile.TemporaryDirectory() as name:
        reference = Path(name, "0", "0")
        for turn in range(rounds):
            for place, (row, (threads, _, _)) in enumerate(ROWS.items()):
                folder = Path(name, str(turn), str(place))
                load = OtherLoad()
                time.sleep(_SECONDS_OF_REST)
                others[row].append(load.read() or 0.0)
                done = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "benchmarks.executors",
                        "--measure",
                        row,
                        str(folder),
                        f"{turn} {row}",
                    ],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                )
                total, computing, records = json.loads(done.stdout.splitlines()[-1])
                seconds[row].append((total, records / computing))
                differing[row].update(differences(folder, reference))
    settings = ", ".join(f"{key} {value}" for key, value in MATRIX.items())
    yield "# Two workers against one"
    yield ""
    yield (
        f"Written by `python -m benchmarks.executors` with Python {platform.python_version()}, {versions}, on "
        f"{os.cpu_count()} cores. The matrix: {settings}. Rounds: {rounds}, medians shown; a row is a process of its own."
    )
    yield ""
    yield (
        "Seconds are those of the run, models loaded and Ray started in it; records per second are counted from the first "
        "record on, which leaves out what all workers computed before it. Records must equal those of the first row in "
        "everything but times and bytes, nll to 1e-5 relative. "
        "Killed are workers drawn at random, when numbers of records drawn at random are there. Other work is what kept "
        f"cores busy in the {_SECONDS_OF_REST:.0f} seconds before a row: where it is much, times say little."
    )
    yield ""
    yield "| executor | seconds | records per second | against the first row | records | other work, cores |"
    yield "|---|---|---|---|---|---|"
    first = median(rate for _, rate in seconds[next(iter(ROWS))])
    for row, found in seconds.items():
        rate = median(each for _, each in found)
        records = "equal" if not differing[row] else f"differ in {', '.join(sorted(differing[row]))}"
        yield (
            f"| {row} | {median(total for total, _ in found):.1f} | {rate:.2f} | {rate / first:.2f} | {records} "
            f"| {median(others[row]):.1f} |"
        )


def main(output: str, rounds: str = "3") -> None:
    """Write the page.

    Args:
        output: Path of the page; its folder exists.
        rounds: How often each row is measured.
    """
    Path(output).write_text("\n".join(page(int(rounds))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    measure(*sys.argv[2:]) if sys.argv[1] == "--measure" else main(*sys.argv[1:])
