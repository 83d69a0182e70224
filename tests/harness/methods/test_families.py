"""Families that are served, and those that are refused with a reason."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from transformers import LlamaConfig, MistralConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longbench_run.harness.errors import LongbenchError, MethodNotApplicable, ModelError
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing import FAMILIES

SMALL = {
    "vocab_size": 258, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip


def build(make_model, family, **changes):
    return make_model(transformers.AutoConfig.for_model(family, **(SMALL | changes)))


def distances(model, text, ids):
    """Logits under a method, and those that its far band gives when computed as plain attention."""
    with parse_method(text).applied_to(model) as applied, torch.no_grad():
        return applied, model(ids).logits


@pytest.mark.parametrize(
    "text", ["rerope:window=16", "self_extend:group=4:window=16", "leaky_rerope:window=8"]
)
def test_layers_without_rope_are_found_and_passed_through(make_model, token_ids, text):
    """Queries of 0 make the layer with RoPE blind to positions: then no position map may change anything."""
    model = build(make_model, "smollm3", no_rope_layers=[1, 0, 0, 0])
    torch.nn.init.zeros_(model.model.layers[0].self_attn.q_proj.weight)
    ids = torch.tensor([token_ids(100)])

    applied, found = distances(model, text, ids)
    with torch.no_grad():
        plain = model(ids).logits

    assert applied.layers_without_rope == (1, 2, 3)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_a_sliding_window_is_refused(make_model):
    model = make_model(MistralConfig(**SMALL, sliding_window=32))

    with pytest.raises(MethodNotApplicable) as caught, parse_method("self_extend").applied_to(model):
        pass

    assert str(caught.value) == (
        "the family 'mistral' must attend to all keys for position maps and per-query scales, got layers with a sliding "
        "window of 32 tokens. Set sliding_window to null in its config, or use a method that changes frequencies only."
    )
    assert model.config._attn_implementation == "sdpa"


def test_layers_with_a_window_and_frequencies_of_their_own_are_left_alone(make_model, token_ids):
    """gemma3 and olmo3: a window keeps all distances in such a layer small, whatever the length."""
    kinds = ["full_attention", "sliding_attention"] * 2
    model = make_model(transformers.AutoConfig.for_model("gemma3_text", **SMALL, layer_types=kinds))
    ids = torch.tensor([token_ids(100)])
    with torch.no_grad():
        plain = model(ids).logits
        with parse_method("none").applied_to(model) as applied:
            assert torch.equal(model(ids).logits, plain)
            released = applied.inv_freq
        with parse_method("pi:factor=4").applied_to(model) as applied:
            assert not torch.allclose(model(ids).logits, plain, atol=1e-2)

    assert applied.layers == (0, 2)
    # 8 pairs for each of two kinds of layers, in the order in which the family holds them.
    ratios = sorted(before / after for before, after in zip(released, applied.inv_freq, strict=True))
    assert ratios == pytest.approx([1.0] * 8 + [4.0] * 8, rel=1e-6)


def test_an_unknown_attention_argument_is_refused(tiny_llama):
    """An argument that a band does not know would silently change what the model means."""
    states = torch.zeros((1, 4, 2, 16))
    with parse_method("rerope").applied_to(tiny_llama):
        attention = ALL_ATTENTION_FUNCTIONS[tiny_llama.config._attn_implementation]
        with pytest.raises(MethodNotApplicable) as caught:
            attention(tiny_llama.model.layers[0].self_attn, states, states, states, None, softcap=50.0)

    assert str(caught.value) == (
        "position maps cannot serve LlamaAttention: its attention takes softcap=50.0. "
        "Use a method that changes frequencies or the logit scale only."
    )


def test_a_model_without_rope_is_refused(make_model):
    model = make_model(transformers.GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=2))

    with pytest.raises(ModelError) as caught, parse_method("pi").applied_to(model):
        pass

    assert str(caught.value) == (
        "family must be one with rotary position embeddings (RoPE), got 'gpt2'. "
        "Extension methods change rotary embeddings; give a model that has them."
    )


def test_a_family_with_attention_of_its_own_is_refused(make_model):
    """falcon accepts the setting and never calls the function: a patch that would silently do nothing."""
    config = transformers.FalconConfig(
        vocab_size=258,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        alibi=False,
        max_position_embeddings=64,
    )
    model = make_model(config)

    with (
        pytest.raises(LongbenchError, match="family 'falcon' must route its attention"),
        parse_method("pi").applied_to(model),
    ):
        pass
    with parse_method("none").applied_to(model) as applied:
        assert applied.layers == ()


def test_a_rotary_module_that_is_not_used_is_noticed(tiny_llama):
    """The peers' worst bug: frequencies set where nothing reads them."""
    model = copy.deepcopy(tiny_llama)
    used = copy.deepcopy(model.model.rotary_emb)
    model.model.rotary_emb.forward = used.forward

    with (
        pytest.raises(MethodNotApplicable, match="the method had no effect"),
        parse_method("pi:factor=4").applied_to(model),
    ):
        pass


def test_a_larger_base_makes_abf_not_applicable(make_model):
    model = make_model(LlamaConfig(**SMALL, rope_parameters={"rope_type": "default", "rope_theta": 1e6}))

    with pytest.raises(MethodNotApplicable) as caught, parse_method("abf").applied_to(model):
        pass

    assert str(caught.value) == (
        "abf: base must be at least the llama model's own (1000000), got 500000. "
        "A smaller base shortens the reach; name a larger one."
    )


def test_a_ready_made_mask_is_refused_by_bands(tiny_llama, token_ids):
    ids = torch.tensor([token_ids(10)])
    mask = torch.zeros((1, 1, 10, 10))

    for text in ("self_extend", "log_n"):
        with (
            parse_method(text).applied_to(tiny_llama),
            pytest.raises(MethodNotApplicable, match=r"2-D attention_mask|attention mask"),
        ):
            tiny_llama(ids, attention_mask=mask)


def test_a_hole_in_the_mask_is_refused_by_bands(tiny_llama, token_ids):
    ids, mask = torch.tensor([token_ids(10)]), torch.ones((1, 10), dtype=torch.long)
    mask[0, 4] = 0

    with (
        parse_method("self_extend").applied_to(tiny_llama),
        pytest.raises(MethodNotApplicable, match="with a hole"),
    ):
        tiny_llama(ids, attention_mask=mask)


MLA = {
    "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16,
    "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "moe_intermediate_size": 32, "first_k_dense_replace": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("deepseek_v3", MLA),  # rotates the last dimensions of a head, which the position-free ones precede
        ("llama4_text", {"num_local_experts": 2, "intermediate_size_mlp": 96}),  # rotates by complex numbers
        ("gpt_oss", {"num_local_experts": 4}),  # its cosines come once for each pair
    ],
)
@pytest.mark.parametrize("text", ["pi:factor=4", "log_n", "rerope"])
def test_a_family_that_rotates_otherwise_is_refused_by_name(make_model, family, changes, text):
    model = build(make_model, family, **{"bos_token_id": 1, "eos_token_id": 2}, **changes)

    with (
        pytest.raises(MethodNotApplicable, match=f"the family '{family}' must"),
        parse_method(text).applied_to(model),
    ):
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_layers_with_a_few_huge_key_dimensions_are_still_seen_to_rotate(dtype):
    """Qwen2's key biases are a hundred times its other dimensions, in pairs that hardly turn."""
    model = FAMILIES["qwen2"].build("qwen2")
    for layer in model.model.layers:
        with torch.no_grad():
            layer.self_attn.k_proj.bias[7::16] = 300.0

    with parse_method("pi:factor=100+rerope").applied_to(model.to(dtype)) as applied:
        assert applied.layers == (0, 1)
        assert applied.layers_without_rope == ()
