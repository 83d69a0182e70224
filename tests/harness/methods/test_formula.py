"""Methods and compositions without vectors of their own against a float64 formula with full matrices, written here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import LlamaForCausalLM

from longbench_run.harness.methods import parse_method
from longbench_run.harness.methods.frequencies import by_parts, correction_range

L = 64
BASE = 10000.0
LENGTH = 150


@pytest.fixture(scope="module")
def folder(root):
    """Folder of a random Llama: 3 layers, 4 heads of 16 dimensions, window 64."""
    return root / "tests" / "golden" / "model"


@pytest.fixture(scope="module")
def weights(folder):
    """Its weights in float64."""
    return {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}


@pytest.fixture(scope="module")
def model(folder):
    """The same model as transformers loads it."""
    return LlamaForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def ids():
    """Random token ids that cross the window."""
    return np.random.default_rng(5).integers(3, 128, size=LENGTH)


def llama_float64(weights, ids, *, theta, rho, tau, visible, heads=4, head_dim=16):
    """Logits of a Llama whose attention is spelled out: tau(layer, p), rho(p, j), visible(p, j) as full matrices."""

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[name]

    def linear(x, name):
        return x @ weights[name].T

    n = len(ids)
    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(3):
        at = f"model.layers.{layer}."
        h = norm(x, at + "input_layernorm.weight")
        q, k, v = (
            linear(h, f"{at}self_attn.{name}_proj.weight").reshape(n, heads, head_dim).transpose(1, 0, 2)
            for name in "qkv"
        )
        half = head_dim // 2
        q, k = (a[..., :half] + 1j * a[..., half:] for a in (q, k))
        scores = np.zeros((heads, n, n))
        for pair in range(half):
            phase = np.exp(1j * theta[pair] * rho)
            scores += np.real(q[:, :, None, pair] * np.conj(k[:, None, :, pair]) * phase)
        scores = scores * tau[layer][:, None] / math.sqrt(head_dim)
        scores = np.where(visible, scores, -np.inf)
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        mixed = (attention @ v).transpose(1, 0, 2).reshape(n, heads * head_dim)
        x = x + linear(mixed, at + "self_attn.o_proj.weight")
        h = norm(x, at + "post_attention_layernorm.weight")
        gate = linear(h, at + "mlp.gate_proj.weight")
        x = x + linear(
            gate / (1 + np.exp(-gate)) * linear(h, at + "mlp.up_proj.weight"), at + "mlp.down_proj.weight"
        )
    return linear(norm(x, "model.norm.weight"), "lm_head.weight")


def plain_theta(base=BASE, d=16):
    return base ** (-np.arange(0, d, 2) / d)


def grid(n):
    p, j = np.mgrid[0:n, 0:n]
    return p, j


def log_n(n, length=L):
    return np.maximum(1, np.log(np.arange(n) + 1) / np.log(length))


def yarn_theta(s, *, ramp="code", base=BASE, d=16, length=L):
    theta = plain_theta(base, d)
    if ramp == "paper":
        kept = np.clip((length * theta / (2 * np.pi) - 1) / 31, 0, 1)
    else:
        low, high = (d * math.log(length / (2 * math.pi * turns)) / (2 * math.log(base)) for turns in (32, 1))
        low, high = max(math.floor(low), 0), min(math.ceil(high), d - 1)
        kept = 1 - np.clip((np.arange(d // 2) - low) / (high - low if high != low else 0.001), 0, 1)
    return theta * kept + theta / s * (1 - kept)


def formula(method, n):
    """What each method means, written from the papers' formulas without looking at the package."""
    p, j = grid(n)
    delta = p - j
    near8 = delta < 8
    self_extend = np.where(delta < 16, delta, p // 3 - j // 3 + 16 - 16 // 3)
    one = np.ones((3, n))
    causal = delta >= 0
    turns = L * plain_theta() / (2 * np.pi)
    cases = {
        "ntk_fixed:factor=4": (plain_theta() * 4.0 ** (-2 * np.arange(1, 9) / 16), delta, one, causal),
        "ntk_mixed:factor=12+log_n": (
            plain_theta() * np.exp(-math.log(12) / 8**0.75 * np.arange(1, 9) ** 0.75),
            delta,
            one * log_n(n),
            causal,
        ),
        "llama3:factor=8": (
            np.where(
                turns > 4,
                plain_theta(),
                np.where(
                    turns < 1,
                    plain_theta() / 8,
                    plain_theta() * ((1 - (turns - 1) / 3) / 8 + (turns - 1) / 3),
                ),
            ),
            delta,
            one,
            causal,
        ),
        "lm_infinite:window=32:sinks=4": (
            plain_theta(),
            np.minimum(delta, 32),
            one,
            causal & ((delta < 32) | (j < 4)),
        ),
        "streaming_llm:window=32:sinks=4": (
            plain_theta(),
            np.where(delta < 32, delta, np.minimum(p, 35) - j),
            one,
            causal & ((delta < 32) | (j < 4)),
        ),
        "streaming_llm:window=32:sinks=4+yarn:factor=2": (
            yarn_theta(2),
            np.where(delta < 32, delta, np.minimum(p, 35) - j),
            one * (0.1 * math.log(2) + 1) ** 2,
            causal & ((delta < 32) | (j < 4)),
        ),
        "dynamic_ntk:factor=2": (
            plain_theta(BASE * (2 * n / L - 1) ** (16 / 14)),
            delta,
            one,
            causal,
        ),
        "dynamic_ntk:factor=2+self_extend:group=3:window=16": (
            plain_theta(BASE * (2 * n / L - 1) ** (16 / 14)),
            self_extend,
            one,
            causal,
        ),
        "longrope:factor=4:long_factor=1/1.5/2/2.5/3/3.5/4/4.5:side=long+log_n": (
            plain_theta() / np.arange(2, 10) * 2,
            delta,
            one * (1 + math.log(4) / math.log(L)) * log_n(n),
            causal,
        ),
        "string:shift=24:window=4+pi:factor=2": (
            plain_theta() / 2,
            np.where(delta < 24, delta, delta - 24 + 4),
            one,
            causal,
        ),
        "dca:chunk=48:largest_position=63+abf": (
            plain_theta(500000.0),
            np.where(
                p // 48 == j // 48,
                delta,
                np.where(p // 48 == j // 48 + 1, np.minimum(p % 48 + 48, 63), 63) - j % 48,
            ),
            one,
            causal,
        ),
        "ntk_by_parts:factor=4": (yarn_theta(4), delta, one, causal),
        "ntk_by_parts:factor=4:ramp=paper": (yarn_theta(4, ramp="paper"), delta, one, causal),
        "yarn:factor=4:temperature=per_query": (
            yarn_theta(4),
            delta,
            one * np.maximum(1, 0.1 * np.log((np.arange(n) + 1) / L) + 1) ** 2,
            causal,
        ),
        "yarn:factor=4:attention_factor=1.3": (yarn_theta(4), delta, one * 1.3**2, causal),
        "yarn:factor=4+rerope:window=8": (
            yarn_theta(4),
            np.minimum(delta, 8),
            one * (0.1 * math.log(4) + 1) ** 2,
            causal,
        ),
        "yarn:factor=4+log_n": (
            yarn_theta(4),
            delta,
            one * (0.1 * math.log(4) + 1) ** 2 * log_n(n),
            causal,
        ),
        "abf+self_extend:group=3:window=16+log_n": (
            plain_theta(500000.0),
            self_extend,
            one * log_n(n),
            causal,
        ),
        "entropy_abf+rerope:window=8": (
            plain_theta(500000.0),
            np.minimum(delta, 8),
            np.stack([np.ones(n), np.ones(n), log_n(n)]),
            causal,
        ),
        "log_n:original_context_length=32+pi:factor=2": (
            plain_theta() / 2,
            delta,
            one * log_n(n, 32),
            causal,
        ),
        "leaky_rerope:window=8:stretch=2.5": (
            plain_theta(),
            np.where(near8, delta, 8 + (delta - 8) / 2.5),
            one,
            causal,
        ),
        "abf:base=40000+yarn:factor=2": (
            yarn_theta(2, base=40000.0),
            delta,
            one * (0.1 * math.log(2) + 1) ** 2,
            causal,
        ),
    }
    return cases[method]


METHODS = (
    "dynamic_ntk:factor=2",
    "dynamic_ntk:factor=2+self_extend:group=3:window=16",
    "longrope:factor=4:long_factor=1/1.5/2/2.5/3/3.5/4/4.5:side=long+log_n",
    "string:shift=24:window=4+pi:factor=2",
    "dca:chunk=48:largest_position=63+abf",
    "ntk_fixed:factor=4",
    "ntk_mixed:factor=12+log_n",
    "llama3:factor=8",
    "lm_infinite:window=32:sinks=4",
    "streaming_llm:window=32:sinks=4",
    "streaming_llm:window=32:sinks=4+yarn:factor=2",
    "ntk_by_parts:factor=4",
    "ntk_by_parts:factor=4:ramp=paper",
    "yarn:factor=4:temperature=per_query",
    "yarn:factor=4:attention_factor=1.3",
    "yarn:factor=4+rerope:window=8",
    "yarn:factor=4+log_n",
    "abf+self_extend:group=3:window=16+log_n",
    "entropy_abf+rerope:window=8",
    "log_n:original_context_length=32+pi:factor=2",
    "leaky_rerope:window=8:stretch=2.5",
    "abf:base=40000+yarn:factor=2",
)


@pytest.mark.parametrize("method", METHODS)
def test_logits_equal_the_float64_formula(model, weights, ids, method):
    theta, rho, tau, visible = formula(method, LENGTH)
    expected = llama_float64(weights, ids, theta=theta, rho=rho, tau=tau, visible=visible)

    with parse_method(method).applied_to(model), torch.no_grad():
        found = model(torch.from_numpy(ids)[None]).logits[0].double().numpy()

    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_a_model_that_ships_scaled_is_rotated_once_in_the_far_band(folder, weights, ids):
    """A model that ships with YaRN: methods start from its true frequencies, and no scaling of its own stays."""
    model = LlamaForCausalLM.from_pretrained(folder)
    model.config.rope_parameters = {
        "rope_type": "yarn",
        "rope_theta": BASE,
        "factor": 4.0,
        "original_max_position_embeddings": L,
    }
    model.config.max_position_embeddings = 4 * L
    shipped = LlamaForCausalLM(model.config).eval()
    shipped.load_state_dict(model.state_dict())
    delta = np.subtract(*grid(LENGTH))
    released = llama_float64(
        weights,
        ids,
        theta=yarn_theta(4),
        rho=delta,
        tau=np.full((3, LENGTH), (0.1 * math.log(4) + 1) ** 2),
        visible=delta >= 0,
    )
    rerope = llama_float64(
        weights,
        ids,
        theta=plain_theta(),
        rho=np.minimum(delta, 16),
        tau=np.ones((3, LENGTH)),
        visible=delta >= 0,
    )

    with torch.no_grad():
        with parse_method("none").applied_to(shipped):
            unmodified = shipped(torch.from_numpy(ids)[None]).logits[0].double().numpy()
        with parse_method("rerope").applied_to(shipped) as applied:
            extended = shipped(torch.from_numpy(ids)[None]).logits[0].double().numpy()

    assert applied.method.canonical == "rerope:original_context_length=64:window=16"
    np.testing.assert_allclose(unmodified, released, atol=1e-4, rtol=0)
    np.testing.assert_allclose(extended, rerope, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("base", "length", "expected"), [(10000.0, 4096, (20, 46)), (500000.0, 8192, (18, 35))]
)
def test_the_ramp_of_yarn_lies_where_the_released_code_puts_it(base, length, expected):
    """Llama-2 and Llama-3, head dimension 128, 32 turns and 1."""
    found = correction_range(
        rotary_dim=128, base=base, original_context_length=length, beta_fast=32, beta_slow=1
    )

    assert found == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "self_extend:group=2:window=4",
            {5: [4, 4, 3, 2, 1, 0], 7: [5, 5, 4, 4, 3, 2, 1, 0], 9: [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]},
        ),
        ("rerope:window=6", {9: [6, 6, 6, 6, 5, 4, 3, 2, 1, 0]}),
        (
            "dca:chunk=6:largest_position=9",
            {
                6: [6, 5, 4, 3, 2, 1, 0],
                11: [9, 8, 7, 6, 5, 4, 5, 4, 3, 2, 1, 0],
                12: [9, 8, 7, 6, 5, 4, 6, 5, 4, 3, 2, 1, 0],
            },
        ),
        ("string:shift=4:window=2", {9: [7, 6, 5, 4, 3, 2, 3, 2, 1, 0]}),
    ],
)
def test_position_maps_give_the_published_rows(rows, expected):
    """Rows of datamllab/LongLM issue 40, of the ReRoPE article, of the DCA paper's figure, and STRING's by its formula."""
    bands = parse_method(rows).bands()
    for p, row in expected.items():
        query, keys = np.array([p]), np.arange(p + 1)
        rho = np.full(p + 1, np.nan)
        for band in bands:
            start, stop = int(band.keys.start(query).clip(0)[0]), int(band.keys.stop(query).clip(0)[0])
            q = query if band.query_map is None else band.query_map(query)
            k = keys if band.key_map is None else band.key_map(keys)
            rho[start:stop] = (q - k)[start:stop]
        assert rho.tolist() == row


@pytest.mark.parametrize(("factor", "expected"), [(4, 1.7), (16, 3.0)])
def test_the_two_ramps_differ_as_the_documentation_says(factor, expected):
    """Base 10000, window 4096, head dimension 128: the largest ratio of a pair's frequencies."""
    theta = 10000.0 ** (-np.arange(64) / 64)
    rest = {
        "base": 10000.0,
        "factor": factor,
        "original_context_length": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
    }

    ratio = by_parts(theta, ramp="code", **rest) / by_parts(theta, ramp="paper", **rest)

    assert round(float(ratio.max()), 1) == expected
