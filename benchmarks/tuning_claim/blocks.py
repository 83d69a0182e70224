"""What pages of a study are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longbench_run.reports.document import Table, cell, text
from longbench_run.results.crossed import Contrast
from longbench_run.results.tuned import Place, TunedRun


def nll_place(run: TunedRun) -> Place:
    """Return where documents are scored of which no answer is asked: it has neither floor nor ceiling."""
    return next(place for place in run.places if place.metric == "nll")


def interval(found: Contrast | None) -> str:
    """Return a value and its 95 % interval, as a cell of a table."""
    if found is None:
        return "-"
    bounds = "[-]" if found.low is None or found.high is None else f"[{found.low:.3f}, {found.high:.3f}]"
    return f"{round(found.value, 3) + 0.0:.3f} {bounds}"  # no -0.000


def grid(name: str, title: str, found: Mapping[tuple[str, Any], str]) -> Table:
    """Return published values of (method, column) as a table.

    Args:
        name: Of the table.
        title: Its caption.
        found: (Method, column) -> value as printed.
    """
    columns = sorted({column for _, column in found})
    return Table(
        name=name,
        caption=text(title),
        head=tuple(map(text, ("method", *map(str, columns)))),
        rows=tuple(
            (cell(method), *(cell(found.get((method, column), "-")) for column in columns))
            for method in dict.fromkeys(method for method, _ in found)
        ),
    )
