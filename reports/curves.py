"""Robustness curves: a metric over context length, one line per method, with its uncertainty."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import TYPE_CHECKING

from longbench_run.reports.figures import BASELINE, MethodStyle, house_style, legend_label, method_styles
from longbench_run.reports.panels import Note, Panel, grouped
from longbench_run.reports.text import length_label, multiple_label, shortened, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DODGE = 0.04
"""Octaves between neighbours at one length, so that error bars stand side by side."""
_WIDEST_DODGE = 0.32
_LONGEST_SUBTITLE = 110
_LARGEST_NLL = 230.0
"""A perplexity above 1e100 is drawn there: the limits of an axis must stay finite."""


def robustness_figure(panel: Panel) -> Figure:
    """Draw a panel: log2 axis of context length, intervals as bars, a line where the original window ends.

    Args:
        panel: At least one of its cells has a value.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with house_style():
        figure = Figure()
        axes = figure.add_subplot()
        styles = method_styles(panel.methods)
        measured = {cell.method_label for cell in panel.scored}
        shown = [method for method in panel.methods if method in measured]
        dodge = min(_DODGE, _WIDEST_DODGE / max(1, len(shown) - 1))
        for place, method in enumerate(shown):
            _draw_method(axes, panel, method, styles[method], (place - (len(shown) - 1) / 2) * dodge)
        _set_lengths(axes, panel)
        _set_values(axes, panel)
        _mark_window(axes, panel)
        subtitle = _subtitle(panel)
        axes.set_title(visible(panel.title), pad=20 + 10 * len(subtitle))
        axes.annotate(
            "\n".join(subtitle),
            (0, 1),
            (0, 17 + 10 * len(subtitle)),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=7,
            color="#555555",
            annotation_clip=False,
        )
        handles = [
            Line2D([], [], color=s.colour, marker=s.marker, linestyle=s.line, markerfacecolor=s.face)
            for s in (styles[method] for method in shown)
        ]
        labels = [legend_label(method) for method in shown]
        figure.legend(handles, labels, loc="outside right center", handlelength=2.8)
        footnotes = _footnotes(panel)
        figure.set_figheight(_height_in_inches(labels, footnotes, figure.get_figheight()))
        if footnotes:
            figure.supxlabel(footnotes, fontsize=7, color="#555555", x=0.01, ha="left")
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


def _draw_method(axes: Axes, panel: Panel, method: str, style: MethodStyle, shift: float) -> None:
    """Draw one line; it is broken where a cell has no value."""
    x, y, below, above = [], [], [], []
    for length in panel.lengths:
        cell = panel.cells.get((method, length))
        value = math.nan if cell is None or cell.value is None else _drawn(panel, cell.value)
        x.append(length * 2**shift)
        y.append(value)
        low = value if cell is None or cell.low is None else _drawn(panel, cell.low)
        high = value if cell is None or cell.high is None else _drawn(panel, cell.high)
        below.append(max(0.0, value - low))
        above.append(max(0.0, high - value))
    axes.errorbar(
        x,
        y,
        yerr=[below, above],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markerfacecolor=style.face,
        markeredgecolor=style.colour if style.face == "white" else "white",
        markeredgewidth=1.2 if style.face == "white" else 0.5,
        elinewidth=0.9,
        capsize=1.8,
        capthick=0.9,
        zorder=4 if method == BASELINE else 3,
    )


def _drawn(panel: Panel, value: float) -> float:
    return math.exp(min(value, _LARGEST_NLL)) if panel.is_perplexity else value


def _set_lengths(axes: Axes, panel: Panel) -> None:
    window = panel.model.original_context_length
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        panel.lengths, [f"{length_label(n)}\n{multiple_label(n, window)}" for n in panel.lengths], minor=False
    )
    axes.set_xticks([], minor=True)
    shown = [*panel.lengths, *([window] if _window_is_near(panel) else [])]
    axes.set_xlim(min(shown) * 2**-0.3, max(shown) * 2**0.3)
    axes.set_xlabel("context length (tokens, and in original windows)")


def _set_values(axes: Axes, panel: Panel) -> None:
    """Fix the range of a bounded metric; take a logarithmic axis where perplexity spans a decade."""
    low, high, chance = panel.metric.minimum, panel.metric.maximum, panel.metric.chance
    axes.set_ylabel(f"{visible(panel.quantity)} ({panel.direction})")
    if low is not None and high is not None:
        margin = 0.04 * (high - low)
        axes.set_ylim(low - margin, high + margin)
        if chance is not None and chance > low + margin:
            axes.axhline(chance, color="#888888", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
            axes.annotate(
                "chance",
                (0.995, chance),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=7,
                color="#666666",
            )
        return
    values = [_drawn(panel, cell.value) for cell in panel.scored if cell.value is not None]
    if not panel.is_perplexity or max(values) < 8 * min(values):
        return
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    ticks = _log_ticks(bottom, top)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick_text(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(min(bottom, ticks[0]), top)
    axes.set_ylabel(f"{visible(panel.quantity)} ({panel.direction}; log scale)")


def _log_ticks(bottom: float, top: float) -> list[float]:
    """Return at most ten round numbers up to the upper bound; the first one is not above the lower bound."""
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        every = [step * 10.0**decade for decade in decades for step in steps]
        first = max(tick for tick in every if tick <= bottom)
        ticks = [tick for tick in every if first <= tick <= top]
        if len(ticks) <= 10:
            return ticks
    return ticks[:: math.ceil(len(ticks) / 10)]


def _tick_text(value: float) -> str:
    if value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _mark_window(axes: Axes, panel: Panel) -> None:
    window = panel.model.original_context_length
    if not _window_is_near(panel):
        return
    axes.axvline(window, color="#777777", linewidth=1.0, linestyle=(0, (5, 3)), zorder=1)
    axes.annotate(
        f"original window ({window})",
        (window, 1),
        (0, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color="#555555",
        annotation_clip=False,
    )


def _window_is_near(panel: Panel) -> bool:
    """Whether the axis can reach the original window without being mostly empty: within two octaves."""
    window = panel.model.original_context_length
    return min(panel.lengths) / 4 <= window <= max(panel.lengths) * 4


def _height_in_inches(labels: list[str], footnotes: str, usual: float) -> float:
    """Return a height at which the legend has its place, and the footnotes one of their own."""
    lines = sum(1 + label.count("\n") for label in labels)
    return max(usual, 0.155 * lines + 0.07 * len(labels) + 0.3) + 0.13 * max(0, footnotes.count("\n"))


def _subtitle(panel: Panel) -> list[str]:
    parts = (
        shortened(panel.model.label, 60),
        f"protocol {panel.task.protocol}",
        f"factor {panel.factor_policy}",
        panel.count_text(),
        panel.interval_text(),
    )
    return wrap(visible(" · ".join(parts)), _LONGEST_SUBTITLE)


def _footnotes(panel: Panel) -> str:
    """Name the cells without a value or with another n: a gap in a line has its reason in the picture."""
    names = {"-": "not measured", "oom": "out of memory", "err": "failed", "n/a": "not applicable"}
    absent = [
        Note(method, length, names[panel.value_text(method, length)])
        for method in panel.methods
        for length in panel.lengths
        if (cell := panel.cells.get((method, length))) is None or cell.value is None
    ]
    scored = {(cell.method_label, cell.context_length) for cell in panel.scored}
    smaller = [note for note in panel.notes() if (note.method, note.context_length) in scored]
    lines = [visible(f"{text}: {places}") for text, places in grouped([*absent, *smaller])]
    return "\n".join(part for line in lines for part in wrap(line, 125, subsequent_indent="    "))
