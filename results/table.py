"""Runs as tables: one row per sample and metric, and one row per cell and metric with its interval."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from longbench_run.results.lines import read_parts
from longbench_run.results.records import Status
from longbench_run.results.rows import Rows
from longbench_run.results.statistics import Estimate, IntervalKind, estimate
from longbench_run.results.store import read_header, records_path

if TYPE_CHECKING:
    import pandas as pd


class CellKey(NamedTuple):
    """What tells cells and metrics apart; of several seeds, all belong to one."""

    run: str
    model_label: str
    task: str
    task_version: int
    protocol: str
    metric: str
    method_label: str
    context_length: int
    setup_id: str


CELL_KEYS = list(CellKey._fields)
"""The same as columns of `load`."""
_ORDER = ["seed", "index"]
SCORED = ("score", "weight", "document", "is_binary", "minimum", "maximum")
"""Columns that means and their uncertainty are made of."""


_FIRST = ("method", "factor_policy", "original_context_length", "higher_is_better")
_SUMMARISED = (*dict.fromkeys((*SCORED, *_FIRST)), "status", "failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One cell and metric: what was measured, how sure it is, and what failed."""

    run: str
    model_label: str
    task: str
    task_version: int
    protocol: str
    metric: str
    method_label: str
    context_length: int
    setup_id: str
    """All of the cell but its seed; a run has two for one place where it was resumed by another version."""
    position: int
    """Row of its last sample in the frame: the larger, the later it was computed."""
    method: str
    factor_policy: str
    original_context_length: int
    higher_is_better: bool | None
    n: int
    """Samples with a score."""
    clusters: int
    """Documents among them, where samples name one; else n."""
    value: float | None
    low: float | None
    """Lower bound of the 95 % interval; None where there are too few samples or clusters for one."""
    high: float | None
    interval: IntervalKind | None
    ok: int
    error: int
    out_of_memory: int
    not_applicable: int
    failure: str | None
    """The first thing that went wrong, type and message."""

    @property
    def key(self) -> CellKey:
        """What tells it from others."""
        return CellKey(*(getattr(self, name) for name in CELL_KEYS))


def load(*runs: Path | str) -> pd.DataFrame:
    """Return the samples of runs in long form, one row per sample and metric, with the columns of `COLUMNS`.

    A sample that failed has a row too, without a score. A sample computed twice is there once, as last
    computed.

    Args:
        runs: Run folders.

    Raises:
        ResultsError: If a folder is no run or cannot be read.
    """
    import pandas as pd

    rows = Rows()
    orders: dict[str, dict[str, None]] = {"run": {}, "model_label": {}, "method_label": {}, "task": {}}
    with _no_collection():
        for run in runs:
            header = read_header(run)
            orders["run"].setdefault(str(run))
            orders["model_label"].update(dict.fromkeys(model.label for model in header.models))
            orders["method_label"].update(dict.fromkeys(header.methods))
            orders["task"].update(dict.fromkeys(task.name for task in header.tasks))
            rows.add(str(run), header, read_parts(records_path(run)))
        frame = rows.frame()
    for name, order in orders.items():
        categories = list(order | dict.fromkeys(frame[name].unique()))
        frame[name] = pd.Categorical(frame[name], categories=categories, ordered=True)
    return frame


@contextmanager
def _no_collection() -> Iterator[None]:
    """Leave cycles of garbage alone meanwhile: to look for them takes a third of the time, and records are in none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run, model, task, protocol, metric, method, context length and setup.

    Args:
        frame: Rows of `load`, all or some.

    Returns:
        The fields of `CellSummary` as columns.
    """
    import pandas as pd

    return pd.DataFrame(
        [asdict(cell) for cell in cells(frame)], columns=[f.name for f in fields(CellSummary)]
    )


def cells(frame: pd.DataFrame) -> tuple[CellSummary, ...]:
    """Return what `summarize` returns, as values, in the order of run, model, task, metric, method, length.

    Args:
        frame: Rows of `load`, all or some.
    """
    return tuple(_summary(keys, rows) for keys, rows in groups_of_cells(frame, _SUMMARISED))


def groups_of_cells(
    frame: pd.DataFrame, columns: Sequence[str] | None = None
) -> Iterator[tuple[CellKey, pd.DataFrame]]:
    """Yield the rows of each cell and metric, by seed and index: no number depends on what was computed first.

    Args:
        frame: Rows of `load`, all or some.
        columns: Those wanted beside the cell's, the seed and the index: to take rows of all columns takes longer than most
            of what is computed of them. Default: all.
    """
    if columns is not None:
        frame = frame[[*CELL_KEYS, *_ORDER, *columns]]
    for keys, found in frame.groupby(CELL_KEYS, sort=True, observed=True, dropna=False):
        # As they mostly are: sorting a whole run of a million rows for each table takes longer than the table.
        rows = found if _is_ordered(found) else found.sort_values(_ORDER, kind="stable")
        run, model_label, task, version, protocol, metric, method_label, context_length, setup_id = cast(
            "tuple[Any, ...]", keys
        )
        yield (
            CellKey(
                run=str(run),
                model_label=str(model_label),
                task=str(task),
                task_version=int(version),
                protocol=str(protocol),
                metric=str(metric),
                method_label=str(method_label),
                context_length=int(context_length),
                setup_id=str(setup_id),
            ),
            rows,
        )


def _summary(keys: CellKey, rows: pd.DataFrame) -> CellSummary:
    scored = rows[rows["score"].notna()]
    first = {name: rows[name].iloc[0] for name in _FIRST}
    found = estimate_rows(scored) if len(scored) else Estimate(None, 0, 0, None, None)
    counts: Counter[Status] = Counter(rows["status"])
    failures = rows["failure"].dropna()
    return CellSummary(
        **keys._asdict(),
        position=int(rows.index.max()),
        method=str(first["method"]),
        factor_policy=str(first["factor_policy"]),
        original_context_length=int(first["original_context_length"]),
        higher_is_better=None if _is_missing(first["higher_is_better"]) else bool(first["higher_is_better"]),
        n=found.samples,
        clusters=found.clusters,
        value=found.value,
        low=found.interval.low if found.interval else None,
        high=found.interval.high if found.interval else None,
        interval=found.kind,
        ok=counts["ok"],
        error=counts["error"],
        out_of_memory=counts["out_of_memory"],
        not_applicable=counts["not_applicable"],
        failure=str(failures.iloc[0]) if len(failures) else None,
    )


def _is_ordered(rows: pd.DataFrame) -> bool:
    """Say whether rows are by seed and index, those without an index last."""
    seeds = rows["seed"].to_numpy()
    indices = rows["index"].to_numpy(dtype=np.float64, na_value=np.inf)
    later = seeds[1:] > seeds[:-1]
    return bool((later | ((seeds[1:] == seeds[:-1]) & (indices[1:] >= indices[:-1]))).all())


def latest_cells(frame: pd.DataFrame, columns: Sequence[str] | None = None) -> dict[CellKey, pd.DataFrame]:
    """Return the rows of each cell and metric; of two setups of one place, the one computed last.

    Args:
        frame: Rows of `load`, all or some.
        columns: As for `groups_of_cells`.
    """
    by_place: dict[CellKey, tuple[CellKey, pd.DataFrame]] = {}
    for key, rows in sorted(groups_of_cells(frame, columns), key=lambda group: int(group[1].index.max())):
        by_place[key._replace(task_version=0, setup_id="")] = (key, rows)
    return dict(by_place.values())


def clusters_of(rows: pd.DataFrame) -> list[int]:
    """Return what each sample is resampled with, as a number: its document, of whatever seed; without one, itself.

    Args:
        rows: Of `load`, of one cell and metric.
    """
    import pandas as pd

    documents, _ = pd.factorize(rows["document"])  # -1 where there is none
    alone = len(rows) + np.arange(len(rows))
    numbers: list[int] = np.where(documents >= 0, documents, alone).tolist()
    return numbers


def estimate_rows(scored: pd.DataFrame) -> Estimate:
    """Return the mean over rows of one cell and metric, and what is known of it.

    Rows of several seeds are pooled: a seed draws other samples and changes nothing else, so there is no spread between
    seeds beyond that between samples. Samples of one document are one cluster whatever their seed: given documents are
    the same under every seed, generated ones carry it in their name.

    Args:
        scored: Rows of `load` with a score, at least one.
    """
    return CellScores.of(scored).estimate()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """The scores of rows of one cell and metric: of a frame, parts are slow to take many times."""

    values: NDArray[np.float64]
    """Score per row."""
    weights: NDArray[np.float64]
    """Weight per row; NaN where it has none."""
    clusters: NDArray[np.int64]
    """What each row is resampled with, see `clusters_of`."""
    is_binary: bool
    minimum: float | None
    maximum: float | None

    @classmethod
    def of(cls, scored: pd.DataFrame) -> CellScores:
        """Read them.

        Args:
            scored: Rows of `load` with a score, at least one.
        """
        is_binary, minimum, maximum = (scored[name].iloc[0] for name in ("is_binary", "minimum", "maximum"))
        return cls(
            values=scored["score"].to_numpy(dtype=np.float64),
            weights=scored["weight"].to_numpy(dtype=np.float64),
            clusters=np.array(clusters_of(scored)),
            is_binary=not _is_missing(is_binary) and bool(is_binary),
            minimum=None if _is_missing(minimum) else float(minimum),
            maximum=None if _is_missing(maximum) else float(maximum),
        )

    def estimate(self, chosen: NDArray[np.bool_] | None = None) -> Estimate:
        """Return what `estimate_rows` does of these rows, or of some.

        Args:
            chosen: Whether each row counts; default: all do.
        """
        rows = slice(None) if chosen is None else chosen
        weights = self.weights[rows]
        return estimate(
            self.values[rows].tolist(),
            weights=None if np.isnan(weights).any() else weights.tolist(),
            clusters=self.clusters[rows].tolist(),
            is_binary=self.is_binary,
            minimum=self.minimum,
            maximum=self.maximum,
        )


def _is_missing(value: object) -> bool:
    """Tell None and NaN, which a column of floats has in its place."""
    return value is None or value != value  # noqa: PLR0124 (NaN is what differs from itself)
