"""Attention over some of the keys, with the log-sum-exp that lets parts be merged."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_KEYS_AT_ONCE = 2048
_QUERIES_AT_ONCE = 256
_NOTHING = -1e30
"""Log-sum-exp of no keys: finite, so that weights and gradients stay so."""

Queries = Float[Tensor, "batch heads n head_dim"]
Keys = Float[Tensor, "batch kv_heads m head_dim"]


class Part(NamedTuple):
    """Attention of queries over a part of their keys, normalised over that part, in fp32 before merging."""

    output: Float[Tensor, "batch heads n head_dim"]
    log_sum_exp: Float[Tensor, "batch heads n"]


def attend_all(query: Queries, key: Keys, value: Keys, *, scaling: float) -> Part:
    """Attend to every key given, through a fused kernel where one returns the log-sum-exp.

    Args:
        query: Queries, heads a multiple of ``kv_heads``.
        key: Keys, at least one.
        value: Values.
        scaling: Factor on the logits, 1/sqrt(d) where nothing else is asked for.
    """
    return _fused(query, key, value, scaling=scaling, causal=False) or attend_plain(
        query, key, value, scaling=scaling
    )


def attend_causal(query: Queries, key: Keys, value: Keys, *, scaling: float) -> Part:
    """Attend to the keys up to each query's own, as many keys as queries; as `attend_all` otherwise."""
    return _fused(query, key, value, scaling=scaling, causal=True) or _causal_in_blocks(
        query, key, value, scaling=scaling
    )


def _fused(query: Queries, key: Keys, value: Keys, *, scaling: float, causal: bool) -> Part | None:
    """Attend through a fused kernel that returns the log-sum-exp; None where there is none."""
    if _wants_gradient(query, key, value):
        return None
    if query.device.type == "cpu" and _HAS_CPU_FLASH and query.dtype in _CPU_FLASH_DTYPES:
        output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=None, scale=scaling
        )
        return Part(output, log_sum_exp)
    if query.device.type == "cuda" and query.dtype in (torch.float16, torch.bfloat16):
        wide_key, wide_value = _expand(key, query), _expand(value, query)
        found = torch.ops.aten._scaled_dot_product_flash_attention(
            query, wide_key, wide_value, 0.0, causal, scale=scaling
        )
        return Part(found[0], found[1])
    return None


def _causal_in_blocks(query: Queries, key: Keys, value: Keys, *, scaling: float) -> Part:
    blocks = []
    for first in range(0, query.shape[2], _QUERIES_AT_ONCE):
        last = min(first + _QUERIES_AT_ONCE, query.shape[2])
        queries = query[:, :, first:last]
        visible = torch.ones(last - first, last - first, dtype=torch.bool, device=query.device).tril()
        own = slice(first, last)
        parts = [attend_visible(queries, key[:, :, own], value[:, :, own], visible, scaling=scaling)]
        if first:
            parts.append(attend_plain(queries, key[:, :, :first], value[:, :, :first], scaling=scaling))
        blocks.append(merge(parts))
    return joined(blocks)


def attend_plain(query: Queries, key: Keys, value: Keys, *, scaling: float) -> Part:
    """Attend to every key given, in fp32 and in blocks of both: the fallback, and the route with gradients."""
    return joined(
        [
            merge(
                [
                    attend_visible(queries, keys, values, None, scaling=scaling)
                    for keys, values in zip(
                        key.split(_KEYS_AT_ONCE, dim=2), value.split(_KEYS_AT_ONCE, dim=2), strict=True
                    )
                ]
            )
            for queries in query.split(_QUERIES_AT_ONCE, dim=2)
        ]
    )


def attend_visible(
    query: Queries, key: Keys, value: Keys, visible: Bool[Tensor, "n m"] | None, *, scaling: float
) -> Part:
    """Attend to the visible ones of a few keys, in fp32; a query that sees none gets weight 0 in a merge."""
    batch, heads, n, head_dim = query.shape
    kv_heads, m = key.shape[1:3]
    grouped = query.float().reshape(batch, kv_heads, heads // kv_heads * n, head_dim)
    scores = (grouped @ key.float().transpose(-1, -2) * scaling).view(batch, heads, n, m)
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    top = scores.amax(dim=-1, keepdim=True).clamp_min(_NOTHING)
    weights = (scores - top).exp()
    total = weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    output = (weights / total).view(batch, kv_heads, heads // kv_heads * n, m) @ value.float()
    return Part(output.view(batch, heads, n, head_dim), (top + total.log()).squeeze(-1))


def joined(parts: list[Part]) -> Part:
    """Return the attention of queries whose parts follow each other, in fp32 where there are several."""
    if len(parts) == 1:
        return parts[0]
    return Part(
        torch.cat([part.output.float() for part in parts], dim=2),
        torch.cat([part.log_sum_exp.float() for part in parts], dim=2),
    )


def nothing(query: Queries) -> Part:
    """Return the attention of queries that see no key: weight 0 in a merge."""
    log_sum_exp = query.new_full(query.shape[:3], _NOTHING, dtype=torch.float32)
    return Part(torch.zeros_like(query, dtype=torch.float32), log_sum_exp)


def merge(parts: list[Part]) -> Part:
    """Return attention over all parts together, weighted by their log-sum-exps in fp32."""
    if len(parts) == 1:
        return parts[0]
    sums = torch.stack([part.log_sum_exp.float() for part in parts])
    total = sums.logsumexp(dim=0)
    output = torch.zeros_like(parts[0].output, dtype=torch.float32)
    for part, log_sum_exp in zip(parts, sums, strict=True):
        output = output + part.output.float() * (log_sum_exp - total).exp()[..., None]
    return Part(output, total)


def _expand(states: Keys, query: Queries) -> Tensor:
    return (
        states.repeat_interleave(query.shape[1] // states.shape[1], dim=1)
        if states.shape[1] != query.shape[1]
        else states
    )


def _wants_gradient(*tensors: Tensor) -> bool:
    # The fused CPU kernel's log-sum-exp has no gradient: merging by it would train on a wrong one without a word.
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


_HAS_CPU_FLASH = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
_CPU_FLASH_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
