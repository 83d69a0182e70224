"""The contract suite finds planted faults: in declarations, and in the route by which methods reach a model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from transformers import AttentionMaskInterface

from longbench_run.harness.attention import functions, kept, kernels, layout, turned
from longbench_run.harness.methods.base import Band, Component, LogitScale
from longbench_run.harness.methods.position_maps import constant, far, near
from longbench_run.harness.testing import BrokenPromise, MethodContract, broken_promises, contract_checks


def contract(method, **attributes):
    return type("Contract", (MethodContract,), {"method": method, **attributes})()


@dataclass(frozen=True, kw_only=True)
class Honest(Component):
    """ReRoPE with a window of 16, written as a plugin's author would."""

    name: ClassVar[str] = "honest"
    summary: ClassVar[str] = "for tests"
    source: ClassVar[str] = "here"

    def bands(self):
        return (Band(keys=near(16)), Band(keys=far(16), query_map=constant(16), key_map=np.zeros_like))


@dataclass(frozen=True, kw_only=True)
class ByLength(Honest):
    """Logits scaled by the length of the input, which is declared nowhere."""

    def logit_scale(self):
        return LogitScale(values=lambda p, tokens: np.full(p.shape, 1 + tokens / 640))


@dataclass(frozen=True, kw_only=True)
class Modest(Honest):
    """Declares that it keeps nothing, and keeps everything."""

    prefix_causal = False
    order_independent = False
    prefill_equals_decode = False


@dataclass(frozen=True, kw_only=True)
class Idle(Honest):
    """Does nothing."""

    def bands(self):
        return None


@dataclass(frozen=True, kw_only=True)
class Nameless(Honest):
    """Names no source."""

    source: ClassVar[str] = ""


def test_an_honest_value_that_no_registry_knows_passes():
    assert broken_promises(contract(Honest())) == {}


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        (
            ByLength(),
            {"test_logits_depend_on_earlier_tokens_only", "test_prefill_equals_chunks_equals_decode"},
        ),
        (
            Modest(),
            {
                "test_logits_depend_on_earlier_tokens_only",
                "test_prefill_equals_chunks_equals_decode",
                "test_what_ran_before_leaves_no_mark",
            },
        ),
        (Idle(), {"test_it_changes_the_model_beyond_its_limits_and_not_within"}),
        (Nameless(), {"test_it_says_what_it_is"}),
    ],
)
def test_a_wrong_declaration_is_found(method, broken):
    unharmed = {"test_the_block_leaves_no_trace", "test_logits_equal_the_float64_formula"}

    assert set(broken_promises(contract(method), broken | unharmed)) == broken


def test_the_message_says_what_was_declared_and_what_was_found():
    with pytest.raises(BrokenPromise) as caught:
        contract(ByLength()).test_logits_depend_on_earlier_tokens_only()

    assert str(caught.value).startswith(
        "prefix_causal is declared True: logits depend on tokens up to theirs, not on the input's length. Found: logits "
    )
    assert str(caught.value).endswith("Mend the method, or declare False.")


def test_an_identity_that_is_none_is_found():
    broken = contract("pi", identities=["pi:factor=1.01"])

    with pytest.raises(
        BrokenPromise, match=r"^pi:factor=1\.01 changes nothing\. Found: axes that do beyond 0"
    ):
        broken.test_its_identities_change_nothing()


def keys_left_where_they_are(patch):
    original = turned.TurnedBands._turned

    def only_queries(self, family, new, states, first):
        is_key = any(band.key_map is new for band in self._bands)
        return states if is_key else original(self, family, new, states, first)

    patch.setattr(turned.TurnedBands, "_turned", only_queries)


def kept_keys_one_too_far(patch):
    """Turn what is appended to kept keys as if it stood one position further."""
    original = kept.KeptKeys.turned

    def further(self, name, source, first, inv_freq, turn):
        return original(self, name, source, first, inv_freq, lambda keys, at: turn(keys, at and at + 1))

    patch.setattr(kept.KeptKeys, "turned", further)


def scale_forgotten(patch):
    patch.setattr(functions.Scales, "scaled", lambda self, query, layer, layout: query)


def constant_scale_forgotten(patch):
    patch.setattr(functions.Scales, "constant", lambda self, layer: 1.0)


def positions_from_the_slot(patch):
    """Count positions from the first slot of the cache, padding included."""
    patch.setattr(layout.Row, "query_positions", property(lambda r: np.arange(r.query_first, r.query_last)))
    patch.setattr(layout.Row, "key_positions", property(lambda r: np.arange(r.first, r.query_last)))


def positions_that_forget_the_cache(patch):
    patch.setattr(layout.Row, "query_positions", property(lambda r: np.arange(r.query_last - r.query_first)))


def kernel_without_a_gradient(patch):
    """The fused kernel's log-sum-exp has none: what is merged by it trains on a wrong one."""
    patch.setattr(kernels, "_wants_gradient", lambda *_: False)


def a_name_that_stays(patch):
    original = functions.registered

    @contextmanager
    def leaking(model, name, attention, mask):
        with original(model, name, attention, mask):
            yield
        AttentionMaskInterface.register("left_behind", mask)

    patch.setattr("longbench_run.harness.attention.applied.registered", leaking)


def padding_taken_for_tokens(patch):
    original = functions.read_layout
    patch.setattr(
        functions, "read_layout", lambda **arguments: original(**arguments | {"attention_mask": None})
    )


@pytest.mark.parametrize(
    ("plant", "method", "check"),
    [
        (keys_left_where_they_are, "rerope", "test_the_model_sees_every_key_at_the_distance_that_the_bands_say"),
        (keys_left_where_they_are, "rerope", "test_logits_equal_the_float64_formula"),
        (kept_keys_one_too_far, "self_extend", "test_prefill_equals_chunks_equals_decode"),
        (scale_forgotten, "log_n", "test_logits_equal_the_float64_formula"),
        (scale_forgotten, "log_n", "test_attention_entropy_equals_the_float64_formula"),
        (constant_scale_forgotten, "yarn", "test_attention_entropy_equals_the_float64_formula"),
        (scale_forgotten, "log_n", "test_it_changes_the_model_beyond_its_limits_and_not_within"),
        (constant_scale_forgotten, "yarn", "test_logits_equal_the_float64_formula"),
        (constant_scale_forgotten, "yarn", "test_the_model_sees_every_key_at_the_distance_that_the_bands_say"),
        (padding_taken_for_tokens, "self_extend", "test_a_padded_batch_equals_single_samples"),
        (positions_from_the_slot, "log_n", "test_a_padded_batch_equals_single_samples"),
        (positions_from_the_slot, "log_n", "test_generate_equals_the_engine_whatever_the_cache"),
        (positions_that_forget_the_cache, "log_n", "test_prefill_equals_chunks_equals_decode"),
        (kernel_without_a_gradient, "rerope", "test_the_gradient_equals_the_formulas_or_training_is_refused"),
        (a_name_that_stays, "rerope", "test_the_block_leaves_no_trace"),
    ],
)  # fmt: skip
def test_a_fault_in_the_route_is_found(monkeypatch, plant, method, check):
    plant(monkeypatch)
    try:
        assert set(broken_promises(contract(method), [check])) == {check}
    finally:
        AttentionMaskInterface._global_mapping.pop("left_behind", None)


def test_every_check_has_a_docstring_that_says_the_promise():
    assert all(getattr(MethodContract, name).__doc__ for name in contract_checks())
