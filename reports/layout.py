"""Where things stand in a figure: words and legend around the axes, measured, so that nothing covers anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from longbench_run.reports.text import visible

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

_POINTS_PER_INCH = 72
_FINE = 10
_LINE = 1.25
"""Height of a line of text, in font sizes."""
_EDGE = 3.0
"""Points between the edge of a figure and what stands there."""
_GAP = 5.0
"""Points between words, legend and axes."""
_GRID = math.pi * 1e-6
"""Parts of a figure. No sum of round numbers lies midway between two of its points, where rounding would be by chance."""
_LEAST_BESIDE = 34.0
"""Font sizes that a legend beside the axes must leave them; else it goes below."""
_MOST_NOTE_LINES = 8


def frame_figure(
    figure: Figure,
    *,
    title: str,
    about: Sequence[str],
    body: float,
    across: str = "",
    handles: Sequence[Artist] = (),
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Put title, what the figure is about, legend and notes around its axes; it grows as high as they take.

    Everything is laid out here, within the style that is in force, and stays so.

    Args:
        figure: Its axes are drawn.
        title: One line, broken where it is too wide.
        about: What must be said of all of the figure; joined by dots.
        body: Least height of the axes with their labels, in font sizes.
        across: What the x axes show, where several share it.
        handles: What stands for each label in the legend.
        labels: Of the legend; may hold line ends.
        notes: Lines below it, each broken where it is too wide.
    """
    from matplotlib import rcParams
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width = figure.get_figwidth() * _POINTS_PER_INCH
    large, small = float(rcParams["figure.titlesize"]), float(rcParams["figure.labelsize"])
    usable = width - 2 * _EDGE
    head = wrapped(title, size=large, width=usable, weight=rcParams["figure.titleweight"])
    below_head = _filled(about, joint=" · ", size=small, width=usable)
    foot = _shortened(
        [line for note in notes for line in wrapped(note, size=small, width=usable, indent="   ")]
    )

    above = _EDGE + _LINE * (large * len(head) + small * len(below_head)) + _GAP
    under = _EDGE + (_LINE * small * len(foot) + _GAP if foot else 0)
    legend, legend_width, legend_height = _legend(figure, handles, labels)
    beside = 0.0
    font, label = float(rcParams["font.size"]), float(rcParams["axes.labelsize"])
    if legend is not None and usable - legend_width >= _LEAST_BESIDE * font:
        beside = legend_width + _GAP
    elif legend is not None:
        legend, legend_height = _flattened(figure, legend, handles, labels, usable)
        under += legend_height + _GAP
    legend_top = under - _GAP
    if across:
        under += _LINE * label + _GAP
    least = max(font * body, legend_height if beside else 0)
    height = max(figure.get_figheight() * _POINTS_PER_INCH, above + least + under)
    figure.set_figheight(height / _POINTS_PER_INCH)

    top = 1 - _EDGE / height
    figure.text(
        _EDGE / width,
        top,
        "\n".join(head),
        fontsize=large,
        fontweight=rcParams["figure.titleweight"],
        va="top",
        linespacing=_LINE,
    )
    figure.text(
        _EDGE / width,
        top - _LINE * large * len(head) / height,
        "\n".join(below_head),
        fontsize=small,
        color="#555555",
        va="top",
        linespacing=_LINE,
    )
    if foot:
        figure.text(
            _EDGE / width,
            _EDGE / height,
            "\n".join(foot),
            fontsize=small,
            color="#555555",
            va="bottom",
            linespacing=_LINE,
        )
    if across:
        figure.text(
            (width - beside) / 2 / width,
            (under - _GAP / 2) / height,
            across,
            fontsize=label,
            ha="center",
            va="top",
        )
    if legend is not None:
        middle = (under + (height - above - under) / 2 + legend_height / 2) / height
        corner = (
            (1 - (legend_width + _EDGE) / width, middle) if beside else (_EDGE / width, legend_top / height)
        )
        legend.set_bbox_to_anchor(corner, transform=figure.transFigure)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # noqa: S101 (the style says so)
    engine.set(
        rect=(
            _EDGE / width,
            under / height,
            1 - (2 * _EDGE + beside) / width,
            1 - (above + under) / height,
        )
    )
    figure.draw_without_rendering()
    _keep_places(figure)


def _keep_places(figure: Figure) -> None:
    """Fix the axes where they are, on a grid: the solver's last digits change from one run to the next."""
    figure.set_layout_engine("none")
    for axes in figure.axes:
        bounds = axes.get_position(original=True).bounds
        left, bottom, width, height = (round(bound / _GRID) * _GRID for bound in bounds)
        axes.set_position((left, bottom, width, height), which="original")


def wrapped(text: str, *, size: float, width: float, weight: str = "normal", indent: str = "") -> list[str]:
    """Break a text into lines by what its letters measure.

    Args:
        text: Made visible first: it has no line ends.
        size: Font size in points.
        width: Of a line, in points.
        weight: Of the font.
        indent: What every line but the first begins with.
    """
    words = _words(visible(text), size=size, width=width - text_width(indent, size), weight=weight)
    return _joined(words, joint=" ", size=size, width=width, weight=weight, indent=indent)


def _filled(parts: Sequence[str], *, joint: str, size: float, width: float) -> list[str]:
    """Return lines of parts; a part is broken only where it is wider than a line."""
    pieces = [piece for part in parts for piece in wrapped(part, size=size, width=width)]
    return _joined(pieces, joint=joint, size=size, width=width)


def _joined(
    pieces: Sequence[str], *, joint: str, size: float, width: float, weight: str = "normal", indent: str = ""
) -> list[str]:
    lines: list[str] = []
    for piece in pieces:
        if lines and text_width(longer := f"{lines[-1]}{joint}{piece}", size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(f"{indent if lines else ''}{piece}")
    return lines


def _shortened(lines: list[str]) -> list[str]:
    """Return no more lines than a figure has room for: the table beside it says it all."""
    if len(lines) <= _MOST_NOTE_LINES:
        return lines
    return [
        *lines[: _MOST_NOTE_LINES - 1],
        f"... and {len(lines) - _MOST_NOTE_LINES + 1} more lines: see the table",
    ]


def _words(text: str, *, size: float, width: float, weight: str) -> list[str]:
    """Return the words of a text, those cut that are wider than a line."""
    words: list[str] = []
    for word in text.split():
        rest = word
        while text_width(rest, size, weight) > width and len(rest) > 1:
            fits = max(1, math.floor(len(rest) * width / text_width(rest, size, weight)))
            while fits > 1 and text_width(rest[:fits], size, weight) > width:
                fits -= 1
            words.append(rest[:fits])
            rest = rest[fits:]
        words.append(rest)
    return words


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide a line is in the font in force, in points.

    Args:
        text: One line.
        size: Font size in points.
        weight: Of the font.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    if not text:
        return 0.0
    font = FontProperties(size=size, weight=weight)
    # Finely: at few dots per inch letters are as wide as whole dots.
    renderer = cast("Any", RendererAgg)(1, 1, _FINE * _POINTS_PER_INCH)
    return float(renderer.get_text_width_height_descent(text, font, False)[0]) / _FINE


def _legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int = 1
) -> tuple[Legend | None, float, float]:
    """Return a legend, its width and its height in points; it has no place yet."""
    if not handles:
        return None, 0.0, 0.0
    legend = figure.legend(handles, labels, loc="upper left", ncols=columns, borderaxespad=0, borderpad=0)
    box = legend.get_window_extent()
    scale = _POINTS_PER_INCH / figure.dpi
    return legend, box.width * scale, box.height * scale


def _flattened(
    figure: Figure, legend: Legend, handles: Sequence[Artist], labels: Sequence[str], width: float
) -> tuple[Legend, float]:
    """Return a legend of as few rows as fit into a width, and its height in points."""
    most = len(labels)
    found, taken, height = legend, math.inf, 0.0
    for rows in range(1, most + 1):
        found.remove()
        again, taken, height = _legend(figure, handles, labels, columns=math.ceil(most / rows))
        assert again is not None  # noqa: S101 (there are handles)
        found = again
        if taken <= width:
            break
    return found, height
