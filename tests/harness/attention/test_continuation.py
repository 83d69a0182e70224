"""Chunks behind a cache: transformers' numbers, without transformers' mask."""

from __future__ import annotations

import pytest
import torch
from transformers.integrations import sdpa_attention

from longbench_run.harness.attention import continuation
from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.attention.kernels import _causal_in_blocks, attend_causal
from longbench_run.harness.methods import parse_method


def in_chunks(model, ids, sizes, **arguments):
    cache, logits, start = None, [], 0
    for size in sizes:
        with torch.no_grad():
            found = model(ids[:, start : start + size], past_key_values=cache, use_cache=True, **arguments)
        cache, start = found.past_key_values, start + size
        logits.append(found.logits)
    return torch.cat(logits, dim=1)


@pytest.fixture
def ids(token_ids):
    return torch.tensor([token_ids(100), token_ids(100, seed=5)])


@pytest.fixture
def masks(monkeypatch):
    """Record whether each call of transformers' own attention got a mask."""
    real, seen = sdpa_attention.sdpa_attention_forward, []

    def own(module, query, key, value, mask, **rest):
        seen.append(mask is not None)
        return real(module, query, key, value, mask, **rest)

    monkeypatch.setattr(continuation, "sdpa_attention_forward", own)
    return seen


@pytest.mark.parametrize("sizes", [(60, 40), (1, 99), (99, 1), (30, 30, 30, 10)])
def test_chunks_give_the_logits_of_one_pass_and_make_no_mask(tiny_llama, ids, sizes, masks):
    with torch.no_grad():
        expected = tiny_llama(ids).logits
    with continued(tiny_llama):
        found = in_chunks(tiny_llama, ids, sizes)

    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert not any(masks)


@pytest.mark.parametrize("text", ["yarn:factor=4", "log_n", "self_extend:group=4:window=16", "entropy_abf"])
def test_methods_go_on_behind_a_cache_as_without_it(tiny_llama, ids, text):
    with parse_method(text).applied_to(tiny_llama, context_length=128), torch.no_grad():
        expected = tiny_llama(ids).logits
    with continued(tiny_llama), parse_method(text).applied_to(tiny_llama, context_length=128):
        found = in_chunks(tiny_llama, ids, (60, 40))

    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_padding_is_still_masked(tiny_llama, ids, masks):
    padded = torch.ones(2, 100, dtype=torch.long)
    padded[1, :7] = 0
    cache, found, start = None, [], 0
    with continued(tiny_llama):
        for size in (60, 40):
            with torch.no_grad():
                out = tiny_llama(
                    ids[:, start : start + size],
                    attention_mask=padded[:, : start + size],
                    past_key_values=cache,
                    use_cache=True,
                )
            cache, start = out.past_key_values, start + size
            found.append(out.logits)
    with torch.no_grad():
        expected = tiny_llama(ids, attention_mask=padded).logits

    torch.testing.assert_close(torch.cat(found, dim=1)[1, 7:], expected[1, 7:], atol=2e-5, rtol=1e-4)
    assert any(masks)


def test_gradients_flow_through_a_continued_chunk(tiny_llama, ids):
    def gradient(go_on):
        tiny_llama.zero_grad()
        cache = tiny_llama(ids[:, :60], use_cache=True).past_key_values
        tiny_llama(ids[:, 60:], past_key_values=cache).logits.logsumexp(-1).sum().backward()
        return tiny_llama.model.layers[0].self_attn.q_proj.weight.grad.clone()

    expected = gradient(False)
    with continued(tiny_llama):
        found = gradient(True)

    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_the_block_leaves_no_trace(tiny_llama):
    before = tiny_llama.config._attn_implementation
    with continued(tiny_llama):
        assert tiny_llama.config._attn_implementation != before

    assert tiny_llama.config._attn_implementation == before


def test_a_model_with_eager_attention_is_left_alone(tiny_llama, ids):
    tiny_llama.set_attn_implementation("eager")
    try:
        with continued(tiny_llama):
            assert tiny_llama.config._attn_implementation == "eager"
    finally:
        tiny_llama.set_attn_implementation("sdpa")


@pytest.mark.parametrize("attend", [attend_causal, _causal_in_blocks])
def test_causal_attention_and_its_log_sum_exp_equal_a_float64_formula(attend):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 300, 16, generator=generator)
    key, value = (torch.randn(2, 2, 300, 16, generator=generator) for _ in range(2))

    part = attend(query, key, value, scaling=0.3)

    wide = [states.double().repeat_interleave(2, dim=1) for states in (key, value)]
    logits = (query.double() @ wide[0].transpose(-1, -2) * 0.3).masked_fill(
        torch.ones(300, 300, dtype=torch.bool).triu(1), -torch.inf
    )
    torch.testing.assert_close(part.log_sum_exp.double(), logits.logsumexp(-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part.output.double(), logits.softmax(-1) @ wide[1], atol=1e-5, rtol=1e-5)
