"""Cost against quality: tokens per second and peak memory against the score at the longest length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from longbench_run.reports.axes import drawn, set_value_axis
from longbench_run.reports.captions import about, absence, caption
from longbench_run.reports.document import Block, Figure
from longbench_run.reports.figures import (
    MethodStyle,
    Style,
    house_style,
    legend_label,
    method_handle,
    method_styles,
)
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label, shortened, visible
from longbench_run.results.costs import CellCost, cell_costs
from longbench_run.results.records import RunHeader
from longbench_run.results.table import CellSummary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_BODY = 17.0
"""Height of the axes, in font sizes."""
_LONGEST_DEVICE = 60


class Quantity(NamedTuple):
    """A cost, and how it is shown."""

    unit: str
    """As words after a number."""
    axis: str
    more_is_better: bool
    of: Callable[[CellCost], float | None]


QUANTITIES = (
    Quantity(
        "tokens per second", "tokens per second\n(more is better)", True, lambda cost: cost.tokens_per_second
    ),
    Quantity(
        "GiB at peak",
        "peak memory, GiB\n(less is better)",
        False,
        lambda cost: None if cost.peak_bytes is None else cost.peak_bytes / 2**30,
    ),
)


class Costs(NamedTuple):
    """What a figure shows: a panel at one length."""

    panel: Panel
    context_length: int
    device: str
    by_method: Mapping[str, CellCost]
    """Method label -> cost of its cell; methods that have a score."""

    def cell(self, method: str) -> CellSummary:
        """Return the cell of a method."""
        return self.panel.cells[method, self.context_length]

    def front(self, quantity: Quantity) -> list[str]:
        """Return methods that no other one beats in cost and score at once, by cost.

        Args:
            quantity: The cost.
        """
        points = {
            method: (
                cost if quantity.more_is_better else -cost,
                value if self.panel.metric.higher_is_better else -value,
            )
            for method, of in self.by_method.items()
            if (cost := quantity.of(of)) is not None and (value := self.cell(method).value) is not None
        }
        best = [
            method
            for method, point in points.items()
            if not any(
                other != point and other[0] >= point[0] and other[1] >= point[1] for other in points.values()
            )
        ]
        return sorted(best, key=lambda method: points[method])


def costs_of(panel: Panel, header: RunHeader, frame: pd.DataFrame) -> Costs | None:
    """Return the costs of a panel at the longest length that has any; None where nothing was timed.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    # A panel is one of many in the frame: costs of the others are not computed.
    rows = frame[(frame["task"] == panel.task.name) & (frame["metric"] == panel.metric.name)]
    found = cell_costs(rows)
    for length in reversed(panel.lengths):
        by_method = {
            method: found[cell.key]
            for method in panel.methods
            if (cell := panel.cells.get((method, length))) and cell.value is not None and cell.key in found
        }
        if by_method:
            return Costs(panel, length, header.device, by_method)
    return None


def cost_blocks(panel: Panel, header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield cost against quality of a panel, where samples were timed.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    costs = costs_of(panel, header, frame)
    if costs is None:
        return
    yield Figure(
        name="-".join((*panel.name, "by-cost", panel.model.label)),
        title=f"{panel.title} by cost, {panel.model.label}",
        alt=cost_alt_text(costs),
        caption=caption(
            panel,
            header,
            f"{panel.title} at {_length_text(costs)} against tokens per second and peak memory",
            (
                panel.count_text(),
                panel.interval_text(),
                f"device {shortened(header.device, _LONGEST_DEVICE)}",
            ),
            _reading(costs),
        ),
        draw=partial(cost_figure, costs),
    )


def cost_alt_text(costs: Costs) -> str:
    """Say in words what the figure shows: score and costs of each method.

    Args:
        costs: What is shown.
    """
    parts = []
    for method, cost in costs.by_method.items():
        value = costs.cell(method).value
        numbers = [
            f"{found:.3g} {quantity.unit}"
            for quantity in QUANTITIES
            if (found := quantity.of(cost)) is not None
        ]
        if value is not None:
            parts.append(f"{method} {costs.panel.number_text(value)} at {', '.join(numbers)}")
    return visible(
        f"{costs.panel.title} of {costs.panel.model.label} at {_length_text(costs)} by cost on {costs.device}. "
        f"{'; '.join(parts)}."
    )


def cost_figure(costs: Costs, style: Style = "report") -> MatplotlibFigure:
    """Draw score over each cost, one marker per method; the Pareto front is joined by a line.

    Args:
        costs: What is shown.
        style: Where the figure is shown.
    """
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.lines import Line2D

    panel, methods = costs.panel, list(costs.by_method)
    quantities = [
        quantity
        for quantity in QUANTITIES
        if any(quantity.of(cost) is not None for cost in costs.by_method.values())
    ]
    with house_style(style):
        figure = MatplotlibFigure()
        grid = list(figure.subplots(1, len(quantities), sharey=True, squeeze=False).flat)
        styles = method_styles(panel.methods)
        for axes, quantity in zip(grid, quantities, strict=True):
            _draw_costs(axes, costs, quantity, styles)
            axes.set_xlabel(quantity.axis)
        set_value_axis(grid[0], panel)
        front = Line2D([], [], **_front_look())
        frame_figure(
            figure,
            title=f"{panel.title} at {_length_text(costs)} by cost",
            about=about(
                panel,
                panel.count_text(),
                panel.interval_text(),
                f"device {shortened(costs.device, _LONGEST_DEVICE)}",
            ),
            body=_BODY,
            handles=[*(method_handle(styles[method], has_line=False) for method in methods), front],
            labels=[*map(legend_label, methods), "Pareto front"],
            notes=_notes(costs),
        )
    return figure


def _draw_costs(axes: Axes, costs: Costs, quantity: Quantity, styles: Mapping[str, MethodStyle]) -> None:
    from matplotlib import rcParams

    panel, width = costs.panel, float(rcParams["lines.linewidth"])
    places: dict[str, tuple[float, float]] = {}
    for method, cost in costs.by_method.items():
        cell, x = costs.cell(method), quantity.of(cost)
        if x is None or cell.value is None:
            continue
        y = drawn(panel, cell.value)
        low, high = (y if bound is None else drawn(panel, bound) for bound in (cell.low, cell.high))
        style = styles[method]
        places[method] = x, y
        axes.errorbar(
            [x],
            [y],
            yerr=[[max(0.0, y - low)], [max(0.0, high - y)]],
            color=style.colour,
            marker=style.marker,
            markersize=1.25 * float(rcParams["lines.markersize"]),
            markerfacecolor=style.face,
            markeredgecolor=style.edge,
            markeredgewidth=style.edge_width,
            linestyle="none",
            elinewidth=0.55 * width,
            capsize=1.1 * width,
            capthick=0.55 * width,
            zorder=4,
            clip_on=False,
        )
    front = [places[method] for method in costs.front(quantity)]
    axes.plot(*zip(*front, strict=True), **_front_look(), zorder=2, clip_on=False, label="front")
    # From 0: a memory that differs by a hundredth is the same.
    axes.set_xlim(0, 1.12 * max(x for x, _ in places.values()))
    axes.locator_params(axis="x", nbins=4)


def _front_look() -> dict[str, Any]:
    """Return how the Pareto front is drawn: a ring around each of its methods, joined."""
    from matplotlib import rcParams

    return {
        "color": "#888888",
        "linestyle": (0, (1, 1.2)),
        "marker": "o",
        "markersize": 2.2 * float(rcParams["lines.markersize"]),
        "markerfacecolor": "none",
        "markeredgewidth": 0.5 * float(rcParams["lines.linewidth"]),
    }


def _notes(costs: Costs) -> list[str]:
    """Say how it is to be read, and which methods have no marker."""
    left_out = [method for method in costs.panel.methods if method not in costs.by_method]
    reasons = {
        method: absence(costs.panel, method, costs.context_length) or "not timed" for method in left_out
    }
    return [_reading(costs), *(f"{reason}: {method}" for method, reason in reasons.items())]


def _reading(costs: Costs) -> str:
    """Say what the numbers are, where the samples of a cell were not timed one by one."""
    timed = sorted({cost.samples for cost in costs.by_method.values()})
    return (
        f"Tokens computed, of prompts and answers, over their seconds, in {' to '.join(map(str, dict.fromkeys(timed)))} "
        "timed samples of one run: no interval is known. Pareto front: methods that no other one beats in both."
    )


def _length_text(costs: Costs) -> str:
    length = costs.context_length
    return f"{length_label(length)} ({multiple_label(length, costs.panel.model.original_context_length)})"
