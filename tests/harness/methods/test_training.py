"""Training under a method: the gradient is right, or refused."""

from __future__ import annotations

import copy

import pytest
import torch

from longbench_run.harness.methods import parse_method


def loss(model, ids):
    return model(ids, labels=ids).loss


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.fixture
def ids(token_ids):
    return torch.tensor([token_ids(100)])


@pytest.mark.parametrize(
    "text",
    ["pi:factor=4", "yarn:factor=4", "entropy_abf", "self_extend:group=4:window=16", "rerope:window=8+log_n"],
)
def test_gradients_equal_finite_differences(tiny_llama, ids, text):
    """In float64, along a random direction through all weights."""
    model = copy.deepcopy(tiny_llama).double()
    generator = torch.Generator().manual_seed(1)
    parameters = list(model.parameters())
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    step = 1e-4

    with parse_method(text).applied_to(model, context_length=256):
        loss(model, ids).backward()
        slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True))
        ends = []
        for sign in (1, -1):
            moved = copy.deepcopy(model.state_dict())
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p.add_(d, alpha=sign * step)
                ends.append(float(loss(model, ids)))
            model.load_state_dict(moved)

    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("text", ["self_extend:group=4:window=16", "log_n", "yarn:factor=4"])
def test_checkpointing_trains_inside_the_block_only(tiny_llama, ids, text):
    """Outside, the passes computed again would use the model's own attention: a wrong gradient without a word."""
    expected = copy.deepcopy(tiny_llama).train()
    with parse_method(text).applied_to(expected, context_length=256):
        loss(expected, ids).backward()

    model = copy.deepcopy(tiny_llama).train()
    model.activation_checkpointing_enable()
    with parse_method(text).applied_to(model, context_length=256):
        loss(model, ids).backward()
        torch.testing.assert_close(gradients(model), gradients(expected), atol=1e-4, rtol=1e-3)
        late = loss(model, ids)

    with pytest.raises(RuntimeError, match="must run inside the method's block"):
        late.backward()


def test_without_checkpointing_backward_may_come_later(tiny_llama, ids):
    model = copy.deepcopy(tiny_llama)
    with parse_method("self_extend:group=4:window=16").applied_to(model, context_length=256):
        inside = loss(model, ids)
        inside.backward(retain_graph=True)
        expected = gradients(model).clone()
        model.zero_grad()

    inside.backward()

    torch.testing.assert_close(gradients(model), expected)


@pytest.mark.parametrize("text", ["self_extend:group=4:window=16", "log_n"])
def test_two_checkpointed_passes_are_computed_again_each_with_its_own_padding(tiny_llama, token_ids, text):
    """Gradients accumulate over passes of one shape and different padding: each must find its own positions."""
    batch = torch.tensor([token_ids(100)])
    masks = [torch.ones_like(batch), torch.ones_like(batch)]
    masks[0][0, :30] = 0
    found = []
    for checkpointed in (False, True):
        model = copy.deepcopy(tiny_llama).train()
        if checkpointed:
            model.activation_checkpointing_enable()
        with parse_method(text).applied_to(model, context_length=256):
            sum(model(batch, attention_mask=mask, labels=batch).loss for mask in masks).backward()
        found.append(gradients(model))

    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)
