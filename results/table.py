"""Runs as tables: one row per sample and metric, and one row per cell and metric with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from longbench_run.results.columns import COLUMNS, OF_RECORD, WHOLE_NUMBERS
from longbench_run.results.lines import read_lines
from longbench_run.results.records import MetricInfo, Record, Status
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

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    orders: dict[str, dict[str, None]] = {"run": {}, "model_label": {}, "method_label": {}, "task": {}}
    numbers: list[int] = []
    last: dict[tuple[str, str, int | None], int] = {}
    for run in runs:
        header = read_header(run)
        orders["run"].setdefault(str(run))
        orders["model_label"].update(dict.fromkeys(model.label for model in header.models))
        orders["method_label"].update(dict.fromkeys(header.methods))
        orders["task"].update(dict.fromkeys(task.name for task in header.tasks))
        metrics = {task.name: {metric.name: metric for metric in task.metrics} for task in header.tasks}
        references = {(task.name, task.protocol): task.reference for task in header.tasks}
        setups: dict[str, str] = {}
        for number, (record, _) in enumerate(read_lines(records_path(run))):
            if record.cell_id not in setups:
                setups[record.cell_id] = record.cell.setup_id()
            last[str(run), record.cell_id, record.index] = number
            task = record.cell.task
            shared = {
                **_shared(record),
                "run": str(run),
                "setup_id": setups[record.cell_id],
                "reference": references.get((task.name, task.protocol)),
            }
            for row in _rows(shared, record, metrics.get(task.name, {})):
                numbers.append(number)
                for name, value in row.items():
                    columns[name].append(value)
    frame = pd.DataFrame(columns)
    keys = zip(columns["run"], columns["cell_id"], columns["index"], strict=True)
    is_last = [last[key] == number for key, number in zip(keys, numbers, strict=True)]
    frame = frame[pd.Series(is_last, dtype=bool)].reset_index(drop=True)
    for name in WHOLE_NUMBERS:
        frame[name] = frame[name].astype("Int64")
    for name in ("score", "weight", "depth", "minimum", "maximum", "seconds_prefill", "seconds_decode"):
        frame[name] = frame[name].astype("float64")
    for name, order in orders.items():
        categories = list(order | dict.fromkeys(columns[name]))
        frame[name] = pd.Categorical(frame[name], categories=categories, ordered=True)
    return frame


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
    return tuple(_summary(keys, rows) for keys, rows in groups_of_cells(frame))


def groups_of_cells(frame: pd.DataFrame) -> Iterator[tuple[CellKey, pd.DataFrame]]:
    """Yield the rows of each cell and metric, by seed and index: no number depends on what was computed first.

    Args:
        frame: Rows of `load`, all or some.
    """
    ordered = frame.sort_values(["seed", "index"], kind="stable")
    for keys, rows in ordered.groupby(CELL_KEYS, sort=True, observed=True, dropna=False):
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
    first = rows.iloc[0]
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


def estimate_rows(scored: pd.DataFrame) -> Estimate:
    """Return the mean over rows of one cell and metric, and what is known of it.

    Args:
        scored: Rows of `load` with a score, at least one.
    """
    first = scored.iloc[0]
    clusters: list[Hashable] = [
        document if isinstance(document, str) else ("sample", place)
        for place, document in enumerate(scored["document"])
    ]
    return estimate(
        scored["score"].tolist(),
        weights=scored["weight"].tolist() if scored["weight"].notna().all() else None,
        clusters=clusters,
        is_binary=not _is_missing(first["is_binary"]) and bool(first["is_binary"]),
        minimum=None if _is_missing(first["minimum"]) else float(first["minimum"]),
        maximum=None if _is_missing(first["maximum"]) else float(first["maximum"]),
    )


def _is_missing(value: object) -> bool:
    """Tell None and NaN, which a column of floats has in its place."""
    return value is None or value != value  # noqa: PLR0124 (NaN is what differs from itself)


def _rows(
    shared: Mapping[str, Any], record: Record, declared: Mapping[str, MetricInfo]
) -> Iterator[dict[str, Any]]:
    """Yield one row per metric of a record: those that the run declares, and any other that it has."""
    for metric in dict.fromkeys((*declared, *record.scores)) or ("",):
        info = declared.get(metric)
        yield {
            **shared,
            "metric": metric,
            "score": record.scores.get(metric),
            "higher_is_better": info.higher_is_better if info else None,
            "is_binary": info.is_binary if info else None,
            "minimum": info.minimum if info else None,
            "maximum": info.maximum if info else None,
        }


def _shared(record: Record) -> dict[str, Any]:
    """Return the columns of a record that do not depend on the metric."""
    cell, failure = record.cell, record.failure
    return {
        "model_label": record.model_label,
        "method_label": record.method_label,
        "task": cell.task.name,
        "task_version": cell.task.version,
        "protocol": cell.task.protocol,
        "context_length": cell.context_length,
        "seed": cell.seed,
        "method": cell.method.resolved,
        "factor_policy": record.factor_policy,
        "original_context_length": cell.original_context_length,
        "failure": f"{failure.type}: {failure.message}" if failure else None,
        **{name: getattr(record, name) for name in OF_RECORD},
    }
