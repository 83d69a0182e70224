"""What cells cost: tokens per second and peak memory, as the run had them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.results.table import CellKey, groups_of_cells

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCost:
    """The cost of one cell, over samples that were timed."""

    tokens_per_second: float | None
    """Tokens computed, of prompts and answers, over the seconds that they took together; None where no sample was timed.
    What another sample had computed is not counted."""
    peak_bytes: int | None
    """Of the sample that took most; None where it was not measured."""
    samples: int
    """Samples that were timed: those that were sliced from another one's forward pass have no time of their own."""


def cell_costs(frame: pd.DataFrame) -> Mapping[CellKey, CellCost]:
    """Return the cost of every cell that has one.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    measured = frame[frame["seconds_prefill"].notna() | frame["peak_bytes"].notna()]
    found = {}
    for key, rows in groups_of_cells(measured):
        timed = rows[rows["seconds_prefill"].notna() & rows["prompt_tokens"].notna()]
        seconds = float(timed["seconds_prefill"].sum() + timed["seconds_decode"].sum())
        tokens = int(sum(timed[name].sum() for name in ("prompt_tokens", "generated_tokens")))
        tokens -= int(timed["tokens_reused"].sum())
        peaks = rows["peak_bytes"].dropna()
        found[key] = CellCost(
            tokens_per_second=tokens / seconds if seconds > 0 else None,
            peak_bytes=int(peaks.max()) if len(peaks) else None,
            samples=len(timed),
        )
    return found
