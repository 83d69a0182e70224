"""Curves of a run with the points that a paper printed for the same methods on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.curves import Line, robustness_figure
from longbench_run.reports.figures import Style
from longbench_run.reports.panels import Panel
from longbench_run.results.published import PublishedRow, Series, method_family

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


class Beside(NamedTuple):
    """What a paper has of one task, metric, model, data and protocol, beside a panel of the run."""

    panel: Panel
    rows: tuple[PublishedRow, ...]
    """Each at a context length."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Context lengths of either side, ascending."""
        own = {row.context_length for row in self.rows if row.context_length is not None}
        return tuple(sorted({*self.panel.lengths, *own}))

    @property
    def series(self) -> Mapping[Series, Mapping[int, PublishedRow]]:
        """Series -> context length -> row, in the order of the paper."""
        found: dict[Series, dict[int, PublishedRow]] = {}
        for row in self.rows:
            if row.context_length is not None:
                found.setdefault(row.series, {})[row.context_length] = row
        return found

    @property
    def shared(self) -> Mapping[str, tuple[Series, ...]]:
        """Method of the run -> the paper's series of the same method; a method of the paper is one method's alone."""
        left = {series: next(iter(rows.values())).method for series, rows in self.series.items()}
        found = {}
        for method, family in _families(self.panel).items():
            own = tuple(series for series, name in left.items() if name and method_family(name) == family)
            if own:
                found[method] = own
                left = {series: name for series, name in left.items() if series not in own}
        return found


def besides(panel: Panel, rows: Iterable[PublishedRow]) -> Iterator[Beside]:
    """Yield what a paper has of a panel, by model, data and protocol, where a method is in both.

    Args:
        panel: One model, task and metric.
        rows: Of a paper.
    """
    by_setup: dict[tuple[str, str, str], list[PublishedRow]] = {}
    for row in rows:
        if (row.task, row.metric) == (panel.task.name, panel.metric.name) and row.context_length is not None:
            by_setup.setdefault((row.model, row.dataset, row.protocol), []).append(row)
    found = (Beside(panel, tuple(of_setup)) for of_setup in by_setup.values())
    yield from (beside for beside in found if beside.shared)


def overlay_figure(beside: Beside, style: Style = "report") -> MatplotlibFigure:
    """Draw the curves of the run with the paper's points of the same methods on them.

    Args:
        beside: Both; the panel has a value.
        style: Where the figure is shown.
    """
    first = beside.rows[0]
    lines = [
        Line(
            method=method,
            label=f"{series.called}, published",
            points={
                length: math.nan if row.score is None else row.score
                for length, row in beside.series[series].items()
            },
        )
        for method, own in beside.shared.items()
        for series in own
    ]
    notes = [f"Published, dash-dotted: {first.paper}, {first.model}, {first.dataset}"]
    return robustness_figure(beside.panel, style, beside=lines, notes=notes)


def _families(panel: Panel) -> Mapping[str, str]:
    """Return method of the run -> names of its components, for those that have a value."""
    return {
        method: method_family(own[0].method)
        for method in panel.methods
        if (own := [each for each in panel.scored if each.method_label == method])
    }
