"""The first report: one Markdown page with a curve and a table per task, and all that made them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from longbench_run.reports.curves import alt_text, robustness_figure
from longbench_run.reports.figures import save_figure
from longbench_run.reports.panels import NO_INTERVAL, Panel, grouped, panels_of
from longbench_run.reports.positions import (
    fewest_samples,
    has_position_figure,
    position_alt_text,
    position_figure,
    position_notes,
    position_table,
)
from longbench_run.reports.suites import SUITE_NOTE, suite_tables
from longbench_run.reports.text import (
    length_label,
    markdown_code,
    markdown_text,
    multiple_label,
    shortened,
    visible,
)
from longbench_run.reports.truncation import TRUNCATION_NOTE, truncation_table
from longbench_run.results.records import ResultsError, RunHeader
from longbench_run.results.statistics import SMALLEST_COUNT
from longbench_run.results.store import read_header
from longbench_run.results.suites import SuiteScore, scores_of_suites
from longbench_run.results.table import load

_FIGURES = "figures"
_LONGEST_NOTE = 300


def write_report(runs: Sequence[Path | str], output: Path | str) -> Path:
    """Write ``report.md`` and its figures; the same runs give the same bytes.

    Runs are shown one after the other: samples of two runs are never pooled.

    Args:
        runs: Run folders, at least one.
        output: Folder of the report; made where it is missing.

    Returns:
        Path of ``report.md``.

    Raises:
        ResultsError: If there is no run, a folder is no run or cannot be read, or the output cannot be
            written.
    """
    if not runs:
        raise ResultsError("report: run must be at least one folder, got none. Name a folder below runs/.")
    read = [(str(run), read_header(run), load(run)) for run in runs]
    output = Path(output)
    try:
        (output / _FIGURES).mkdir(parents=True, exist_ok=True)
        names = _FigureNames()
        lines = ["# Robustness over context length", ""]
        for run, header, frame in read:
            shown = panels_of(header, frame)
            lines += [f"## Run {markdown_code(run)}", ""]
            lines += _run_facts(header)
            lines += _suites(header, scores_of_suites(header, frame))
            for panel in shown:
                lines += _panel_section(panel, output, names, apart=_apart(panel, header))
            lines += _methods(shown)
            lines += _provenance(header)
        path = output / "report.md"
        path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultsError(
            f"{output}: --output must be writable, got {error.strerror or error!s}. Choose another --output."
        ) from None
    return path


class _FigureNames:
    """File names of figures: readable, and never the same twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, *parts: str) -> str:
        """Return a new name made of ``parts``."""
        wanted = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-.") or "x" for part in parts)[:80]
        name, number = wanted, 2
        while name.lower() in self._taken:
            name, number = f"{wanted}-{number}", number + 1
        self._taken.add(name.lower())
        return name


def _run_facts(header: RunHeader) -> Iterator[str]:
    if header.status != "complete":
        yield f"**This run is {header.status}: what is not measured is shown as -.**"
        yield ""
    for model in header.models:
        yield (
            f"- model {markdown_code(model.label)}: original window {model.original_context_length} tokens "
            f"({markdown_code(model.original_context_length_source)})"
        )
    yield f"- device {markdown_code(header.device)}"
    yield f"- started {header.started}" + (f", finished {header.finished}" if header.finished else "")
    yield ""


def _suites(header: RunHeader, scores: Sequence[SuiteScore]) -> Iterator[str]:
    for suite in header.suites:
        tables = list(suite_tables(suite, header, scores))
        if not tables:
            continue
        yield f"### {markdown_text(suite.name)}"
        yield ""
        yield _cell(SUITE_NOTE)
        yield ""
        for table in tables:
            yield f"#### {markdown_text(table.title)}"
            yield ""
            yield from _labelled([table.head, *table.rows], labels=range(table.labels))
            yield ""


def _apart(panel: Panel, header: RunHeader) -> tuple[str, ...]:
    """Return what tells a panel apart from others of the same name: its protocol, its model."""
    protocols = [task for task in header.tasks if task.name == panel.task.name]
    return (
        *([panel.task.protocol] if len(protocols) > 1 else []),
        *([panel.model.label] if len(header.models) > 1 else []),
    )


def _panel_section(panel: Panel, output: Path, names: _FigureNames, *, apart: Sequence[str]) -> Iterator[str]:
    of_these = f" ({', '.join(map(markdown_code, apart))})" if apart else ""
    yield f"### {markdown_text(panel.title)}{of_these}"
    yield ""
    yield (
        f"Model {markdown_code(panel.model.label)}, protocol {markdown_code(panel.task.protocol)}, "
        f"factor policy {markdown_code(panel.factor_policy)}, {panel.count_text()}; {panel.interval_text()}; "
        f"{panel.direction}. Original window: {panel.model.original_context_length} tokens."
    )
    yield ""
    if panel.scored:
        name = names.name(*panel.name, panel.model.label)
        alt = alt_text(panel)
        title = f"{panel.title}, {panel.model.label}"
        save_figure(robustness_figure(panel), output / _FIGURES / name, title=title, description=alt)
        yield f"![{markdown_text(alt)}]({_FIGURES}/{name}.png)"
        yield ""
        yield f"[The same as SVG]({_FIGURES}/{name}.svg)"
    else:
        yield "Nothing was measured: there is no figure."
    yield ""
    yield from _table(panel)
    if panel.curves:
        yield from _by_position(panel, output, names)
    if panel.ledgers:
        yield f"#### {markdown_text(panel.title)} by truncation"
        yield ""
        yield from _labelled(truncation_table(panel), labels=[1])
        yield ""
        yield TRUNCATION_NOTE
        yield ""
    yield f"Source: {markdown_text(panel.task.source)} Licence: {markdown_text(panel.task.licence)}."
    yield ""


def _by_position(panel: Panel, output: Path, names: _FigureNames) -> Iterator[str]:
    yield f"#### {markdown_text(panel.title)} by position"
    yield ""
    if not has_position_figure(panel):
        yield (
            f"Curves by position take at least {SMALLEST_COUNT} samples at every position, and there are "
            f"{fewest_samples(panel)}: ask for more samples."
        )
        yield ""
        return
    name = names.name(*panel.name, "by-position", panel.model.label)
    alt = position_alt_text(panel)
    title = f"{panel.title} by position, {panel.model.label}"
    save_figure(position_figure(panel), output / _FIGURES / name, title=title, description=alt)
    yield f"![{markdown_text(alt)}]({_FIGURES}/{name}.png)"
    yield ""
    yield f"[The same as SVG]({_FIGURES}/{name}.svg)"
    yield ""
    yield from _labelled(position_table(panel), labels=[1])
    yield ""
    yield _cell(position_notes(panel))
    yield ""


def _table(panel: Panel) -> Iterator[str]:
    window = panel.model.original_context_length
    heads = [f"{length_label(length)} ({multiple_label(length, window)})" for length in panel.lengths]
    rows = [
        [
            markdown_code(method, in_table=True),
            *(_cell(panel.value_text(method, length, digits=3)) for length in panel.lengths),
        ]
        for method in panel.methods
    ]
    yield from _rows(["method", *heads], [*rows, *_reference_rows(panel)])
    yield ""
    for protocol, role in panel.roles.items():
        if any(protocol in means for means in panel.references.values()):
            yield f"Protocol {markdown_code(protocol)}: the {role}, over the same questions."
            yield ""
    if panel.has_value_without_interval:
        yield f"{_cell(NO_INTERVAL)}."
        yield ""
    if panel.superseded:
        yield f"{panel.superseded_text()}."
        yield ""
    yield from _notes(panel)


def _reference_rows(panel: Panel) -> Iterator[list[str]]:
    """Yield a row for each method and protocol that is a floor or a ceiling."""
    for protocol in panel.roles:
        for method in panel.methods:
            means = [panel.references.get((method, length), {}).get(protocol) for length in panel.lengths]
            if any(means):
                label = f"{markdown_code(method, in_table=True)}, {markdown_code(protocol, in_table=True)}"
                yield [label, *(_cell(panel.mean_text(mean, digits=3)) for mean in means)]


def _notes(panel: Panel) -> Iterator[str]:
    notes = grouped(panel.notes())
    for text, places in notes:
        yield f"- {markdown_code(places)}: {markdown_code(shortened(text, _LONGEST_NOTE))}"
    if notes:
        yield ""


def _methods(shown: Iterable[Panel]) -> Iterator[str]:
    """List what each method was resolved to, and at which lengths where that differs."""
    lengths: dict[tuple[str, str, str], set[int]] = {}
    for panel in shown:
        for method in panel.methods:
            for length in panel.lengths:
                if cell := panel.cells.get((method, length)):
                    lengths.setdefault((panel.model.label, method, cell.method), set()).add(length)
    yield "### Methods, as resolved"
    yield ""
    rows = [
        [
            *(markdown_code(text, in_table=True) for text in key),
            ", ".join(length_label(length) for length in sorted(at)),
        ]
        for key, at in lengths.items()
    ]
    yield from _rows(["model", "method", "resolved", "context lengths"], rows)
    yield ""


def _provenance(header: RunHeader) -> Iterator[str]:
    yield "### How it was made"
    yield ""
    yield _fenced(visible(shlex.join(header.command)))
    yield ""
    if header.git_revision:
        yield f"Revision {markdown_code(header.git_revision)}."
        yield ""
    rows = [
        [markdown_code(name, in_table=True), markdown_code(version, in_table=True)]
        for name, version in sorted(header.versions.items())
    ]
    yield from _rows(["package", "version"], rows)
    yield ""


def _labelled(table: Iterable[Sequence[str]], *, labels: Container[int]) -> Iterator[str]:
    """Write a table, its head first, whose columns ``labels`` hold text of the user's."""
    head, *rows = table
    yield from _rows(
        [markdown_text(text) for text in head],
        [
            [
                markdown_code(text, in_table=True) if place in labels else _cell(text)
                for place, text in enumerate(row)
            ]
            for row in rows
        ],
    )


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] * len(head))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _cell(text: str) -> str:
    """Escape what a value can contain that Markdown would read: brackets, as those of a link."""
    return text.replace("[", "\\[").replace("]", "\\]")


def _fenced(text: str) -> str:
    """Return a block of code that its content cannot end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
