from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaForCausalLM, MistralConfig

from longbench_run.harness.attention.entropy import entropy_taken
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing.models import draw_tokens, randomised, tiny_llama


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


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_layers_that_hide_keys_are_left_out(attention):
    """Window or chunks, whatever a family calls them: the last query does not see the first key."""
    config = MistralConfig(
        vocab_size=258, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=16,
    )  # fmt: skip
    model = randomised(config)
    model.set_attn_implementation(attention)
    real = model.model.layers[0].self_attn.forward

    def hides_its_window(*arguments, **named):
        # What is passed on then tells nothing of it: only the mask does.
        model.model.layers[0].self_attn.config.sliding_window = None
        try:
            return real(*arguments, **named)
        finally:
            model.model.layers[0].self_attn.config.sliding_window = 16

    model.model.layers[0].self_attn.forward = hides_its_window
    found = {}
    with torch.no_grad(), entropy_taken(model, found.__setitem__):
        model(draw_tokens(40), use_cache=False)
    assert found == {}
    with torch.no_grad(), entropy_taken(model, found.__setitem__):
        model(draw_tokens(10), use_cache=False)
    assert set(found) == {
        0
    }  # its mask hides nothing of ten tokens; the other layer says that it has a window
