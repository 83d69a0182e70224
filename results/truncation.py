"""What truncation took: how many prompts were cut, what became of the evidence, and the score by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.results.statistics import Estimate
from longbench_run.results.table import CELL_KEYS, CellKey, estimate_rows, groups_of_cells

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationLedger:
    """One cell and metric by what was left of its samples."""

    samples: int
    """Samples of which it is known how much was cut, those that failed too."""
    truncated: int
    """Samples of which something was cut."""
    tokens_truncated: float
    """Mean of the tokens that were cut, over those samples."""
    survived: int
    """Samples whose evidence is in the prompt."""
    lost: int
    """Samples whose evidence, or a part of it, was cut off."""
    unknown: int
    """Samples of which neither can be known."""
    score_survived: Estimate
    """Mean over the samples whose evidence is there."""
    score_lost: Estimate
    score_unknown: Estimate


def truncation_ledgers(frame: pd.DataFrame) -> Mapping[CellKey, TruncationLedger]:
    """Return the ledger of every cell and metric of which a sample was cut.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    cut = frame[frame["tokens_truncated"].notna()]
    return {key: _ledger(rows) for key, rows in groups_of_cells(cut) if (rows["tokens_truncated"] > 0).any()}


def by_truncation(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, metric and fate of the evidence: survived, lost or unknown.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.

    Returns:
        Columns of the cell, ``truncated`` (share of the cell's samples that were cut), ``evidence``, ``samples``, ``n``
        (samples with a score), ``value`` and its 95 % interval.
    """
    import pandas as pd

    rows = []
    for key, ledger in truncation_ledgers(frame).items():
        for evidence in ("survived", "lost", "unknown"):
            score: Estimate = getattr(ledger, f"score_{evidence}")
            low, high = score.interval or (None, None)
            rows.append(
                {
                    **key._asdict(),
                    "truncated": ledger.truncated / ledger.samples,
                    "evidence": evidence,
                    "samples": getattr(ledger, evidence),
                    "n": score.samples,
                    "value": score.value,
                    "low": low,
                    "high": high,
                }
            )
    own = ["truncated", "evidence", "samples", "n", "value", "low", "high"]
    return pd.DataFrame(rows, columns=[*CELL_KEYS, *own])


def _ledger(rows: pd.DataFrame) -> TruncationLedger:
    evidence = rows["evidence_survived"]
    truncated = rows["tokens_truncated"][rows["tokens_truncated"] > 0]
    survived, lost, unknown = rows[evidence.eq(True)], rows[evidence.eq(False)], rows[evidence.isna()]
    return TruncationLedger(
        samples=len(rows),
        truncated=len(truncated),
        tokens_truncated=float(truncated.mean()),
        survived=len(survived),
        lost=len(lost),
        unknown=len(unknown),
        score_survived=_mean(survived),
        score_lost=_mean(lost),
        score_unknown=_mean(unknown),
    )


def _mean(rows: pd.DataFrame) -> Estimate:
    scored = rows[rows["score"].notna()]
    return estimate_rows(scored) if len(scored) else Estimate(None, 0, 0, None, None)
