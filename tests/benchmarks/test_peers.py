"""What the engine is measured against computes the same thing, in its own way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.bands import draw_call
from benchmarks.models import bundled, token_ids
from benchmarks.peers import full_form, full_logits_nll, generate_each, windowed_nll
from longbench_run.harness.attention.bands import attend_bands
from longbench_run.harness.models.generate import generate
from longbench_run.harness.models.score import score
from longbench_run.tasks.base import GenerateRequest, ScoreWindow


@pytest.mark.parametrize("method", ["self_extend:window=64:group=4", "rerope:window=64"])
@pytest.mark.parametrize("length", [64, 65, 300, 600])
def test_full_two_pass_form_equals_the_band_kernel(bench, method, length):
    call = draw_call(bench.column, method, length)
    assert len(call.bands) == 2
    found = full_form(call.bands, call.value, scaling=call.scaling)
    expected = attend_bands(call.bands, call.value, scaling=call.scaling)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_full_two_pass_form_without_far_keys_is_causal_attention(bench):
    call = draw_call(bench.column, "self_extend:window=64:group=4", 64)
    near = call.bands[-1] if call.bands[-1].stop[-1] == 64 else call.bands[0]
    expected = torch.nn.functional.scaled_dot_product_attention(
        near.query, near.key, call.value, is_causal=True, scale=call.scaling
    )
    found = full_form(call.bands, call.value, scaling=call.scaling)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_all_logits_at_once_score_as_the_engine_does():
    ids = token_ids(300)
    with torch.inference_mode():
        found = full_logits_nll(bundled().model, torch.tensor([ids]))
    (expected,) = score(bundled(), [ScoreWindow(token_ids=ids, first_scored=1)])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_windows_score_the_first_one_whole_and_a_stride_of_every_other():
    ids = token_ids(160)
    with torch.inference_mode():
        found = windowed_nll(bundled().model, torch.tensor([ids]), window=96, stride=32)
    windows = [
        ScoreWindow(token_ids=ids[begin : begin + 96], first_scored=64 if begin else 1)
        for begin in (0, 32, 64)
    ]
    expected = [float(nll.mean()) for nll in score(bundled(), windows)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_generate_call_each_gives_the_tokens_that_the_engine_gives():
    prompts = [token_ids(40, seed=seed) for seed in (1, 2)]
    loaded = replace(bundled(), end_ids=frozenset())
    found = generate_each(loaded.model, [torch.tensor([prompt]) for prompt in prompts], tokens=5)
    requests = [
        GenerateRequest(
            prompt_ids=prompt, max_new_tokens=5, min_new_tokens=5, end_ids=tuple(bundled().end_ids)
        )
        for prompt in prompts
    ]
    assert found == [list(generate(loaded, request).token_ids) for request in requests]
