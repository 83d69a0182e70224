"""Initial weights in which a model already copies: what otherwise appears late, and when it likes, in training.

Attention that finds the earlier place of a token sequence and reads what followed ("induction") needs two layers
that are of no use without each other, so gradient descent wanders long before it finds both. They are written down
here, roughly; training does the rest. As with the identity-like products of arXiv:2305.09828 (mimetic
initialisation), only the start is given: every weight is trained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SHARPNESS = 80.0
"""Logit, before the division by sqrt(head_dim), that each fast pair adds where a first-layer head looks."""
DISTANCES = (1.0, 2.5)
"""How far back the two heads of the first layer look; 2.5 is both two and three tokens back."""
FAST_PAIRS = 12
"""Pairs of dimensions that tell neighbouring positions apart: positions are found with them."""
MATCH = 2.2
"""Scale of compared contents in queries and keys."""
CARRIED = 1.0
"""Size of what a first-layer head brings from its position, of the token's own."""
READ = 6.0
"""Size of what a second-layer head brings from where it matched, of the token's own."""


@torch.no_grad()
def write_circuit(model: LlamaForCausalLM, *, base: float) -> None:
    """Write a copying circuit into a freshly initialised model, in place.

    In the first layer, head 0 looks one token back and head 1 two and three tokens back, and each brings what stands
    there along. In the second, head 0 looks for places whose preceding token is the present one, head 1 for places
    before which, two and three tokens back, stand those that precede the present one; both read the token there.

    The residual stream is laid out for that: dimension 0 is the same for all tokens, the rest of the first half
    tells tokens apart, and each quarter of the second half holds what one head of the first layer brought.

    Args:
        model: Llama with at least two layers of two heads each and a hidden size of four heads, seeded.
        base: RoPE base, b.
    """
    config = model.config
    size, hidden, std = int(config.head_dim or 0), config.hidden_size, config.initializer_range
    half = size // 2
    embedding = model.model.embed_tokens.weight
    embedding[:, 0] = math.sqrt(hidden) * std  # as large as all the others together
    embedding[:, hidden // 2 :] = 0.0
    seen = embedding.norm(dim=1).mean() / math.sqrt(hidden)  # what RMSNorm divides by
    heads = [slice(head * size, (head + 1) * size) for head in range(2)]
    brought = [slice(hidden // 2 + head * size, hidden // 2 + (head + 1) * size) for head in range(2)]
    identity = torch.eye(size)
    for layer in model.model.layers:  # nothing may drown what the circuit writes
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, second = (layer.self_attn for layer in model.model.layers[:2])

    inv_freq = base ** (-torch.arange(half) / half)
    wanted = math.sqrt(SHARPNESS) / (embedding[0, 0] / seen)
    for head in range(2):
        for projection, distance in ((first.q_proj, 0.0), (first.k_proj, DISTANCES[head])):
            pairs = torch.arange(FAST_PAIRS) + head * size
            projection.weight[pairs, 0] = wanted * torch.cos(inv_freq[:FAST_PAIRS] * distance)
            projection.weight[pairs + half, 0] = wanted * torch.sin(inv_freq[:FAST_PAIRS] * distance)
        first.v_proj.weight[heads[head], 1 : size + 1] += identity
        first.o_proj.weight[brought[head], heads[head]] += CARRIED * seen * identity

    # Contents are compared in pairs that hardly turn within a short row.
    slow = torch.cat([torch.arange(FAST_PAIRS, half), torch.arange(half + FAST_PAIRS, size)])
    present = slice(1, size + 1)
    for head, compared in enumerate(((present,), (brought[0], brought[1]))):
        for part in compared:
            second.q_proj.weight[heads[head], part][slow, slow] += MATCH
        second.k_proj.weight[heads[head], brought[head]][slow, slow] += MATCH
        read = slice(1 + head * (size - 1), 1 + head * (size - 1) + size)
        second.v_proj.weight[heads[head], read] += identity
        second.o_proj.weight[read, heads[head]] += READ * seen * identity
