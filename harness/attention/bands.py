"""Attention in bands: each band has its own rotation, and no n x n matrix ever exists."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longbench_run.harness.attention.kernels import (
    Keys,
    Part,
    Queries,
    attend_all,
    attend_causal,
    attend_visible,
    joined,
    merge,
    nothing,
)

QUERIES_AT_ONCE = 2048
"""Queries per block: fused kernels are at their best with as many."""
_QUERIES_MASKED = 256
"""Queries per block where a mask is needed, of at most this many keys more than a query sees."""


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

    Every block of queries sees most of a band's keys in full, and at either end a triangle of them where the band moves
    along with the queries: calls of a fused kernel without a mask. Other shapes are halved until few queries are left,
    which take a mask. All parts are merged by their log-sum-exps in fp32. Extra memory is O(n).

    Args:
        bands: The bands of one row, all with the same queries and keys apart from their rotation.
        value: Values, shape ``(batch, kv_heads, m, head_dim)``.
        scaling: Factor on the logits.

    Returns:
        Attention output in the dtype of the queries, shape ``(batch, heads, n, head_dim)``.
    """
    query = bands[0].query
    blocks = []
    for first in range(0, query.shape[2], QUERIES_AT_ONCE):
        last = min(first + QUERIES_AT_ONCE, query.shape[2])
        parts = [_attend(band, value, first, last, scaling) for band in bands]
        seen = [part for part in parts if part is not None]
        whole = merge(seen) if seen else nothing(query[:, :, first:last])
        blocks.append(whole.output.to(query.dtype))
    return torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]


def band_entropy(bands: list[RotatedBand], scaling: float) -> Float[Tensor, "batch heads n"]:
    """Return the entropy of softmax attention over the union of the bands, in nats, in fp32 or what is wider.

    It is the log-sum-exp of the logits less their expectation. A band's expected logit is that of its query with its
    expected key: attention with keys as values.

    Args:
        bands: As for `attend_bands`; narrow dtypes are widened, for entropy is a difference of larger numbers.
        scaling: Factor on the logits.
    """
    blocks = []
    for first in range(0, bands[0].query.shape[2], QUERIES_AT_ONCE):
        last = min(first + QUERIES_AT_ONCE, bands[0].query.shape[2])
        sums, expected = [], []
        for band in (replace(band, query=_wide(band.query), key=_wide(band.key)) for band in bands):
            part = _attend(band, band.key, first, last, scaling)
            if part is not None:
                sums.append(part.log_sum_exp)
                expected.append((band.query[:, :, first:last] * part.output).sum(dim=-1) * scaling)
        total = torch.stack(sums).logsumexp(dim=0)
        shares = (torch.stack(sums) - total).exp()
        blocks.append(total - (shares * torch.stack(expected)).sum(dim=0))
    return torch.cat(blocks, dim=2).clamp_min(0.0)


def _wide(states: Tensor) -> Tensor:
    return states if states.dtype == torch.float64 else states.float()


def _attend(band: RotatedBand, value: Keys, first: int, last: int, scaling: float) -> Part | None:
    """Return the attention of some queries to the keys of one band; None where none of them sees any."""
    start, stop = band.start[first:last], band.stop[first:last]
    if (start >= stop).all():
        return None
    query = band.query[:, :, first:last]
    lower, upper = _is_triangle(start), _is_triangle(stop)
    # A triangle takes the key at its corner, which every query sees, from those between.
    begin, end = int(start[-1]) + lower, int(stop[0]) - upper
    if begin <= end and (lower or start[0] == start[-1]) and (upper or stop[0] == stop[-1]):
        parts = []
        if lower:
            # The first query sees all of it, the last one a single key: from behind, that is causal.
            turned = (states.flip(2) for states in (query, *_cut(band.key, value, int(start[0]), begin)))
            found = attend_causal(*turned, scaling=scaling)
            parts.append(Part(found.output.flip(2), found.log_sum_exp.flip(2)))
        if begin < end:
            parts.append(attend_all(query, *_cut(band.key, value, begin, end), scaling=scaling))
        if upper:
            keys, values = _cut(band.key, value, end, int(stop[-1]))
            parts.append(attend_causal(query, keys, values, scaling=scaling))
        return merge(parts)
    if last - first <= _QUERIES_MASKED:
        low, high = int(start[0]), int(stop[-1])
        visible = _visible(start, stop, low, high, value.device)
        return attend_visible(query, *_cut(band.key, value, low, high), visible, scaling=scaling)
    middle = (first + last) // 2
    return joined(
        [
            _attend(band, value, *ends, scaling) or nothing(band.query[:, :, slice(*ends)])
            for ends in ((first, middle), (middle, last))
        ]
    )


def _is_triangle(ends: Int[np.ndarray, " n"]) -> bool:
    """Return whether an end of the keys moves by one with every query."""
    return len(ends) > 1 and bool((np.diff(ends) == 1).all())


def _cut(key: Keys, value: Keys, start: int, stop: int) -> tuple[Tensor, Tensor]:
    return key[:, :, start:stop], value[:, :, start:stop]


def _visible(
    start: Int[np.ndarray, " n"], stop: Int[np.ndarray, " n"], begin: int, end: int, device: torch.device
) -> Bool[Tensor, "n m"]:
    keys = np.arange(begin, end)
    return torch.from_numpy((keys >= start[:, None]) & (keys < stop[:, None])).to(device)
