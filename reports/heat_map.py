"""Score by depth of the needle and context length: a map per method, as needle tests are known by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from longbench_run.reports.axes import drawn, small_print, thin_out_lengths
from longbench_run.reports.captions import about, absence, caption
from longbench_run.reports.document import Block, Figure
from longbench_run.reports.figures import Style, house_style, legend_label
from longbench_run.reports.layout import frame_figure, text_width
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label, visible
from longbench_run.results.records import RunHeader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as MatplotlibFigure

Paint: TypeAlias = Callable[[float], tuple[float, float, float, float]]
"""Value on its axis -> colour: red, green, blue and opacity, 0 to 1."""

_COLOURS: Mapping[bool, str] = {True: "cividis", False: "cividis_r"}
"""Whether higher is better -> a map that is read by the colour-blind and in grey: bright is good."""
_NARROWEST = 11.0
"""Of a map with its labels, in font sizes."""
_ROW = 10.5
"""Height of a map without its title, in font sizes."""
_SHORTEST_TITLE = 14
"""Letters of a line of a title."""
_HATCHED = "Hatched: no value."
_MOST_ROWS = 16
"""Depths shown as they are; more are put together in `_BINS`."""
_BINS = 10
_SMALLEST_VALUE = 5.0
"""Points: smaller numbers would not be read."""
_MOST_DEPTH_LABELS = 5


class Field(NamedTuple):
    """Samples of one method, length and depth."""

    value: float
    samples: int


class HeatMap(NamedTuple):
    """All maps of a panel: the same depths and lengths for each method."""

    depths: tuple[str, ...]
    """Of each row, from the beginning of the context to its end."""
    fields: Mapping[tuple[str, int], tuple[Field | None, ...]]
    """(method label, context length) -> a field per depth, None where there is no sample."""

    @property
    def samples(self) -> list[int]:
        """Samples behind the fields, ascending."""
        return sorted({field.samples for column in self.fields.values() for field in column if field})


def heat_map(panel: Panel) -> HeatMap:
    """Return the means of a panel by depth; many depths are put together in ten bins.

    Args:
        panel: It has curves by position.
    """
    found = sorted({point.depth for curve in panel.curves.values() for point in curve.points})
    is_binned = len(found) > _MOST_ROWS
    rows = {
        depth: min(_BINS - 1, int(depth * _BINS)) if is_binned else place for place, depth in enumerate(found)
    }
    labels = (
        [f"{row / _BINS:g}-{(row + 1) / _BINS:g}" for row in range(_BINS)]
        if is_binned
        else map(_depth, found)
    )
    depths = tuple(labels)
    fields = {}
    for place, curve in panel.curves.items():
        column: list[list[Field]] = [[] for _ in depths]
        for point in curve.points:
            if point.mean.value is not None:
                column[rows[point.depth]].append(Field(point.mean.value, point.mean.samples))
        fields[place] = tuple(_together(of_row) for of_row in column)
    return HeatMap(depths, fields)


def heat_map_blocks(panel: Panel, header: RunHeader) -> Iterator[Block]:
    """Yield the heat maps of a panel, where samples carry a depth.

    Args:
        panel: One model, task and metric.
        header: The run.
    """
    if not panel.curves:
        return
    yield Figure(
        name="-".join((*panel.name, "by-depth", panel.model.label)),
        title=f"{panel.title} by depth and context length, {panel.model.label}",
        alt=heat_map_alt_text(panel),
        caption=caption(
            panel,
            header,
            f"{panel.title} by depth of what is asked for (0: beginning, 1: end) and context length, a map per method "
            f"({panel.direction})",
            (_count_text(heat_map(panel)),),
            *([_HATCHED] if _is_hatched(panel, heat_map(panel)) else []),
        ),
        draw=partial(heat_map_figure, panel),
    )


def heat_map_alt_text(panel: Panel) -> str:
    """Say in words what the heat maps show: the worst field of each method, and where it is perfect.

    Args:
        panel: It has curves by position.
    """
    shown = heat_map(panel)
    parts = []
    for method in _methods(panel):
        fields = [
            (field.value, depth, length)
            for length in panel.lengths
            for depth, field in zip(shown.depths, shown.fields.get((method, length), ()), strict=False)
            if field
        ]
        pick = min if panel.metric.higher_is_better else max
        worst = pick(value for value, _, _ in fields)
        places = [
            f"depth {depth} at {length_label(length)}" for value, depth, length in fields if value == worst
        ]
        rest = f" and {len(places) - 1} more of {len(fields)} fields" if len(places) > 1 else ""
        parts.append(f"{method} worst {panel.number_text(worst)} at {places[0]}{rest}")
    return visible(f"{panel.title} of {panel.model.label} by depth and context length. {'; '.join(parts)}.")


def heat_map_figure(panel: Panel, style: Style = "report") -> MatplotlibFigure:
    """Draw a map per method: depth down, context length across, the mean as colour and number.

    Args:
        panel: It has curves by position.
        style: Where the figure is shown.
    """
    from matplotlib import rcParams
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure as MatplotlibFigure

    shown, methods = heat_map(panel), _methods(panel)
    with house_style(style):
        figure = MatplotlibFigure()
        font = float(rcParams["font.size"])
        width = figure.get_figwidth() * 72 / font
        rows = math.ceil(len(methods) / max(1, int(width / _NARROWEST)))
        columns = math.ceil(len(methods) / rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        colours = ScalarMappable(_scale(panel, shown), _COLOURS[panel.metric.higher_is_better])
        paint = cast("Paint", colours.to_rgba)
        drawn_axes = list(grid.flat)[: len(methods)]
        # A letter is about 0.62 of its size wide, and depths take 5 of the width.
        widest = max(_SHORTEST_TITLE, int((width * font / small_print() - 5) / columns / 0.62))
        titles = [legend_label(method, widest=widest, most=6) for method in methods]
        for place, (axes, method, title) in enumerate(zip(drawn_axes, methods, titles, strict=True)):
            _draw_map(axes, panel, shown, method, paint)
            axes.set_title(title, fontsize=small_print())
            axes.tick_params(labelbottom=place + columns >= len(methods))
        for axes in list(grid.flat)[len(methods) :]:
            axes.set_axis_off()
        bar = figure.colorbar(colours, ax=list(grid.flat), location="top", fraction=0.04, pad=0.01, aspect=90)
        bar.set_label(f"{visible(panel.quantity)} ({panel.direction})")
        bar.outline.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("depth")
        lines = [1 + title.count("\n") for title in titles]
        frame_figure(
            figure,
            title=f"{panel.title} by depth",
            about=about(
                panel, _count_text(shown), f"original window {panel.model.original_context_length} tokens"
            ),
            body=_ROW * rows
            + sum(max(lines[row : row + columns]) for row in range(0, len(lines), columns))
            + 5,
            across="context length (tokens, and in original windows)",
            notes=[_HATCHED] if _is_hatched(panel, shown) else [],
        )
        for axes, method in zip(drawn_axes, methods, strict=True):
            _write_values(axes, panel, shown, method, paint)
            _write_reasons(axes, panel, shown, method)
        for axes in drawn_axes[-columns:]:
            thin_out_lengths(axes)
    return figure


def _methods(panel: Panel) -> list[str]:
    """Return methods that have a value somewhere; the others would be maps of nothing."""
    return [method for method in panel.methods if any(of == method for of, _ in panel.curves)]


def _is_hatched(panel: Panel, shown: HeatMap) -> bool:
    return any(
        None in shown.fields.get((method, length), (None,))
        for method in _methods(panel)
        for length in panel.lengths
    )


def _together(fields: Sequence[Field]) -> Field | None:
    samples = sum(field.samples for field in fields)
    return Field(sum(field.value * field.samples for field in fields) / samples, samples) if samples else None


def _scale(panel: Panel, shown: HeatMap) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    low, high = panel.metric.minimum, panel.metric.maximum
    if low is not None and high is not None:
        return Normalize(low, high)
    values = [drawn(panel, field.value) for column in shown.fields.values() for field in column if field]
    if panel.is_perplexity and max(values) >= 8 * min(values):
        return LogNorm(min(values), max(values))
    return Normalize(min(values), max(values))


def _draw_map(axes: Axes, panel: Panel, shown: HeatMap, method: str, paint: Paint) -> None:
    from matplotlib.patches import Rectangle

    for x, length in enumerate(panel.lengths):
        column = shown.fields.get((method, length), (None,) * len(shown.depths))
        for y, field in enumerate(column):
            looks = (
                {"facecolor": "white", "edgecolor": "#999999", "hatch": "////"}
                if field is None
                else {"facecolor": paint(drawn(panel, field.value)), "edgecolor": "white"}
            )
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=0.4, **looks))
    window = panel.model.original_context_length
    axes.set_xticks(
        range(len(panel.lengths)), [f"{length_label(n)}\n{multiple_label(n, window)}" for n in panel.lengths]
    )
    step = max(1, math.ceil((len(shown.depths) - 1) / (_MOST_DEPTH_LABELS - 1)))
    axes.set_yticks(range(0, len(shown.depths), step), shown.depths[::step])
    axes.set_xlim(-0.5, len(panel.lengths) - 0.5)
    axes.set_ylim(len(shown.depths) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_reasons(axes: Axes, panel: Panel, shown: HeatMap, method: str) -> None:
    """Write into columns without a value why there is none, in letters that stay within them."""
    width, _ = _field_size(axes, panel, shown)
    reasons = [_reason(panel, shown, method, length) for length in panel.lengths]
    start = 0
    for reason, run in groupby(reasons):
        end = start + len(list(run))
        size = min(small_print(), 0.75 * width * (end - start))
        if reason and size >= _SMALLEST_VALUE - 1:
            axes.text(
                (start + end - 1) / 2,
                (len(shown.depths) - 1) / 2,
                reason,
                rotation=90,
                ha="center",
                va="center",
                fontsize=size,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.1 * size},
            )
        start = end


def _reason(panel: Panel, shown: HeatMap, method: str, length: int) -> str | None:
    """Return why a length has no field at all, None where it has one."""
    if any(shown.fields.get((method, length), ())):
        return None
    return absence(panel, method, length) or "one depth only"


def _field_size(axes: Axes, panel: Panel, shown: HeatMap) -> tuple[float, float]:
    """Return width and height of a field in points; the axes are laid out."""
    box, points = axes.get_window_extent(), 72 / axes.figure.dpi
    return box.width * points / len(panel.lengths), box.height * points / len(shown.depths)


def _write_values(axes: Axes, panel: Panel, shown: HeatMap, method: str, paint: Paint) -> None:
    """Write the value into each field, in letters as large as fit; into none where they would be too small."""
    width, height = _field_size(axes, panel, shown)
    texts = {
        field: _value_text(panel, field.value)
        for column in shown.fields.values()
        for field in column
        if field
    }
    size = small_print()
    while size >= _SMALLEST_VALUE and not (
        size <= height and max(text_width(text, size) for text in texts.values()) <= 0.85 * width
    ):
        size -= 0.5
    if size < _SMALLEST_VALUE:
        return
    for x, length in enumerate(panel.lengths):
        for y, field in enumerate(shown.fields.get((method, length), ())):
            if field:
                red, green, blue, _ = paint(drawn(panel, field.value))
                is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                axes.text(
                    x,
                    y,
                    texts[field],
                    ha="center",
                    va="center_baseline",
                    fontsize=size,
                    color="white" if is_dark else "black",
                )


def _value_text(panel: Panel, value: float) -> str:
    """Return a value in as few letters as say it: ``.85``, ``1``."""
    if panel.is_perplexity:
        return panel.number_text(value)
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text.removeprefix("0") or "0"


def _count_text(shown: HeatMap) -> str:
    counts = shown.samples
    return f"n = {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} in each field"


def _depth(depth: float) -> str:
    return f"{depth:.2g}"
