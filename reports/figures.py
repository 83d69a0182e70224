"""What every figure shares: a style for where it is shown, one look per method, the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from longbench_run.reports.text import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Style = Literal["report", "paper", "slides"]
"""Where figures are shown: across a page, in a column of a paper, on a slide."""
STYLES: tuple[Style, ...] = get_args(Style)

BASELINE = "none"
"""The method that is drawn apart: the unmodified model."""

_SHEETS: Mapping[Style, tuple[str, ...]] = {
    "report": ("longbench",),
    "paper": ("longbench", "paper"),
    "slides": ("longbench", "slides"),
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
"""Okabe and Ito 2008, without yellow and black, then wine and olive of Tol's "muted" scheme."""
MOST_COLOURS = len(_COLOURS)
"""Methods that differ in colour; of more, some share one and differ in marker and line."""
_MARKERS = "s^Dv<>pP"
_DASHES: tuple[Any, ...] = ("-", (0, (6, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
"""In grey, markers and dashes are what tells lines apart."""
_WIDEST_LABEL = 26
_MOST_LABEL_LINES = 4


class MethodStyle(NamedTuple):
    """How a method looks in every figure of a run."""

    colour: str
    marker: str
    line: Any
    face: str
    """Of its marker."""

    @property
    def edge(self) -> str:
        """Of its marker: white sets what is filled apart from what it lies on."""
        return self.colour if self.face == "white" else "white"

    @property
    def edge_width(self) -> float:
        """In points."""
        return 1.2 if self.face == "white" else 0.5


def method_styles(methods: Sequence[str]) -> Mapping[str, MethodStyle]:
    """Return one style per method, by its place in the run; the unmodified model is black, dashed and hollow.

    Args:
        methods: Method labels in the order of the run.
    """
    styles = {}
    for place, method in enumerate(method for method in methods if method != BASELINE):
        cycle = place // len(_COLOURS)
        colour = _COLOURS[place % len(_COLOURS)]
        # Shifted from one cycle to the next by steps of which no two agree: no pair of looks comes back for 32 methods.
        marker = _MARKERS[(place + 2 * cycle) % len(_MARKERS)]
        styles[method] = MethodStyle(colour, marker, _DASHES[(place + cycle) % len(_DASHES)], colour)
    styles[BASELINE] = MethodStyle("#222222", "o", (0, (3, 2)), "white")
    return styles


def method_handle(style: MethodStyle, *, has_line: bool = True) -> Line2D:
    """Return what stands for a method in a legend.

    Args:
        style: Of the method.
        has_line: Whether the figure draws lines, or markers alone.
    """
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=style.colour,
        marker=style.marker,
        linestyle=style.line if has_line else "none",
        markerfacecolor=style.face,
        markeredgecolor=style.edge,
        markeredgewidth=style.edge_width,
    )


@contextmanager
def house_style(style: Style = "report") -> Iterator[None]:
    """Put matplotlib's defaults in force, with a style of this project on top, for the time of a block.

    Args:
        style: Where the figure is shown.
    """
    import matplotlib.style

    folder = files("longbench_run.reports")
    with ExitStack() as stack:
        sheets = [stack.enter_context(as_file(folder / f"{name}.mplstyle")) for name in _SHEETS[style]]
        stack.enter_context(matplotlib.style.context(["default", *map(str, sheets)]))
        yield


def legend_label(method: str, *, widest: int = _WIDEST_LABEL, most: int = _MOST_LABEL_LINES) -> str:
    """Break a long label, at its parameters where it has any: the legend must leave room for the figure.

    Args:
        method: Method label.
        widest: Characters of a line, at least 4.
        most: Lines, at least 2.
    """
    lines = [""]
    for part in re.split(r"(?=[+:])", visible(method)):
        if lines[-1] and len(lines[-1]) + len(part) > widest:
            lines.append("  ")
        lines[-1] += part
    short = [piece for line in lines for piece in wrap(line, widest, subsequent_indent="  ")]
    if len(short) > most:
        short = [*short[: most - 1], "  ..."]
    return "\n".join(short)


class FigureFiles(NamedTuple):
    """Where a figure was written."""

    png: Path
    svg: Path
    pdf: Path


def save_figure(figure: Figure, stem: Path, *, title: str, description: str) -> FigureFiles:
    """Write a figure as PNG, SVG and PDF, the same bytes each time.

    Args:
        figure: What to write.
        stem: Path without a suffix; its folder exists.
        title: Title in the files' metadata.
        description: The figure in words, for those who cannot see it.

    Returns:
        Paths of the PNG, the SVG and the PDF.
    """
    paths = FigureFiles(*(stem.with_name(f"{stem.name}.{suffix}") for suffix in FigureFiles._fields))
    title, description = visible(title), visible(description)
    # Without the time at which it was written, and without a version of matplotlib.
    metadata: Sequence[Mapping[str, str | None]] = (
        {"Software": None, "Title": title, "Description": description},
        {"Date": None, "Creator": None, "Title": title, "Description": description},
        {"CreationDate": None, "Creator": None, "Producer": None, "Title": title, "Subject": description},
    )
    with house_style():
        for path, of_format in zip(paths, metadata, strict=True):
            figure.savefig(path, metadata=of_format)
    return paths
