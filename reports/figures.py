"""What every figure shares: one style per method, one look, the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from longbench_run.reports.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINE = "none"
"""The method that is drawn apart: the unmodified model."""

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
"""Okabe and Ito 2008, without yellow and black, then wine and olive of Tol's "muted" scheme."""
_MARKERS = "os^Dv<>p"
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_WIDEST_LABEL = 26
_MOST_LABEL_LINES = 4


class MethodStyle(NamedTuple):
    """How a method looks in every figure of a run."""

    colour: str
    marker: str
    line: Any
    face: str


def method_styles(methods: Sequence[str]) -> Mapping[str, MethodStyle]:
    """Return one style per method, by its place in the run; the unmodified model is black and dashed.

    Args:
        methods: Method labels in the order of the run.
    """
    styles = {}
    for place, method in enumerate(method for method in methods if method != BASELINE):
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = _DASHES[place // len(_COLOURS) % len(_DASHES)]
        styles[method] = MethodStyle(colour, _MARKERS[place % len(_MARKERS)], dashes, colour)
    styles[BASELINE] = MethodStyle("#222222", "o", (0, (3, 2)), "white")
    return styles


def house_style() -> AbstractContextManager[None]:
    """Return matplotlib's defaults with this project's style on top, for the time of a block."""
    import matplotlib.style

    with as_file(files("longbench_run.reports") / "longbench.mplstyle") as path:
        style: AbstractContextManager[None] = matplotlib.style.context(["default", str(path)])
    return style


def legend_label(method: str) -> str:
    """Break a long label, at its parameters where it has any: the legend must leave room for the figure.

    Args:
        method: Method label.
    """
    lines = [""]
    for part in re.split(r"(?=[+:])", visible(method)):
        if lines[-1] and len(lines[-1]) + len(part) > _WIDEST_LABEL:
            lines.append("  ")
        lines[-1] += part
    short = [piece for line in lines for piece in wrap(line, _WIDEST_LABEL, subsequent_indent="  ")]
    if len(short) > _MOST_LABEL_LINES:
        short = [*short[: _MOST_LABEL_LINES - 1], "  ..."]
    return "\n".join(short)


def save_figure(figure: Figure, stem: Path, *, title: str, description: str) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG, the same bytes each time.

    Args:
        figure: What to write.
        stem: Path without a suffix; its folder exists.
        title: Title in the SVG's metadata.
        description: The figure in words, for those who cannot see it.

    Returns:
        Paths of the PNG and the SVG.
    """
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    with house_style():
        figure.savefig(png, metadata={"Software": None, "Title": title, "Description": description})
        figure.savefig(svg, metadata={"Date": None, "Title": title, "Description": description})
    return png, svg
