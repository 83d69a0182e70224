"""A fault planted in a method must be seen: each moves it away from the vectors of its original implementation.

Without the fault the same comparison holds: test_golden.py, `test_logits_equal_the_original_implementation`, which
this is the counterpart of. Faults that no vector shows name the test that does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from longbench_run.harness.attention.functions import AttentionRoute
from longbench_run.harness.attention.scales import Scales
from longbench_run.harness.methods import (
    abf,
    dca,
    frequencies,
    lambda_mask,
    llama3,
    log_n,
    longrope,
    ntk,
    parse_method,
    rerope,
    self_extend,
    string,
    yarn,
)
from longbench_run.harness.methods.base import LogitScale
from longbench_run.harness.methods.dynamic_ntk import DynamicNtk
from longbench_run.harness.methods.position_maps import constant, far, near
from longbench_run.harness.methods.scales import log_n_scale
from tests.harness.methods.test_golden import COMMITTED, TOLERANCE, committed_error


def case_of(prefix):
    """Return the committed case whose name begins so, with its method."""
    ((case, text),) = ((c, t) for c, t in COMMITTED.items() if c.startswith(prefix))
    return case, text


def far_band(cls, **changes):
    """Plant another far band: the second one of a method."""

    def plant(monkeypatch):
        own = cls.bands

        def bands(self):
            first, second, *rest = own(self)
            made = {name: make(self) for name, make in changes.items()}
            return (first, replace(second, **made), *rest)

        monkeypatch.setattr(cls, "bands", bands)

    return plant


def attribute(target, name, value):
    """Plant another value under a name."""
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


def windows(module, *, near_by=0, far_by=0):
    """Plant windows that are off by some tokens."""

    def plant(monkeypatch):
        monkeypatch.setattr(module, "near", lambda window: near(window + near_by))
        monkeypatch.setattr(module, "far", lambda window: far(window + far_by))

    return plant


def scale_on_keys(monkeypatch):
    """Scale keys by their positions where queries should be scaled by theirs."""
    own = AttentionRoute.attention

    def attention(self, module, query, key, value, mask, **rest):
        (scale,) = (s for s in self._scales._scales if s.values is not None)
        factor = torch.ones(key.shape[2])
        if module.layer_idx >= scale.skip_layers:
            positions = self._layout.rows[0].key_positions
            factor = torch.from_numpy(scale.values(positions, len(positions))).float()
        return own(self, module, query, key * factor[:, None], value, mask, **rest)

    monkeypatch.setattr(AttentionRoute, "attention", attention)
    monkeypatch.setattr(Scales, "scaled", lambda _self, query, _layer, _layout: query)


def inverted_ramp(monkeypatch):
    """Divide the fast pairs and keep the slow ones."""
    own = frequencies.by_parts

    def by_parts(inv_freq, *, factor, **rest):
        right = own(inv_freq, factor=factor, **rest)
        return inv_freq + inv_freq / factor - right

    monkeypatch.setattr(yarn, "by_parts", by_parts)


def log_without_one(monkeypatch):
    def scale(length, *, skip_layers=0):
        return LogitScale(
            values=lambda p, _: np.maximum(np.log(np.maximum(p, 1)) / np.log(length), 1),
            skip_layers=skip_layers,
        )

    monkeypatch.setattr(log_n, "log_n_scale", scale)


def log_without_floor(monkeypatch):
    def scale(length, *, skip_layers=0):
        return LogitScale(values=lambda p, _: np.log(p + 1) / np.log(length), skip_layers=skip_layers)

    monkeypatch.setattr(log_n, "log_n_scale", scale)


LLAMA3_FREQUENCIES = llama3.Llama3.frequencies

FAULTS = {
    "self_extend: keys not floored": ("self_extend", far_band(
        self_extend.SelfExtend, key_map=lambda m: lambda j: j / m.group)),
    "self_extend: queries floored after the window is taken off": ("self_extend", far_band(
        self_extend.SelfExtend, query_map=lambda m: lambda p: (p - m.window) // m.group + m.window)),
    "self_extend: the shift is not floored": ("self_extend", far_band(
        self_extend.SelfExtend, query_map=lambda m: lambda p: p // m.group + m.window - m.window / m.group)),
    "self_extend: no shift": ("self_extend", far_band(
        self_extend.SelfExtend, query_map=lambda m: lambda p: p // m.group)),
    "self_extend: window longer by one": ("self_extend", windows(self_extend, near_by=1, far_by=1)),
    "self_extend: one key between the bands": ("self_extend", windows(self_extend, near_by=-1)),
    "self_extend: one key in both bands": ("self_extend", windows(self_extend, near_by=1)),
    "rerope: window shorter by one": ("rerope", windows(rerope, near_by=-1, far_by=-1)),
    "rerope: held one further": ("rerope", far_band(
        rerope.ReRope, query_map=lambda m: constant(m.window + 1))),
    "leaky_rerope: stretched from zero": ("leaky", far_band(
        rerope.LeakyReRope, query_map=lambda m: lambda p: p / m.stretch)),
    "leaky_rerope: window shorter by one": ("leaky", windows(rerope, near_by=-1, far_by=-1)),
    "log_n: on keys": ("logn", scale_on_keys),
    "log_n: p for p + 1": ("logn", log_without_one),
    "log_n: below 1 inside the window": ("logn", log_without_floor),
    "entropy_abf: on keys": ("eabf_all", scale_on_keys),
    "entropy_abf: layers not skipped": ("eabf_skip", attribute(
        abf.EntropyAwareAbf, "logit_scale", lambda self: log_n_scale(self.original_context_length))),
    "entropy_abf: one layer too few skipped": ("eabf_skip", attribute(
        abf.EntropyAwareAbf, "logit_scale", lambda self: log_n_scale(self.original_context_length, skip_layers=1))),
    "entropy_abf: base unchanged": ("eabf_all", attribute(
        abf.EntropyAwareAbf, "frequencies", lambda _self, inv_freq, base: (inv_freq, base))),
    "abf: base of the paper's prose": ("abf", attribute(
        abf.AdjustedBase, "frequencies", lambda _self, f, base: (abf.rebased(f, base=base, new_base=5e4), 5e4))),
    "yarn: inverted ramp": ("yarn__factor4", inverted_ramp),
    "yarn: temperature not squared": ("yarn__factor4", attribute(
        yarn.Yarn, "logit_scale", lambda self: LogitScale(constant=self.attention_factor))),
    "yarn: the paper's ramp for the code's": ("yarn__factor8", lambda monkeypatch: monkeypatch.setattr(
        yarn, "by_parts", lambda f, **a: frequencies.by_parts(f, **{**a, "ramp": "paper"}))),
    "llama3: inverted ramp": ("llama3", attribute(
        llama3.Llama3, "frequencies", lambda self, f, base: (
            f + f / self.factor - LLAMA3_FREQUENCIES(self, f, base)[0], base))),
    "ntk: exponent 1": ("ntk_static", attribute(
        ntk, "ntk_base", lambda base, *, factor, rotary_dim: base * factor)),
    "dynamic_ntk: the factor not taken off": ("dynamic_ntk", attribute(
        DynamicNtk, "at_length", lambda self, n: ntk.NtkAware(factor=max(1, self.factor * n / 64)))),
    "dynamic_ntk: the length ignored": ("dynamic_ntk", attribute(
        DynamicNtk, "at_length", lambda self, _n: ntk.NtkAware(factor=self.factor))),
    "longrope: the other list": ("longrope", attribute(
        longrope.LongRope, "frequencies", lambda self, f, base: (f / np.array(self.short_factor), base))),
    "longrope: multiplied for divided": ("longrope", attribute(
        longrope.LongRope, "frequencies", lambda self, f, base: (f * np.array(self.long_factor), base))),
    "longrope: no scale": ("longrope", attribute(longrope.LongRope, "logit_scale", lambda _self: None)),
    "dca: queries not held in the previous chunk": ("dca__s48", far_band(
        dca.DualChunk, query_map=lambda m: lambda p: p % m.chunk + m.chunk)),
    "dca: mscale by the window": ("dca__s32", attribute(dca.DualChunk, "logit_scale", lambda _self: None)),
    "string: shift without window": ("string_paper", far_band(
        string.String, query_map=lambda m: lambda p: p - m.shift)),
    "string: off by one": ("string_paper", windows(string, near_by=1, far_by=1)),
    "string released: the key at the shift once": ("string__", attribute(
        string.String, "bands", lambda self: (string.Band(keys=near(self.shift)), string.Band(
            keys=far(self.shift), query_map=lambda p: p - self.shift + self.window)))),
    "lm_infinite: sinks at their own distance": ("lm_infinite", far_band(
        lambda_mask.LmInfinite, query_map=lambda _m: lambda p: p, key_map=lambda _m: lambda j: j)),
    "lm_infinite: one sink too few": ("lm_infinite", attribute(
        lambda_mask, "sinks_beyond", lambda window, sinks: lambda_mask.Interval(
            start=np.zeros_like, stop=lambda p: np.minimum(p - window + 1, sinks - 1)))),
    "lm_infinite: window longer by one": ("lm_infinite", attribute(
        lambda_mask, "near", lambda window: near(window + 1))),
}  # fmt: skip
"""What is wrong -> the case that sees it, and how to plant it."""


@pytest.fixture(scope="module")
def committed_model(root):
    """The random Llama of the committed vectors."""
    return LlamaForCausalLM.from_pretrained(root / "tests" / "golden" / "model")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen_by_the_vectors(root, committed_model, monkeypatch, fault):
    prefix, plant = FAULTS[fault]
    case, text = case_of(prefix)
    plant(monkeypatch)

    assert committed_error(root, committed_model, case, text) > 10 * TOLERANCE


def test_every_method_with_vectors_has_a_fault_planted():
    """`none` and `pi` have nothing of their own to plant: their vectors tell them from every other method."""
    faulted = {case_of(prefix)[0] for prefix, _ in FAULTS.values()}
    methods = {component.name for case in faulted for component in parse_method(COMMITTED[case]).components}

    assert methods >= {c.name for t in COMMITTED.values() for c in parse_method(t).components} - {
        "none",
        "pi",
    }
