"""The first report: one Markdown page with a curve and a table per task, and all that made them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from longbench_run.reports.curves import alt_text, robustness_figure
from longbench_run.reports.figures import save_figure
from longbench_run.reports.panels import NO_INTERVAL, Panel, grouped, panels
from longbench_run.reports.text import (
    length_label,
    markdown_code,
    markdown_text,
    multiple_label,
    shortened,
    visible,
)
from longbench_run.results.records import ResultsError, RunHeader

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
    read = [(str(run), *panels(run)) for run in runs]
    output = Path(output)
    try:
        (output / _FIGURES).mkdir(parents=True, exist_ok=True)
        names = _FigureNames()
        lines = ["# Robustness over context length", ""]
        for run, header, shown in read:
            lines += [f"## Run {markdown_code(run)}", ""]
            lines += _run_facts(header)
            for panel in shown:
                lines += _panel_section(panel, output, names, several_models=len(header.models) > 1)
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


def _panel_section(panel: Panel, output: Path, names: _FigureNames, *, several_models: bool) -> Iterator[str]:
    of_model = f" ({markdown_code(panel.model.label)})" if several_models else ""
    yield f"### {markdown_text(panel.title)}{of_model}"
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
    yield f"Source: {markdown_text(panel.task.source)} Licence: {markdown_text(panel.task.licence)}."
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
    yield from _rows(["method", *heads], rows)
    yield ""
    if panel.has_value_without_interval:
        yield f"{_cell(NO_INTERVAL)}."
        yield ""
    if panel.superseded:
        yield f"{panel.superseded_text()}."
        yield ""
    yield from _notes(panel)


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
