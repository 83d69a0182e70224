"""The section of one task and metric: its curve, its numbers, and what they look like from other sides."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING

from longbench_run.reports.captions import caption
from longbench_run.reports.cost import cost_blocks
from longbench_run.reports.curves import curve_blocks
from longbench_run.reports.document import (
    Block,
    Cell,
    Heading,
    Paragraph,
    Table,
    Text,
    cell,
    code,
    text,
)
from longbench_run.reports.entropy import entropy_blocks
from longbench_run.reports.forest import forest_blocks
from longbench_run.reports.heat_map import heat_map_blocks
from longbench_run.reports.panels import NO_INTERVAL, Panel, grouped
from longbench_run.reports.positions import (
    fewest_samples,
    has_position_figure,
    position_blocks,
    position_notes,
    position_table,
)
from longbench_run.reports.robustness import power_blocks, robustness_blocks
from longbench_run.reports.tables import labelled_table
from longbench_run.reports.text import length_label, multiple_label, shortened
from longbench_run.reports.truncation import TRUNCATION_NOTE, truncation_table
from longbench_run.results.statistics import SMALLEST_COUNT

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.entropy import EntropyCell
    from longbench_run.results.records import RunHeader
    from longbench_run.results.table import CellKey

_LONGEST_NOTE = 300
_BEST = (
    "Bold: the best of its column, and all that are not significantly worse over the same samples (Holm's correction over "
    "all pairs of methods and all lengths)."
)


def panel_blocks(
    panel: Panel,
    header: RunHeader,
    frame: pd.DataFrame,
    best: Container[CellKey],
    entropies: Sequence[EntropyCell],
) -> Iterator[Block]:
    """Yield the section of a panel; its title tells it apart from others of the same name.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
        best: Cells that are the best of their column, or not significantly worse.
        entropies: Of all cells of the run that have some.
    """
    protocols = [task for task in header.tasks if task.name == panel.task.name]
    apart = [
        *([panel.task.protocol] if len(protocols) > 1 else []),
        *([panel.model.label] if len(header.models) > 1 else []),
    ]
    spans = [part for name in apart for part in (", ", code(name))][1:]
    yield Heading(text=text(panel.title, *([" (", *spans, ")"] if spans else [])), level=3)
    if not panel.scored:
        yield Paragraph(text=text("Nothing was measured: there is no figure."))
    yield from curve_blocks(panel, header)
    yield _table(panel, header, best)
    yield from forest_blocks(panel, header, frame)
    yield from heat_map_blocks(panel, header)
    yield from cost_blocks(panel, header, frame)
    # What follows has headings of its own.
    yield from robustness_blocks(panel, header, frame)
    yield from power_blocks(panel, header, frame)
    if panel.curves:
        yield from _by_position(panel, header)
    yield from entropy_blocks(panel, header, frame, entropies)
    if panel.ledgers:
        yield Heading(text=text(f"{panel.title} by truncation"), level=4)
        yield labelled_table(
            _name(panel, "by truncation"),
            _caption(panel, header, f"{panel.title} by truncation"),
            truncation_table(panel),
            labels=[1],
            notes=[text(TRUNCATION_NOTE)],
        )
    yield Paragraph(text=text(f"Source: {panel.task.source} Licence: {panel.task.licence}."))


def _by_position(panel: Panel, header: RunHeader) -> Iterator[Block]:
    title = f"{panel.title} by position"
    yield Heading(text=text(title), level=4)
    if not has_position_figure(panel):
        yield Paragraph(
            text=text(
                f"Curves by position take at least {SMALLEST_COUNT} samples at every position, and there are "
                f"{fewest_samples(panel)}: ask for more samples."
            )
        )
        return
    yield from position_blocks(panel, header)
    yield labelled_table(
        _name(panel, "by position"),
        _caption(panel, header, title),
        position_table(panel),
        labels=[1],
        notes=[text(position_notes(panel))],
    )


def _caption(panel: Panel, header: RunHeader, what: str) -> Text:
    return caption(panel, header, what, (panel.count_text(), panel.interval_text()))


def _name(panel: Panel, *parts: str) -> str:
    return "-".join((*panel.name, *parts, panel.model.label))


def _table(panel: Panel, header: RunHeader, best: Container[CellKey]) -> Table:
    window = panel.model.original_context_length
    heads = [text(f"{length_label(length)} ({multiple_label(length, window)})") for length in panel.lengths]
    rows = [
        (cell(code(method)), *(_value(panel, method, length, best) for length in panel.lengths))
        for method in panel.methods
    ]
    return Table(
        name=_name(panel),
        caption=_caption(panel, header, f"{panel.title} over context length ({panel.direction})"),
        head=(text("method"), *heads),
        rows=(*rows, *_reference_rows(panel)),
        notes=tuple(_notes(panel, has_best=any(cell.key in best for cell in panel.cells.values()))),
    )


def _value(panel: Panel, method: str, length: int, best: Container[CellKey]) -> Cell:
    found = panel.cells.get((method, length))
    return cell(
        panel.value_text(method, length, digits=3),
        sort=found.value if found else None,
        is_best=found is not None and found.key in best,
        samples=found.key if found else None,
    )


def _reference_rows(panel: Panel) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each method and protocol that is a floor or a ceiling."""
    for protocol in panel.roles:
        for method in panel.methods:
            means = [panel.references.get((method, length), {}).get(protocol) for length in panel.lengths]
            if any(means):
                values = (
                    cell(panel.mean_text(mean, digits=3), sort=mean.value if mean else None) for mean in means
                )
                yield (cell(text(code(method), ", ", code(protocol))), *values)


def _notes(panel: Panel, *, has_best: bool) -> Iterator[Text]:
    if has_best:
        yield text(_BEST)
    for protocol, role in panel.roles.items():
        if any(protocol in means for means in panel.references.values()):
            yield text("Protocol ", code(protocol), f": the {role}, over the same questions.")
    if panel.has_value_without_interval:
        yield text(f"{NO_INTERVAL}.")
    if panel.superseded:
        yield text(f"{panel.superseded_text()}.")
    for note, places in grouped(panel.notes()):
        yield text(code(places), ": ", code(shortened(note, _LONGEST_NOTE)))
