"""Suites as tables: per model and context length, averages by group, and the scores of single tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longbench_run.reports.text import length_label, multiple_label
from longbench_run.results.records import RunHeader, SuiteAverageInfo, SuiteInfo
from longbench_run.results.suites import SuiteScore

SUITE_NOTE = (
    "Scores are 100 x the mean, rounded to two decimals before they are averaged; higher is better. A group is the mean of "
    "its tasks, and the average that of its groups: shown only where all parts were measured, else how many were. In "
    "brackets: 95 % intervals, where every task has ten samples; n: samples behind a row."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTable:
    """A table, and what stands above it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    """Columns that name a row: text of the user's, all others are numbers."""


def suite_tables(suite: SuiteInfo, header: RunHeader, scores: Sequence[SuiteScore]) -> Iterator[SuiteTable]:
    """Yield the tables of a suite: for each model and context length its averages, and its tasks.

    Args:
        suite: One of the run's.
        header: The run.
        scores: Of the run, in order.
    """
    windows = {model.label: model.original_context_length for model in header.models}
    of_suite = [score for score in scores if score.suite == suite.name]
    for model, length in dict.fromkeys((score.model_label, score.context_length) for score in of_suite):
        shown = [s for s in of_suite if (s.model_label, s.context_length) == (model, length)]
        times = f" ({multiple_label(length, windows[model])})" if model in windows else ""
        of_model = f", {model}" if len(windows) > 1 else ""
        place = f"{suite.name} at {length_label(length)}{times}{of_model}"
        for average in _worth_showing(suite, shown):
            yield _averages(suite, average, shown, title=f"{place}, {average.name}")
        yield _tasks(suite, shown, title=f"{place}, by task")


def _worth_showing(suite: SuiteInfo, scores: Sequence[SuiteScore]) -> Iterator[SuiteAverageInfo]:
    """Yield averages that have a group which is complete somewhere, and which no earlier one has."""
    complete = {(score.average, score.group) for score in scores if score.value is not None}
    shown: set[tuple[str, ...]] = set()
    for average in suite.averages:
        tasks = {of for group, of in average.groups.items() if (average.name, group) in complete}
        if tasks - shown:
            yield average
        shown |= tasks


def _averages(
    suite: SuiteInfo, average: SuiteAverageInfo, scores: Sequence[SuiteScore], *, title: str
) -> SuiteTable:
    own = [score for score in scores if score.average == average.name]
    groups = [
        group for group in average.groups if any(score.group == group and score.present for score in own)
    ]
    found = {(_row(suite, score), score.group): score for score in own}
    rows = dict.fromkeys(_row(suite, score) for score in own if score.n)
    return SuiteTable(
        title=title,
        head=("method", "protocol", *_bucket_head(suite), *groups, "average", "n"),
        rows=tuple(
            (*row, *(_text(found[row, group]) for group in (*groups, None)), str(found[row, None].n))
            for row in rows
        ),
        labels=len(("method", "protocol", *_bucket_head(suite))),
    )


def _tasks(suite: SuiteInfo, scores: Sequence[SuiteScore], *, title: str) -> SuiteTable:
    own = [score for score in scores if score.task is not None]
    found = {(score.method_label, score.protocol, score.task, score.bucket): score for score in own}
    columns = dict.fromkeys((score.method_label, score.protocol) for score in own)
    has_protocols = len({protocol for _, protocol in columns}) > 1
    members = dict.fromkeys(
        task for average in suite.averages for tasks in average.groups.values() for task in tasks
    )
    buckets = tuple(suite.buckets) or (None,)
    rows = []
    for task in members:
        for bucket in buckets:
            cells = [found.get((*column, task, bucket)) for column in columns]
            counts = sorted({cell.n for cell in cells if cell})
            if counts:
                n = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
                label = (task,) if bucket is None else (task, bucket)
                rows.append((*label, *(_text(cell) if cell else "-" for cell in cells), n))
    heads = (f"{method}, {protocol}" if has_protocols else method for method, protocol in columns)
    return SuiteTable(
        title=title,
        head=("task", *_bucket_head(suite), *heads, "n"),
        rows=tuple(rows),
        labels=len(("task", *_bucket_head(suite))),
    )


def _row(suite: SuiteInfo, score: SuiteScore) -> tuple[str, ...]:
    bucket = (score.bucket,) if score.bucket is not None else ()
    return (score.method_label, score.protocol, *bucket)


def _bucket_head(suite: SuiteInfo) -> tuple[str, ...]:
    return ("length of the source",) if suite.buckets else ()


def _text(score: SuiteScore) -> str:
    if score.value is None:
        return f"- ({score.present} of {score.expected})"
    interval = "-" if score.low is None or score.high is None else f"{score.low:.1f}, {score.high:.1f}"
    return f"{score.value:.2f} [{interval}]"
