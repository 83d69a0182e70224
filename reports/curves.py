"""Robustness curves: a metric over context length, one line per method, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.axes import draw_line, drawn, set_length_axis, set_value_axis, thin_out_lengths
from longbench_run.reports.captions import about, absence, caption
from longbench_run.reports.document import Block, Figure
from longbench_run.reports.figures import (
    BASELINE,
    MethodStyle,
    Style,
    house_style,
    legend_label,
    method_handle,
    method_styles,
)
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.panels import Note, Panel, grouped
from longbench_run.reports.text import length_label, visible
from longbench_run.results.records import RunHeader

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.typing import FillStyleType

_DODGE = 0.07
"""Octaves between neighbours at one length, so that error bars stand side by side."""
_WIDEST_DODGE = 0.44
_MOST_BANDS = 4
"""Lines with bands between their bars: those of more lie on each other."""
_BODY = 20.0
"""Height of the axes, in font sizes."""
_FILLED: tuple[FillStyleType, ...] = ("none", "bottom", "left", "top", "right", "full")
"""Part of the marker that is filled, for lines from elsewhere of one method: they tell these apart."""


def curve_blocks(panel: Panel, header: RunHeader) -> Iterator[Block]:
    """Yield the robustness curves of a panel, where anything was measured.

    Args:
        panel: One model, task and metric.
        header: The run.
    """
    if not panel.scored:
        return
    yield Figure(
        name="-".join((*panel.name, panel.model.label)),
        title=f"{panel.title}, {panel.model.label}",
        alt=alt_text(panel),
        caption=caption(
            panel,
            header,
            f"{panel.title} over context length ({panel.direction})",
            (panel.count_text(), panel.interval_text()),
        ),
        draw=partial(robustness_figure, panel),
    )


class Line(NamedTuple):
    """Values from elsewhere, drawn with large markers, hollow or filled in part, in the look of one of the methods."""

    method: str
    label: str
    points: Mapping[int, float]
    """Context length -> value in the unit of the metric; NaN where there is none, and the line is broken."""


def robustness_figure(
    panel: Panel, style: Style = "report", *, beside: Sequence[Line] = (), notes: Sequence[str] = ()
) -> MatplotlibFigure:
    """Draw a panel: log2 axis of context length, intervals as bars, a line where the original window ends.

    Args:
        panel: At least one of its cells has a value.
        style: Where the figure is shown.
        beside: Lines from elsewhere.
        notes: What must be said of them, below the figure.
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    with house_style(style):
        figure = MatplotlibFigure()
        axes = figure.add_subplot()
        styles = method_styles(panel.methods)
        measured = {cell.method_label for cell in panel.scored}
        shown = [method for method in panel.methods if method in measured]
        dodge = min(_DODGE, _WIDEST_DODGE / max(1, len(shown) - 1))
        for place, method in enumerate(shown):
            shift = (place - (len(shown) - 1) / 2) * dodge
            _draw_method(axes, panel, method, styles[method], shift, has_band=len(shown) <= _MOST_BANDS)
        elsewhere = [
            _draw_line(axes, panel, line, styles[line.method], filled=_FILLED[of_method % len(_FILLED)])
            for place, line in enumerate(beside)
            for of_method in [sum(other.method == line.method for other in beside[:place])]
        ]
        points = [(length, value) for line in beside for length, value in line.points.items()]
        set_value_axis(
            axes, panel, beside=[drawn(panel, value) for _, value in points if not math.isnan(value)]
        )
        set_length_axis(axes, panel, beside=[length for length, _ in points])
        frame_figure(
            figure,
            title=panel.title,
            about=about(panel, panel.count_text(), panel.interval_text()),
            body=_BODY,
            handles=[*(method_handle(styles[method]) for method in shown), *elsewhere],
            labels=[
                *(legend_label(method) for method in shown),
                *(legend_label(line.label) for line in beside),
            ],
            notes=[*_notes(panel), *notes],
        )
        thin_out_lengths(axes)
    return figure


def alt_text(panel: Panel) -> str:
    """Say in words what a figure of a panel shows.

    Args:
        panel: What the figure shows.
    """
    ends = []
    for method in panel.methods:
        points = [
            (length, cell.value)
            for length in panel.lengths
            if (cell := panel.cells.get((method, length))) and cell.value is not None
        ]
        if points:
            first, last = points[0], points[-1]
            ends.append(
                f"{method} {panel.number_text(first[1])} at {length_label(first[0])}"
                + (f", {panel.number_text(last[1])} at {length_label(last[0])}" if last != first else "")
            )
    return visible(
        f"{panel.title} of {panel.model.label} over context length, "
        f"original window {panel.model.original_context_length} tokens. {'; '.join(ends)}."
    )


def _draw_method(
    axes: Axes, panel: Panel, method: str, style: MethodStyle, shift: float, *, has_band: bool
) -> None:
    """Draw one line; it is broken where a cell has no value."""
    x, y, low, high = [], [], [], []
    for length in panel.lengths:
        cell = panel.cells.get((method, length))
        value = math.nan if cell is None or cell.value is None else drawn(panel, cell.value)
        x.append(length * 2**shift)
        y.append(value)
        low.append(value if cell is None or cell.low is None else min(value, drawn(panel, cell.low)))
        high.append(value if cell is None or cell.high is None else max(value, drawn(panel, cell.high)))
    draw_line(axes, x, y, (low, high), style, is_in_front=method == BASELINE)
    if has_band:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.12, linewidth=0, zorder=2)


def _draw_line(axes: Axes, panel: Panel, line: Line, style: MethodStyle, *, filled: FillStyleType) -> Artist:
    """Draw a line from elsewhere and return what stands for it in a legend."""
    from matplotlib import rcParams

    (artist,) = axes.plot(
        list(line.points),
        [value if math.isnan(value) else drawn(panel, value) for value in line.points.values()],
        color=style.colour,
        linestyle=(0, (6, 1.5, 1, 1.5)),
        linewidth=0.8 * rcParams["lines.linewidth"],
        marker=style.marker,
        markersize=1.35 * rcParams["lines.markersize"],
        fillstyle=filled,
        markerfacecoloralt="none",
        markeredgecolor=style.colour,
        zorder=3.5,
    )
    return artist


def _notes(panel: Panel) -> list[str]:
    """Name the cells without a value or with another n: a gap in a line has its reason in the picture."""
    absent = [
        Note(method, length, reason)
        for method in panel.methods
        for length in panel.lengths
        if (reason := absence(panel, method, length))
    ]
    scored = {(cell.method_label, cell.context_length) for cell in panel.scored}
    smaller = [note for note in panel.notes() if (note.method, note.context_length) in scored]
    return [f"{text}: {places}" for text, places in grouped([*absent, *smaller])]
