"""Attention entropy before and after a logit scale, over the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from longbench_run.results.differences import Bounds, Scored, paired_difference
from longbench_run.results.entropy import EntropyCell, sample_slopes
from longbench_run.results.statistics import CONFIDENCE, SMALLEST_COUNT, Interval

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.shares import DifferenceKind

_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEffect:
    """Slope of entropy against ln n without a logit scale and with it: means over the samples that both have."""

    layer: int | None
    """None: the mean over the layers of the slope's absolute value, which the task calls drift."""
    before: float
    """Nats per nat, without the scale."""
    after: float
    """The same with it."""
    samples: int
    """Pairs."""
    documents: int
    """Documents among them, where samples name one; else as many."""
    interval: Interval | None
    """95 %, of after less before, by document and of this difference by itself; None below ten documents."""
    kind: DifferenceKind | None

    @property
    def difference(self) -> float:
        """Return after less before."""
        return self.after - self.before


def scale_effects(before: EntropyCell, after: EntropyCell) -> tuple[ScaleEffect, ...]:
    """Return the effect of a logit scale on all layers together, and then on each; nothing where no sample is shared.

    Args:
        before: The cell without the scale, at least two buckets beyond the first position.
        after: That with it, of the same model, task and length.

    Source:
        Miller 2024, arXiv:2411.00640 (paired differences, clustered); the interval: see `paired_difference`.
    """
    # Rows without a key would be merged with each other.
    slopes = [sample_slopes(cell).dropna(subset="key") for cell in (before, after)]
    shared = slopes[0].merge(slopes[1], on=["layer", "key"], suffixes=("_before", ""))
    return tuple(_effects(shared)) if len(shared) else ()


def _effects(shared: pd.DataFrame) -> Iterator[ScaleEffect]:
    drift = (
        shared.assign(slope=shared["slope"].abs(), slope_before=shared["slope_before"].abs())
        .groupby("key")
        .agg({"slope": "mean", "slope_before": "mean", "cluster": "first"})
    )
    yield _effect(None, drift)
    for layer, rows in cast("Any", shared.groupby("layer")):
        yield _effect(int(layer), rows)


def _effect(layer: int | None, rows: pd.DataFrame) -> ScaleEffect:
    before, after, clusters = (rows[name].tolist() for name in ("slope_before", "slope", "cluster"))
    documents = len(set(clusters))
    interval, kind = None, None
    if documents >= SMALLEST_COUNT:
        found = paired_difference(
            before,
            Scored(values=after, weights=None, clusters=clusters),
            Bounds(False, None, None),
            tail=_TAIL,
        )
        interval, kind = found.interval(_TAIL, _TAIL)
    return ScaleEffect(
        layer=layer,
        before=float(rows["slope_before"].mean()),
        after=float(rows["slope"].mean()),
        samples=len(rows),
        documents=documents,
        interval=interval,
        kind=kind,
    )
