"""A run may be killed at any moment: the same command goes on, and nothing is lost or counted twice.

Runs that are killed are born warm (tests/warm.py); the one they must equal is begun as a user begins it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from longbench_run.results.store import read_run
from tests import warm
from tests.warm import Child

MATRIX = [
    "--device", "cpu", "--methods", "pi,self_extend:group=8:window=16", "--lengths", "512,640", "--samples", "10",
    "--output", "out",
]  # fmt: skip
SAMPLES = 3 * 2 * 2 * 10


def start(model, folder, matrix=MATRIX) -> Child:
    return warm.start(["--model", str(model), *matrix], folder, folder / "streams")


def finish(model, folder, matrix=MATRIX) -> None:
    done = start(model, folder, matrix).wait()
    assert done.returncode == 0, done.stderr


def kill(child) -> None:
    child.process.kill()
    child.process.join()
    assert child.process.exitcode == -signal.SIGKILL


def finished_lines(folder: Path) -> int:
    path = folder / "out" / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(condition, child) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert child.process.exitcode is None, child.wait().stderr
        assert time.monotonic() < deadline
        time.sleep(0.001)


def results(folder: Path) -> dict:
    """Return what must be equal, by place; numbers apart, which must be equal to 1e-5 relative."""
    kept = {}
    for r in read_run(folder / "out").records:
        fields = r.model_dump(
            exclude={"seconds_prefill", "seconds_decode", "peak_bytes", "scores", "nll_buckets"}
        )
        buckets = [(b.start, b.stop, b.tokens) for b in r.nll_buckets]
        numbers = [*r.scores.values(), *(b.nll_sum for b in r.nll_buckets)]
        kept[r.cell_id, r.index] = ((fields, sorted(r.scores), buckets), numbers)
    return kept


def assert_equal(folder: Path, expected: dict) -> None:
    """Compare a run with an uninterrupted one; every sample is there once."""
    found = results(folder)
    assert found.keys() == expected.keys()
    for place, (fields, numbers) in expected.items():
        assert found[place][0] == fields
        assert found[place][1] == pytest.approx(numbers, rel=1e-5)
    assert set(places(folder).values()) == {1}


def places(folder: Path) -> Counter:
    lines = (folder / "out" / "records.jsonl").read_text().splitlines()
    return Counter((line["cell_id"], line["index"]) for line in map(json.loads, lines))


@pytest.fixture(scope="module")
def uninterrupted(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = [sys.executable, "-m", "longbench_run.harness", "--model", str(tiny_folder), *MATRIX]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    assert len(results(folder)) == SAMPLES
    return results(folder)


@pytest.mark.slow
def test_a_run_killed_ten_times_equals_an_uninterrupted_one(tiny_folder, tmp_path, uninterrupted):
    """Killed whenever a few more records are there, and once while starting."""
    draw = random.Random("kills")
    counts = []
    for number in range(10):
        before = finished_lines(tmp_path)
        child = start(tiny_folder, tmp_path)
        if number == 0:
            time.sleep(draw.uniform(0.05, 0.5))
        else:
            more = draw.randint(1, 12)
            wait_for(lambda wanted=before + more: finished_lines(tmp_path) >= wanted, child)
            time.sleep(draw.uniform(0, 0.03))
        kill(child)
        counts.append(finished_lines(tmp_path))
        assert counts[-1] >= before
    assert 9 <= counts[-1] < SAMPLES, counts

    finish(tiny_folder, tmp_path)

    assert_equal(tmp_path, uninterrupted)
    assert read_run(tmp_path / "out").header.status == "complete"
    again = finished_lines(tmp_path)
    finish(tiny_folder, tmp_path)
    assert finished_lines(tmp_path) == again


@pytest.mark.slow
def test_a_line_torn_by_a_kill_is_computed_again(tiny_folder, tmp_path, uninterrupted):
    child = start(tiny_folder, tmp_path)
    wait_for(lambda: finished_lines(tmp_path) >= 2, child)
    kill(child)
    path = tmp_path / "out" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-200])

    finish(tiny_folder, tmp_path)

    assert_equal(tmp_path, uninterrupted)


@pytest.mark.slow
def test_a_kill_between_the_last_record_and_the_header_loses_nothing(tiny_folder, tmp_path, uninterrupted):
    finish(tiny_folder, tmp_path)
    before = finished_lines(tmp_path)
    header = tmp_path / "out" / "run.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"status": "running", "finished": None}))
    (tmp_path / "out" / "plan.json").unlink()
    (tmp_path / "out" / "report.md").unlink()

    finish(tiny_folder, tmp_path)

    assert finished_lines(tmp_path) == before
    assert read_run(tmp_path / "out").header.status == "complete"
    assert (tmp_path / "out" / "report.md").exists()
    assert_equal(tmp_path, uninterrupted)


@pytest.mark.slow
def test_of_two_processes_on_one_folder_one_writes_and_the_other_says_so(
    tiny_folder, tmp_path, uninterrupted
):
    first = start(tiny_folder, tmp_path)
    wait_for(lambda: finished_lines(tmp_path) >= 1, first)
    # Stopped, so that it cannot end before the second one has looked.
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        second = warm.start(["--model", str(tiny_folder), *MATRIX], tmp_path, tmp_path / "second").wait()
    finally:
        os.kill(first.process.pid, signal.SIGCONT)

    assert second.stderr == (
        f"out: --output must be written by one process at a time, got a run that process {first.process.pid} is writing. "
        "Wait for it to end, or choose another --output.\n"
    )
    assert (first.wait().returncode, second.returncode) == (0, 2)
    assert_equal(tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_the_bundled_model_survives_kills(tmp_path_factory, kills):
    """The smoke preset of the default command, as the project promises it."""
    matrix = ["--preset", "smoke", "--device", "cpu", "--methods", "pi,self_extend", "--output", "out"]
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    finish("reference", whole, matrix)
    expected = results(whole)
    draw = random.Random("bundled kills")

    for _ in range(kills):
        before = finished_lines(killed)
        child = start("reference", killed, matrix)
        wanted = min(before + draw.randint(1, max(1, len(expected) // 10)), len(expected) - 1)
        wait_for(lambda wanted=wanted: finished_lines(killed) >= wanted, child)
        kill(child)
    finish("reference", killed, matrix)

    assert_equal(killed, expected)
