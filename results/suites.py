"""Scores of suites: 100 x the mean of each task, and means of means as the suite's authors print them.

A task's score is rounded to two decimals before it is averaged, as its authors round it: Python's rounding for one score of
all samples, numpy's for one per bucket of lengths; the two can differ in the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from longbench_run.results.records import RunHeader, SuiteInfo
from longbench_run.results.statistics import Interval
from longbench_run.results.store import read_header
from longbench_run.results.table import estimate_rows, groups_of_cells, load

if TYPE_CHECKING:
    import pandas as pd


class Part(NamedTuple):
    """A score with what is known of it, 0 to 100."""

    value: float
    n: int
    """Samples with a score."""
    interval: Interval | None
    """95 %; None where there are too few samples for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteScore:
    """One number of a suite: of a task, of a group of tasks, or of an average over groups."""

    suite: str
    model_label: str
    context_length: int
    method_label: str
    protocol: str
    bucket: str | None
    """Samples of a range of `source_length`; None for all of them."""
    average: str | None
    """None for a task: it may count for several."""
    group: str | None
    """None for the mean over groups, and for a task."""
    task: str | None
    value: float | None
    """0 to 100; None where a part is missing: the mean of the rest would be another quantity."""
    low: float | None
    """Lower bound of the 95 % interval; None where a part has none."""
    high: float | None
    n: int
    """Samples with a score."""
    present: int
    """Tasks of a group, or groups, that there is a score of."""
    expected: int


class _Place(NamedTuple):
    """What is never averaged over."""

    model_label: str
    context_length: int
    method_label: str
    protocol: str
    bucket: str | None


def suite_scores(*runs: Path | str) -> pd.DataFrame:
    """Return every score of the suites that runs have tasks of, one row per number, with ``run`` and `SuiteScore`'s fields.

    Args:
        runs: Run folders.

    Raises:
        ResultsError: If a folder is no run or cannot be read.
    """
    import pandas as pd

    rows = [
        {"run": str(run), **asdict(score)}
        for run in runs
        for score in scores_of_suites(read_header(run), load(run))
    ]
    return pd.DataFrame(rows, columns=["run", *(each.name for each in fields(SuiteScore))])


def scores_of_suites(header: RunHeader, frame: pd.DataFrame) -> tuple[SuiteScore, ...]:
    """Return every score of the suites of a run: by length, method, protocol and bucket, as the suite is ordered.

    Args:
        header: Header of the run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    return tuple(score for suite in header.suites for score in _scores(suite, header, frame))


def mean_of(parts: Sequence[Part]) -> Part:
    """Return the mean of independent scores.

    Its interval lies as far from it as the root of the summed squares of its parts' distances: what each of them does not
    know, Wilson's or the bootstrap's, is kept.

    Args:
        parts: At least one.

    Source:
        Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach", Statistics in
        Medicine 27 (the method of variance estimates recovery).
    """
    count = len(parts)
    value = sum(part.value for part in parts) / count
    intervals = [part.interval for part in parts if part.interval is not None]
    n = sum(part.n for part in parts)
    if len(intervals) < count:
        return Part(value, n, None)
    below, above = (
        math.hypot(*(part.value - interval[side] for part, interval in zip(parts, intervals, strict=True)))
        for side in (0, 1)
    )
    return Part(value, n, Interval(value - below / count, value + above / count))


def _scores(suite: SuiteInfo, header: RunHeader, frame: pd.DataFrame) -> Iterator[SuiteScore]:
    found = _task_scores(suite, header, frame)
    for place in sorted(found, key=lambda place: _order(place, suite, header)):
        by_task = found[place]
        for task, part in by_task.items():
            yield SuiteScore(
                suite=suite.name,
                **place._asdict(),
                average=None,
                group=None,
                task=task,
                **_numbers(part, n=part.n, present=1, expected=1),
            )
        for average in suite.averages:
            means = []
            n = 0
            for group, tasks in average.groups.items():
                parts = [by_task[task] for task in tasks if task in by_task]
                mean = mean_of(parts) if len(parts) == len(tasks) else None
                means += [mean] if mean else []
                of_group = sum(part.n for part in parts)
                n += of_group
                yield SuiteScore(
                    suite=suite.name,
                    **place._asdict(),
                    average=average.name,
                    group=group,
                    task=None,
                    **_numbers(mean, n=of_group, present=len(parts), expected=len(tasks)),
                )
            mean = mean_of(means) if len(means) == len(average.groups) else None
            yield SuiteScore(
                suite=suite.name,
                **place._asdict(),
                average=average.name,
                group=None,
                task=None,
                **_numbers(mean, n=n, present=len(means), expected=len(average.groups)),
            )


def _numbers(found: Part | None, *, n: int, present: int, expected: int) -> Mapping[str, Any]:
    low, high = found.interval if found and found.interval else (None, None)
    value = found.value if found else None
    return {"value": value, "low": low, "high": high, "n": n, "present": present, "expected": expected}


def _task_scores(
    suite: SuiteInfo, header: RunHeader, frame: pd.DataFrame
) -> Mapping[_Place, Mapping[str, Part]]:
    """Return the score of every task of a suite where it has samples, by its first metric."""
    members = {task for average in suite.averages for tasks in average.groups.values() for task in tasks}
    metrics = {task.name: task.metrics[0].name for task in header.tasks if task.name in members}
    scored = frame[frame["score"].notna() & (frame["metric"] == frame["task"].astype(object).map(metrics))]
    # Where a run has two setups of one cell, the one computed last is shown.
    cells = sorted(groups_of_cells(scored), key=lambda cell: int(cell[1].index.max()))
    found: dict[_Place, dict[str, Part]] = {}
    for key, rows in cells:
        for bucket, of_bucket in _by_bucket(suite, rows):
            place = _Place(key.model_label, key.context_length, key.method_label, key.protocol, bucket)
            rounded = _rounded if bucket is None else _rounded_as_in_buckets
            found.setdefault(place, {})[key.task] = _part(of_bucket, rounded)
    return {
        place: {task: by_task[task] for task in metrics if task in by_task}
        for place, by_task in found.items()
    }


def _by_bucket(suite: SuiteInfo, rows: pd.DataFrame) -> Iterator[tuple[str | None, pd.DataFrame]]:
    if not suite.buckets:
        yield None, rows
    start = 0.0
    for bucket, end in suite.buckets.items():
        stop = math.inf if end is None else end
        of_bucket = rows[(rows["source_length"] >= start) & (rows["source_length"] < stop)]
        if len(of_bucket):
            yield bucket, of_bucket
        start = stop


def _part(rows: pd.DataFrame, rounded: Callable[[Sequence[float]], float]) -> Part:
    interval = estimate_rows(rows).interval
    return Part(
        rounded(rows["score"].tolist()),
        len(rows),
        Interval(100 * interval.low, 100 * interval.high) if interval else None,
    )


def _rounded(values: Sequence[float]) -> float:
    return round(100 * sum(values) / len(values), 2)


def _rounded_as_in_buckets(values: Sequence[float]) -> float:
    return float(np.round(100 * np.mean(values), 2))


def _order(place: _Place, suite: SuiteInfo, header: RunHeader) -> tuple[int, ...]:
    """Return where a place stands: by model, length, method, protocol and bucket."""
    models = [model.label for model in header.models]
    protocols = list(dict.fromkeys(task.protocol for task in header.tasks))
    return (
        _index(models, place.model_label),
        place.context_length,
        _index(header.methods, place.method_label),
        _index(protocols, place.protocol),
        -1 if place.bucket is None else list(suite.buckets).index(place.bucket),
    )


def _index(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else len(known)
