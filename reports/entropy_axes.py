"""What figures of attention entropy share: what is shown, and axes of the position of the query."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from longbench_run.reports.axes import small_print, thin_out_lengths
from longbench_run.reports.captions import about, absence
from longbench_run.reports.figures import BASELINE, Style, house_style, legend_label
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label
from longbench_run.results.entropy import (
    EntropyCell,
    EntropyPoint,
    differences_of,
    later,
    points_of,
    ratios_of,
    slopes_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

    from longbench_run.results.statistics import Estimate

POSITION = "position of the query (tokens, log scale)"
BAND = 0.2
"""Opacity of an interval."""
_EVEN: Mapping[str, Any] = MappingProxyType({"color": "#888888", "linewidth": 1.2})
"""The line of ln n."""
_ROW = 13.0
"""Height of a panel of curves, in font sizes."""
_LEGEND = 20.0
"""Width of a legend beside the panels, in font sizes."""
MOST_NAMED = 6
"""Layers that are named; of more, as many, evenly."""
_NARROWEST = 14.0
"""Of a panel with its labels, in font sizes."""
MOST_TICKS = 5
_SHORTEST_TITLE = 14


class Entropies:
    """Entropies of a panel at one context length."""

    def __init__(self, panel: Panel, length: int, cells: Mapping[str, EntropyCell]) -> None:
        """Keep what is shown; numbers are computed when first asked for.

        Args:
            panel: One model, task and metric.
            length: Context length in tokens.
            cells: Method label -> its cell at that length, in the order shown; at least one.
        """
        self.panel, self.length = panel, length
        self.cells = {method: later(cell) for method, cell in cells.items()}

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers of all methods, ascending."""
        return tuple(sorted({layer for cell in self.cells.values() for layer in cell.layers}))

    @cached_property
    def slopes(self) -> Mapping[str, Mapping[int, Estimate]]:
        """Method label -> layer -> slope of its entropy against ln n."""
        return {method: slopes_of(cell) for method, cell in self.cells.items()}

    @cached_property
    def points(self) -> Mapping[str, tuple[EntropyPoint, ...]]:
        """Method label -> points of the first and the last layer, with intervals."""
        ends = (self.layers[0], self.layers[-1])
        return {method: points_of(later(cell, layers=ends)) for method, cell in self.cells.items()}

    @cached_property
    def ratios(self) -> Mapping[str, pd.DataFrame]:
        """Method label -> entropy as a part of ln n, a row per layer and a column per bucket."""
        return {method: ratios_of(cell) for method, cell in self.cells.items()}

    @cached_property
    def differences(self) -> Mapping[str, pd.DataFrame]:
        """Method label -> entropy less that of the unmodified model, nats, a row per layer and a column per bucket.

        Without the unmodified model itself; empty where it has no entropies.
        """
        baseline = self.cells.get(BASELINE)
        if baseline is None:
            return {}
        found = {
            method: differences_of(cell, baseline)
            for method, cell in self.cells.items()
            if method != BASELINE
        }
        return {method: values for method, values in found.items() if len(values)}

    @cached_property
    def start(self) -> int:
        """The first position shown."""
        return min(int(cell.samples["start"].min()) for cell in self.cells.values())

    def count_text(self) -> str:
        """Say how many samples stand behind a value, and of how many documents where samples share them."""
        counts = sorted({cell.count for cell in self.cells.values()})
        documents = max(cell.documents for cell in self.cells.values())
        of = f" from {documents} documents" if documents != counts[-1] else ""
        return f"n = {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))}{of}"


def titled_axes(
    figure: MatplotlibFigure, names: Sequence[str], *, beside: float = 0.0
) -> tuple[list[Axes], int, int]:
    """Return axes with a title each, how many stand side by side, and the lines that titles take in all.

    Args:
        figure: Still empty.
        names: What each of the axes shows: methods or layers.
        beside: Width of a legend at their side, in font sizes.
    """
    from matplotlib import rcParams

    font = float(rcParams["font.size"])
    width = figure.get_figwidth() * 72 / font
    # A legend stands beside axes where it leaves them enough, and below them elsewhere.
    width = max(width - beside, min(width, 2.4 * _NARROWEST))
    rows = math.ceil(len(names) / max(1, int(width / _NARROWEST)))
    columns = math.ceil(len(names) / rows)
    every = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    # A letter is about 0.62 of its size wide, and labels take 5 of the width.
    widest = max(_SHORTEST_TITLE, int((width * font / small_print() - 5) / columns / 0.62))
    titles = [legend_label(name, widest=widest, most=4) for name in names]
    for axes, title in zip(every, titles, strict=False):
        axes.set_title(title, fontsize=small_print())
    for axes in every[len(names) :]:
        axes.set_axis_off()
    lines = [1 + title.count("\n") for title in titles]
    return (
        every[: len(names)],
        columns,
        sum(max(lines[row : row + columns]) for row in range(0, len(lines), columns)),
    )


def set_positions(axes: Axes, shown: Entropies) -> None:
    """Make the x axis that of position, and mark where the original window ends.

    Args:
        axes: Of curves or of a map.
        shown: Entropies of a panel.
    """
    ticks = [shown.length]
    while ticks[-1] // 2 >= shown.start:
        ticks.append(ticks[-1] // 2)
    ticks = ticks[:: math.ceil(len(ticks) / MOST_TICKS)][::-1]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [length_label(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(shown.start, shown.length)
    if window_handle(shown):
        window = shown.panel.model.original_context_length
        axes.axvline(window, color="#D55E00", linewidth=1.0, linestyle=(0, (5, 3)), zorder=4)


def window_handle(shown: Entropies) -> list[Any]:
    """Return what stands for the window in a legend, where it ends within what is shown.

    Args:
        shown: Entropies of a panel.
    """
    from matplotlib.lines import Line2D

    if not shown.start < shown.panel.model.original_context_length < shown.length:
        return []
    return [Line2D([], [], color="#D55E00", linewidth=1.0, linestyle=(0, (5, 3)))]


def write_absence(axes: Axes, shown: Entropies, method: str) -> None:
    """Say on the axes of a method why there is nothing.

    Args:
        axes: Its own.
        shown: Entropies of a panel.
        method: A label without entropies.
    """
    axes.text(
        0.5,
        0.5,
        absence(shown.panel, method, shown.length) or "no entropies",
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=small_print(),
        color="#555555",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        zorder=6,
    )


def finish(grid: Sequence[Axes], columns: int) -> None:
    """Write lengths below the last axes of each column, those that fit.

    Args:
        grid: All axes, row by row.
        columns: How many stand side by side.
    """
    for place, axes in enumerate(grid):
        is_last = place + columns >= len(grid)
        axes.tick_params(labelbottom=is_last)
        if is_last:
            thin_out_lengths(axes)


def curves_figure(
    shown: Entropies,
    style: Style,
    *,
    title: str,
    panels: Mapping[str, Callable[[Axes], None]],
    looks: Mapping[str, Mapping[str, Any]],
    interval: str | None,
) -> MatplotlibFigure:
    """Draw curves over position below ln n, side by side.

    Args:
        shown: Entropies of a panel.
        style: Where the figure is shown.
        title: Of the figure.
        panels: Title of the axes -> what draws its curves.
        looks: Name of a curve in the legend -> properties of its line.
        interval: What the legend calls intervals; None where there is none.
    """
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    with house_style(style):
        figure = MatplotlibFigure()
        grid, columns, title_lines = titled_axes(figure, list(panels), beside=_LEGEND)
        limits = [math.log(shown.start + 1), math.log(shown.length)]
        for axes, draw in zip(grid, panels.values(), strict=True):
            axes.plot([math.exp(x) for x in limits], limits, **_EVEN, zorder=3.5)
            draw(axes)
            set_positions(axes, shown)
            axes.set_ylim(0, 1.04 * limits[1])
            axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=True))
        for axes in grid[::columns]:
            axes.set_ylabel("entropy (nats)")
        windows = window_handle(shown)
        bands = [] if interval is None else [Patch(facecolor="#555555", alpha=2 * BAND)]
        frame_figure(
            figure,
            title=title,
            about=about_entropies(shown),
            body=_ROW * math.ceil(len(grid) / columns) + title_lines,
            across=POSITION,
            handles=[
                *(Line2D([], [], **look) for look in looks.values()),
                Line2D([], [], **_EVEN),
                *windows,
                *bands,
            ],
            labels=[
                *looks,
                "ln n (even attention)",
                *["original window"] * len(windows),
                *[interval or ""] * len(bands),
            ],
        )
        finish(grid, columns)
    return figure


def named_layers(layers: Sequence[int]) -> list[int]:
    """Return the layers that are named: the first, the last, and some between.

    Args:
        layers: All of them, ascending.
    """
    count = min(MOST_NAMED, len(layers))
    return [layers[round(place * (len(layers) - 1) / max(1, count - 1))] for place in range(count)]


def about_entropies(shown: Entropies) -> tuple[str, ...]:
    """Return what is said within a figure.

    Args:
        shown: Entropies of a panel.
    """
    return about(
        shown.panel,
        f"{length_label(shown.length)} tokens",
        shown.count_text(),
        f"original window {shown.panel.model.original_context_length} tokens",
        f"from position {shown.start} on",
    )
