"""Which methods are the best at a length, or not shown to be worse than the best: what a table prints in bold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from longbench_run.results.method_differences import method_differences
from longbench_run.results.statistics import SMALLEST_COUNT, cluster_sums
from longbench_run.results.table import SCORED, CellKey, clusters_of, latest_cells

if TYPE_CHECKING:
    import pandas as pd

_PANEL = ["run", "model_label", "task", "protocol", "metric"]
"""Columns of what one table shows."""


class _Candidate(NamedTuple):
    """A method at a length."""

    key: CellKey
    gain: float
    """Mean score in the direction in which it is better."""
    clusters: int
    """Documents, where samples name one; else samples."""


def best_cells(frame: pd.DataFrame) -> frozenset[CellKey]:
    """Return the cells whose method is the best of its column, or not significantly worse than that.

    A column is one model, task, protocol, metric and context length. The best method is that with the best mean; the
    others are compared with it over the samples that both scored. Because the data say which one is the best, the family
    of Holm's correction is every pair of methods of the run at every length. A method that shares fewer than ten samples
    or documents with the best is not among them, for nothing was shown of it; nothing is the best where no other method
    has a score, or where the best one itself has fewer than ten.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.

    Source:
        Holm's correction and paired differences: `longbench_run.results.method_differences`.
    """
    methods = frame.groupby("run", observed=True)["method_label"].nunique()
    found: set[CellKey] = set()
    for keys, rows in frame.groupby(_PANEL, sort=True, observed=True):
        count = int(methods[cast("tuple[str, ...]", keys)[0]])
        family = rows["context_length"].nunique() * count * (count - 1) // 2
        for _, of_length in rows.groupby("context_length", sort=True):
            found.update(_best(of_length, family=family))
    return frozenset(found)


def _best(rows: pd.DataFrame, *, family: int) -> Iterator[CellKey]:
    candidates = _candidates(rows)
    if len(candidates) < 2:
        return
    best = max(candidates.values(), key=lambda candidate: candidate.gain)
    if best.clusters < SMALLEST_COUNT:
        return
    yield best.key
    for difference in method_differences(rows, baseline=best.key.method_label, family=family):
        if difference.interval is not None and difference.effect != "worse":
            yield candidates[difference.method_label].key


def _candidates(rows: pd.DataFrame) -> Mapping[str, _Candidate]:
    """Return the scored methods of a column."""
    found: dict[str, _Candidate] = {}
    for key, of_cell in latest_cells(rows, (*SCORED, "higher_is_better")).items():
        scored = of_cell[of_cell["score"].notna()]
        direction = of_cell["higher_is_better"].iloc[0]
        if not len(scored) or direction not in (True, False):
            continue
        weights = scored["weight"].tolist() if scored["weight"].notna().all() else None
        numerators, denominators = cluster_sums(scored["score"].tolist(), weights, clusters_of(scored))
        mean = float(numerators.sum() / denominators.sum())
        found[key.method_label] = _Candidate(key, mean if direction else -mean, len(numerators))
    return found
