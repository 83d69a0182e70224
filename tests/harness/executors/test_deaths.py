"""Workers that die when they are told to: what is lost is computed again, and what kills is recorded as such."""

from __future__ import annotations

import pickle
import random
from itertools import count

import pytest

from longbench_run.harness import run, runner
from longbench_run.harness.compute import (
    Attached,
    Broken,
    Computed,
    Finished,
    NotApplicable,
    Unattached,
    WorkerBug,
)
from longbench_run.harness.errors import ModelError
from longbench_run.harness.executors.base import Down, Up, WorkersLost
from longbench_run.harness.models.engine import EngineResult, token_sha256
from longbench_run.results.records import Failure
from longbench_run.results.store import read_run
from longbench_run.tasks.base import Generated, GenerateRequest, Scored


def answered(request):
    """Return a result that is the same whoever gives it, and as quick as it is wrong."""
    if isinstance(request, GenerateRequest):
        output = Generated(token_ids=request.prompt_ids[-3:], text=str(sum(request.prompt_ids)))
    else:
        scored = [len(window.token_ids) - window.first_scored for window in request.windows]
        output = Scored(nll=tuple([0.5] * n for n in scored))
    return EngineResult(output=output, status="ok", prompt_sha256=token_sha256(request))


def told(job):
    """Yield the events of a job that goes well."""
    yield Attached("a hash")
    for place, request in enumerate(job.requests):
        yield Computed(place, answered(request))
    yield Finished()


class Mortals:
    """Workers that take turns, event by event; ``dies(job, event)`` says which die instead of telling one."""

    device = None

    def __init__(self, size, dies, tell=told):
        self.size, self.dies, self.tell, self.deaths = size, dies, tell, 0
        self.numbers, self.living, self.jobs, self.news = count(), set(), {}, []

    def hardware(self, device):
        return device

    def start(self, jobs):
        for _ in range(min(self.size, jobs)):
            self.new()

    def new(self):
        number = next(self.numbers)
        self.living.add(number)
        self.news.append((number, Up()))

    def submit(self, worker, job):
        assert worker in self.living
        assert worker not in self.jobs
        travelled = pickle.loads(pickle.dumps(job))
        assert travelled == job
        assert travelled.setup.load.inspected is None
        self.jobs[worker] = job, self.tell(travelled)

    def events(self):
        while self.living:
            yield from self.news
            self.news = []
            for worker in list(self.jobs):
                job, events = self.jobs[worker]
                event = next(events)
                is_last = not isinstance(event, Attached | Computed)
                if dies := self.dies(job, event):
                    self.deaths += 1
                    self.living.remove(worker)
                    self.new()
                if dies or is_last:
                    del self.jobs[worker]
                yield worker, Down("killed by a test") if dies else event

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.living.clear()


@pytest.fixture
def mortals(monkeypatch):
    """Run on workers that die by a rule."""

    def use(dies=lambda *_: False, size=2, tell=told):
        executor = Mortals(size, dies, tell)
        monkeypatch.setattr(runner, "executor_of", lambda _: executor)
        return executor

    return use


def rows(folder):
    """Return records by place; each is there once."""
    records = read_run(folder).records
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert len(lines) == len(records)
    return {(r.cell_id, r.index): r for r in records}


def is_second_of_pi_at_640(job, event):
    return (
        job.setup.method.resolved.startswith("pi")
        and isinstance(job.requests[0], GenerateRequest)
        and len(job.requests[0].prompt_ids) > 600
        and isinstance(event, Computed)
        and event.place == 1
    )


def test_workers_that_die_at_random_moments_lose_nothing_and_count_nothing_twice(mortals, matrix, tmp_path):
    mortals()
    run(**matrix | {"output": "whole"})
    expected = rows(tmp_path / "whole")
    assert len(expected) == 24

    for seed in range(4):
        draw = random.Random(seed)
        executor = mortals(size=1 + seed)
        executor.dies = lambda *_, its=executor, drawn=draw: its.deaths < 10 and drawn.random() < 0.2
        summary = run(**matrix | {"output": f"out {seed}"})
        assert executor.deaths > 3
        assert summary.failed_samples == 0
        assert rows(tmp_path / f"out {seed}") == expected


def test_a_group_that_kills_its_worker_three_times_is_recorded_and_no_other(mortals, matrix, tmp_path):
    executor = mortals(is_second_of_pi_at_640)
    summary = run(**matrix)

    assert (executor.deaths, summary.samples, summary.failed_samples) == (3, 24, 1)
    (failed,) = (record for record in rows(tmp_path / "out").values() if record.status != "ok")
    assert (failed.status, failed.method_label, failed.cell.context_length) == ("error", "pi", 640)
    assert (failed.failure.type, failed.failure.message) == (
        "WorkerDied",
        "3 workers died over this sample's group, the last one killed by a test",
    )

    mortals()
    again = run(**matrix | {"overwrite": "failed"})
    assert (again.computed, again.failed_samples) == (1, 0)


def test_deaths_with_a_new_record_between_them_do_not_count_against_a_group(mortals, matrix):
    """One group of six samples, whose worker dies whenever it has told one more than the one before it."""
    executor = mortals(size=1)
    executor.dies = lambda _, event: isinstance(event, Computed) and event.place == executor.deaths + 1
    summary = run(**matrix | {"methods": "none", "tasks": "passkey", "lengths": "512", "samples": 6})

    assert (executor.deaths, summary.computed, summary.failed_samples) == (5, 6, 0)


def test_an_executor_that_ends_early_is_a_bug_and_no_finished_run(mortals, matrix):
    executor = mortals()
    executor.events = lambda: iter([(0, Up())])
    with pytest.raises(RuntimeError, match="the executor ended with 12 groups to compute"):
        run(**matrix)
    assert read_run("out").header.status == "failed"


def test_workers_that_all_die_before_they_have_loaded_end_the_run(mortals, matrix):
    executor = mortals(lambda *_: True)
    with pytest.raises(WorkersLost) as caught:
        run(**matrix)

    assert str(caught.value) == (
        "Workers must live to load a model, got 6 that died before, the last one killed by a test. See whether "
        "memory suffices for all of them, and run the same command again: finished samples are kept."
    )
    assert executor.deaths == 6
    assert read_run("out").header.status == "failed"


@pytest.mark.parametrize("error", [ModelError("model m: no"), WorkerBug("a traceback")])
def test_what_breaks_a_worker_ends_the_run_here(error, mortals, matrix):
    mortals(tell=lambda _: iter([Broken(error)]))
    with pytest.raises(type(error), match=str(error)):
        run(**matrix)
    assert read_run("out").header.status == "failed"


def test_a_method_that_two_workers_refuse_has_one_row_per_cell(mortals, matrix, tmp_path):
    def tell(job):
        return iter([NotApplicable("no")]) if job.setup.method.resolved.startswith("pi") else told(job)

    mortals(tell=tell, size=4)
    run(**matrix)

    refused = [r for r in rows(tmp_path / "out").values() if r.method_label == "pi"]
    assert [(r.index, r.status, r.failure.message) for r in refused] == [(None, "not_applicable", "no")] * 4


def test_a_method_that_two_workers_cannot_attach_fails_each_sample_once(mortals, matrix, tmp_path):
    failure = Failure(type="RuntimeError", message="shape mismatch")

    def tell(job):
        broken = job.setup.method.resolved.startswith("pi")
        return iter([Unattached("error", failure)]) if broken else told(job)

    mortals(tell=tell, size=4)
    summary = run(**matrix)

    failed = [r for r in rows(tmp_path / "out").values() if r.status != "ok"]
    assert {(r.method_label, r.failure) for r in failed} == {("pi", failure)}
    assert (len(failed), summary.failed_samples, summary.samples) == (8, 8, 24)
