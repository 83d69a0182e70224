"""How a method holds up over context length, in three numbers: what is kept, the area and the effective length.

Each is defined here and nowhere else, with its formula in words for whoever shows it. All refer to the method's own score
at the original window: what a method costs there is seen in the scores themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.results.mover import Mean, Ratio, combined, residuals
from longbench_run.results.records import MetricInfo, ModelSummary, RunHeader, TaskSummary
from longbench_run.results.shares import normal_quantile
from longbench_run.results.statistics import CONFIDENCE, SMALLEST_COUNT, Interval, cluster_sums
from longbench_run.results.table import SCORED, clusters_of, estimate_rows, latest_cells

if TYPE_CHECKING:
    import pandas as pd

LEAST_RETENTION = 0.85
"""Retention at which a length is held."""
LARGEST_RISE = 0.05
"""Rise at which a length is held, in the unit of the metric: nats for nll."""


class Formulas(NamedTuple):
    """The aggregates of one direction in words: what a report says beside the numbers."""

    kept: str
    area: str
    effective_length: str


_AREA = (
    "trapezoids over log2 of the context length, from the shortest length to the longest, over the width: the mean of the "
    "curve"
)
_EFFECTIVE = "the longest length such that it and every shorter one"
FORMULAS: Mapping[bool, Formulas] = {
    True: Formulas(
        kept="Retention: score over the method's own score at the original window; none where the interval of that one "
        "is not above chance",
        area=f"Area: score, {_AREA}",
        effective_length=f"Effective length: {_EFFECTIVE} keeps a retention of at least {LEAST_RETENTION:g}",
    ),
    False: Formulas(
        kept="Rise: value less the method's own value at the original window",
        area=f"Area: value, {_AREA}",
        effective_length=f"Effective length: {_EFFECTIVE} has a rise of at most {LARGEST_RISE:g}",
    ),
}
"""Whether higher is better -> formulas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """A number made of several cells."""

    value: float | None
    interval: Interval | None = None
    """95 %; None where a mean behind it has none."""
    reason: str | None = None
    """Why there is no value: never 0 in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLength:
    """The longest length that is held."""

    value: int | None
    """Tokens; None where not even the shortest length is held, or where it is not known."""
    interval: tuple[int | None, int | None] | None
    """Shortest and longest length that it may be, 95 %; None in it: shorter than all. None: a mean has no interval."""
    longest: int
    """Longest length of the run, tokens: where it is held, the effective length may be longer."""
    reason: str | None = None
    """Why it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """A method over the context lengths of one model, task, protocol and metric."""

    model_label: str
    task: str
    protocol: str
    metric: str
    method_label: str
    original_context_length: int
    higher_is_better: bool
    kept: Mapping[int, Aggregate]
    """Context length -> retention; rise where lower is better, in the unit of the metric."""
    area: Aggregate
    """In the unit of the metric."""
    effective_length: EffectiveLength


def robustness(header: RunHeader, frame: pd.DataFrame) -> tuple[Robustness, ...]:
    """Return the aggregates of every model, task, protocol, metric and method of a run that was asked for.

    A cell without a score makes what needs it None, with the reason; of a cell that failed in part, the samples that have
    a score count. Several seeds are samples of one cell, see `longbench_run.results.table.estimate_rows`.

    Intervals come from those of the cells, with the correlation of cells that share documents. The range of the effective
    length holds every length at which the cells do not contradict it: its lower end is the longest length up to which
    every lower bound of retention holds the threshold; its upper end that up to which every upper bound does, these at
    alpha / 2 over the number of lengths. Resampling gives narrower ranges that hold the truth too rarely where scores are
    near 0 or 1 (benchmarks/results/interval_coverage.md).

    Args:
        header: The run.
        frame: Rows of `longbench_run.results.load` for it, all or those of some models, tasks and metrics.

    Source:
        Intervals: `longbench_run.results.mover`. That each length is tested as if alone for the lower end: Berger 1982,
        "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (intersection-union).
    """
    found = latest_cells(frame, (*SCORED, "status"))
    return tuple(
        robust
        for task in header.tasks
        for model in header.models
        for metric in task.metrics
        for robust in _of_panel(
            header,
            model,
            task,
            metric,
            {
                (key.method_label, key.context_length): rows
                for key, rows in found.items()
                if (key.model_label, key.task, key.protocol, key.metric)
                == (model.label, task.name, task.protocol, metric.name)
            },
        )
    )


def _of_panel(
    header: RunHeader,
    model: ModelSummary,
    task: TaskSummary,
    metric: MetricInfo,
    cells: Mapping[tuple[str, int], pd.DataFrame],
) -> Iterator[Robustness]:
    # With several models, lengths given in windows differ: only those seen belong to this one.
    planned = header.lengths if len(header.models) == 1 else ()
    lengths = sorted({length for _, length in cells}.union(planned))
    for method in dict.fromkeys((*header.methods, *(method for method, _ in cells))) if cells else ():
        curve = _Curve(
            points={length: _point(cells.get((method, length))) for length in lengths},
            window=model.original_context_length,
            metric=metric,
        )
        kept = {length: curve.kept(length) for length in lengths}
        yield Robustness(
            model_label=model.label,
            task=task.name,
            protocol=task.protocol,
            metric=metric.name,
            method_label=method,
            original_context_length=model.original_context_length,
            higher_is_better=metric.higher_is_better,
            kept={length: _aggregate(found) for length, found in kept.items()},
            area=_area(curve),
            effective_length=_effective_length(kept, metric),
        )


class _Point(NamedTuple):
    """A cell as aggregates see it."""

    value: float | None
    mean: Mean | None
    """None where it has no interval."""
    absence: str = ""
    """Why there is no value."""


class _Kept(NamedTuple):
    """What is kept at one length."""

    value: float
    interval: Callable[[float], Interval] | None
    """From how many times as far bounds lie from their means; None where a mean has no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """The cells of one method."""

    points: Mapping[int, _Point]
    """Context length -> cell, ascending."""
    window: int
    metric: MetricInfo

    def kept(self, length: int) -> _Kept | str:
        """Return retention or rise, or why there is none."""
        start, point = self.points.get(self.window, _Point(None, None, "not measured")), self.points[length]
        for at, needed in ((self.window, start), (length, point)):
            if needed.value is None:
                return f"{needed.absence} at {at} tokens"
        of_direction = self._retention if self.metric.higher_is_better else self._rise
        return of_direction(point, start, is_window=length == self.window)

    def _retention(self, point: _Point, start: _Point, *, is_window: bool) -> _Kept | str:
        if start.mean is None:
            return (
                f"fewer than {SMALLEST_COUNT} samples or documents at the original window: whether its score is above "
                "chance is not known"
            )
        if start.mean.interval.low <= (self.metric.chance or 0.0):
            return "the score at the original window is not above chance"
        if is_window:
            return _Kept(1.0, lambda _: Interval(1.0, 1.0))
        value = float(point.value or 0.0) / start.mean.value
        if point.mean is None:
            return _Kept(value, None)
        ratio = Ratio(over=point.mean, under=start.mean)
        return _Kept(value, lambda stretch: ratio.interval(stretch=stretch))

    @staticmethod
    def _rise(point: _Point, start: _Point, *, is_window: bool) -> _Kept | str:
        if is_window:
            return _Kept(0.0, lambda _: Interval(0.0, 0.0))
        value = float(point.value or 0.0) - float(start.value or 0.0)
        if point.mean is None or start.mean is None:
            return _Kept(value, None)
        means = (point.mean, start.mean)
        return _Kept(value, lambda stretch: combined(means, (1, -1), stretch=stretch))


def _point(rows: pd.DataFrame | None) -> _Point:
    if rows is None:
        return _Point(None, None, "not measured")
    scored = rows[rows["score"].notna()]
    if not len(scored):
        statuses = set(rows["status"])
        return _Point(
            None, None, next((why for name, why in _ABSENCES.items() if name in statuses), "no score")
        )
    found = estimate_rows(scored)
    if found.value is None or found.interval is None:
        return _Point(found.value, None)
    weights = scored["weight"].tolist() if scored["weight"].notna().all() else None
    clusters = clusters_of(scored)
    sums = cluster_sums(scored["score"].tolist(), weights, clusters)
    # Numbers of clusters that are documents are places among the documents, in the order in which they appear.
    documents = scored["document"].dropna().unique().tolist()
    names = [documents[number] if number < len(documents) else None for number in dict.fromkeys(clusters)]
    return _Point(found.value, Mean(found.value, found.interval, residuals(*sums, names)))


def _aggregate(found: _Kept | str) -> Aggregate:
    if isinstance(found, str):
        return Aggregate(value=None, reason=found)
    return Aggregate(value=found.value, interval=found.interval(1.0) if found.interval else None)


def _area(curve: _Curve) -> Aggregate:
    points = list(curve.points.items())
    for length, point in points:
        if point.value is None:
            return Aggregate(value=None, reason=f"{point.absence} at {length} tokens")
    if len(points) < 2:
        return Aggregate(value=None, reason="one context length has no area")
    steps = [math.log2(after / before) for (before, _), (after, _) in pairwise(points)]
    width = sum(steps)
    weights = [
        (before + after) / 2 / width for before, after in zip([0.0, *steps], [*steps, 0.0], strict=True)
    ]
    value = math.fsum(
        weight * float(point.value or 0.0) for weight, (_, point) in zip(weights, points, strict=True)
    )
    means = [point.mean for _, point in points if point.mean is not None]
    interval = combined(means, weights) if len(means) == len(points) else None
    return Aggregate(value=value, interval=interval)


def _effective_length(kept: Mapping[int, _Kept | str], metric: MetricInfo) -> EffectiveLength:
    """Return the longest length that is held: cells beyond one that surely is not are not needed."""
    sign, threshold = (1, LEAST_RETENTION) if metric.higher_is_better else (-1, -LARGEST_RISE)
    longest = max(kept)

    def reached(bound: Callable[[_Kept], float | None]) -> int | str | None:
        """Return the longest length up to which a bound, better where larger, holds; or why that is not known."""
        held = None
        for length, found in kept.items():
            if isinstance(found, str):
                return found
            at = bound(found)
            if at is None:
                return f"fewer than {SMALLEST_COUNT} samples or documents at {length} tokens: no range"
            if at < threshold:
                break
            held = length
        return held

    def bound(side: int, stretch: float) -> Callable[[_Kept], float | None]:
        def at(found: _Kept) -> float | None:
            if found.interval is None:
                return None
            low, high = found.interval(stretch)
            return min(sign * low, sign * high) if side < 0 else max(sign * low, sign * high)

        return at

    value = reached(lambda found: sign * found.value)
    if isinstance(value, str):
        return EffectiveLength(value=None, interval=None, longest=longest, reason=value)
    tail = (1 - CONFIDENCE) / 2
    stretch = normal_quantile(tail / max(1, len(kept) - 1)) / normal_quantile(tail)
    low, high = reached(bound(-1, 1.0)), reached(bound(1, stretch))
    return EffectiveLength(
        value=value,
        interval=None if isinstance(low, str) else (low, longest if isinstance(high, str) else high),
        longest=longest,
    )


_ABSENCES: Mapping[str, str] = {
    "not_applicable": "not applicable",
    "out_of_memory": "out of memory",
    "error": "failed",
}
"""Status -> why a cell has no score; of several, the first."""
