"""Floors and ceilings: what protocols that others are compared with reach on the same questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from longbench_run.results.statistics import Estimate
from longbench_run.results.table import CELL_KEYS, CellKey, estimate_rows, groups_of_cells

if TYPE_CHECKING:
    import pandas as pd

_SHARED = [name for name in CELL_KEYS if name not in {"protocol", "setup_id"}]
"""What a reference has in common with the cell that it stands beside."""


def reference_means(frame: pd.DataFrame) -> Mapping[CellKey, Mapping[str, Estimate]]:
    """Return for cells and metrics that have references: protocol of the reference -> mean over their questions.

    A reference is of the same model, task, metric, method, length and seeds, and its questions are those of the cell.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    references = reference_rows(frame)
    if not len(references):
        return {}
    own = frame[frame["reference"].isna() & frame["score"].notna()]
    found = {key: means_of(references, key, rows) for key, rows in groups_of_cells(own)}
    return {key: means for key, means in found.items() if means}


def reference_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the scored rows of references that say what they ask.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    is_wanted = frame["reference"].notna() & frame["score"].notna() & frame["document"].notna()
    return frame[is_wanted].sort_values(["seed", "index"], kind="stable")


def means_of(references: pd.DataFrame, key: CellKey, rows: pd.DataFrame) -> Mapping[str, Estimate]:
    """Return protocol -> mean over the questions of some rows.

    Args:
        references: What `reference_rows` returned.
        key: The cell and metric that the rows are of.
        rows: Rows of `longbench_run.results.load`.
    """
    if not len(references):
        return {}
    is_same = references["document"].isin(set(rows["document"])) & references["seed"].isin(set(rows["seed"]))
    for name in _SHARED:
        is_same &= references[name] == getattr(key, name)
    return dict(_means(references[is_same]))


def _means(rows: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    setups = [of_setup for _, of_setup in rows.groupby(["protocol", "setup_id"], sort=True)]
    # Where a run has one protocol in two versions, the one computed last is shown.
    for of_setup in sorted(setups, key=lambda of_setup: int(of_setup.index.max())):
        yield str(of_setup.iloc[0]["protocol"]), estimate_rows(of_setup)
