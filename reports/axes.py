"""Axes that figures share: context length in tokens and windows, values of a metric, perplexity over decades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longbench_run.reports.layout import wrapped
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from longbench_run.reports.figures import MethodStyle

_LARGEST_NLL = 230.0
"""A perplexity above 1e100 is drawn there: the limits of an axis must stay finite."""
_LONGEST_LABEL = 12.0
"""Of the axis of values, in font sizes: it stands along axes that may be low."""
_MOST_TICKS = 10
_MARGIN = 0.04
"""Part of the range of a metric that is left free at its ends: markers there are drawn whole."""


def drawn(panel: Panel, value: float) -> float:
    """Return where a value of the metric stands on its axis: perplexity for nll.

    Args:
        panel: One model, task and metric.
        value: In the unit of the metric.
    """
    return math.exp(min(value, _LARGEST_NLL)) if panel.is_perplexity else value


def set_length_axis(axes: Axes, panel: Panel, *, beside: Sequence[int] = ()) -> None:
    """Make the x axis that of context length, log2, and mark where the original window ends.

    Args:
        axes: Their y axis is set already.
        panel: One model, task and metric.
        beside: Context lengths of what else is drawn.
    """
    lengths = sorted({*panel.lengths, *beside})
    window = panel.model.original_context_length
    # An axis that reaches for a window far from all lengths would be mostly empty.
    is_near = min(lengths) / 4 <= window <= max(lengths) * 4
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        lengths, [f"{length_label(n)}\n{multiple_label(n, window)}" for n in lengths], minor=False
    )
    axes.set_xticks([], minor=True)
    shown = [*lengths, *([window] if is_near else [])]
    axes.set_xlim(min(shown) * 2**-0.3, max(shown) * 2**0.3)
    axes.set_xlabel("context length (tokens, and in original windows)")
    if is_near:
        axes.axvline(window, color="#777777", linewidth=1.0, linestyle=(0, (5, 3)), zorder=1)
        axes.annotate(
            f"original window ({window})",
            (window, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=small_print(),
            color="#555555",
            annotation_clip=False,
        )


def thin_out_lengths(axes: Axes) -> None:
    """Leave out labels of the x axis that would lie on others: the longest length keeps its own, then the roundest.

    Args:
        axes: Laid out.
    """
    lengths = [int(tick) for tick in axes.get_xticks()]
    labels = axes.get_xticklabels()
    boxes = [label.get_window_extent() for label in labels]
    gap = 2 * axes.figure.dpi / 72
    longest = len(lengths) - 1
    kept: set[int] = set()
    # The larger the power of two that divides a length, the rounder it is.
    for place in sorted(
        range(len(lengths)),
        key=lambda place: (place == longest, lengths[place] & -lengths[place], place),
        reverse=True,
    ):
        if all(
            boxes[place].x1 + gap <= boxes[other].x0 or boxes[other].x1 + gap <= boxes[place].x0
            for other in kept
        ):
            kept.add(place)
    texts = [label.get_text() if place in kept else "" for place, label in enumerate(labels)]
    axes.set_xticks(axes.get_xticks(), texts, minor=False)


def set_value_axis(axes: Axes, panel: Panel, *, beside: Sequence[float] = ()) -> None:
    """Fix the range of a bounded metric; take a logarithmic axis where perplexity spans a decade.

    Args:
        axes: All that is drawn is drawn.
        panel: At least one of its cells has a value.
        beside: What else is drawn, as it stands on the axis.
    """
    set_value_label(axes, panel)
    limits = bounded_limits(panel)
    if limits is not None:
        axes.set_ylim(*limits)
        _mark_chance(axes, panel, above=limits[0])
        return
    values = [*beside, *(drawn(panel, cell.value) for cell in panel.scored if cell.value is not None)]
    if not panel.is_perplexity or max(values) < 8 * min(values):
        return
    set_log_values(axes)
    set_value_label(axes, panel, remark=", log scale")


def set_log_values(axes: Axes) -> None:
    """Make the y axis a logarithmic one, with round numbers at its ticks.

    Args:
        axes: All that is drawn is drawn, and above 0.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    ticks = _log_ticks(bottom, top)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick_text(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(min(bottom, ticks[0]), top)


def set_value_label(axes: Axes, panel: Panel, *, remark: str = "") -> None:
    """Name the y axis, over several lines: axes may be low.

    Args:
        axes: Those of the values.
        panel: One model, task and metric.
        remark: What is special about the axis.
    """
    from matplotlib import rcParams

    size = float(rcParams["axes.labelsize"])
    lines = (f"{panel.quantity}{remark}", f"({panel.direction})")
    axes.set_ylabel(
        "\n".join(piece for line in lines for piece in wrapped(line, size=size, width=_LONGEST_LABEL * size))
    )


def bounded_limits(panel: Panel) -> tuple[float, float] | None:
    """Return the limits of an axis of a metric that has bounds.

    Args:
        panel: One model, task and metric.
    """
    low, high = panel.metric.minimum, panel.metric.maximum
    if low is None or high is None:
        return None
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def small_print() -> float:
    """Return the size of small print in the style in force, in points."""
    from matplotlib import rcParams

    return float(rcParams["figure.labelsize"])


def _mark_chance(axes: Axes, panel: Panel, *, above: float) -> None:
    chance, low = panel.metric.chance, panel.metric.minimum
    if chance is None or low is None or chance <= 2 * low - above:
        return
    axes.axhline(chance, color="#888888", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        "chance",
        (0.995, chance),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=small_print(),
        color="#666666",
    )


def _log_ticks(bottom: float, top: float) -> list[float]:
    """Return at most ten round numbers up to the upper bound; the first one is not above the lower bound."""
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        every = [step * 10.0**decade for decade in decades for step in steps]
        first = max(tick for tick in every if tick <= bottom)
        ticks = [tick for tick in every if first <= tick <= top]
        if len(ticks) <= _MOST_TICKS:
            return ticks
    return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]


def _tick_text(value: float) -> str:
    if value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def draw_line(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[float],
    bounds: tuple[Sequence[float], Sequence[float]],
    style: MethodStyle,
    *,
    is_in_front: bool = False,
) -> None:
    """Draw a method's line with its markers and intervals; it is broken where a value is NaN.

    Args:
        axes: Where.
        x: Place of each value.
        values: As drawn.
        bounds: Lower and upper ends of their intervals; a value itself where it has none.
        style: Of the method.
        is_in_front: Whether other lines pass behind it.
    """
    from matplotlib import rcParams

    low, high = bounds
    width = float(rcParams["lines.linewidth"])
    axes.errorbar(
        x,
        values,
        yerr=[
            [v - bound for v, bound in zip(values, low, strict=True)],
            [bound - v for v, bound in zip(values, high, strict=True)],
        ],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markerfacecolor=style.face,
        markeredgecolor=style.edge,
        markeredgewidth=style.edge_width,
        elinewidth=0.55 * width,
        capsize=1.1 * width,
        capthick=0.55 * width,
        zorder=4 if is_in_front else 3,
    )
