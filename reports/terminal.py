"""The table printed at the end of a run: plain text, no wider than a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from longbench_run.reports.panels import NO_INTERVAL, Panel, grouped, panels
from longbench_run.reports.text import length_label, multiple_label, shortened, visible

_WIDEST_LABEL = 24
_GAP = 2
_LONGEST_NOTE = 200


def terminal_tables(run: Path | str, *, width: int = 100) -> str:
    """Return the tables of a run, one block per task, model and metric.

    Rows are methods in the order asked for, columns context lengths; a bar stands where the original
    window ends.

    Args:
        run: Run folder.
        width: Columns of the terminal, at least 60.

    Raises:
        ResultsError: If the folder is no run or cannot be read.
    """
    header, shown = panels(run)
    blocks = ["\n".join(_block(panel, width)) for panel in shown]
    if header.status != "complete":
        blocks.append(f"The run is {header.status}: - stands for what is not measured.")
    return "\n\n".join(blocks) + "\n"


def _block(panel: Panel, width: int) -> Iterator[str]:
    yield visible(f"{panel.title} ({panel.direction})")
    facts = (
        f"model {panel.model.label}",
        f"protocol {panel.task.protocol}",
        f"factor {panel.factor_policy}",
        panel.count_text(),
        panel.interval_text(),
    )
    yield from _wrapped([visible(fact) for fact in facts], width)
    label_width = max(len(visible(method)) for method in panel.methods) if panel.methods else 0
    label_width = min(label_width, _WIDEST_LABEL)
    for lengths in _pages(panel, width - label_width):
        yield ""
        yield from _page(panel, lengths, label_width)
    yield f"| original window: {panel.model.original_context_length} tokens ({_source(panel)})"
    if panel.has_value_without_interval:
        yield NO_INTERVAL
    if panel.superseded:
        yield panel.superseded_text()
    for text, places in grouped(panel.notes()):
        line = visible(f"! {places}: {shortened(text, _LONGEST_NOTE)}")
        yield from wrap(line, width, subsequent_indent="  ")


def _page(panel: Panel, lengths: Sequence[int], label_width: int) -> Iterator[str]:
    window = panel.model.original_context_length
    columns = []
    for length in lengths:
        column = [f"{length_label(length)} ({multiple_label(length, window)})"]
        column += [panel.value_text(method, length) for method in panel.methods]
        widest = max(map(len, column))
        columns.append([text.ljust(widest) for text in column])
    labels = ["", *(visible(method) for method in panel.methods)]
    is_last_inside = [
        length <= window and not any(length < other <= window for other in panel.lengths)
        for length in lengths
    ]
    for row, label in enumerate(labels):
        if len(label) > label_width:
            yield label
            label = ""  # noqa: PLW2901 (a long label has a line of its own)
        line = label.ljust(label_width)
        for column, is_last in zip(columns, is_last_inside, strict=True):
            line += " " * _GAP + column[row] + (" |" if is_last else "")
        yield line.rstrip()


def _pages(panel: Panel, width: int) -> Iterator[list[int]]:
    """Split the lengths into pages that fit."""
    page: list[int] = []
    used = 0
    for length in panel.lengths:
        texts = [panel.value_text(method, length) for method in panel.methods]
        need = _GAP + max(len(text) for text in [*texts, f"{length_label(length)} (0.25x)"]) + len(" |")
        if page and used + need > width:
            yield page
            page, used = [], 0
        page.append(length)
        used += need
    if page:
        yield page


def _source(panel: Panel) -> str:
    return visible(panel.model.original_context_length_source)


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    """Join parts by bars into lines that fit."""
    line = ""
    for part in parts:
        if line and len(line) + len(", ") + len(part) > width:
            yield line + ","
            line = part
        else:
            line = f"{line}, {part}" if line else part
    yield line
