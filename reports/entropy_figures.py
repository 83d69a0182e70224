"""Figures of attention entropy: curves over position with ln n above them, and maps of the part of ln n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from longbench_run.reports.axes import small_print, thin_out_lengths
from longbench_run.reports.captions import about, absence
from longbench_run.reports.figures import Style, house_style, legend_label
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label
from longbench_run.results.entropy import EntropyCell, EntropyPoint, later, points_of, ratios_of, slopes_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

    from longbench_run.results.statistics import Estimate

_LAYER_COLOURS, _DARKEST, _BRIGHTEST = "viridis", 0.0, 0.88
"""A map that is read by the colour-blind and in grey, without its yellow, which paper does not show."""
_RATIO_COLOURS = "cividis"
_MOST_NAMED = 6
"""Layers in the legend; of more, as many, evenly."""
_BAND = 0.2
"""Opacity of an interval."""
_NARROWEST, _ROW = 14.0, 13.0
"""Of a panel with its labels, in font sizes."""
_LEGEND = 20.0
"""Width of a legend beside the panels, in font sizes."""
_MAP_ROW = 9.0
_MOST_TICKS = 5
_SHORTEST_TITLE = 14
_POSITION = "position of the query (tokens, log scale)"


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
    def start(self) -> int:
        """The first position shown."""
        return min(int(cell.samples["start"].min()) for cell in self.cells.values())

    def count_text(self) -> str:
        """Say how many samples stand behind a value, and of how many documents where samples share them."""
        counts = sorted({cell.count for cell in self.cells.values()})
        documents = max(cell.documents for cell in self.cells.values())
        of = f" from {documents} documents" if documents != counts[-1] else ""
        return f"n = {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))}{of}"


def entropy_figure(shown: Entropies, style: Style = "report") -> MatplotlibFigure:
    """Draw entropy over position: a panel per method, a line per layer, intervals of the first and the last one shaded.

    Args:
        shown: Entropies of a panel.
        style: Where the figure is shown.
    """
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    with house_style(style):
        figure = MatplotlibFigure()
        grid, columns, title_lines = _panels(figure, shown, beside=_LEGEND)
        colours = _layer_colours(shown.layers)
        limits = [math.log(shown.start + 1), math.log(shown.length)]
        for axes, method in zip(grid, shown.panel.methods, strict=True):
            axes.plot([math.exp(x) for x in limits], limits, color="#888888", linewidth=1.2, zorder=3.5)
            if method in shown.cells:
                _draw_layers(axes, shown, method, colours)
            else:
                _write_absence(axes, shown, method)
            _set_positions(axes, shown)
            axes.set_ylim(0, 1.04 * limits[1])
            axes.yaxis.set_major_locator(MaxNLocator(_MOST_TICKS, integer=True))
        for axes in grid[::columns]:
            axes.set_ylabel("entropy (nats)")
        named = _named(shown.layers)
        has_bands = any(point.mean.interval for points in shown.points.values() for point in points)
        bands = [Patch(facecolor="#555555", alpha=2 * _BAND)] if has_bands else []
        frame_figure(
            figure,
            title=f"{shown.panel.task.name} by position and layer",
            about=_about(shown),
            body=_ROW * math.ceil(len(grid) / columns) + title_lines,
            across=_POSITION,
            handles=[
                *(Line2D([], [], color=colours[layer]) for layer in named),
                Line2D([], [], color="#888888", linewidth=1.2),
                *_window_handle(shown),
                *bands,
            ],
            labels=[
                *(f"layer {layer}" for layer in named),
                "ln n (even attention)",
                *["original window"] * len(_window_handle(shown)),
                *["95 % interval,\nfirst and last layer"] * len(bands),
            ],
        )
        _finish(grid, columns)
    return figure


def ratio_figure(shown: Entropies, style: Style = "report") -> MatplotlibFigure:
    """Draw entropy as a part of ln n: a map per method, layers up, position across.

    Args:
        shown: Entropies of a panel.
        style: Where the figure is shown.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as MatplotlibFigure

    with house_style(style):
        figure = MatplotlibFigure()
        grid, columns, title_lines = _panels(figure, shown)
        colours = ScalarMappable(Normalize(0, 1), _RATIO_COLOURS)
        for axes, method in zip(grid, shown.panel.methods, strict=True):
            if method in shown.cells:
                _draw_map(axes, shown.ratios[method], shown.layers)
            else:
                _write_absence(axes, shown, method)
            _set_positions(axes, shown)
            step = max(1, math.ceil((len(shown.layers) - 1) / (_MOST_TICKS - 1)))
            axes.set_yticks(range(0, len(shown.layers), step), [str(n) for n in shown.layers[::step]])
            axes.set_ylim(-0.5, len(shown.layers) - 0.5)
            axes.grid(visible=False)
        for axes in grid[::columns]:
            axes.set_ylabel("layer")
        bar = figure.colorbar(colours, ax=grid, location="top", fraction=0.04, pad=0.01, aspect=90)
        bar.set_label("entropy / ln n (0: one key, 1: even attention)")
        bar.outline.set_visible(False)
        frame_figure(
            figure,
            title=f"{shown.panel.task.name} as a part of ln n",
            about=_about(shown),
            body=_MAP_ROW * math.ceil(len(grid) / columns) + title_lines + 5,
            across=_POSITION,
            notes=["Dashed: end of the original window."] * len(_window_handle(shown)),
        )
        _finish(grid, columns)
    return figure


def _panels(
    figure: MatplotlibFigure, shown: Entropies, *, beside: float = 0.0
) -> tuple[list[Axes], int, int]:
    """Return axes with the title of each method, how many stand side by side, and the lines that titles take in all."""
    from matplotlib import rcParams

    methods = shown.panel.methods
    font = float(rcParams["font.size"])
    width = figure.get_figwidth() * 72 / font
    # A legend stands beside axes where it leaves them enough, and below them elsewhere.
    width = max(width - beside, min(width, 2.4 * _NARROWEST))
    rows = math.ceil(len(methods) / max(1, int(width / _NARROWEST)))
    columns = math.ceil(len(methods) / rows)
    every = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    # A letter is about 0.62 of its size wide, and labels take 5 of the width.
    widest = max(_SHORTEST_TITLE, int((width * font / small_print() - 5) / columns / 0.62))
    titles = [legend_label(method, widest=widest, most=4) for method in methods]
    for axes, title in zip(every, titles, strict=False):
        axes.set_title(title, fontsize=small_print())
    for axes in every[len(methods) :]:
        axes.set_axis_off()
    lines = [1 + title.count("\n") for title in titles]
    return (
        every[: len(methods)],
        columns,
        sum(max(lines[row : row + columns]) for row in range(0, len(lines), columns)),
    )


def _draw_layers(axes: Axes, shown: Entropies, method: str, colours: Mapping[int, Any]) -> None:
    from matplotlib import rcParams

    thin = min(1.0, _MOST_NAMED / len(shown.layers)) ** 0.5
    means = shown.cells[method].samples.groupby(["layer", "even"])["entropy"].mean()
    for layer in shown.layers:
        if layer in means.index.get_level_values("layer"):
            curve = means.loc[layer]
            # Where ln n is what it is on average over the bucket: attention that is even lies on the line.
            axes.plot(
                [math.exp(x) for x in curve.index],
                curve.to_numpy(),
                color=colours[layer],
                linewidth=thin * float(rcParams["lines.linewidth"]),
                zorder=3,
            )
        bounds = [
            (math.exp(point.even), *point.mean.interval)
            for point in shown.points[method]
            if point.layer == layer and point.mean.interval
        ]
        if bounds:
            x, low, high = zip(*bounds, strict=True)
            axes.fill_between(x, low, high, color=colours[layer], alpha=_BAND, linewidth=0, zorder=2)


def _draw_map(axes: Axes, ratios: pd.DataFrame, layers: Sequence[int]) -> None:
    import numpy as np

    values = ratios.reindex(list(layers)).to_numpy()
    starts, stops = (
        [int(edge) for edge in ratios.columns.get_level_values(name)] for name in ("start", "stop")
    )
    axes.pcolormesh(
        [*starts, stops[-1]],
        np.arange(len(layers) + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=_RATIO_COLOURS,
        vmin=0,
        vmax=1,
        rasterized=True,  # As shapes, the fields of 32 layers take a page's size.
    )


def _set_positions(axes: Axes, shown: Entropies) -> None:
    """Make the x axis that of position, and mark where the original window ends."""
    ticks = [shown.length]
    while ticks[-1] // 2 >= shown.start:
        ticks.append(ticks[-1] // 2)
    ticks = ticks[:: math.ceil(len(ticks) / _MOST_TICKS)][::-1]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [length_label(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(shown.start, shown.length)
    if _window_handle(shown):
        window = shown.panel.model.original_context_length
        axes.axvline(window, color="#D55E00", linewidth=1.0, linestyle=(0, (5, 3)), zorder=4)


def _window_handle(shown: Entropies) -> list[Any]:
    """Return what stands for the window in a legend, where it ends within what is shown."""
    from matplotlib.lines import Line2D

    if not shown.start < shown.panel.model.original_context_length < shown.length:
        return []
    return [Line2D([], [], color="#D55E00", linewidth=1.0, linestyle=(0, (5, 3)))]


def _write_absence(axes: Axes, shown: Entropies, method: str) -> None:
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


def _finish(grid: Sequence[Axes], columns: int) -> None:
    """Write lengths below the last axes of each column, those that fit."""
    for place, axes in enumerate(grid):
        is_last = place + columns >= len(grid)
        axes.tick_params(labelbottom=is_last)
        if is_last:
            thin_out_lengths(axes)


def _layer_colours(layers: Sequence[int]) -> Mapping[int, Any]:
    from matplotlib import colormaps

    last = max(1, len(layers) - 1)
    paint = colormaps[_LAYER_COLOURS]
    return {
        layer: paint(_DARKEST + (_BRIGHTEST - _DARKEST) * place / last) for place, layer in enumerate(layers)
    }


def _named(layers: Sequence[int]) -> list[int]:
    """Return the layers that the legend names: the first, the last, and some between."""
    count = min(_MOST_NAMED, len(layers))
    return [layers[round(place * (len(layers) - 1) / max(1, count - 1))] for place in range(count)]


def _about(shown: Entropies) -> tuple[str, ...]:
    return about(
        shown.panel,
        f"{length_label(shown.length)} tokens",
        shown.count_text(),
        f"original window {shown.panel.model.original_context_length} tokens",
        f"from position {shown.start} on",
    )
