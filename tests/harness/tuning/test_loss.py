"""The loss by pieces is the loss of whole logits, and so is its gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import CohereConfig, Gemma2Config, LlamaConfig

from longbench_run.harness.methods import parse_method
from longbench_run.harness.tuning.loss import loss_by_pieces

SIZES = {
    "vocab_size": 258, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
}  # fmt: skip
# A head alone, one whose logits are capped, one whose logits are scaled.
FAMILIES = {
    "llama": LlamaConfig(**SIZES),
    "gemma2": Gemma2Config(**SIZES, final_logit_softcapping=2.0, attn_implementation="eager"),
    "cohere": CohereConfig(**SIZES, logit_scale=0.25),
}


@pytest.mark.parametrize("method", ["none", "yarn", "entropy_abf", "self_extend:group=4:window=16"])
def test_methods_have_the_gradient_of_whole_logits(make_model, method):
    check(make_model(copy.deepcopy(FAMILIES["llama"])), method)


@pytest.mark.parametrize("family", ["gemma2", "cohere"])
def test_what_a_family_does_to_its_logits_counts(make_model, family):
    check(make_model(copy.deepcopy(FAMILIES[family])), "none")


def check(model, method):
    ids = torch.randint(0, 258, (1, 100), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :40] = labels[0, 60:70] = -100
    model.train()
    model.activation_checkpointing_enable({"use_reentrant": False})
    found = []
    with parse_method(method).applied_to(model, context_length=128):
        logits = model(ids).logits[0, :-1].float()
        whole = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum")
        whole.backward()
        found.append(gradients(model))
        with loss_by_pieces(model, rows=7):
            pieces = model(input_ids=ids, labels=labels)["loss"]
            pieces.backward()
        found.append(gradients(model))
        again = model(ids).logits[0, :-1]

    assert float(pieces.detach()) == pytest.approx(float(whole.detach()), rel=1e-5)
    assert found[0].abs().max() > 0.1
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again, logits)


def gradients(model):
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found
