"""A worker: what it keeps from job to job, and whose weights it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longbench_run.harness import compute
from longbench_run.harness.compute import (
    Attached,
    Broken,
    Computed,
    Finished,
    Job,
    Load,
    Setup,
    Worker,
    WorkerBug,
    reported,
)
from longbench_run.harness.errors import ModelError
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.results.records import MethodIdentity
from longbench_run.tasks.base import GenerateRequest


@pytest.fixture(scope="module")
def load(tiny_folder):
    """The weights of the tiny model, as they travel: nothing was read."""
    spec = ModelSpec(model=str(tiny_folder), device="cpu", dtype="float32")
    return Load(spec=spec, facts=inspect_model(spec).facts)


def job(load, method, token_ids):
    resolved = parse_method(method).resolve(load.facts.rope, original_context_length=64, context_length=128)
    identity = MethodIdentity(resolved=resolved.canonical, versions=resolved.versions)
    return Job(
        setup=Setup(load=load, method=identity, original_context_length=64, target_length=128),
        requests=tuple(GenerateRequest(prompt_ids=token_ids(96, seed=n), max_new_tokens=2) for n in range(2)),
        prefix_reuse=True,
    )


def test_a_worker_loads_once_attaches_when_the_method_changes_and_leaves_nothing(
    load, token_ids, monkeypatch
):
    loads, models = [], []
    original = compute.load_model
    monkeypatch.setattr(
        compute, "load_model", lambda *a: loads.append(a[0]) or models.append(original(*a)) or models[-1]
    )
    worker = Worker("cpu")
    hashes = []
    for method in ("none", "none", "pi", "self_extend:group=8:window=16", "none"):
        events = list(worker.compute(job(load, method, token_ids)))
        assert [type(event) for event in events] == [Attached, Computed, Computed, Finished]
        assert sorted(event.place for event in events[1:-1]) == [0, 1]
        hashes.append(events[0].applied_hash)

    assert len(loads) == 1
    assert (hashes[0], hashes[1], len(set(hashes))) == (hashes[4], hashes[4], 3)
    worker.close()
    assert models[0].model.config._attn_implementation == load.facts.attention


def test_a_worker_refuses_weights_that_are_not_the_plans(load, token_ids):
    """As on another machine, whose folder of that name holds another model."""
    identity = load.facts.identity.model_copy(update={"revision": "sha256:other"})
    planned = Load(spec=load.spec, facts=replace(load.facts, identity=identity))

    with pytest.raises(
        ModelError,
        match=r"files of a worker must be those of the plan \(sha256:other, .*, got sha256:[0-9a-f]{64}",
    ):
        list(Worker("cpu").compute(job(planned, "none", token_ids)))


def test_what_a_job_raises_is_its_last_event(load, token_ids, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(compute, "iterate_group", broken)
    attached, last = reported(Worker("cpu").compute(job(load, "none", token_ids)))

    assert isinstance(attached, Attached)
    assert isinstance(last, Broken)
    assert isinstance(last.error, WorkerBug)
    assert "in broken" in str(last.error)
    assert "ZeroDivisionError: a bug" in str(last.error)
