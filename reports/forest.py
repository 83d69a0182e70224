"""Paired differences: each method less the unmodified model, with intervals, at each context length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.axes import small_print
from longbench_run.reports.captions import about, absence, caption
from longbench_run.reports.document import Block, Figure
from longbench_run.reports.figures import (
    BASELINE,
    MethodStyle,
    Style,
    house_style,
    legend_label,
    method_styles,
)
from longbench_run.reports.layout import frame_figure, text_width
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label, visible
from longbench_run.results.comparison import TOLERANCE
from longbench_run.results.method_differences import ALPHA, MethodDifference, method_differences
from longbench_run.results.records import RunHeader
from longbench_run.results.shares import DifferenceKind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

DIFFERENCE_NAMES: Mapping[DifferenceKind, str] = {
    "tango": "Tango",
    "newcombe": "Newcombe",
    "bootstrap-t": "studentised bootstrap",
    "student-t": "Student's t",
    "few-values": "Student's t with pairs added",
}
_NARROWEST = 9.5
"""Of a panel without its labels, in font sizes."""
_ROW = 1.5
"""Height of a row whose label has one line, in font sizes."""
_LINE = 1.25
"""Of each further line of a label."""
_AROUND = 3.6
"""Height of a panel's title and axis, in font sizes."""


class Forest(NamedTuple):
    """What a figure shows: the differences of a panel."""

    panel: Panel
    differences: Mapping[tuple[str, int], MethodDifference]
    """(method label, context length) -> its difference, where samples are shared."""
    family: int
    """Comparisons that Holm's correction is over: all methods over all lengths of the run."""

    @property
    def methods(self) -> list[str]:
        """Methods that are compared, in the order of the run."""
        return [method for method in self.panel.methods if method != BASELINE]


def forest_of(panel: Panel, frame: pd.DataFrame) -> Forest | None:
    """Return the differences of a panel; None where the run has no unmodified model, or no sample is shared with it.

    Args:
        panel: One model, task and metric.
        frame: Rows of `longbench_run.results.load` of its run.
    """
    rows = frame[
        (frame["model_label"] == panel.model.label)
        & (frame["task"] == panel.task.name)
        & (frame["protocol"] == panel.task.protocol)
        & (frame["metric"] == panel.metric.name)
    ]
    family = sum(method != BASELINE for method in panel.methods) * len(panel.lengths)
    found = {
        (difference.method_label, difference.context_length): difference
        for difference in method_differences(rows, baseline=BASELINE, family=family)
        if difference.value is not None
    }
    return Forest(panel, found, family) if found else None


def forest_blocks(panel: Panel, header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield the paired differences of a panel, where the run has the unmodified model.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` of the run.
    """
    forest = forest_of(panel, frame)
    if forest is None:
        return
    yield Figure(
        name="-".join((*panel.name, "differences", panel.model.label)),
        title=f"{panel.title}, paired differences, {panel.model.label}",
        alt=forest_alt_text(forest),
        caption=caption(
            panel,
            header,
            f"{_quantity(panel)}: each method less {BASELINE} over the same samples ({panel.direction})",
            (_count_text(forest), _interval_text(forest)),
            f"Intervals are of single differences. {_correction(forest)}",
        ),
        draw=partial(forest_figure, forest),
    )


def forest_alt_text(forest: Forest) -> str:
    """Say in words what the figure shows: what is better, worse and not told apart, by length.

    Args:
        forest: What is shown.
    """
    parts = []
    for length in forest.panel.lengths:
        found = [
            difference
            for method in forest.methods
            if (difference := forest.differences.get((method, length)))
        ]
        for effect in dict.fromkeys(difference.effect for difference in found):
            named = ", ".join(
                f"{each.method_label} {each.value:+.3g}" for each in found if each.effect == effect
            )
            parts.append(
                f"{'no difference' if effect == 'not shown' else effect} at {length_label(length)}: {named}"
            )
    return visible(
        f"{_quantity(forest.panel)} less that of {BASELINE}, {forest.panel.model.label}. {'; '.join(parts)}."
    )


def forest_figure(forest: Forest, style: Style = "report") -> MatplotlibFigure:
    """Draw a panel per context length and a row per method: difference and interval, filled where it is shown.

    Args:
        forest: What is shown.
        style: Where the figure is shown.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure as MatplotlibFigure

    panel, methods = forest.panel, forest.methods
    lengths = [length for length in panel.lengths if any(at == length for _, at in forest.differences)]
    with house_style(style):
        figure = MatplotlibFigure()
        font = float(rcParams["font.size"])
        names = [legend_label(method) for method in methods]
        widest = max(text_width(line, font) for name in names for line in name.split("\n"))
        ends = list(accumulate(_ROW + _LINE * name.count("\n") for name in names))
        heights = [(start + end) / 2 for start, end in pairwise((0.0, *ends))]
        room = figure.get_figwidth() * 72 / font - widest / font
        rows = math.ceil(len(lengths) / max(1, int(room / _NARROWEST)))
        columns = math.ceil(len(lengths) / rows)
        # Differences of a bounded score are of one size; those of nll may differ by orders of magnitude.
        shared = panel.metric.maximum is not None
        grid = figure.subplots(rows, columns, sharex=shared, sharey=True, squeeze=False)
        styles = method_styles(panel.methods)
        for place, axes in enumerate(grid.flat):
            if place >= len(lengths):
                axes.set_axis_off()
                continue
            _draw_panel(axes, forest, lengths[place], heights, styles)
            axes.set_title(_length_title(panel, lengths[place]))
            axes.tick_params(labelbottom=True)
        grid[0, 0].set_yticks(heights, names)
        grid[0, 0].set_ylim(ends[-1], 0)
        frame_figure(
            figure,
            title=f"{panel.title}, differences to {BASELINE}",
            about=about(panel, _count_text(forest), _interval_text(forest)),
            body=rows * (_AROUND + ends[-1]),
            across=f"{_quantity(panel)}, less that of {BASELINE} ({panel.direction})",
            notes=[_correction(forest)],
        )
    return figure


def _draw_panel(
    axes: Axes, forest: Forest, length: int, heights: Sequence[float], styles: Mapping[str, MethodStyle]
) -> None:
    from matplotlib import rcParams

    width = float(rcParams["lines.linewidth"])
    axes.axvline(0, color="#555555", linewidth=0.8, zorder=1)
    for method, row in zip(forest.methods, heights, strict=True):
        difference = forest.differences.get((method, length))
        if difference is None or difference.value is None:
            axes.annotate(
                _absence(forest, method, length),
                (0.5, row),
                xycoords=("axes fraction", "data"),
                ha="center",
                va="center",
                in_layout=False,  # axes are not to shrink for what stands in them
                fontsize=small_print(),
                color="#555555",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )
            continue
        value, style = difference.value, styles[method]
        low, high = difference.interval or (value, value)
        is_shown = difference.effect != "not shown"
        axes.errorbar(
            [value],
            [row],
            xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            color=style.colour,
            marker=style.marker,
            markerfacecolor=style.colour if is_shown else "white",
            markeredgecolor=style.colour,
            markeredgewidth=1.0,
            linestyle="none",
            elinewidth=0.8 * width,
            capsize=1.2 * width,
            capthick=0.8 * width,
            zorder=3,
        )
    axes.grid(visible=True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    if forest.panel.metric.maximum is None:
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -TOLERANCE), max(high, TOLERANCE))  # what is smaller is not worth a look


def _absence(forest: Forest, method: str, length: int) -> str:
    for label, of in ((method, ""), (BASELINE, f"{BASELINE}: ")):
        if reason := absence(forest.panel, label, length):
            return of + reason
    return "too few shared samples"


def _quantity(panel: Panel) -> str:
    """Return what is subtracted: for perplexity its logarithm, whose differences are ratios."""
    return "nll, nats per token" if panel.is_perplexity else panel.title


def _length_title(panel: Panel, length: int) -> str:
    return f"{length_label(length)} ({multiple_label(length, panel.model.original_context_length)})"


def _count_text(forest: Forest) -> str:
    counts = sorted({difference.samples for difference in forest.differences.values()})
    return f"n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} pairs"


def _interval_text(forest: Forest) -> str:
    kinds: Sequence[DifferenceKind] = [
        difference.kind for difference in forest.differences.values() if difference.kind
    ]
    names = [DIFFERENCE_NAMES[kind] for kind in dict.fromkeys(kinds)]
    by = " by document" if any(d.clusters != d.samples for d in forest.differences.values()) else ""
    return f"95 % interval: {', '.join(names)}{by}" if names else "no interval: fewer than 10 pairs"


def _correction(forest: Forest) -> str:
    return (
        f"Filled: better or worse at {ALPHA:.0%} for all {forest.family} comparisons together (Holm's correction). "
        "Hollow: no difference shown."
    )
