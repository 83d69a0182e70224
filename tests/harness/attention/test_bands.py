"""Every path of the band kernels against the plain formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from longbench_run.harness.attention import bands as module
from longbench_run.harness.attention import kernels
from longbench_run.harness.attention.bands import RotatedBand, attend_bands, band_entropy

HEADS, KV_HEADS, DIM = 4, 2, 8
SCALING = 0.7
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 3e-2}


def plain(bands, value, scaling):
    """Attention by `probabilities`."""
    weights = probabilities(bands, scaling).nan_to_num(0.0)  # a query that sees nothing
    return weights @ value[0].double().repeat_interleave(HEADS // KV_HEADS, dim=0)


def probabilities(bands, scaling):
    """Softmax over the keys that some band shows, score by score."""
    n, m = bands[0].query.shape[2], bands[0].key.shape[2]
    keys = np.arange(m)
    scores = torch.full((HEADS, n, m), -torch.inf, dtype=torch.float64)
    for band in bands:
        visible = torch.from_numpy((keys >= band.start[:, None]) & (keys < band.stop[:, None]))
        own = torch.einsum(
            "hnd,hmd->hnm",
            band.query[0].double(),
            band.key[0].double().repeat_interleave(HEADS // KV_HEADS, dim=0),
        )
        scores[:, visible] = own[:, visible] * scaling
    return scores.softmax(dim=-1)


def draw(seed, count, n, m, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def states(heads, tokens):
        return torch.randn(1, heads, tokens, DIM, generator=generator).to(dtype)

    return [(states(HEADS, n), states(KV_HEADS, m)) for _ in range(count)], states(KV_HEADS, m)


def partition(n, cached, edges):
    """Return disjoint bands of keys up to each query's own from non-decreasing edges between them."""
    positions = np.arange(cached, cached + n)
    ends = [np.zeros_like(positions), *(np.clip(edge(positions), 0, positions + 1) for edge in edges)]
    ends = [np.maximum.accumulate(end) for end in np.maximum.accumulate(ends, axis=0)]
    return list(zip(ends, [*ends[1:], positions + 1], strict=True))


EDGES = st.one_of(
    st.integers(1, 80).map(lambda window: lambda p: p - window + 1),  # a window
    st.integers(2, 40).map(lambda chunk: lambda p: p // chunk * chunk),  # whole chunks
    st.integers(2, 7).map(lambda group: lambda p: p - (p % group) - group),
    st.integers(0, 60).map(lambda sink: lambda p: np.full_like(p, sink)),
    st.integers(2, 5).map(lambda part: lambda p: p // part),
)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 90),
    cached=st.sampled_from([0, 1, 40]),
    edges=st.lists(EDGES, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    blocks=st.sampled_from([(2048, 256), (64, 4), (16, 16), (7, 3)]),
    hidden=st.booleans(),
)
@example(1, 90, 0, [lambda p: p - 15], torch.float32, (64, 4), False)
@example(2, 90, 40, [lambda p: p - 7], torch.float32, (16, 1), True)
def test_bands_are_the_plain_formula(seed, n, cached, edges, dtype, blocks, hidden):
    ends = partition(n, cached, edges)
    if hidden and len(ends) > 1:
        ends = ends[:-1]  # keys near the query are in no band: some queries may see none at all
    states, value = draw(seed, len(ends), n, cached + n, dtype)
    bands = [
        RotatedBand(query=query, key=key, start=start, stop=stop)
        for (query, key), (start, stop) in zip(states, ends, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUERIES_AT_ONCE", blocks[0])
        patch.setattr(module, "_QUERIES_MASKED", blocks[1])
        found = attend_bands(bands, value, scaling=SCALING)
        entropy = None if hidden else band_entropy(bands, SCALING)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found[0].double(), plain(bands, value, SCALING), atol=TOLERANCES[dtype], rtol=TOLERANCES[dtype]
    )
    if entropy is not None:
        expected = torch.special.entr(probabilities(bands, SCALING)).sum(dim=-1)
        torch.testing.assert_close(entropy[0].double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [5, 20, 60])
def test_gradients_are_those_of_the_plain_formula(monkeypatch, window):
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", 32)
    monkeypatch.setattr(module, "_QUERIES_MASKED", 8)
    monkeypatch.setattr(kernels, "_QUERIES_AT_ONCE", 16)
    monkeypatch.setattr(kernels, "_KEYS_AT_ONCE", 16)
    states, value = draw(0, 2, 70, 70)
    leaves = [tensor.requires_grad_() for pair in states for tensor in pair] + [value.requires_grad_()]
    bands = [
        RotatedBand(query=query, key=key, start=start, stop=stop)
        for (query, key), (start, stop) in zip(
            states, partition(70, 0, [lambda p: p - window + 1]), strict=True
        )
    ]
    weight = torch.randn(HEADS, 70, DIM, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((attend_bands(bands, value, scaling=SCALING)[0] * weight).sum(), leaves)
    expected = torch.autograd.grad((plain(bands, value, SCALING) * weight).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_window_is_computed_without_a_mask(monkeypatch):
    def masked(*_arguments, **_named):
        raise AssertionError("a triangle went through a mask")

    monkeypatch.setattr(module, "attend_visible", masked)
    window, n = 512, 4096
    states, value = draw(0, 2, n, n)
    bands = [
        RotatedBand(query=query, key=key, start=start, stop=stop)
        for (query, key), (start, stop) in zip(
            states, partition(n, 0, [lambda p: p - window + 1]), strict=True
        )
    ]
    assert attend_bands(bands, value, scaling=SCALING).isfinite().all()
