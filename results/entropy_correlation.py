"""Does the method whose attention entropy drifts least lose least? A rank correlation over the methods of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from longbench_run.results.entropy import EntropyCell, entropy_cells
from longbench_run.results.statistics import CONFIDENCE, SMALLEST_COUNT, Interval, cluster_sums
from longbench_run.results.studentised import Vector
from longbench_run.results.table import CellKey, clusters_of, groups_of_cells, latest_cells

if TYPE_CHECKING:
    import pandas as pd

FEWEST_METHODS = 4
"""Of three, one order in three has a rank correlation of 1 or -1."""
_ALPHA = 1 - CONFIDENCE
"""Chance of any wrong association among those looked at."""
_RESAMPLES = 1999
_SEED = 0
_MOST_ORDERED = 7
"""Methods of which all orders are counted; of more, `_ORDERS` are drawn."""
_ORDERS = 9999


Association = Literal["less loss", "more loss", "not shown"]
"""What less drift goes with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyCorrelation:
    """Entropy drift and loss of quality of the methods of a run, on one task and metric at one context length."""

    drift: CellKey
    """Cell of the drift; its method is the first."""
    quality: CellKey
    """Cell of the quality; its method is the first."""
    methods: tuple[str, ...]
    """Method labels that have both, at least `FEWEST_METHODS`."""
    samples: int
    """Samples of the quality, which every method has."""
    documents: int
    """Documents of the drift, which every method has."""
    value: float | None
    """Spearman's rho of drift and loss, -1 to 1; above 0, who drifts less loses less. None where all are equal."""
    interval: Interval | None
    """95 %, by percentiles of the bootstrap over documents and samples: what they leave open of the order of these
    methods, and nothing of others. None below ten of either."""
    chance: float | None
    """Share of all orders of so many methods with a rho at least as far from 0."""


class _Sums(NamedTuple):
    """Of the samples that all methods have: sums of weighted scores and of weights, shape ``(clusters, methods)``."""

    samples: int
    numerators: Vector
    denominators: Vector

    def losses(self, sign: float, draws: Vector | None = None) -> Vector:
        """Return the mean of each method, or of each draw of clusters ``(draws, clusters)`` and method; more is worse."""
        draws = np.ones((1, len(self.numerators))) if draws is None else draws
        found: Vector = sign * (draws @ self.numerators) / (draws @ self.denominators)
        return found


def entropy_correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task, metric and length beyond the window: rank correlation of entropy drift and loss.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some; the folders of its runs are read.

    Returns:
        ``run``, ``model_label``, ``context_length``, ``drift_task``, ``drift_metric``, ``task``, ``protocol``,
        ``metric``, ``methods`` (how many), ``samples``, ``documents``, ``value`` (rho), ``low``, ``high`` and ``chance``,
        as in `EntropyCorrelation`, and ``shown``, what `associations` says of it among all rows.
    """
    import pandas as pd

    columns = [
        "run", "model_label", "context_length", "drift_task", "drift_metric", "task", "protocol", "metric", "methods",
        "samples", "documents", "value", "low", "high", "chance", "shown",
    ]  # fmt: skip
    rows = []
    every = correlations_of(frame, entropy_cells(frame))
    for found, shown in zip(every, associations(every), strict=True):
        low, high = found.interval or (None, None)
        rows.append(
            {
                **{name: getattr(found.quality, name) for name in columns if name in CellKey._fields},
                "drift_task": found.drift.task,
                "drift_metric": found.drift.metric,
                "methods": len(found.methods),
                **{name: getattr(found, name) for name in ("samples", "documents", "value", "chance")},
                "low": low,
                "high": high,
                "shown": shown,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def correlations_of(frame: pd.DataFrame, entropies: Iterable[EntropyCell]) -> tuple[EntropyCorrelation, ...]:
    """Return the correlation with every other task and metric, at every length beyond the window that has both.

    Floors and ceilings are left out. Loss is how far a method's mean is on the bad side of that of the unmodified model
    at the window: the same for all methods, so that the order of means decides. Means are over the samples that every
    method has.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
        entropies: Of the same rows.
    """
    beyond = frame[frame["context_length"] > frame["original_context_length"]]
    rows = beyond[beyond["score"].notna() & beyond["reference"].isna()]
    wanted = {_place(cell.key) for cell in entropies}
    latest = latest_cells(rows)
    by_place: dict[CellKey, dict[str, pd.DataFrame]] = {}
    for key, of_cell in groups_of_cells(rows):  # in the order of the run, not in that of computation
        if key in latest:
            by_place.setdefault(_place(key), {})[key.method_label] = of_cell
    found = (
        _correlation(drift, by_place[drift], quality, cells)
        for drift in by_place
        if drift in wanted
        for quality, cells in by_place.items()
        if _compared(drift) == _compared(quality) and drift.task != quality.task
    )
    return tuple(each for each in found if each is not None)


def associations(found: Sequence[EntropyCorrelation]) -> list[Association]:
    """Return what each correlation shows: its interval lies on one side of 0, and its order is not one of chance.

    The share of orders by chance is held against 5 % with Holm's correction over all that are given: samples decide the
    order of these methods ever better, and two orders of a handful of methods may still agree by chance.

    Args:
        found: Looked at together.
    """
    shown: list[Association] = ["not shown"] * len(found)
    ordered = sorted(range(len(found)), key=lambda place: (found[place].chance is None, found[place].chance))
    for rank, place in enumerate(ordered):
        each = found[place]
        if each.chance is None or each.chance * (len(found) - rank) > _ALPHA:
            break
        if each.interval and each.interval.low > 0:
            shown[place] = "less loss"
        elif each.interval and each.interval.high < 0:
            shown[place] = "more loss"
    return shown


def _place(key: CellKey) -> CellKey:
    """Return what the cells of all methods have in common."""
    return key._replace(method_label="", setup_id="")


def _compared(key: CellKey) -> tuple[str, str, int]:
    return key.run, key.model_label, key.context_length


def _correlation(
    drift: CellKey,
    of_drift: Mapping[str, pd.DataFrame],
    quality: CellKey,
    of_quality: Mapping[str, pd.DataFrame],
) -> EntropyCorrelation | None:
    higher = next(iter(of_quality.values()))["higher_is_better"].iloc[0]
    methods = tuple(method for method in of_drift if method in of_quality)
    # A metric whose direction the run does not say has no loss.
    if len(methods) < FEWEST_METHODS or higher is None or higher != higher:  # noqa: PLR0124 (NaN)
        return None
    x, y = _sums(of_drift, methods), _sums(of_quality, methods)
    if not x.samples or not y.samples:
        return None
    sign = -1.0 if higher else 1.0
    value = float(rank_correlations(x.losses(1.0), y.losses(sign))[0])
    is_known = bool(np.isfinite(value))
    return EntropyCorrelation(
        drift=drift._replace(method_label=methods[0]),
        quality=quality._replace(method_label=methods[0]),
        methods=methods,
        samples=y.samples,
        documents=len(x.numerators),
        value=value if is_known else None,
        interval=_interval(x, y, sign) if is_known else None,
        chance=_chance(x.losses(1.0), y.losses(sign)) if is_known else None,
    )


def _sums(cells: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> _Sums:
    """Return the sums over the samples that every method has: the same seed and index is the same sample."""
    indexed = [cells[method].set_index(["seed", "index"]) for method in methods]
    common = indexed[0].index
    for rows in indexed[1:]:
        common = common.intersection(rows.index)
    common = common.sort_values()
    picked = [rows.loc[common] for rows in indexed]
    clusters = clusters_of(picked[0])
    sums = [
        cluster_sums(
            rows["score"].tolist(),
            rows["weight"].tolist() if rows["weight"].notna().all() else None,
            clusters,
        )
        for rows in picked
    ]
    return _Sums(len(common), np.stack([a for a, _ in sums], 1), np.stack([b for _, b in sums], 1))


def rank_correlations(x: Vector, y: Vector) -> Vector:
    """Return Spearman's rho of each row of two arrays ``(rows, methods)``; NaN where all values of one are equal.

    Args:
        x: Values; equal ones have the mean of their ranks.
        y: As many.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2 for values in (x, y))
    with np.errstate(invalid="ignore"):
        found: Vector = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return found


def _interval(x: _Sums, y: _Sums, sign: float) -> Interval | None:
    """Return percentiles over resampled documents and samples, each task's by themselves.

    Where all methods come out equal they agree with nothing: 0.
    """
    if min(len(x.numerators), len(y.numerators)) < SMALLEST_COUNT:
        return None
    generator = np.random.default_rng(_SEED)
    losses = [
        sums.losses(direction, generator.multinomial(k, np.full(k, 1 / k), size=_RESAMPLES).astype(float))
        for sums, direction in ((x, 1.0), (y, sign))
        for k in [len(sums.numerators)]
    ]
    found = np.nan_to_num(rank_correlations(*losses))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _chance(x: Vector, y: Vector) -> float:
    """Return the share of orders of the methods whose rho is at least as far from 0."""
    count = x.shape[-1]
    if count <= _MOST_ORDERED:
        orders = np.array(list(permutations(range(count))))
        extra = 0
    else:
        orders = np.random.default_rng(_SEED).permuted(np.tile(np.arange(count), (_ORDERS, 1)), axis=1)
        extra = 1  # The order found is one of those drawn from.
    found = np.abs(rank_correlations(np.broadcast_to(x, orders.shape), y[0][orders]))
    as_far = int((found >= abs(rank_correlations(x, y)[0]) - 1e-9).sum())
    return (as_far + extra) / (len(orders) + extra)
