"""Curves of attention entropy over position, with ln n above them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from longbench_run.reports.entropy_axes import (
    BAND,
    MOST_NAMED,
    Entropies,
    curves_figure,
    named_layers,
    write_absence,
)
from longbench_run.reports.figures import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_LAYER_COLOURS, _DARKEST, _BRIGHTEST = "viridis", 0.0, 0.88
"""A map that is read by the colour-blind and in grey, without its yellow, which paper does not show."""


def entropy_figure(shown: Entropies, style: Style = "report") -> MatplotlibFigure:
    """Draw entropy over position: a panel per method, a line per layer, intervals of the first and the last one shaded.

    Args:
        shown: Entropies of a panel.
        style: Where the figure is shown.
    """
    colours = _layer_colours(shown.layers)

    def draw(method: str, axes: Axes) -> None:
        if method in shown.cells:
            _draw_layers(axes, shown, method, colours)
        else:
            write_absence(axes, shown, method)

    has_bands = any(point.mean.interval for points in shown.points.values() for point in points)
    return curves_figure(
        shown,
        style,
        title=f"{shown.panel.task.name} by position and layer",
        panels={method: partial(draw, method) for method in shown.panel.methods},
        looks={f"layer {layer}": {"color": colours[layer]} for layer in named_layers(shown.layers)},
        interval="95 % interval,\nfirst and last layer" if has_bands else None,
    )


def _draw_layers(axes: Axes, shown: Entropies, method: str, colours: Mapping[int, Any]) -> None:
    from matplotlib import rcParams

    thin = min(1.0, MOST_NAMED / len(shown.layers)) ** 0.5
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
            axes.fill_between(x, low, high, color=colours[layer], alpha=BAND, linewidth=0, zorder=2)


def _layer_colours(layers: Sequence[int]) -> Mapping[int, Any]:
    from matplotlib import colormaps

    last = max(1, len(layers) - 1)
    paint = colormaps[_LAYER_COLOURS]
    return {
        layer: paint(_DARKEST + (_BRIGHTEST - _DARKEST) * place / last) for place, layer in enumerate(layers)
    }
