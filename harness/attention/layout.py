"""Where a forward pass stands: which slots of the cache hold which positions, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers.masking_utils import causal_mask_function

from longbench_run.harness.errors import MethodNotApplicable


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the batch: its tokens fill the cache slots ``[first, last)`` with positions from 0."""

    first: int
    last: int
    query_first: int
    query_last: int
    """Slots ``[query_first, query_last)`` of the whole query hold tokens; the rest is padding."""

    @property
    def query_positions(self) -> Int[np.ndarray, " n"]:
        """Positions of the row's queries."""
        return np.arange(self.query_first - self.first, self.query_last - self.first)

    @property
    def key_positions(self) -> Int[np.ndarray, " m"]:
        """Positions of the row's keys up to its last query."""
        return np.arange(0, self.query_last - self.first)


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of a forward pass whose query fills the cache slots ``[query_offset, query_offset + query_length)``."""

    rows: tuple[Row, ...]
    query_offset: int
    query_length: int
    slots: int
    """Cache slots in all, unwritten ones included."""

    def queries(self, row: Row) -> slice:
        """Return where a row's tokens stand in the query."""
        return slice(row.query_first - self.query_offset, row.query_last - self.query_offset)

    def key_positions(self) -> Int[np.ndarray, "batch slots"]:
        """Return the position of every cache slot; -1 where padded or not yet written."""
        positions = np.full((len(self.rows), self.slots), -1, dtype=np.int64)
        for index, row in enumerate(self.rows):
            positions[index, row.first : row.query_last] = row.key_positions
        return positions


def read_layout(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor,
    kv_offset: int,
    attention_mask: Tensor | None,
    mask_function: Any,
    local_size: int | None,
    family: str,
    kinds: frozenset[str] = frozenset(),
) -> Layout:
    """Read the layout from what transformers hands to a mask function.

    Errors name the ``family``, and a remedy that its ``kinds`` of layers allow.

    Raises:
        MethodNotApplicable: If the mask is not the plain causal one (sliding windows, packed sequences), the cache
            has dropped keys, or a row's tokens are not contiguous.
    """
    if local_size is not None:
        # A family that mixes kinds of layers cannot do without its windows.
        remedy = "Use" if len(kinds) > 1 else "Set sliding_window to null in its config, or use"
        raise MethodNotApplicable(
            f"the family {family!r} must attend to all keys for position maps and per-query scales, got layers with a "
            f"sliding window of {local_size} tokens. {remedy} a method that changes frequencies only."
        )
    if mask_function is not causal_mask_function or kv_offset:
        raise MethodNotApplicable(
            f"the family {family!r} must attend causally to all keys for position maps and per-query scales, got packed "
            "sequences, a custom mask or a cache that drops keys. Pass one sequence a row, and an ordinary cache."
        )
    offset = int(q_offset)
    end = offset + q_length
    if attention_mask is None:
        rows: tuple[Row, ...] = (Row(first=0, last=end, query_first=offset, query_last=end),) * batch_size
    else:
        rows = tuple(_row(mask, offset, end) for mask in attention_mask[:, :end].cpu())
    return Layout(rows=rows, query_offset=offset, query_length=q_length, slots=max(kv_length, end))


def _row(mask: Tensor, offset: int, end: int) -> Row:
    tokens = torch.nonzero(mask).flatten().tolist()
    if not tokens:
        raise MethodNotApplicable(
            "position maps need at least one token in every row, got a row of padding only. Drop it."
        )
    first, last = tokens[0], tokens[-1] + 1
    if last - first != len(tokens):
        raise MethodNotApplicable(
            "position maps need each row's tokens side by side, got an attention mask with a hole. Pad at the ends only."
        )
    query_first = min(max(first, offset), end)
    return Row(first=first, last=last, query_first=query_first, query_last=max(query_first, min(last, end)))
