"""Attention of a chunk of queries that goes on where a cache ends, at the price of plain causal attention.

For several queries behind a cache, transformers' SDPA attention makes an explicit mask of queries x keys: memory that
grows with both, and no fused causal kernel. Here the chunk sees the cache in full and itself causally, each through a
kernel without a mask, merged by log-sum-exp.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from longbench_run.harness.attention.functions import registered
from longbench_run.harness.attention.kernels import attend_all, attend_causal, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

_NAME = "longbench_run_continued"
_SERVED = "sdpa"
"""The attention implementation that it takes the place of; any other stays."""
_NEEDS_MASK = ("position_bias", "softcap", "cache")
"""Keyword arguments of SDPA attention that change the logits or the keys: computed by it, with a mask."""


@contextmanager
def continued(model: Any) -> Iterator[None]:
    """Let a model go on behind a cache without a mask, inside the block; all else is transformers' own.

    Args:
        model: Transformers model; where its attention is not SDPA, nothing changes.
    """
    if model.config._attn_implementation != _SERVED:
        yield
        return
    with registered(model, _NAME, _attention, _mask):
        yield


def _mask(
    batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: int = 0, **rest: Any
) -> Any:
    """Make no mask where every query of a chunk sees all of the cache; the model's own one elsewhere."""
    padded = rest.get("attention_mask")
    if (
        1 < q_length < kv_length
        and int(q_offset) + q_length == kv_length
        and kv_offset == 0
        and rest.get("local_size") is None
        and rest.get("mask_function") is causal_mask_function
        and (padded is None or bool(padded[:, :kv_length].all()))
    ):
        return None
    return sdpa_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        **rest,
    )


def _attention(  # noqa: PLR0917  # transformers calls every attention function with these positions
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, Tensor | None]:
    chunk, cached = query.shape[2], key.shape[2] - query.shape[2]
    goes_on = attention_mask is None and chunk > 1 and cached > 0
    if goes_on and (dropout or any(rest.get(name) is not None for name in _NEEDS_MASK)):
        attention_mask = torch.ones(chunk, chunk + cached, dtype=torch.bool, device=query.device).tril(cached)
        attention_mask = attention_mask[None, None]
        goes_on = False
    if not goes_on:
        own: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
        return own
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    parts = [
        attend_all(query, key[:, :, :cached], value[:, :, :cached], scaling=scaling),
        attend_causal(query, key[:, :, cached:], value[:, :, cached:], scaling=scaling),
    ]
    return merge(parts).output.to(query.dtype).transpose(1, 2).contiguous(), None
