"""What the position of the needle does: a curve per method, a panel per context length, and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from longbench_run.reports.axes import bounded_limits, set_value_label
from longbench_run.reports.captions import about, caption
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
from longbench_run.reports.panels import INTERVAL_NAMES, Panel
from longbench_run.reports.text import length_label, multiple_label, visible
from longbench_run.results.positions import MIDDLE, PositionCurve
from longbench_run.results.records import RunHeader
from longbench_run.results.statistics import SMALLEST_COUNT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_MOST_COLUMNS = 2
_MOST_BANDS = 6
_ROW = 14.5
"""Height of a panel, in font sizes."""
_BAND = 0.12
"""Opacity of an interval: those of several methods lie on each other."""


def fewest_samples(panel: Panel) -> int:
    """Return the smallest number of samples at one position, over all curves; 0 without curves.

    Args:
        panel: One model, task and metric.
    """
    return min((point.mean.samples for curve in panel.curves.values() for point in curve.points), default=0)


def has_position_figure(panel: Panel) -> bool:
    """Say whether there are curves, and enough samples at every position for intervals.

    Args:
        panel: One model, task and metric.
    """
    return fewest_samples(panel) >= SMALLEST_COUNT


def position_blocks(panel: Panel, header: RunHeader) -> Iterator[Block]:
    """Yield the figure of a panel by position, where there are curves and enough samples for intervals.

    Args:
        panel: One model, task and metric.
        header: The run.
    """
    if not has_position_figure(panel):
        return
    yield Figure(
        name="-".join((*panel.name, "by-position", panel.model.label)),
        title=f"{panel.title} by position, {panel.model.label}",
        alt=position_alt_text(panel),
        caption=caption(
            panel,
            header,
            f"{panel.title} by position of what is asked for ({panel.direction})",
            (position_count_text(panel), _interval_text(panel)),
        ),
        draw=partial(position_figure, panel),
    )


def position_figure(panel: Panel, style: Style = "report") -> MatplotlibFigure:
    """Draw mean over position: one panel per context length, one line per method, 95 % intervals shaded.

    Args:
        panel: It has curves.
        style: Where the figure is shown.
    """
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.patches import Patch

    lengths, methods = _shown(panel)
    columns = min(_MOST_COLUMNS, len(lengths))
    rows = math.ceil(len(lengths) / columns)
    with house_style(style):
        figure = MatplotlibFigure()
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        styles = method_styles(panel.methods)
        bands = [Patch(facecolor="#555555", alpha=2 * _BAND)] if len(methods) <= _MOST_BANDS else []
        for place, axes in enumerate(grid.flat):
            if place >= len(lengths):
                axes.set_axis_off()
                continue
            for method in methods:
                if curve := panel.curves.get((method, lengths[place])):
                    _draw_curve(axes, curve, styles[method], has_band=bool(bands))
            _set_axes(axes, panel, lengths[place])
            if place % columns == 0:
                set_value_label(axes, panel)
            if place + columns >= len(lengths):  # nothing is drawn below it
                axes.tick_params(labelbottom=True)
        frame_figure(
            figure,
            title=f"{panel.title} by position",
            about=about(panel, position_count_text(panel), _interval_text(panel)),
            body=_ROW * rows + 1,
            across="position of what is asked for (0: beginning, 1: end of the context)",
            handles=[*(method_handle(styles[method]) for method in methods), *bands],
            labels=[*map(legend_label, methods), *["95 % interval"] * len(bands)],
            notes=[]
            if bands
            else ["Intervals stand in the table: bands of so many lines would cover each other."],
        )
    return figure


def position_alt_text(panel: Panel) -> str:
    """Say in words what a position figure shows: ends and worst position at the shortest and the longest length.

    Args:
        panel: It has curves.
    """
    lengths, methods = _shown(panel)
    parts = [
        f"{method} at {length_label(length)}: {_in_words(panel, curve)}"
        for length in dict.fromkeys((lengths[0], lengths[-1]))
        for method in methods
        if (curve := panel.curves.get((method, length)))
    ]
    return visible(f"{panel.title} of {panel.model.label} by position. {'; '.join(parts)}.")


def position_table(panel: Panel) -> Iterator[list[str]]:
    """Yield the head and the rows of a table: means by position, depth of the U, worst position and spread.

    Args:
        panel: It has curves.
    """
    lengths, methods = _shown(panel)
    depths = sorted({point.depth for curve in panel.curves.values() for point in curve.points})
    references = list(dict.fromkeys(name for curve in panel.curves.values() for name in curve.references))
    yield [
        "context length",
        "method",
        *(f"at {_depth_text(depth)}" for depth in depths),
        "depth of the U",
        "worst (if flat)",
        "spread (if flat)",
        *references,
    ]
    for length in lengths:
        for method in methods:
            if curve := panel.curves.get((method, length)):
                means = {point.depth: point.mean for point in curve.points}
                yield [
                    f"{length_label(length)} ({multiple_label(length, panel.model.original_context_length)})",
                    method,
                    *(panel.mean_text(means.get(depth)) for depth in depths),
                    panel.mean_text(curve.u_depth),
                    _against_flat(panel, curve.worst, curve.worst_if_flat),
                    _against_flat(panel, curve.spread, curve.spread_if_flat),
                    *(panel.mean_text(curve.references.get(name)) for name in references),
                ]


def position_notes(panel: Panel) -> str:
    """Say how the table by position is to be read.

    Args:
        panel: It has curves.
    """
    return (
        f"{position_count_text(panel)}. Depth of the U: mean of both ends minus mean of the positions from "
        f"{MIDDLE.low:g} to {MIDDLE.high:g}, by question; above 0 the middle is worse. Worst position and spread (best "
        "minus worst): in parentheses what as many samples are expected to give where the position makes no difference "
        "(simulated: scores permuted among the positions of each question)."
    )


def _shown(panel: Panel) -> tuple[list[int], list[str]]:
    """Return the lengths and methods that have curves, in the order shown."""
    return (
        [length for length in panel.lengths if any(at == length for _, at in panel.curves)],
        [method for method in panel.methods if any(of == method for of, _ in panel.curves)],
    )


def _draw_curve(axes: Axes, curve: PositionCurve, style: MethodStyle, *, has_band: bool) -> None:
    points = [(point.depth, point.mean) for point in curve.points if point.mean.value is not None]
    axes.plot(
        [depth for depth, _ in points],
        [mean.value for _, mean in points if mean.value is not None],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markerfacecolor=style.face,
        markeredgecolor=style.edge,
        markeredgewidth=style.edge_width,
        zorder=4 if curve.key.method_label == BASELINE else 3,
        clip_on=False,
    )
    if not has_band:
        return
    bounds = [(depth, mean.interval) for depth, mean in points if mean.interval]
    axes.fill_between(
        [depth for depth, _ in bounds],
        [interval.low for _, interval in bounds],
        [interval.high for _, interval in bounds],
        color=style.colour,
        alpha=_BAND,
        linewidth=0,
        zorder=2,
    )


def _set_axes(axes: Axes, panel: Panel, length: int) -> None:
    window = panel.model.original_context_length
    axes.set_title(f"{length_label(length)} tokens ({multiple_label(length, window)})")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlim(-0.04, 1.04)
    if limits := bounded_limits(panel):
        axes.set_ylim(*limits)


def _interval_text(panel: Panel) -> str:
    points = [point for curve in panel.curves.values() for point in curve.points]
    kinds = dict.fromkeys(INTERVAL_NAMES[point.mean.kind] for point in points if point.mean.kind)
    return f"95 % interval: {', '.join(kinds)}" if kinds else "no interval"


def _in_words(panel: Panel, curve: PositionCurve) -> str:
    ends = [
        f"{panel.number_text(point.mean.value)} at {_depth_text(point.depth)}"
        for point in curve.points
        if point.mean.value is not None
    ]
    if curve.worst is None or curve.worst_depth is None:
        return f"{ends[0]}, {ends[-1]}"
    return (
        f"{ends[0]}, worst {panel.number_text(curve.worst)} at {_depth_text(curve.worst_depth)}, {ends[-1]}"
    )


def position_count_text(panel: Panel) -> str:
    """Say how many samples stand behind a mean at one position.

    Args:
        panel: It has curves.
    """
    counts = sorted({point.mean.samples for curve in panel.curves.values() for point in curve.points})
    return (
        f"n = {' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))} at each position"
    )


def _depth_text(depth: float) -> str:
    return f"{depth:.2g}"


def _against_flat(panel: Panel, value: float | None, if_flat: float | None) -> str:
    if value is None or if_flat is None:
        return "-"
    return f"{panel.number_text(value)} ({panel.number_text(if_flat)})"
