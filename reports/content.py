"""What the report of runs says: one section per run, in it one per task, and all that made the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.captions import run_id
from longbench_run.reports.document import (
    Block,
    Heading,
    Items,
    Listing,
    Paragraph,
    code,
    strong,
    text,
)
from longbench_run.reports.panel_section import panel_blocks
from longbench_run.reports.panels import Panel, panels_of
from longbench_run.reports.published import against_blocks
from longbench_run.reports.suites import SUITE_NOTE, suite_tables
from longbench_run.reports.summary import summary_blocks
from longbench_run.reports.tables import labelled_table
from longbench_run.reports.text import length_label, visible
from longbench_run.reports.tuned import readable, tuned_blocks
from longbench_run.results.best import best_cells
from longbench_run.results.columns import TEXTS
from longbench_run.results.entropy import entropy_cells
from longbench_run.results.suites import scores_of_suites

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.records import RunHeader


class LoadedRun(NamedTuple):
    """A run as it is read from its folder."""

    folder: str
    """As the user gave it."""
    header: RunHeader
    frame: pd.DataFrame
    """Rows of `longbench_run.results.load` for it."""


def report_blocks(runs: Iterable[LoadedRun], *, against: str | None = None) -> Iterator[Block]:
    """Yield the report of runs, one after the other: samples of two runs are never pooled.

    Args:
        runs: At least one.
        against: A paper whose numbers stand beside each run's.

    Raises:
        ResultsError: If there is no paper of that name.
    """
    yield Heading(text=text("Robustness over context length"), level=1)
    for run in runs:
        yield from _run(run, against)


def _run(run: LoadedRun, against: str | None) -> Iterator[Block]:
    header, frame = run.header, run.frame.drop(columns=[*TEXTS])
    shown = panels_of(header, frame)
    yield Heading(text=text("Run ", code(run.folder)), level=2)
    if header.status != "complete":
        yield Paragraph(
            text=text(strong(f"This run is {header.status}: what is not measured is shown as -."))
        )
    yield from summary_blocks(shown, header, frame)
    yield from _facts(header)
    yield from _suites(run)
    yield from tuned_blocks(header, frame)
    best, entropies = best_cells(frame), entropy_cells(frame)
    for panel in shown:
        yield from readable(panel_blocks(panel, header, frame, best, entropies), header)
    if against is not None:
        yield from against_blocks(header, shown, against)
    yield from _methods(shown, header)
    yield from _provenance(header)


def _facts(header: RunHeader) -> Iterator[Block]:
    yield Heading(text=text("What was run"), level=3)
    finished = f", finished {header.finished}" if header.finished else ""
    yield Items(
        items=(
            *(
                text(
                    "model ",
                    code(model.label),
                    f": original window {model.original_context_length} tokens (",
                    code(model.original_context_length_source),
                    ")",
                )
                for model in header.models
            ),
            text("device ", code(header.device)),
            text(f"started {header.started}{finished}"),
        )
    )


def _suites(run: LoadedRun) -> Iterator[Block]:
    header = run.header
    if not header.suites:
        return
    scores = scores_of_suites(header, run.frame)
    for suite in header.suites:
        tables = list(suite_tables(suite, header, scores))
        if not tables:
            continue
        yield Heading(text=text(suite.name), level=3)
        yield Paragraph(text=text(SUITE_NOTE))
        for table in tables:
            yield Heading(text=text(table.title), level=4)
            yield labelled_table(
                table.title,
                text(f"{table.title}. Run ", code(run_id(header)), "."),
                [table.head, *table.rows],
                labels=range(table.labels),
            )


def _methods(shown: Iterable[Panel], header: RunHeader) -> Iterator[Block]:
    """List what each method was resolved to, and at which lengths where that differs."""
    lengths: dict[tuple[str, str, str], set[int]] = {}
    for panel in shown:
        for method in panel.methods:
            for length in panel.lengths:
                if found := panel.cells.get((method, length)):
                    lengths.setdefault((panel.model.label, method, found.method), set()).add(length)
    yield Heading(text=text("Methods, as resolved"), level=3)
    yield labelled_table(
        "methods",
        text("Methods, as resolved. Run ", code(run_id(header)), "."),
        [
            ("model", "method", "resolved", "context lengths"),
            *(
                (*key, ", ".join(length_label(length) for length in sorted(at)))
                for key, at in lengths.items()
            ),
        ],
        labels=range(3),
    )


def _provenance(header: RunHeader) -> Iterator[Block]:
    yield Heading(text=text("How it was made"), level=3)
    yield Listing(text=visible(shlex.join(header.command)))
    if header.git_revision:
        yield Paragraph(text=text("Revision ", code(header.git_revision), "."))
    yield labelled_table(
        "versions",
        text("Versions. Run ", code(run_id(header)), "."),
        [("package", "version"), *sorted(header.versions.items())],
        labels=range(2),
    )
