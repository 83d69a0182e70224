"""A run beside the numbers that a paper printed, and what keeps the two from being the same measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from longbench_run.reports.captions import caption
from longbench_run.reports.curves import alt_text
from longbench_run.reports.document import (
    Block,
    Cell,
    Figure,
    Heading,
    Items,
    Paragraph,
    Span,
    Table,
    Text,
    cell,
    code,
    text,
)
from longbench_run.reports.overlay import Beside, besides, overlay_figure
from longbench_run.reports.panels import Note, Panel, grouped
from longbench_run.reports.text import length_label
from longbench_run.results.published import PublishedRow, Series, published
from longbench_run.results.records import RunHeader

_SECOND_HAND = "second-hand: read where others quote it"
_UNKNOWN = "not recorded"
_HOW_DRAWN = "Hollow markers on dash-dotted lines are the paper's, in the colour of the same method here."


def against_blocks(header: RunHeader, panels: Iterable[Panel], name: str) -> Iterator[Block]:
    """Yield a run beside a paper: for each task of both a figure, a table, and how the measurements differ.

    Args:
        header: The run.
        panels: Of the run.
        name: One of `longbench_run.results.published.published_names`.

    Raises:
        ResultsError: If there is no paper of that name.
    """
    rows, panels = published(name), tuple(panels)
    found = [beside for panel in panels if panel.task.reference is None for beside in besides(panel, rows)]
    yield Heading(text=text("Beside published numbers: ", code(name)), level=3)
    sources = dict.fromkeys(row.source for row in rows)
    yield Paragraph(
        text=text(
            f"Numbers of {'; '.join(sources)}. They are quoted, not measured here, and carry no interval: no difference "
            "between the two sides is tested."
        )
    )
    for beside in found:
        yield from _beside(beside, header, name)
    absent = tuple(_absent(rows, found, panels))
    if absent:
        yield Paragraph(text=text("What the paper has and is not shown beside this run:"))
        yield Items(items=absent)


def _beside(beside: Beside, header: RunHeader, name: str) -> Iterator[Block]:
    panel, first = beside.panel, beside.rows[0]
    what = f"{panel.title} beside {name}: {first.model}, {first.dataset}"
    stem = "-".join((*panel.name, "beside", name, panel.model.label))
    about = caption(panel, header, what, (panel.count_text(), panel.interval_text()), _HOW_DRAWN)
    yield Heading(text=text(what), level=4)
    yield Figure(
        name=stem,
        title=what,
        alt=f"{alt_text(panel)} Published: {_in_words(beside)}.",
        caption=about,
        draw=partial(overlay_figure, beside),
    )
    yield Table(
        name=stem,
        caption=about,
        head=(text("method"), text("of"), *(text(length_label(length)) for length in beside.lengths)),
        rows=tuple(_rows(beside)),
        notes=tuple(_notes(beside.rows)),
    )
    yield Paragraph(text=text("How the two measurements differ:"))
    yield Items(items=tuple(_differences(beside, header)))


def _rows(beside: Beside) -> Iterator[tuple[Cell, ...]]:
    """Yield the run's methods, each with the paper's rows of the same one below it, then the paper's others."""
    panel, shared = beside.panel, beside.shared
    for method in panel.methods:
        yield (cell(code(method)), cell("this run"), *(_own(panel, method, n) for n in beside.lengths))
        for series in shared.get(method, ()):
            yield _row_of(beside, series)
    placed = {series for of_method in shared.values() for series in of_method}
    for series in beside.series:
        if series not in placed:
            yield _row_of(beside, series)


def _own(panel: Panel, method: str, length: int) -> Cell:
    found = panel.cells.get((method, length))
    return cell(
        panel.value_text(method, length, digits=3),
        sort=found.value if found else None,
        samples=found.key if found else None,
    )


def _row_of(beside: Beside, series: Series) -> tuple[Cell, ...]:
    rows = beside.series[series]
    tuned = {"no": "paper", None: "paper"}.get(series.tuned, "paper, tuned")
    return (
        cell(code(series.called)),
        cell(f"{tuned}, table {series.table}"),
        *(_published(beside.panel, rows.get(length)) for length in beside.lengths),
    )


def _published(panel: Panel, row: PublishedRow | None) -> Cell:
    if row is None:
        return cell("-")
    if row.score is None:
        return cell(row.value)
    return cell(panel.number_text(row.score, digits=3), sort=row.score)


def _notes(rows: Sequence[PublishedRow]) -> Iterator[Text]:
    """Yield what is known to be wrong with the paper's rows, or to be careful of, and which ones it holds for."""
    found = [
        Note(row.called, row.context_length or 0, note)
        for row in rows
        for note in (*([_SECOND_HAND] if row.second_hand else []), *row.flags)
    ]
    times = Counter(note.text for note in found)
    for note, places in grouped(found):
        of_all = times[note] == len(rows)
        yield text("all of the paper's" if of_all else code(places), f": {note}.")


def _differences(beside: Beside, header: RunHeader) -> Iterator[Text]:
    """Yield what differs, or is not recorded on the paper's side; what is the same is left out."""
    panel, rows = beside.panel, beside.rows
    compared = (
        ("model", _all(row.model for row in rows), panel.model.label),
        (
            "original window",
            _all(row.original_context_length for row in rows),
            str(panel.model.original_context_length),
        ),
        ("tuned for the length", _tuned(rows), _weights(header)),
        ("data", _all(row.dataset for row in rows), panel.task.source),
        ("protocol", _all(row.protocol for row in rows), panel.task.protocol),
        ("samples", _all(row.n for row in rows), panel.count_text()),
        ("factor policy", _UNKNOWN, panel.factor_policy),
        ("intervals", "none printed", panel.interval_text()),
    )
    for what, there, here in compared:
        if there != here:
            yield text(f"{what}: ", code(there), " in the paper, ", code(here), " here")


def _all(values: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(_UNKNOWN if value is None else str(value) for value in values))


def _tuned(rows: Iterable[PublishedRow]) -> str:
    called: dict[str, dict[str, None]] = {}
    for row in rows:
        called.setdefault(row.tuned or _UNKNOWN, {})[row.called] = None
    return "; ".join(f"{tuned} ({', '.join(names)})" for tuned, names in called.items())


def _weights(header: RunHeader) -> str:
    """Say which methods of the run bring weights of their own."""
    methods = header.config.get("methods")
    if not isinstance(methods, Sequence) or not all(isinstance(method, Mapping) for method in methods):
        return _UNKNOWN
    own = [str(method.get("label") or method.get("name")) for method in methods if method.get("weights")]
    return f"weights of their own: {', '.join(own)}" if own else "no: the weights of the model"


def _in_words(beside: Beside) -> str:
    parts = []
    for own in beside.shared.values():
        for series in own:
            points = beside.series[series]
            ends = dict.fromkeys((min(points), max(points)))
            values = ", ".join(
                f"{''.join(span.text for span in _published(beside.panel, points[n]).text)} at {length_label(n)}"
                for n in ends
            )
            parts.append(f"{series.called} {values}")
    return "; ".join(parts)


def _absent(rows: Sequence[PublishedRow], found: Iterable[Beside], panels: Iterable[Panel]) -> Iterator[Text]:
    """Yield what is not shown of the paper: tasks that the run lacks, and what no method of the run is in."""
    placed = {row for beside in found for row in beside.rows}
    of_run = {(panel.task.name, panel.metric.name) for panel in panels}
    lacking: dict[str, None] = {}
    without_method: dict[str, None] = {}
    for row in rows:
        if row in placed:
            continue
        if (row.task, row.metric) in of_run:
            without_method[f"{row.called} ({row.model}, {row.dataset})"] = None
        else:
            lacking[row.task] = None
    if lacking:
        yield text("tasks that are not in this run: ", *_codes(lacking))
    if without_method:
        yield text("rows without a method of this run: ", *_codes(without_method))


def _codes(names: Iterable[str]) -> Iterator[Span | str]:
    for place, name in enumerate(names):
        if place:
            yield ", "
        yield code(name)
