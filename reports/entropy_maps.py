"""Maps of attention entropy, layer against length: the part of ln n, and nats more or less than the unmodified model's.

Methods differ from the unmodified model by tenths of a nat where a part of ln n goes from 0 to 1: side by side, maps of
that part look nearly the same. Those of the difference show what a method does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.entropy_axes import (
    MOST_TICKS,
    POSITION,
    Entropies,
    about_entropies,
    finish,
    set_positions,
    titled_axes,
    window_handle,
    write_absence,
)
from longbench_run.reports.figures import BASELINE, Style, house_style
from longbench_run.reports.layout import frame_figure
from longbench_run.reports.text import length_label, visible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_MAP_ROW = 9.0
"""Height of a map, in font sizes."""
_HATCHED = 1 / 20
"""Part of the scale below which a negative difference is not hatched: nothing would be seen of it."""
_HATCHES = "#444444"


class EntropyMaps(NamedTuple):
    """What the maps of a panel show."""

    name: str
    """Of the figure's file, within its section."""
    shown: Entropies
    methods: tuple[str, ...]
    """Labels, each with a map or with why there is none."""
    values: Mapping[str, pd.DataFrame]
    """Method label -> a row per layer and a column per bucket."""
    what: str
    scale: str
    """Label of the colours."""
    reading: str
    """How a value is to be read, a sentence."""
    colours: str
    limits: tuple[float, float]
    """Of the colours; what is negative is hatched."""


def entropy_maps(shown: Entropies) -> tuple[EntropyMaps, ...]:
    """Return parts of ln n, and differences from the unmodified model where it has entropies and another method has.

    Args:
        shown: Entropies of a panel.
    """
    parts = EntropyMaps(
        name="part-of-ln-n",
        shown=shown,
        methods=shown.panel.methods,
        values=shown.ratios,
        what="as a part of ln n",
        scale="entropy / ln n (0: one key, 1: even attention)",
        reading="0: one key has all attention; 1: all keys have the same.",
        # Read by the colour-blind and in grey.
        colours="cividis",
        limits=(0.0, 1.0),
    )
    if not shown.differences:
        return (parts,)
    import numpy as np

    # Of the largest one no difference is 0, unless all are.
    largest = max(float(np.nanmax(abs(values.to_numpy()))) for values in shown.differences.values()) or 1.0
    differences = EntropyMaps(
        name=f"less-{BASELINE}",
        shown=shown,
        methods=tuple(method for method in shown.panel.methods if method != BASELINE),
        values=shown.differences,
        what=f"less that of {BASELINE}",
        scale=f"entropy less that of {BASELINE} (nats)",
        reading=f"Above 0, attention is spread wider than in {BASELINE}; below 0 (hatched) it is sharper.",
        colours="RdBu_r",
        limits=(-largest, largest),
    )
    return parts, differences


def map_figure(maps: EntropyMaps, style: Style = "report") -> MatplotlibFigure:
    """Draw a map per method: layers up, position across.

    Args:
        maps: What they show.
        style: Where the figure is shown.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as MatplotlibFigure

    shown = maps.shown
    has_hatches = any(_is_hatched(maps, values).any(axis=None) for values in maps.values.values())
    with house_style(style):
        figure = MatplotlibFigure()
        grid, columns, title_lines = titled_axes(figure, maps.methods)
        for axes, method in zip(grid, maps.methods, strict=True):
            if method in maps.values:
                _draw_map(axes, maps, maps.values[method], shown.layers)
            else:
                write_absence(axes, shown, method)
            set_positions(axes, shown)
            step = max(1, math.ceil((len(shown.layers) - 1) / (MOST_TICKS - 1)))
            axes.set_yticks(range(0, len(shown.layers), step), [str(n) for n in shown.layers[::step]])
            axes.set_ylim(-0.5, len(shown.layers) - 0.5)
            axes.grid(visible=False)
        for axes in grid[::columns]:
            axes.set_ylabel("layer")
        colours = ScalarMappable(Normalize(*maps.limits), maps.colours)
        bar = figure.colorbar(colours, ax=grid, location="top", fraction=0.04, pad=0.01, aspect=90)
        bar.set_label(maps.scale)
        bar.outline.set_visible(False)
        frame_figure(
            figure,
            title=f"{shown.panel.task.name} {maps.what}",
            about=about_entropies(shown),
            body=_MAP_ROW * math.ceil(len(grid) / columns) + title_lines + 5,
            across=POSITION,
            notes=[
                *["Dashed: end of the original window."] * len(window_handle(shown)),
                *["Hatched: below 0, by a twentieth of the scale or more."] * has_hatches,
            ],
        )
        finish(grid, columns)
    return figure


def map_alt_text(maps: EntropyMaps) -> str:
    """Say in words what the maps show: the layers with the least and the most at the end.

    Args:
        maps: What they show.
    """
    parts = []
    for method, values in maps.values.items():
        at_end = values.iloc[:, -1]
        parts.append(
            f"{method} at the end from {at_end.min():.2f} in layer {at_end.idxmin()} to {at_end.max():.2f} in layer "
            f"{at_end.idxmax()}"
        )
    shown = maps.shown
    return visible(
        f"Entropy of attention of {shown.panel.model.label} {maps.what} at {length_label(shown.length)} tokens. "
        f"{'; '.join(parts)}."
    )


def _is_hatched(maps: EntropyMaps, values: pd.DataFrame) -> pd.DataFrame:
    return values < -_HATCHED * maps.limits[1]


def _draw_map(axes: Axes, maps: EntropyMaps, values: pd.DataFrame, layers: Sequence[int]) -> None:
    import numpy as np
    from matplotlib.collections import PolyCollection

    values = values.reindex(list(layers))
    starts, stops = (
        [int(edge) for edge in values.columns.get_level_values(name)] for name in ("start", "stop")
    )
    edges = ([*starts, stops[-1]], np.arange(len(layers) + 1) - 0.5)
    axes.pcolormesh(
        *edges,
        np.ma.masked_invalid(values.to_numpy()),
        cmap=maps.colours,
        vmin=maps.limits[0],
        vmax=maps.limits[1],
        rasterized=True,  # As shapes, the fields of 32 layers take a page's size.
    )
    # In grey, as much less looks like as much more.
    across, up = edges
    fields = [
        [(across[x], up[y]), (across[x + 1], up[y]), (across[x + 1], up[y + 1]), (across[x], up[y + 1])]
        for y, x in zip(*_is_hatched(maps, values).to_numpy().nonzero(), strict=True)
    ]
    axes.add_collection(
        PolyCollection(fields, facecolor="none", edgecolor=_HATCHES, linewidth=0, hatch="///"),
        autolim=False,
    )
