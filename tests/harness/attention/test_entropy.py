from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaForCausalLM

from longbench_run.harness.attention.entropy import entropy_taken
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing.models import draw_tokens, tiny_llama


def taken(model, ids):
    found = {}
    with torch.no_grad(), entropy_taken(model, found.__setitem__):
        model(ids, use_cache=False)
    return torch.stack([found[layer] for layer in sorted(found)])


def probabilities(model, ids):
    """As transformers returns them, in float64, shape (layers, heads, n, n)."""
    double = copy.deepcopy(model).double()
    double.set_attn_implementation("eager")
    with torch.no_grad():
        return torch.cat(double(ids, use_cache=False, output_attentions=True).attentions)


@pytest.mark.parametrize("text", ["none", "ntk:factor=4", "pi:factor=4"])
def test_entropy_is_that_of_the_probabilities_that_transformers_returns(root, text):
    model = LlamaForCausalLM.from_pretrained(root / "tests" / "golden" / "model").eval()
    ids = draw_tokens(200) % 128
    with parse_method(text).applied_to(model, context_length=256):
        expected = torch.special.entr(probabilities(model, ids)).sum(dim=-1)
        found = taken(model, ids)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["none", "entropy_abf", "self_extend:group=4:window=8"])
def test_where_every_key_is_alike_entropy_is_the_logarithm_of_their_number(text):
    model = tiny_llama()
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.q_proj.weight)
    with parse_method(text).applied_to(model, context_length=256):
        found = taken(model, draw_tokens(300))
    torch.testing.assert_close(found, torch.arange(1, 301).log().expand_as(found), atol=1e-5, rtol=0)


def test_logits_are_those_without_it_and_nothing_is_left_behind():
    model, ids, found = tiny_llama(), draw_tokens(100), {}
    with parse_method("self_extend:group=4:window=8").applied_to(model, context_length=256), torch.no_grad():
        plain = model(ids).logits
        with entropy_taken(model, found.__setitem__):
            watched = model(ids, use_cache=False).logits
        found.clear()
        again = model(ids).logits
    assert torch.equal(watched, plain)
    assert torch.equal(again, plain)
    assert not found


@pytest.mark.parametrize("text", ["none", "self_extend:group=4:window=8"])
def test_several_samples_at_once_are_refused(text):
    model = tiny_llama()
    with (
        parse_method(text).applied_to(model, context_length=256),
        pytest.raises(
            MethodNotApplicable,
            match=r"attention entropy must be taken of one sample without a cache, got 2 samples with 9 queries and 9 keys\.",
        ),
    ):
        taken(model, draw_tokens(9, rows=2))
