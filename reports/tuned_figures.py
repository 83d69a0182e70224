"""Figures of tuned variants: quality over the number of samples, and training loss over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from longbench_run.reports.axes import draw_line, set_log_values, small_print
from longbench_run.reports.figures import (
    MethodStyle,
    Style,
    house_style,
    legend_label,
    method_handle,
    method_styles,
)
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.text import length_label, multiple_label, perplexity_text, score_text, visible
from longbench_run.results.tuned import NONE, UNTUNED, Place, TunedCell, TunedRun, tuned_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

    from longbench_run.results.crossed import Contrast

INTERVAL = "95 % interval: Student's t over seeds and samples"
_MOST_PANELS, _COLUMNS = 4, 2
_ROW = 15.0
"""Height of a row of panels with its labels, in font sizes."""
_DODGE, _WIDEST_DODGE = 0.12, 0.45
"""Octaves between neighbours at one number of samples, and between the first and the last."""
_MOST_MARKED = 12
"""Steps of a curve with a marker at each."""
_LARGEST_NLL = 230.0

T = TypeVar("T")


def place_title(place: Place) -> str:
    """Name what a place shows."""
    if place.task is None:
        return "Mean over tasks"
    quantity = _quantity(place)
    return quantity if place.task == quantity else f"{place.task}: {quantity}"


def number_text(place: Place, value: float) -> str:
    """Return a value as it is shown: perplexity for nll."""
    return perplexity_text(value) if place.metric == "nll" else score_text(value, digits=3)


def seeds_text(count: int) -> str:
    """Say how many seeds there are."""
    return "1 seed" if count == 1 else f"{count} seeds"


def quality_figure(run: TunedRun, place: Place, style: Style = "report") -> MatplotlibFigure:
    """Draw quality over the number of samples, log2, with 0 apart: a panel per context length, a line per method.

    Args:
        run: With tuned variants.
        place: A metric, or the mean over tasks; something was measured.
        style: Where the figure is shown.
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    with house_style(style):
        figure = MatplotlibFigure()
        lengths = _some(run.lengths, kept=run.targets)
        grid = _panels(figure, len(lengths), is_x_shared=True)
        styles, window = method_styles(run.methods), _window(run, place)
        places = _positions(run.samples)
        dodge = min(_DODGE, _WIDEST_DODGE / max(1, len(run.methods) - 1))
        for axes, length in zip(grid, lengths, strict=True):
            target = ", tuned for it" if length in run.targets else ""
            axes.set_title(
                f"at {length_label(length)} ({multiple_label(length, window)}){target}",
                fontsize=small_print(),
            )
            for number, method in enumerate(run.methods):
                shift = (number - (len(run.methods) - 1) / 2) * dodge
                found = {
                    samples: run.score(place, TunedCell(method, samples, length)) for samples in run.samples
                }
                _draw_method(axes, place, found, {n: x + shift for n, x in places.items()}, styles[method])
            untuned = run.score(place, TunedCell(NONE, UNTUNED, length))
            if untuned is not None:
                axes.axhline(
                    _drawn(place, untuned.value),
                    color="#777777",
                    linewidth=0.9,
                    linestyle=(0, (1, 2)),
                    zorder=1,
                )
            axes.set_xticks(list(places.values()), [str(samples) for samples in places], minor=False)
            axes.set_xlim(min(places.values()) - 0.5, max(places.values()) + 0.5)
        _set_values(grid, place)
        frame_figure(
            figure,
            title=f"{place_title(place)} by number of tuning samples",
            about=(
                place.model_label,
                f"tuned for {_lengths_text(run.targets)}",
                _counts_text(run, place),
                INTERVAL,
            ),
            body=_ROW * math.ceil(len(grid) / _COLUMNS),
            across="samples tuned with (log scale; 0: not tuned)",
            handles=[method_handle(styles[method]) for method in run.methods],
            labels=[legend_label(method) for method in run.methods],
            notes=["Dotted: the unmodified model."] if NONE in run.methods else [],
        )
    return figure


def loss_figure(run: TunedRun, style: Style = "report") -> MatplotlibFigure:
    """Draw the training loss over steps, mean over seeds: a panel per number of samples, a line per method.

    Args:
        run: With tuned variants.
        style: Where the figure is shown.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.ticker import MaxNLocator

    with house_style(style):
        figure = MatplotlibFigure()
        losses = _losses(run)
        counts = _some(sorted({samples for _, samples in losses}))
        styles, methods = method_styles(run.methods), list(dict.fromkeys(method for method, _ in losses))
        grid = _panels(figure, len(counts))
        for axes, samples in zip(grid, counts, strict=True):
            axes.set_title(f"{samples} samples", fontsize=small_print())
            for method in methods:
                curve, look = losses.get((method, samples), ()), styles[method]
                axes.plot(
                    range(1, len(curve) + 1),
                    curve,
                    color=look.colour,
                    linestyle=look.line,
                    linewidth=0.8 * rcParams["lines.linewidth"],
                    marker=look.marker if len(curve) <= _MOST_MARKED else "",
                    markersize=0.8 * rcParams["lines.markersize"],
                    markerfacecolor=look.face,
                    markeredgecolor=look.edge,
                    markeredgewidth=look.edge_width,
                )
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            set_log_values(axes)
        for axes in grid[::_COLUMNS]:
            axes.set_ylabel("nats per token (log)")
        frame_figure(
            figure,
            title="Training loss",
            about=(f"tuned for {_lengths_text(run.targets)}", _seeds_text(run), "loss of each step's batch"),
            body=_ROW * math.ceil(len(grid) / _COLUMNS),
            across="step of the optimizer",
            handles=[method_handle(styles[method]) for method in methods],
            labels=[legend_label(method) for method in methods],
        )
    return figure


def quality_alt(run: TunedRun, place: Place) -> str:
    """Say in words what the figure of quality shows.

    Args:
        run: With tuned variants.
        place: A metric, or the mean over tasks.
    """
    sentences = []
    for method in run.methods:
        points = [
            f"{number_text(place, found.value)} with {samples} samples"
            for samples in run.samples
            if (found := run.score(place, TunedCell(method, samples, run.lengths[-1])))
        ]
        if points:
            sentences.append(f"{method} {', '.join(points)}")
    at = length_label(run.lengths[-1]) if run.lengths else "-"
    return visible(
        f"{place_title(place)} of {place.model_label} over tuning samples, at {at}: {'; '.join(sentences)}."
    )


def loss_alt(run: TunedRun) -> str:
    """Say in words what the figure of the training loss shows.

    Args:
        run: With tuned variants.
    """
    ends = [
        f"{method} with {samples} samples from {curve[0]:.2f} to {curve[-1]:.2f}"
        for (method, samples), curve in _losses(run).items()
        if curve
    ]
    return visible(f"Training loss, mean over seeds: {'; '.join(ends)}.")


def _draw_method(
    axes: Axes,
    place: Place,
    found: Mapping[int, Contrast | None],
    at: Mapping[int, float],
    style: MethodStyle,
) -> None:
    """Draw one line; what was not tuned stands apart from it."""
    for is_tuned in (False, True):
        points = [
            (at[samples], each)
            for samples, each in found.items()
            if each is not None and (samples != UNTUNED) == is_tuned
        ]
        if not points:
            continue
        values = [_drawn(place, each.value) for _, each in points]
        low = [v if e.low is None else _drawn(place, e.low) for v, (_, e) in zip(values, points, strict=True)]
        high = [
            v if e.high is None else _drawn(place, e.high) for v, (_, e) in zip(values, points, strict=True)
        ]
        draw_line(axes, [x for x, _ in points], values, (low, high), style)


def _set_values(grid: Sequence[Axes], place: Place) -> None:
    """Name the y axes, which are shared; take a logarithmic one where perplexity spans a decade."""
    bottom, top = grid[0].get_ylim()
    is_log = place.metric == "nll" and top > 8 * bottom > 0
    if is_log:
        set_log_values(grid[0])
    quantity = "mean score" if place.task is None else _quantity(place)
    for axes in grid[::_COLUMNS]:
        axes.set_ylabel(f"{quantity}, log scale" if is_log else quantity)


def _panels(figure: MatplotlibFigure, count: int, *, is_x_shared: bool = False) -> list[Axes]:
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    every = list(figure.subplots(rows, columns, sharex=is_x_shared, sharey=True, squeeze=False).flat)
    for axes in every[count:]:
        axes.set_axis_off()
    return every[:count]


def _positions(samples: Sequence[int]) -> Mapping[int, float]:
    """Return where numbers of samples stand: log2, and 0 a gap before the first of the others."""
    tuned = [count for count in samples if count != UNTUNED]
    gap = max(1.0, math.log2(max(tuned) / min(tuned)) / 4) if tuned else 1.0
    first = math.log2(min(tuned)) if tuned else 0.0
    return {count: first - gap if count == UNTUNED else math.log2(count) for count in samples}


def _some(numbers: Sequence[int], *, kept: Sequence[int] = ()) -> list[int]:
    """Return at most as many as there are panels: the first, the last, those kept, then the largest."""
    order = [
        *numbers[:1],
        *numbers[-1:],
        *(number for number in numbers if number in kept),
        *reversed(numbers),
    ]
    return sorted(list(dict.fromkeys(order))[:_MOST_PANELS])


def _losses(run: TunedRun) -> Mapping[tuple[str, int], tuple[float, ...]]:
    """Return method and samples -> loss of each step, mean over seeds; NaN where one has none."""
    names = tuned_names(run.header)
    found: dict[tuple[str, int], list[tuple[float | None, ...]]] = {}
    for each in run.header.tuned:
        found.setdefault((names[each.method_label], each.samples), []).append(each.losses)
    return {
        key: tuple(
            math.nan if None in step else sum(loss for loss in step if loss is not None) / len(step)
            for step in zip(*of_seeds, strict=False)
        )
        for key, of_seeds in found.items()
    }


def _drawn(place: Place, value: float) -> float:
    return math.exp(min(value, _LARGEST_NLL)) if place.metric == "nll" else value


def _quantity(place: Place) -> str:
    return "perplexity" if place.metric == "nll" else str(place.metric)


def _window(run: TunedRun, place: Place) -> int:
    return next(m.original_context_length for m in run.header.models if m.label == place.model_label)


def _lengths_text(lengths: Sequence[int]) -> str:
    return ", ".join(map(length_label, lengths))


def _seeds_text(run: TunedRun) -> str:
    return seeds_text(len({each.seed for each in run.header.tuned}))


def _counts_text(run: TunedRun, place: Place) -> str:
    counts = sorted(
        {
            found.n
            for method in run.methods
            for samples in run.samples
            for length in run.lengths
            if (found := run.score(place, TunedCell(method, samples, length)))
        }
    )
    n = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    return f"{_seeds_text(run)}, n = {n}"
