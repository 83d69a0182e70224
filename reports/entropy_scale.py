"""Attention entropy without a logit scale and with it: curves side by side layer by layer, and how slopes differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from longbench_run.reports.captions import caption
from longbench_run.reports.document import Block, Figure, Heading, Table, text
from longbench_run.reports.entropy_axes import BAND, Entropies, curves_figure, named_layers
from longbench_run.reports.figures import Style, legend_label
from longbench_run.reports.forest import DIFFERENCE_NAMES
from longbench_run.reports.tables import labelled_table
from longbench_run.reports.text import length_label, score_text, visible
from longbench_run.results.entropy import EntropyPoint, later, points_of
from longbench_run.results.entropy_scale import ScaleEffect, scale_effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

    from longbench_run.results.records import RunHeader

_Look = Mapping[str, Any]
_WITH: _Look = MappingProxyType({"color": "#0072B2", "linestyle": "-"})
_WITHOUT: _Look = MappingProxyType({"color": "#222222", "linestyle": (0, (4, 1.6))})
"""The baseline's own darkness for what has no scale."""
_NOTE = (
    "Slope of entropy against ln n as in the table above; of all layers, the mean of its absolute value. Both methods have "
    "the same weights, frequencies, positions and mask, and differ in the logit scale alone. Difference: with the scale "
    "less without it, over the same samples; its interval is of this difference by itself, not corrected for their number."
)


class ScalePair:
    """A method with a logit scale beside the one that is the same without it."""

    def __init__(self, shown: Entropies, *, scaled: str, plain: str) -> None:
        """Keep what is shown; numbers are computed when first asked for.

        Args:
            shown: Entropies of a panel, of both methods.
            scaled: Label of the method with the scale.
            plain: Label of that without.
        """
        self.shown, self.scaled, self.plain = shown, scaled, plain

    @cached_property
    def layers(self) -> list[int]:
        """Layers that have a panel and a row."""
        return named_layers(self.shown.layers)

    @cached_property
    def points(self) -> Mapping[str, tuple[EntropyPoint, ...]]:
        """Method label -> points of the layers."""
        layers = tuple(self.layers)
        return {
            method: points_of(later(self.shown.cells[method], layers=layers))
            for method in (self.plain, self.scaled)
        }

    @cached_property
    def effects(self) -> tuple[ScaleEffect, ...]:
        """The effect on all layers together, then on each."""
        return scale_effects(self.shown.cells[self.plain], self.shown.cells[self.scaled])

    def of_layer(self, method: str, layer: int) -> list[EntropyPoint]:
        """Return the points of one curve.

        Args:
            method: One of the two.
            layer: One of the layers.
        """
        return [point for point in self.points[method] if point.layer == layer]


def scale_pairs(shown: Entropies) -> tuple[ScalePair, ...]:
    """Return the pairs of methods that differ in their logit scale alone, in the order of the run.

    Args:
        shown: Entropies of a panel.
    """
    unscaled = shown.panel.model.unscaled
    return tuple(
        ScalePair(shown, scaled=method, plain=unscaled[method])
        for method in shown.cells
        if unscaled.get(method) in shown.cells
    )


def scale_blocks(shown: Entropies, header: RunHeader) -> Iterator[Block]:
    """Yield a figure for each pair and one table; nothing where the run has no pair.

    Args:
        shown: Entropies of a panel.
        header: The run.
    """
    pairs = scale_pairs(shown)
    if not pairs:
        return
    panel, at = shown.panel, f"at {length_label(shown.length)} tokens"
    yield Heading(text=text(f"{panel.task.name} before and after the logit scale"), level=4)
    for number, pair in enumerate(pairs, start=1):
        yield Figure(
            name="-".join((panel.task.name, "scale", str(number), panel.model.label)),
            title=f"{panel.task.name} before and after the logit scale of {pair.scaled}, {panel.model.label}",
            alt=scale_alt_text(pair),
            caption=caption(
                panel,
                header,
                f"Entropy of attention by position of the query {at}, a panel per layer: {pair.scaled} (solid) and "
                f"{pair.plain}, the same without its logit scale (dashed); mean over heads and documents",
                (shown.count_text(),),
                "Grey: ln n, the entropy of even attention over n keys.",
            ),
            draw=partial(scale_figure, pair),
        )
    yield _scale_table(pairs, header)


def scale_figure(pair: ScalePair, style: Style = "report") -> MatplotlibFigure:
    """Draw entropy over position without a logit scale (dashed) and with it (solid): a panel per layer.

    Args:
        pair: The two methods.
        style: Where the figure is shown.
    """
    looks = {pair.scaled: _WITH, pair.plain: _WITHOUT}

    def draw(layer: int, axes: Axes) -> None:
        for method, look in looks.items():
            _draw_curve(axes, pair.of_layer(method, layer), look)

    has_bands = any(point.mean.interval for points in pair.points.values() for point in points)
    return curves_figure(
        pair.shown,
        style,
        title=f"{pair.shown.panel.task.name} before and after the logit scale",
        panels={f"layer {layer}": partial(draw, layer) for layer in pair.layers},
        looks={
            f"with scale: {legend_label(pair.scaled)}": _WITH,
            f"without: {legend_label(pair.plain)}": _WITHOUT,
        },
        interval="95 % interval" if has_bands else None,
    )


def scale_alt_text(pair: ScalePair) -> str:
    """Say in words what the curves show: where each layer ends without the scale and with it.

    Args:
        pair: The two methods.
    """
    parts = []
    for layer in pair.layers:
        ends = [pair.of_layer(method, layer)[-1:] for method in (pair.plain, pair.scaled)]
        if all(ends):
            before, after = (score_text(end.mean.value or 0.0) for (end,) in ends)
            parts.append(f"layer {layer} ends at {before} nats without it, {after} with it")
    return visible(
        f"Entropy of attention of {pair.shown.panel.model.label} by position at {length_label(pair.shown.length)} tokens, "
        f"{pair.plain} without and {pair.scaled} with a logit scale. {'; '.join(parts)}."
    )


def scale_rows(pairs: Sequence[ScalePair]) -> Iterator[list[str]]:
    """Yield the head and the rows of a table: slopes without the scale and with it, of all layers and of some.

    Args:
        pairs: At least one.
    """
    yield ["method", "without its scale", "layer", "slope without", "slope with", "difference"]
    for pair in pairs:
        for effect in pair.effects:
            if effect.layer is None or effect.layer in pair.layers:
                bounds = "-" if effect.interval is None else ", ".join(map(_slope_text, effect.interval))
                yield [
                    pair.scaled,
                    pair.plain,
                    "all" if effect.layer is None else str(effect.layer),
                    _slope_text(effect.before),
                    _slope_text(effect.after),
                    f"{_slope_text(effect.difference)} [{bounds}]",
                ]


def _scale_table(pairs: Sequence[ScalePair], header: RunHeader) -> Table:
    shown = pairs[0].shown
    effects = [effect for pair in pairs for effect in pair.effects]
    kinds = dict.fromkeys(DIFFERENCE_NAMES[effect.kind] for effect in effects if effect.kind)
    interval = f"95 % interval: {', '.join(kinds)} by document" if kinds else "no interval"
    counts = sorted({effect.samples for effect in effects})
    pairs_text = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    return labelled_table(
        "-".join((shown.panel.task.name, "scale", shown.panel.model.label)),
        caption(
            shown.panel,
            header,
            f"Slope of attention entropy against ln n at {length_label(shown.length)} tokens, before and after the logit "
            "scale",
            (f"{pairs_text} pairs of samples", interval),
        ),
        scale_rows(pairs),
        labels=[0, 1, 2],
        notes=[text(_NOTE)],
    )


def _draw_curve(axes: Axes, points: Sequence[EntropyPoint], look: _Look) -> None:
    # Where ln n is what it is on average over the bucket: attention that is even lies on the line.
    x = [math.exp(point.even) for point in points]
    axes.plot(x, [cast("float", point.mean.value) for point in points], zorder=3, **look)
    bounds = [(at, *point.mean.interval) for at, point in zip(x, points, strict=True) if point.mean.interval]
    if bounds:
        across, low, high = zip(*bounds, strict=True)
        axes.fill_between(across, low, high, color=look["color"], alpha=BAND, linewidth=0, zorder=2)


def _slope_text(value: float) -> str:
    return score_text(round(value, 3) + 0.0, digits=3)  # 0 has no sign
