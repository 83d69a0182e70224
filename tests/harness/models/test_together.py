"""Samples that are decoded together get what each gets alone, in as many rows as memory allows."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, DynamicCache
from transformers.cache_utils import DynamicLayer

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.attention.room import SideBySide, with_room
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models import attempt as attempt_module
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.limits import Limits, Rows
from longbench_run.tasks.base import GenerateRequest

TOKENS, BUDGET = 90, 8


@contextmanager
def watched(loaded, most=10**9):
    """Note rows and tokens of every forward pass; memory runs out with more rows than ``most``."""
    shapes = []

    def allocate(_module, arguments):
        shapes.append(tuple(arguments[0].shape[:2]))
        if shapes[-1][0] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = loaded.model.base_model.layers[0].mlp.register_forward_pre_hook(allocate)
    try:
        yield shapes
    finally:
        handle.remove()


def decoded(shapes):
    """Return the rows of the decode's passes, repetitions left out."""
    rows = [rows for rows, tokens in shapes if tokens == 1]
    return [its for place, its in enumerate(rows) if not place or its != rows[place - 1]]


@pytest.fixture
def endless(loaded):
    return dataclasses.replace(loaded, end_ids=frozenset())


@pytest.fixture
def requests(endless, token_ids):
    """Requests of the unmodified model."""
    return of_one_length(endless, token_ids, prefix_causal=True)


def of_one_length(endless, token_ids, **options):
    """Return prompts that begin alike by twos, and whose answers end in all ways and at different times."""
    prompts = [(*token_ids(40, seed=n // 2), *token_ids(TOKENS - 40, seed=10 + n)) for n in range(6)]
    free = [
        run_group(endless, [GenerateRequest(prompt_ids=ids, max_new_tokens=BUDGET)], **options)[0]
        for ids in prompts
    ]
    changes = [
        {"end_ids": (free[0].output.token_ids[0],)},
        {"end_ids": (free[1].output.token_ids[3],)},
        {"end_ids": (free[2].output.token_ids[0],), "min_new_tokens": 5},
        {"stop": (free[3].output.text[2:4],)},
        {},
        {},
    ]
    return [
        GenerateRequest(prompt_ids=ids, max_new_tokens=BUDGET, **its)
        for ids, its in zip(prompts, changes, strict=True)
    ]


@pytest.mark.parametrize(
    "text", ["none", "self_extend:group=4:window=16", "log_n", "dynamic_ntk", "lm_infinite"]
)
def test_each_gets_what_it_gets_alone(endless, token_ids, text):
    method = parse_method(text)
    with continued(endless.model), method.applied_to(endless.model, context_length=128) as applied:
        options = {"prefix_causal": method.prefix_causal, "announce": applied.sample}
        requests = of_one_length(endless, token_ids, **options)
        alone = [run_group(endless, [request], **options)[0] for request in requests]
        limits = Limits.of(endless)
        with watched(endless) as shapes:
            found = run_group(endless, requests, **options, limits=limits)

    assert [result.output for result in found] == [result.output for result in alone]
    assert len({len(result.output.token_ids) for result in found}) > 2
    assert decoded(shapes) == [6]
    reused = [40, 40, 40, 0, 0, 0] if method.prefix_causal else [0] * 6
    assert sorted((result.tokens_reused for result in found), reverse=True) == reused
    assert len({result.seconds_decode for result in found}) == 1


def test_as_many_are_decoded_together_as_the_budget_has_bytes_for(endless, requests):
    limits = Limits.of(endless)
    of_token = sum(
        2 * 4 * layer.self_attn.k_proj.out_features for layer in endless.model.base_model.layers
    )  # fp32 keys and values
    assert limits.together.bytes_of_token == of_token
    limits.together.bytes_of_all = 4 * of_token * (TOKENS + BUDGET)
    with watched(endless) as shapes:
        run_group(endless, requests, prefix_causal=False, limits=limits)

    assert decoded(shapes) == [4, 2]
    limits.together.bytes_of_all -= 1
    assert limits.together.of(TOKENS + BUDGET) == 3
    limits.together.bytes_of_all = 0
    assert limits.together.of(TOKENS + BUDGET) == 1


def test_prompts_of_other_lengths_are_decoded_apart(endless, requests):
    shorter = [dataclasses.replace(request, prompt_ids=request.prompt_ids[:-1]) for request in requests[:3]]
    answers = [dataclasses.replace(request, max_new_tokens=BUDGET + 1) for request in requests[4:]]
    group = sorted([*requests[:4], *shorter, *answers], key=lambda r: (len(r.prompt_ids), r.max_new_tokens))
    group = [
        dataclasses.replace(request, prompt_ids=(place, *request.prompt_ids[1:]))
        for place, request in enumerate(group)
    ]
    limits = Limits.of(endless)
    with watched(endless) as shapes:
        run_group(endless, group, prefix_causal=True, limits=limits)

    assert decoded(shapes) == [3, 4, 2]


def test_when_memory_runs_out_half_of_them_are_tried_and_the_next_begin_with_that(
    endless, requests, monkeypatch
):
    monkeypatch.setattr(attempt_module, "release_memory", lambda: None)
    alone = [run_group(endless, [request], prefix_causal=True)[0].output for request in requests]
    limits = Limits.of(endless)
    with watched(endless, most=2) as shapes:
        found = run_group(endless, requests, prefix_causal=True, limits=limits)
        again = run_group(endless, requests, prefix_causal=True, limits=limits)

    assert [result.output for result in found] == [result.output for result in again] == alone
    assert {result.prefill_chunk for result in found} == {None}
    rows = [its for its, tokens in shapes if tokens == 1]
    assert [its for its in rows if its > 2] == [6, 3]
    assert {its for its in rows if its <= 2} == {2}


def test_one_that_fails_leaves_the_others(endless, requests):
    alone = [run_group(endless, [request], prefix_causal=True)[0].output for request in requests]
    broken = dataclasses.replace(requests[2], prompt_ids=(*requests[2].prompt_ids[:-1], 999))
    found = run_group(
        endless, [*requests[:2], broken, *requests[3:]], prefix_causal=True, limits=Limits.of(endless)
    )

    assert [result.status for result in found] == ["ok", "ok", "error", "ok", "ok", "ok"]
    assert found[2].failure.message.endswith("got 999.")
    assert [result.output for result in found if result.output] == alone[:2] + alone[3:]


@pytest.mark.parametrize("text", ["dca:mscale=true", "dynamic_ntk:variant=transformers"])
def test_a_method_that_looks_at_what_ran_before_is_decoded_alone(endless, requests, text):
    method = parse_method(text)
    with continued(endless.model), method.applied_to(endless.model, context_length=128):
        limits = Limits.of(endless, prefill_equals_decode=method.prefill_equals_decode)
        with watched(endless) as shapes:
            run_group(endless, requests[:2], prefix_causal=method.prefix_causal, limits=limits)

    assert decoded(shapes) == [1]


def test_a_model_that_drops_keys_is_decoded_alone(endless, make_model, requests):
    config = AutoConfig.for_model(
        "gemma3_text",
        vocab_size=258,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=32,
        pad_token_id=0,
    )
    other = dataclasses.replace(endless, model=make_model(config))
    limits = Limits.of(other)
    assert limits.together.of(TOKENS) == 1
    with watched(other) as shapes:
        found = run_group(other, requests[:2], prefix_causal=True, limits=limits)

    assert {result.status for result in found} == {"ok"}
    assert decoded(shapes) == [1]
    with pytest.raises(TypeError, match=r"^cache must be one of layers that only grow, got DynamicCache\.$"):
        SideBySide(rows=2, tokens=9).put(0, other.model(torch.ones(1, 3, dtype=torch.long)).past_key_values)


@given(st.integers(4, 10**6), st.integers(1, 10**5), st.integers(0, 2**40))
def test_rows_fit_into_the_budget_unless_it_is_one(tokens, of_token, of_all):
    rows = Rows(most=8, bytes_of_token=of_token, bytes_of_all=of_all)
    found = rows.of(tokens)

    assert 1 <= found <= 8
    assert found == 1 or found * of_token * tokens <= of_all
    assert found == 8 or (found + 1) * of_token * tokens > of_all
    rows.halve(tokens, 8)
    assert rows.of(tokens) == min(found, 4)
    assert rows.of(tokens // 2) >= found


@settings(max_examples=60)
@given(
    st.integers(0, 12),
    st.lists(
        st.one_of(
            st.tuples(st.just("more"), st.integers(1, 5)),
            st.tuples(st.just("cut"), st.integers(1, 4)),
            st.tuples(st.just("rows"), st.permutations([0, 1])),
        ),
        max_size=8,
    ),
)
def test_a_cache_with_room_holds_what_one_without_holds(more, changes):
    """Views handed out earlier keep what they showed, as long as the cache only grows."""
    plain, roomy = (DynamicCache() for _ in range(2))
    for cache in (plain, roomy):
        cache.update(torch.arange(24.0).view(2, 1, 4, 3), torch.ones(2, 1, 4, 3), 0)
    roomy = with_room(roomy, more)
    assert type(roomy.layers[0]) is not DynamicLayer
    shown, copy = roomy.layers[0].keys, roomy.layers[0].keys.clone()
    only_grew = True
    for place, (change, amount) in enumerate(changes):
        before = roomy.layers[0].keys
        for cache in (plain, roomy):
            if change == "more":
                states = torch.full((2, 1, amount, 3), float(place))
                given_back = cache.update(states, -states, 0)
                assert given_back[0] is cache.layers[0].keys
            elif change == "cut" and cache.get_seq_length() > amount:
                cache.crop(-amount)
            elif change == "rows":
                cache.batch_select_indices(torch.tensor(amount))
        only_grew = only_grew and change != "cut"
        assert torch.equal(plain.layers[0].keys, roomy.layers[0].keys)
        assert torch.equal(plain.layers[0].values, roomy.layers[0].values)
        assert change != "more" or roomy.layers[0].keys is not before
        assert not only_grew or torch.equal(shown, copy)
