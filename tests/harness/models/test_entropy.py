from __future__ import annotations

import copy

import pytest
import torch

from longbench_run.harness.models import entropy as module
from longbench_run.harness.models.engine import run_group
from longbench_run.tasks.base import EntropyRequest, ScoreRequest, ScoreWindow


@pytest.fixture(scope="module")
def ids(token_ids):
    return tuple(token_ids(96, seed=11))


@pytest.fixture(scope="module")
def sweep(ids):
    return [EntropyRequest(token_ids=ids[:n], edges=(0, 8, n // 2)) for n in (24, 48, 96)]


@pytest.fixture
def forwards(monkeypatch):
    """Record the length of each forward pass of which entropy is taken."""
    real, seen = module._entropies, []

    def entropies(loaded, token_ids):
        seen.append(len(token_ids))
        return real(loaded, token_ids)

    monkeypatch.setattr(module, "_entropies", entropies)
    return seen


def whole(loaded, ids):
    """Entropies of the probabilities that transformers returns, in float64, shape (layers, heads, n)."""
    double = copy.deepcopy(loaded.model).double()
    double.set_attn_implementation("eager")
    with torch.no_grad():
        weights = double(torch.tensor([ids]), output_attentions=True).attentions
    return torch.special.entr(torch.cat(weights)).sum(dim=-1)


def test_buckets_hold_the_means_of_the_probabilities_entropies(loaded, ids, sweep):
    expected = whole(loaded, ids)
    for result, request in zip(run_group(loaded, sweep, prefix_causal=True), sweep, strict=True):
        assert result.status == "ok"
        stops = (*request.edges[1:], len(request.token_ids))
        wanted = [
            (layer, start, stop)
            for layer in range(len(expected))
            for start, stop in zip(request.edges, stops, strict=True)
        ]
        assert [(b.layer, b.start, b.stop) for b in result.output.buckets] == wanted
        for bucket in result.output.buckets:
            mean = expected[bucket.layer, :, bucket.start : bucket.stop].mean(dim=1)
            # The tiny model is sharp: its logits are some tens, in fp32.
            torch.testing.assert_close(torch.tensor(bucket.heads).double(), mean, atol=2e-5, rtol=0)


def test_texts_that_begin_the_longest_cost_one_forward(loaded, sweep, forwards):
    results = run_group(loaded, sweep, prefix_causal=True)

    assert forwards == [96]
    assert [result.seconds_prefill is None for result in results] == [True, True, False]


def test_a_method_that_is_not_prefix_causal_gets_a_forward_for_each_text(loaded, sweep, forwards):
    alone = [run_group(loaded, [request], prefix_causal=True)[0].output for request in sweep]
    forwards.clear()
    found = [result.output for result in run_group(loaded, sweep, prefix_causal=False)]

    assert sorted(forwards) == [24, 48, 96]
    assert found == alone


def test_another_text_is_computed_by_itself(loaded, ids, forwards):
    other = (ids[0] + 1, *ids[1:50])
    run_group(
        loaded,
        [EntropyRequest(token_ids=ids, edges=(0,)), EntropyRequest(token_ids=other, edges=(0,))],
        prefix_causal=True,
    )

    assert forwards == [96, 50]


def test_a_text_that_fails_is_a_row_and_the_others_go_on(loaded, ids, monkeypatch):
    real = module._entropies

    def entropies(loaded, token_ids):
        if len(token_ids) == 96:
            raise MemoryError
        return real(loaded, token_ids)

    monkeypatch.setattr(module, "_entropies", entropies)
    scored = ScoreRequest(windows=(ScoreWindow(token_ids=ids[:10], first_scored=1),))
    requests = [EntropyRequest(token_ids=ids[:n], edges=(0,)) for n in (96, 40)]
    statuses = [result.status for result in run_group(loaded, [*requests, scored], prefix_causal=True)]

    assert statuses == ["out_of_memory", "ok", "ok"]


def test_what_is_no_number_is_an_error_that_names_its_place(loaded, ids, monkeypatch):
    monkeypatch.setattr(
        module.torch.Tensor, "cpu", lambda self: self.clone().index_fill_(1, torch.tensor([3]), torch.nan)
    )
    (result,) = run_group(loaded, [EntropyRequest(token_ids=ids, edges=(0,))], prefix_causal=True)

    assert result.failure.message == (
        "attention entropy must be finite, got nan in layer 0, head 0, at position 3."
    )
