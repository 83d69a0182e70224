"""Initial weights in which a model already copies: what otherwise appears late, and when it likes, in training.

Attention that finds the earlier place of a token sequence and reads what followed ("induction") needs layers that are
of no use without each other, so gradient descent wanders long before it finds them. They are written down here,
roughly; training does the rest. As with the identity-like products of arXiv:2305.09828 (mimetic initialisation), only
the start is given: every weight is trained.

The residual stream has a slot of one head's size for each token that a place knows: itself and the four before it.
The first layer brings the tokens one and two back, the second layer moves those from two back, so that they are three
and four back. The third layer compares what a place and those before it hold with what stood before every other place,
and reads the token there; where nothing compares well, it looks at ``<s>``, which says nothing. Four tokens, for fewer
are not enough: after the second `13` of 13913, two tokens do not tell where to go on.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaAttention

SLOTS = 5
"""Tokens that a place knows in the end: the present one and the four before it."""
SHARPNESS = 80.0
"""Logit, before the division by sqrt(head_dim), that each fast pair adds where a head looks back."""
FAST_SHARE = 3 / 8
"""Share of the pairs of dimensions, the fastest, that tell neighbouring positions apart: positions are found with
them."""
MATCH = 30.0
"""Logit of a place before which the same four tokens stand."""
WEIGHTS = (1.0, 0.8, 0.6, 0.4)
"""How much each compared token counts, the nearest first: a part of the sequence is better than nothing."""
Comparers = tuple[tuple[int, float], ...]
"""For each head of the third layer the first pair of dimensions that it compares contents with, and the distance, in
tokens, at which they match best. Slow pairs, for they must not turn too far between here and the end of the window;
turned beforehand by half of that, they serve both halves."""
SINK = 20.0
"""Logit of ``<s>`` in the third layer: more than two tokens alike, less than three."""
READ = 3.0
"""Size of the token that is read, of that which stands there."""


@torch.no_grad()
def write_circuit(model: LlamaForCausalLM, *, base: float, comparers: Comparers) -> None:
    """Write a copying circuit into a freshly initialised model, in place.

    Dimension 0 of the residual stream is the same for all tokens; positions are found with it. The rest of the first
    slot tells tokens apart. The first dimension of the second slot marks ``<s>``. The head tells tokens apart by
    other directions of the first slot, lest every token announce itself.

    Args:
        model: Llama with three layers of two heads each and a hidden size of `SLOTS` heads, a head
            of its own, seeded.
        base: RoPE base, b.
        comparers: Of the third layer, fit for its window.
    """
    config = model.config
    size, hidden = int(config.head_dim or 0), config.hidden_size
    slots = [slice(number * size, (number + 1) * size) for number in range(SLOTS)]
    heads = [slice(number * size, (number + 1) * size) for number in range(2)]
    inv_freq = base ** (-torch.arange(size // 2) / (size // 2))
    token = config.initializer_range * math.sqrt(size)  # size of what a slot holds

    embedding = model.model.embed_tokens.weight
    told_apart = torch.randn(len(embedding), size - 1)
    told_apart /= told_apart.norm(dim=1, keepdim=True)
    turned = torch.linalg.qr(torch.randn(size - 1, size - 1)).Q
    embedding.zero_()
    embedding[:, 1:size] = token * told_apart
    embedding[:, 0] = token
    embedding[config.bos_token_id, 1:size] = 0.0
    embedding[config.bos_token_id, size] = token
    model.lm_head.weight.zero_()
    model.lm_head.weight[:, 1:size] = told_apart @ turned.T
    for layer in model.model.layers:  # nothing may drown what the circuit writes
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        layer.self_attn.q_proj.weight.zero_()
        layer.self_attn.k_proj.weight.zero_()
        layer.self_attn.v_proj.weight.zero_()
    first, second, third = (layer.self_attn for layer in model.model.layers)
    identity = torch.eye(size)
    identity[0, 0] = 0.0
    # What RMSNorm divides by, when the constant and so many slots are filled.
    norms = [token * math.sqrt((1 + filled) / hidden) for filled in (1, 3, 5)]

    for head, (distance, read, written) in enumerate(((1, 0, 1), (2, 0, 2))):
        _look_back(first, heads[head], distance, token / norms[0], inv_freq)
        first.v_proj.weight[heads[head], slots[read]] = identity
        first.o_proj.weight[slots[written], heads[head]] = norms[0] * identity
    for head, (distance, read, written) in enumerate(((2, 1, 3), (2, 2, 4))):
        _look_back(second, heads[head], distance, token / norms[1], inv_freq)
        second.v_proj.weight[heads[head], slots[read]] = identity
        second.o_proj.weight[slots[written], heads[head]] = norms[1] * identity
    for head, (first_pair, centre) in enumerate(comparers):
        _compare(
            third,
            heads[head],
            slots,
            inv_freq,
            first_pair=first_pair,
            distance=centre,
            held=token / norms[2],
        )
        third.v_proj.weight[heads[head], slots[0]] = identity
        third.o_proj.weight[1:size, heads[head]][:, 1:] = READ / len(comparers) * norms[2] * turned
        slowest = heads[head].start + size // 2 - 1
        marked = math.sqrt(hidden / 2)  # after RMSNorm: <s> holds the constant and its mark
        wanted = math.sqrt(SINK * math.sqrt(size))
        third.q_proj.weight[slowest, 0] = wanted * norms[2] / token
        third.k_proj.weight[slowest, size] = wanted / marked


def _look_back(
    layer: LlamaAttention, head: slice, distance: int, constant: float, inv_freq: torch.Tensor
) -> None:
    """Let a head attend to the place ``distance`` tokens back, by the constant in dimension 0."""
    half = len(inv_freq)
    fast = torch.arange(round(FAST_SHARE * half))
    wanted = math.sqrt(SHARPNESS) / constant
    for projection, turned in ((layer.q_proj, 0.0), (layer.k_proj, float(distance))):
        angles = inv_freq[fast] * turned
        projection.weight[head.start + fast, 0] = wanted * torch.cos(angles)
        projection.weight[head.start + fast + half, 0] = wanted * torch.sin(angles)


def _compare(
    layer: LlamaAttention,
    head: slice,
    slots: list[slice],
    inv_freq: torch.Tensor,
    *,
    first_pair: int,
    distance: float,
    held: float,
) -> None:
    """Let a head attend to places before which the tokens stand that stand here."""
    half = len(inv_freq)
    slow = torch.arange(first_pair, half - 1)  # the slowest pair is the sink's
    size = math.sqrt(MATCH * math.sqrt(2 * half) / (sum(WEIGHTS) * 2 * len(slow))) / held
    cos, sin = (function(inv_freq[slow] * distance)[:, None] for function in (torch.cos, torch.sin))
    for weight, (here, before) in zip(WEIGHTS, pairwise(slots), strict=True):
        real, imaginary = size * math.sqrt(weight) * torch.randn(2, len(slow), 2 * half)
        real[:, 0] = imaginary[:, 0] = 0.0  # the constant tells nothing
        layer.q_proj.weight[head.start + slow, here] = real
        layer.q_proj.weight[head.start + slow + half, here] = imaginary
        layer.k_proj.weight[head.start + slow, before] = real * cos - imaginary * sin
        layer.k_proj.weight[head.start + slow + half, before] = imaginary * cos + real * sin
