"""A run that memory is too short for: what it records, and that resuming it gives the same."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaModel

from longbench_run.harness import compute, run
from longbench_run.harness.models import attempt
from longbench_run.harness.runner import Interrupted
from longbench_run.results.store import read_run


@pytest.fixture
def memory_for(monkeypatch):
    """Give what memory is enough for: tokens in one forward pass, and with those in the cache; and passes left."""
    most = {"at_once": 10**9, "in_all": 10**9, "passes": 10**9}
    forward = LlamaModel.forward

    def allocate(self, input_ids, **options):
        cache = options.get("past_key_values")
        held = 0 if cache is None else cache.get_seq_length()
        most["passes"] -= 1
        if not most["passes"]:
            raise KeyboardInterrupt
        if input_ids.shape[1] > most["at_once"] or held + input_ids.shape[1] > most["in_all"]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids, **options)

    monkeypatch.setattr(LlamaModel, "forward", allocate)
    # Searching the garbage of a process this large takes a second each time.
    for module in (attempt, compute):
        monkeypatch.setattr(module, "release_memory", lambda: None)
    return most


@pytest.fixture
def matrix(tiny_folder, tmp_path, monkeypatch):
    """The settings of a small matrix whose runs go below a new folder."""
    monkeypatch.chdir(tmp_path)
    return {
        "models": str(tiny_folder),
        "methods": "self_extend:group=16:window=16",
        "baseline": False,
        "lengths": "448,1024",
        "samples": 2,
        "device": "cpu",
    }


def outcomes(folder):
    """Return what a run says of each sample, but for times, bytes and who computed a prefix first."""
    return {
        (r.cell.task.name, r.cell.context_length, r.index): (
            r.status,
            r.prefill_chunk,
            r.prediction_ids,
            {name: pytest.approx(value, rel=1e-4) for name, value in r.scores.items()},
        )
        for r in read_run(folder).records
    }


def test_a_run_goes_on_in_chunks_and_resumed_says_the_same(matrix, memory_for):
    plenty = outcomes(run(**matrix, output="plenty").folder)
    memory_for["at_once"], begun = 500, memory_for["passes"]
    little = outcomes(run(**matrix, output="little").folder)
    memory_for["passes"] = (begun - memory_for["passes"]) * 2 // 3
    with pytest.raises(Interrupted):
        run(**matrix, output="resumed")
    memory_for["passes"] = begun
    stored = len(read_run("resumed").records)
    resumed = outcomes(run(**matrix, output="resumed").folder)

    assert {place: (status, *rest) for place, (status, _, *rest) in little.items()} == {
        place: (status, *rest) for place, (status, _, *rest) in plenty.items()
    }
    assert {chunk for _, chunk, *_ in plenty.values()} == {None}
    assert {(task, length): chunk for (task, length, _), (_, chunk, *_) in little.items()} == {
        ("passkey", 448): None,
        ("passkey", 1024): 256,
        ("perplexity", 448): 256,  # of the longer one's forward passes
        ("perplexity", 1024): 256,
    }
    assert 0 < stored < len(little)
    assert resumed == little


def test_what_cannot_be_computed_at_all_is_recorded_and_the_rest_is_computed(matrix, memory_for):
    memory_for["in_all"] = 500
    summary = run(**matrix, output="hopeless")
    found = outcomes(summary.folder)

    assert {(length, status) for (_, length, _), (status, *_) in found.items()} == {
        (448, "ok"),
        (1024, "out_of_memory"),
    }
    assert (summary.failed_samples, summary.samples) == (4, 8)
