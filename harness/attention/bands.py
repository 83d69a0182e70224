"""Attention in bands: each band has its own rotation, and no n x n matrix ever exists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longbench_run.harness.attention.kernels import Keys, Part, Queries, attend_all, attend_visible, merge

QUERIES_AT_ONCE = 256
"""Queries per block: only a block's boundaries are computed with a mask, of at most this many keys each."""


@dataclass(frozen=True, slots=True)
class RotatedBand:
    """Queries and keys at the positions of one band; query i sees the keys ``[start[i], stop[i])``."""

    query: Queries
    key: Keys
    start: Int[np.ndarray, " n"]
    stop: Int[np.ndarray, " n"]
    """Both non-decreasing, within the keys."""


def attend_bands(
    bands: list[RotatedBand], value: Keys, *, scaling: float
) -> Float[Tensor, "batch heads n head_dim"]:
    """Return softmax attention over the union of the bands, which must be disjoint.

    Every block of queries sees most of a band's keys in full: one call of a fused kernel without a mask. The
    keys at both ends, seen by some of the block's queries only, are computed with a mask; all parts are merged by
    their log-sum-exps in fp32. Extra memory is O(n).

    Args:
        bands: The bands of one row, all with the same queries and keys apart from their rotation.
        value: Values, shape ``(batch, kv_heads, m, head_dim)``.
        scaling: Factor on the logits.

    Returns:
        Attention output in the dtype of the queries, shape ``(batch, heads, n, head_dim)``.
    """
    query = bands[0].query
    blocks = [
        _attend_block(bands, value, first, min(first + QUERIES_AT_ONCE, query.shape[2]), scaling).to(
            query.dtype
        )
        for first in range(0, query.shape[2], QUERIES_AT_ONCE)
    ]
    return torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]


def _attend_block(bands: list[RotatedBand], value: Keys, first: int, last: int, scaling: float) -> Tensor:
    parts: list[Part] = []
    for band in bands:
        start, stop = band.start[first:last], band.stop[first:last]
        query = band.query[:, :, first:last]
        # Keys that the block's every query sees, and those at either end that only some do.
        shared, low, high = (int(start[-1]), int(stop[0])), int(start[0]), int(stop[-1])
        if shared[0] >= shared[1]:
            edges = [(low, high)]
        else:
            parts.append(attend_all(query, *_cut(band.key, value, *shared), scaling=scaling))
            edges = [(low, shared[0]), (shared[1], high)]
        for begin, end in edges:
            if begin < end:
                visible = _visible(start, stop, begin, end, value.device)
                parts.append(
                    attend_visible(query, *_cut(band.key, value, begin, end), visible, scaling=scaling)
                )
    return merge(parts).output


def _cut(key: Keys, value: Keys, start: int, stop: int) -> tuple[Tensor, Tensor]:
    return key[:, :, start:stop], value[:, :, start:stop]


def _visible(
    start: Int[np.ndarray, " n"], stop: Int[np.ndarray, " n"], begin: int, end: int, device: torch.device
) -> Bool[Tensor, "n m"]:
    keys = np.arange(begin, end)
    return torch.from_numpy((keys >= start[:, None]) & (keys < stop[:, None])).to(device)
