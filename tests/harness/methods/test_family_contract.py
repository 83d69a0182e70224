"""Families: the whole contract on each, and transformers' own scalings as a judge that is not ours."""

from __future__ import annotations

import copy
from itertools import cycle

import pytest
import torch
from transformers import AutoModelForCausalLM

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing import (
    FAMILIES,
    broken_promises,
    draw_tokens,
    family_checks,
    family_contract,
)

METHODS = [
    "pi", "yarn", "log_n", "entropy_abf:skip_layers=1", "self_extend", "rerope+log_n", "dca", "lm_infinite:window=32",
    "yarn+rerope",
]  # fmt: skip
EVERY_AXIS = "yarn+rerope+log_n"
SLIDING = ["gemma2", "cohere2"]
"""Families whose full-attention layers share their frequencies with layers that have a sliding window."""
SERVED = [family for family in FAMILIES if family not in SLIDING]
FREQUENCIES_ONLY = ["pi", "yarn"]
IN_TURN = list(
    zip(
        SERVED[1::2],
        cycle(["self_extend", "dca", "lm_infinite:window=32", "entropy_abf:skip_layers=1", "pi"]),
        strict=False,
    )
)
"""Methods with parts that `EVERY_AXIS` has not, each on two families; `-m exhaustive` takes all on all."""
PARTIAL = {"phi", "gpt_neox", "stablelm", "glm", "glm4"}
"""Families that rotate some of a head's dimensions."""
SCALINGS = {
    "pi:factor=4": {"rope_type": "linear", "factor": 4.0},
    "yarn:factor=4": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    "yarn:attention_factor=1:factor=4": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "attention_factor": 1.0,
    },
    "llama3:factor=8": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}
"""Method -> transformers' configuration of the same."""


def pairs(served_by_frequencies, served):
    return [(family, text) for family in FAMILIES for text in METHODS if family in served] + [
        (family, text) for family in SLIDING for text in served_by_frequencies
    ]


def logits(model, ids):
    with torch.no_grad():
        return model(ids).logits


@pytest.mark.parametrize(("family", "text"), pairs(FREQUENCIES_ONLY, SERVED))
def test_a_method_means_the_same_in_every_family(family, text):
    """Its axes as full matrices in float64, with the family's own projections, norms and scales around them."""
    checks = ["test_logits_equal_the_float64_formula"]

    assert broken_promises(family_contract(family, text), checks) == {}


@pytest.mark.parametrize(
    ("family", "text"),
    [(f, EVERY_AXIS) for f in SERVED] + [(f, "yarn") for f in SLIDING] + IN_TURN,
)
def test_every_family_keeps_the_whole_contract_with_every_axis_at_once_and_with_a_method_in_turn(
    family, text
):
    assert broken_promises(family_contract(family, text), family_checks()) == {}


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(("family", "text"), pairs(FREQUENCIES_ONLY, SERVED))
def test_every_family_keeps_the_whole_contract_with_every_method(family, text):
    assert broken_promises(family_contract(family, text), family_checks()) == {}


@pytest.mark.parametrize("text", [text for text in METHODS if text not in FREQUENCIES_ONLY])
@pytest.mark.parametrize("family", SLIDING)
def test_layers_with_a_window_that_share_their_frequencies_are_refused_by_name(family, text):
    model = FAMILIES[family].build(family)

    with (
        pytest.raises(MethodNotApplicable) as caught,
        parse_method(text).applied_to(model, context_length=256),
    ):
        pass

    assert str(caught.value).startswith(
        f"the family {family!r} must attend to all keys for position maps and per-query scales, got layers with a sliding "
        "window of 32 tokens. "
    )


@pytest.mark.parametrize("family", ["mistral", "phi3", "starcoder2", "mixtral"])
def test_without_its_window_a_family_is_served(family):
    """The remedy that the message names: it must work."""
    ids = draw_tokens(100)
    windowed = FAMILIES[family].build(family, sliding_window=32)
    with (
        pytest.raises(
            MethodNotApplicable, match=f"^the family '{family}' .* Set sliding_window to null in its config"
        ),
        parse_method("rerope").applied_to(windowed),
    ):
        pass

    mended = FAMILIES[family].build(family, sliding_window=None)
    with parse_method("rerope").applied_to(mended):
        assert torch.isfinite(logits(mended, ids)).all()


def native(model, scaling):
    """The same weights with a scaling that transformers computes."""
    config = copy.deepcopy(model.config)
    kinds = [key for key, value in config.rope_parameters.items() if isinstance(value, dict)]
    if kinds:
        for kind in kinds:
            if kind == "full_attention":
                config.rope_parameters[kind] = config.rope_parameters[kind] | scaling
    else:
        config.rope_parameters = config.rope_parameters | scaling
    config.max_position_embeddings = 256
    made = AutoModelForCausalLM.from_config(config).eval()
    made.load_state_dict(model.state_dict())
    return made


@pytest.mark.parametrize("text", SCALINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_scalings_equal_those_of_transformers(family, text):
    if text == "yarn:factor=4" and (family in PARTIAL or FAMILIES[family].layers_without_rope):
        pytest.skip(
            "transformers' attention factor reaches rotated dimensions only, the paper's whole logits"
        )
    model = FAMILIES[family].build(family)
    ids = draw_tokens(150)

    with parse_method(text).applied_to(model):
        found = logits(model, ids)

    expected = logits(native(model, SCALINGS[text]), ids)
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=1e-4)
    assert (found - logits(model, ids)).abs().max() > 1e-2


@pytest.mark.parametrize("family", SERVED)
def test_a_position_map_that_moves_nothing_is_the_family_as_released(family):
    model = FAMILIES[family].build(family)
    for text, tokens in (("self_extend:group=1:window=16", 150), ("rerope:window=64", 64)):
        ids = draw_tokens(tokens)
        with parse_method(text).applied_to(model):
            found = logits(model, ids)
        torch.testing.assert_close(found, logits(model, ids), atol=5e-4, rtol=1e-4)
