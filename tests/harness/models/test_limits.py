"""When memory runs out a sample is computed in smaller pieces, with the results of computing it whole."""

from __future__ import annotations

import dataclasses
import time
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models import attempt as attempt_module
from longbench_run.harness.models.attempt import attempt
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.limits import LEAST_CHUNK, Learning, Limits, Pieces
from longbench_run.tasks.base import ChooseRequest, GenerateRequest, ScoreRequest, ScoreWindow

LONG = 700
"""Tokens: chunks of 512 and of 256 are shorter."""


@pytest.fixture(autouse=True)
def released(monkeypatch):
    """Count how often memory was given back; to search the garbage of a process this large takes a second."""
    calls = []
    monkeypatch.setattr(attempt_module, "release_memory", lambda: calls.append(1))
    return calls


@contextmanager
def little_memory(module, tokens, *, seconds=0.0):
    """Let memory run out in a module that is given more tokens; note how many it was given."""
    given = []

    def allocate(_module, arguments):
        given.append(arguments[0].shape[1])
        if given[-1] > tokens:
            time.sleep(seconds)
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = module.register_forward_pre_hook(allocate)
    try:
        yield given
    finally:
        handle.remove()


def mlp(loaded):
    return loaded.model.base_model.layers[0].mlp


def prompts(token_ids, *lengths):
    return [
        GenerateRequest(prompt_ids=token_ids(n, seed=place), max_new_tokens=4)
        for place, n in enumerate(lengths)
    ]


def windows(token_ids, *lengths):
    return [
        ScoreRequest(windows=(ScoreWindow(token_ids=token_ids(n, seed=place), first_scored=3),))
        for place, n in enumerate(lengths)
    ]


def choices(token_ids, *lengths):
    return [
        ChooseRequest(
            windows=tuple(
                ScoreWindow(token_ids=(*token_ids(n, seed=place), *end), first_scored=n)
                for end in ((7, 8), (9,))
            )
        )
        for place, n in enumerate(lengths)
    ]


def nll(result):
    return np.concatenate([np.asarray(part) for part in result.output.nll])


@pytest.mark.parametrize("text", ["none", "self_extend:group=16:window=16", "dynamic_ntk"])
def test_prompts_go_on_in_chunks_that_fit_and_the_next_one_begins_with_them(loaded, token_ids, text):
    requests, method = prompts(token_ids, LONG, LONG - 3), parse_method(text)
    with continued(loaded.model), method.applied_to(loaded.model, context_length=LONG) as applied:
        options = {"prefix_causal": method.prefix_causal, "announce": applied.sample}
        whole = run_group(loaded, requests, **options)
        limits = Limits.of(loaded, prefill_equals_decode=method.prefill_equals_decode)
        with little_memory(mlp(loaded), 300) as given:
            found = run_group(loaded, requests, **options, limits=limits)

    assert [result.output for result in found] == [result.output for result in whole]
    assert [result.prefill_chunk for result in whole] == [None, None]
    assert [result.prefill_chunk for result in found] == [256, 256]
    assert [tokens for tokens in given if tokens > 300] in ([LONG, 512], [LONG - 3, 512])
    assert [tokens for tokens in given if tokens == 256] == [256] * 4


@pytest.mark.parametrize("text", ["none", "self_extend:group=16:window=16", "dynamic_ntk"])
def test_windows_go_through_the_cache_in_chunks_that_fit(loaded, token_ids, text):
    requests, method = windows(token_ids, LONG, LONG - 3), parse_method(text)
    with continued(loaded.model), method.applied_to(loaded.model, context_length=LONG) as applied:
        options = {"prefix_causal": method.prefix_causal, "announce": applied.sample}
        whole = run_group(loaded, requests, **options)
        with little_memory(mlp(loaded), 300) as given:
            found = run_group(loaded, requests, **options, limits=Limits.of(loaded))

    for result, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(nll(result), nll(expected), rtol=1e-4, atol=1e-4)
        assert (result.prefill_chunk, expected.prefill_chunk) == (256, None)
    assert [tokens for tokens in given if tokens > 300] == [LONG, 512]


def test_a_choice_reads_its_context_in_chunks_that_fit(loaded, token_ids):
    requests = choices(token_ids, LONG)
    with continued(loaded.model):
        (whole,) = run_group(loaded, requests, prefix_causal=True)
        with little_memory(mlp(loaded), 300):
            (found,) = run_group(loaded, requests, prefix_causal=True)

    np.testing.assert_allclose(nll(found), nll(whole), rtol=1e-4, atol=1e-4)
    assert found.output.greedy == whole.output.greedy
    assert (found.prefill_chunk, whole.prefill_chunk) == (256, None)


def test_what_one_pass_serves_says_in_which_chunks(loaded, token_ids):
    ids = token_ids(LONG)
    requests = [
        ScoreRequest(windows=(ScoreWindow(token_ids=ids[:n], first_scored=1),)) for n in (90, 400, LONG)
    ]
    with continued(loaded.model), little_memory(mlp(loaded), 300):
        found = run_group(loaded, requests, prefix_causal=True)

    assert [result.prefill_chunk for result in found] == [256, 256, 256]


def test_smaller_pieces_of_logits_are_tried_before_chunks(loaded, token_ids):
    (request,) = windows(token_ids, LONG)
    (whole,) = run_group(loaded, [request], prefix_causal=True)
    scoring = Learning(start=Pieces(chunk=None, rows=400), splits=True, least_rows=40)
    limits = dataclasses.replace(Limits.of(loaded), scoring=scoring)
    with little_memory(loaded.model.get_output_embeddings(), 100) as given:
        (found,) = run_group(loaded, [request], prefix_causal=True, limits=limits)

    np.testing.assert_allclose(nll(found), nll(whole), rtol=1e-5, atol=1e-5)
    assert found.prefill_chunk is None
    assert given.count(400) == 1
    assert max(tokens for tokens in given if tokens != 400) == 40


def test_a_shared_prefix_is_dropped_before_chunks_are_tried(loaded, token_ids):
    begin = token_ids(400)
    requests = [
        GenerateRequest(prompt_ids=(*begin, *token_ids(300, seed=seed)), max_new_tokens=3)
        for seed in (1, 2, 3)
    ]
    with continued(loaded.model):
        alone = run_group(loaded, requests, prefix_causal=True, prefix_reuse=False)
        calls = []

        def allocate(_module, _arguments, options):
            held = options["past_key_values"].get_seq_length() if options.get("past_key_values") else 0
            calls.append(held)
            if 0 < held < LONG:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        handle = loaded.model.base_model.register_forward_pre_hook(allocate, with_kwargs=True)
        found = run_group(loaded, requests, prefix_causal=True)
        handle.remove()

    assert [result.output for result in found] == [result.output for result in alone]
    assert [(result.tokens_reused, result.prefill_chunk) for result in found] == [(0, None)] * 3
    assert [held for held in calls if 0 < held < LONG] == [400]


def test_a_hopeless_sample_is_recorded_and_shorter_ones_are_computed_as_ever(loaded, token_ids):
    requests = [*prompts(token_ids, LONG, LONG - 3, 90), *windows(token_ids, LONG, 90)]
    expected = [run_group(loaded, [request], prefix_causal=True)[0] for request in (requests[2], requests[4])]
    with continued(loaded.model), little_memory(mlp(loaded), 100) as given:
        found = run_group(loaded, requests, prefix_causal=True, prefix_reuse=False)

    assert [result.status for result in found] == [
        "out_of_memory",
        "out_of_memory",
        "ok",
        "out_of_memory",
        "ok",
    ]
    assert {(result.output, result.failure.type) for result in (found[0], found[1], found[3])} == {
        (None, "OutOfMemoryError")
    }
    assert found[2].output == expected[0].output
    np.testing.assert_allclose(nll(found[4]), nll(expected[1]), rtol=1e-5, atol=1e-5)
    assert [found[2].prefill_chunk, found[4].prefill_chunk] == [None, None]
    # Each way is tried once by the first prompt, the last of them by the second, each again while scoring.
    first, *tried = [tokens for tokens in given if tokens > 100]
    assert first in {LONG, LONG - 3}
    assert tried == [512, 256, 256, LONG, 512, 256]


@pytest.mark.parametrize(
    "text", ["string:variant=released", "dca:mscale=true", "dynamic_ntk:variant=transformers"]
)
def test_a_method_whose_prefill_is_not_its_decode_is_never_cut(loaded, token_ids, text):
    method = parse_method(text)
    with continued(loaded.model), method.applied_to(loaded.model, context_length=LONG) as applied:
        limits = Limits.of(loaded, prefill_equals_decode=method.prefill_equals_decode)
        with little_memory(mlp(loaded), 300) as given:
            found = run_group(
                loaded,
                [*prompts(token_ids, LONG), *windows(token_ids, LONG)],
                prefix_causal=method.prefix_causal,
                announce=applied.sample,
                limits=limits,
            )

    assert [result.status for result in found] == ["out_of_memory"] * 2
    assert given == [LONG, LONG]


def test_nothing_is_shared_where_going_on_behind_a_cache_changes_the_result(loaded, token_ids):
    method, begin = parse_method("string:shift=20:variant=released"), token_ids(80)
    requests = [
        GenerateRequest(prompt_ids=(*begin, *token_ids(30, seed=seed)), max_new_tokens=6)
        for seed in range(1, 5)
    ]
    with continued(loaded.model), method.applied_to(loaded.model, context_length=128):
        limits = Limits.of(loaded, prefill_equals_decode=method.prefill_equals_decode)
        found = run_group(loaded, requests, prefix_causal=method.prefix_causal, limits=limits)
        alone = [run_group(loaded, [request], prefix_causal=True)[0] for request in requests]

    assert method.prefix_causal
    assert [result.tokens_reused for result in found] == [0] * 4
    assert [result.output for result in found] == [result.output for result in alone]


@pytest.mark.parametrize(
    ("family", "changes", "splits"),
    [
        ("llama", {}, True),
        ("gemma3_text", {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}, True),
        (
            "qwen3_next",
            {
                "layer_types": ["linear_attention", "full_attention"],
                "num_experts": 4,
                "num_experts_per_tok": 2,
            },
            False,
        ),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}, False),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}, True),
    ],
    ids=["keys", "windows", "states", "dynamic", "yarn"],
)
def test_models_are_cut_where_they_can_go_on(loaded, make_model, family, changes, splits):
    config = AutoConfig.for_model(
        family,
        vocab_size=258,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=64,
        pad_token_id=0,
        **changes,
    )
    model = dataclasses.replace(loaded, model=make_model(config))
    limits = Limits.of(model)

    assert limits.splits is splits
    assert limits.generating.start.chunk == (2048 if splits else None)
    if splits:
        ids = torch.arange(90)[None]
        with torch.no_grad(), continued(model.model):
            whole = model.model(ids).logits[0, -1]
            first = model.model(ids[:, :50], use_cache=True)
            rest = model.model(ids[:, 50:], past_key_values=first.past_key_values).logits[0, -1]
        torch.testing.assert_close(rest, whole, rtol=1e-4, atol=1e-4)


def test_times_and_peaks_of_failed_attempts_are_nobodys(loaded, token_ids, monkeypatch):
    taken = []

    class Peak:
        """Counts attempts: the first two took a lot."""

        def __init__(self, devices):
            pass

        def start(self):
            taken.append(1000 if len(taken) % 3 < 2 else 10)

        def read(self):
            return taken[-1]

    monkeypatch.setattr(attempt_module, "PeakMemory", Peak)
    with continued(loaded.model), little_memory(mlp(loaded), 300, seconds=0.2):
        found = run_group(loaded, [*prompts(token_ids, LONG), *windows(token_ids, LONG)], prefix_causal=True)

    assert len(taken) == 6
    assert [result.peak_bytes for result in found] == [10, 10]
    assert all(result.seconds_prefill < 0.4 for result in found)


def test_nothing_of_a_failed_attempt_is_in_memory_at_the_next(loaded, released):
    seen, alive = [], []

    def work(pieces):
        alive.append([one() is not None for one in seen])
        tensor = torch.zeros(1000)
        seen.append(weakref.ref(tensor))
        if pieces.chunk != LEAST_CHUNK:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return tensor.shape

    learning = Learning(start=Pieces(chunk=None, rows=1), splits=True, least_rows=1)
    assert attempt(loaded, learning, LONG, work).found == (1000,)
    assert alive == [[], [False], [False, False]]
    assert len(released) == 2


@settings(max_examples=50)
@given(st.integers(2, 10**6), st.integers(1, 10**6), st.booleans(), st.booleans())
def test_pieces_become_smaller_until_nothing_is_left_to_try(tokens, chunk, splits, has_prefix):
    learning = Learning(start=Pieces(chunk=chunk, rows=4000), splits=splits, least_rows=300)
    tried = [learning.of(tokens)]
    while (smaller := learning.smaller(tokens, tried[-1], has_prefix=has_prefix)) is not None:
        tried.append(smaller)
        assert learning.of(tokens) == smaller
        assert learning.of(tokens // 2) == tried[0]

    assert len(set(tried)) == len(tried) <= 24
    chunks = [min(pieces.chunk, tokens) for pieces in tried]
    assert chunks == sorted(chunks, reverse=True)
    if splits:
        assert chunks[-1] in {256, chunks[0]}
        assert chunks[-1] <= 256
    else:
        assert {pieces.chunk for pieces in tried} == {chunk}
