"""Attention entropy of a task's samples: figures over position, slopes by method, and whether drift goes with loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from longbench_run.reports.captions import caption
from longbench_run.reports.document import Block, Figure, Heading, Table, text
from longbench_run.reports.entropy_axes import Entropies
from longbench_run.reports.entropy_correlation import correlation_blocks
from longbench_run.reports.entropy_figures import entropy_figure
from longbench_run.reports.entropy_maps import entropy_maps, map_alt_text, map_figure
from longbench_run.reports.entropy_scale import scale_blocks
from longbench_run.reports.panels import INTERVAL_NAMES, Panel
from longbench_run.reports.tables import labelled_table
from longbench_run.reports.text import length_label, multiple_label, score_text, visible
from longbench_run.results.entropy import EntropyCell, later
from longbench_run.results.entropy_correlation import correlations_of

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.records import RunHeader
    from longbench_run.results.statistics import Estimate

_SLOPE_NOTE = (
    "Slope of a layer's entropy (mean over heads) against ln n, n = p + 1 keys, in nats per nat: 1 where attention is even, "
    "0 where its entropy stays what it is, below 0 where it sharpens. By least squares through the buckets of positions but "
    "the first. The steepest layer was chosen for its slope: its interval does not count that."
)


def entropy_blocks(
    panel: Panel, header: RunHeader, frame: pd.DataFrame, cells: Sequence[EntropyCell]
) -> Iterator[Block]:
    """Yield figures and tables of the entropies of a panel's samples; nothing where they have none.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
        cells: All of the run, as `longbench_run.results.entropy.entropy_cells` gives them.
    """
    shown = entropies_of(panel, cells)
    if shown is None:
        return
    yield Heading(text=text(f"{panel.task.name} by position and layer"), level=4)
    at = f"at {length_label(shown.length)} tokens"
    facts = (shown.count_text(), interval_text(shown))
    yield Figure(
        name="-".join((panel.task.name, "by-position", panel.model.label)),
        title=f"{panel.task.name} by position, {panel.model.label}",
        alt=entropy_alt_text(shown),
        caption=caption(
            panel,
            header,
            f"Entropy of attention by position of the query {at}, a panel per method and a line per layer (mean over heads "
            "and documents)",
            facts,
            "Grey: ln n, the entropy of even attention over n keys.",
        ),
        draw=partial(entropy_figure, shown),
    )
    for maps in entropy_maps(shown):
        yield Figure(
            name="-".join((panel.task.name, maps.name, panel.model.label)),
            title=f"{panel.task.name} {maps.what}, {panel.model.label}",
            alt=map_alt_text(maps),
            caption=caption(
                panel,
                header,
                f"Entropy of attention {maps.what} by layer and position of the query {at}, a map per method",
                (shown.count_text(),),
                maps.reading,
            ),
            draw=partial(map_figure, maps),
        )
    yield _slope_table(shown, header, facts)
    yield from scale_blocks(shown, header)
    yield from correlation_blocks(panel, header, correlations_of(frame, cells))


def entropies_of(panel: Panel, cells: Sequence[EntropyCell]) -> Entropies | None:
    """Return the entropies of a panel at the longest length that has some beyond the first bucket; None where none has.

    Args:
        panel: One model, task and metric.
        cells: All of the run.
    """
    by_key = {cell.key: cell for cell in cells if len(later(cell).samples)}
    for length in reversed(panel.lengths):
        found = {
            method: by_key[cell.key]
            for method in panel.methods
            if (cell := panel.cells.get((method, length))) and cell.key in by_key
        }
        if found:
            return Entropies(panel, length, found)
    return None


def interval_text(shown: Entropies) -> str:
    """Name the intervals of the slopes; those of the curves are made alike.

    Args:
        shown: Entropies of a panel.
    """
    kinds = dict.fromkeys(
        INTERVAL_NAMES[slope.kind]
        for slopes in shown.slopes.values()
        for slope in slopes.values()
        if slope.kind
    )
    return f"95 % interval: {', '.join(kinds)} by document" if kinds else "no interval"


def entropy_alt_text(shown: Entropies) -> str:
    """Say in words what the curves show: where first and last layer begin and end.

    Args:
        shown: Entropies of a panel.
    """
    parts = []
    for method, points in shown.points.items():
        words = []
        for layer in dict.fromkeys((shown.layers[0], shown.layers[-1])):
            of_layer = [point for point in points if point.layer == layer]
            if of_layer:
                first, last = of_layer[0], of_layer[-1]
                words.append(
                    f"layer {layer} {_nats(first.mean)} nats from position {first.start}, {_nats(last.mean)} at the end"
                )
        parts.append(f"{method}: {', '.join(words)}")
    even = max(point.even for points in shown.points.values() for point in points)
    return visible(
        f"Entropy of attention of {shown.panel.model.label} by position at {length_label(shown.length)} tokens. "
        f"{'; '.join(parts)}. Even attention ends at {even:.2f}."
    )


def _slope_table(shown: Entropies, header: RunHeader, facts: tuple[str, ...]) -> Table:
    panel = shown.panel
    return labelled_table(
        "-".join((panel.task.name, "slopes", panel.model.label)),
        caption(
            panel,
            header,
            f"Slope of attention entropy against ln n at {length_label(shown.length)} tokens "
            f"({multiple_label(shown.length, panel.model.original_context_length)})",
            facts,
        ),
        slope_rows(shown),
        labels=[0],
        notes=[text(_SLOPE_NOTE)],
    )


def slope_rows(shown: Entropies) -> Iterator[list[str]]:
    """Yield the head and the rows of a table: drift, and the slopes of the first, the last and the steepest layer.

    Args:
        shown: Entropies of a panel.
    """
    first, last = shown.layers[0], shown.layers[-1]
    drift = shown.panel.quantity
    yield ["method", drift, f"first layer ({first})", f"last layer ({last})", "steepest layer", "its slope"]
    for method in shown.panel.methods:
        slopes = shown.slopes.get(method, {})
        value = shown.panel.value_text(method, shown.length, digits=3)
        if not slopes:
            yield [method, value, "-", "-", "-", "-"]
            continue
        steepest = max(slopes, key=lambda layer: abs(slopes[layer].value or 0.0))
        yield [
            method,
            value,
            *(_estimate_text(slopes.get(layer)) for layer in (first, last)),
            str(steepest),
            _estimate_text(slopes[steepest]),
        ]


def _estimate_text(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return "-"
    bounds = "-" if found.interval is None else ", ".join(map(_slope_text, found.interval))
    return f"{_slope_text(found.value)} [{bounds}]"


def _slope_text(value: float) -> str:
    return score_text(round(value, 3) + 0.0, digits=3)  # 0 has no sign


def _nats(found: Estimate) -> str:
    return "-" if found.value is None else score_text(found.value)
