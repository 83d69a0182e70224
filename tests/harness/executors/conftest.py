"""One small matrix, what it gives in this process, and how two runs are held against each other."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from longbench_run.harness import run
from longbench_run.results.store import read_run

MATRIX = {"methods": "pi,self_extend:group=8:window=16", "lengths": "512,640", "samples": 2}
SAMPLES = 3 * 2 * 2 * 2


@pytest.fixture
def matrix(tiny_folder, tmp_path, monkeypatch):
    """The settings of the matrix, by a path that only this folder knows; runs go below it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-llama").symlink_to(tiny_folder)
    return {"models": "tiny-llama", "output": "out", **MATRIX}


def outcomes(folder):
    """Return what must be equal, by place; numbers apart, which must be equal to 1e-5 relative."""
    kept = {}
    for r in read_run(folder).records:
        timed = {"seconds_prefill", "seconds_decode", "peak_bytes", "scores", "nll_buckets"}
        buckets = [(b.start, b.stop, b.tokens) for b in r.nll_buckets]
        numbers = [*r.scores.values(), *(b.nll_sum for b in r.nll_buckets)]
        kept[r.cell_id, r.index] = (r.model_dump(exclude=timed), sorted(r.scores), buckets), numbers
    return kept


@pytest.fixture(scope="session")
def local(tiny_folder, tmp_path_factory):
    """What the default executor records."""
    folder = tmp_path_factory.mktemp("local") / "out"
    run(models=str(tiny_folder), device="cpu", output=folder, **MATRIX)
    return outcomes(folder)


@pytest.fixture
def assert_as_local(local):
    """Compare a run with the default executor's; every sample is there once."""

    def compare(folder):
        found = outcomes(folder)
        assert found.keys() == local.keys()
        for place, (fields, numbers) in local.items():
            assert found[place][0] == fields
            assert found[place][1] == pytest.approx(numbers, rel=1e-5)
        lines = map(json.loads, (folder / "records.jsonl").read_text().splitlines())
        assert set(Counter((line["cell_id"], line["index"]) for line in lines).values()) == {1}

    return compare


class Killer:
    """Progress that ends a worker whenever one of some numbers of samples is recorded."""

    def __init__(self, kill, at):
        self.kill, self.at, self.recorded, self.told = kill, at, 0, []

    def start(self, tokens):
        self.tokens = tokens

    def stage(self, text, samples):
        self.told.append((text, samples))

    def advance(self, *, tokens=0, samples=0):
        self.tokens -= tokens
        self.recorded += samples
        if samples and self.recorded in self.at:
            self.kill()

    def finish(self):
        pass


@pytest.fixture
def killer():
    """Give `Killer`."""
    return Killer
