"""What a run can see: the smallest difference that it would detect, and how many samples a given one needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.results.differences import REPRODUCIBLE
from longbench_run.results.method_differences import ALPHA, paired_rows
from longbench_run.results.statistics import SMALLEST_COUNT, cluster_sums
from longbench_run.results.studentised import Sums, standard_error, student_quantile
from longbench_run.results.table import clusters_of

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8
"""Chance that a difference as large as the detectable one is found."""
WANTED = 0.05
"""Difference whose number of samples is asked for, in the unit of the metric: a share, or nats."""
_MOST_CLUSTERS = 10_000_000

FORMULA = (
    f"Detectable difference: (t(1 - alpha/2) + t(power)) times the standard error of the paired differences, with Student's "
    f"quantiles t at n - 1, alpha {ALPHA:.2g} two-sided and power {POWER:g}. Needed: the smallest n at which the wanted "
    "difference is detectable, if the differences vary as they did here"
)
"""What a report says beside the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a method's paired differences from a baseline could show at one context length."""

    method_label: str
    baseline_label: str
    context_length: int
    clusters: int
    """Pairs, or documents where samples share them: n."""
    deviation: float | None
    """Standard deviation of the differences of clusters, in the unit of the metric; None where it is not known."""
    detectable: float | None
    """Smallest difference that is found with the chance `POWER`, in the unit of the metric."""
    needed: int | None
    """Clusters at which the wanted difference is detectable; None where it is not known, or above ten million."""
    reason: str | None
    """Why the deviation is not known."""


def power(frame: pd.DataFrame, *, baseline: str = "none", wanted: float = WANTED) -> tuple[Power, ...]:
    """Return what can be detected of every method against the baseline, by context length.

    The differences are those that the run measured, by cluster and weighted as its means are; each comparison is taken by
    itself, so correcting for many of them takes more.

    Args:
        frame: Rows of `longbench_run.results.load` of one run, model, task, protocol and metric.
        baseline: Method label.
        wanted: Difference that is to be detected, in the unit of the metric, above 0.

    Raises:
        ValueError: If the frame holds more than one panel, or ``wanted`` is not above 0.

    Source:
        Miller 2024, arXiv:2411.00640, section 5 (power analysis from paired differences). Differs: Student's quantiles
        instead of normal ones, and the measured standard error, clustered, instead of a model of its parts.
    """
    return tuple(
        _power(rows, method, baseline, length, wanted)
        for (method, length), rows in paired_rows(frame, baseline=baseline).items()
    )


def detectable_difference(
    deviation: float, clusters: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest true difference that a test of paired differences finds with a given chance.

    (t(1 - alpha / 2) + t(power)) deviation / sqrt(n), with Student's quantiles t at n - 1 degrees of freedom.

    Args:
        deviation: Standard deviation of the differences of clusters, at least 0.
        clusters: n, at least 2.
        alpha: Level of the two-sided test, in (0, 1).
        power: Chance of finding it, in (0.5, 1).

    Source:
        Miller 2024, arXiv:2411.00640, section 5.
    """
    quantiles = student_quantile(1 - alpha / 2, clusters - 1) + student_quantile(power, clusters - 1)
    return quantiles * deviation / math.sqrt(clusters)


def needed_clusters(
    deviation: float, wanted: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Return the smallest number of clusters at which a difference is detectable, at least `SMALLEST_COUNT`.

    Args:
        deviation: Standard deviation of the differences of clusters, at least 0.
        wanted: The difference, above 0.
        alpha: Level of the two-sided test, in (0, 1).
        power: Chance of finding it, in (0.5, 1).

    Returns:
        n; None above ten million.

    Raises:
        ValueError: If ``wanted`` is not above 0.

    Source:
        Miller 2024, arXiv:2411.00640, section 5, solved for n.
    """
    if not wanted > 0:
        raise ValueError(f"wanted must be above 0, got {wanted!r}")

    def detects(clusters: int) -> bool:
        return detectable_difference(deviation, clusters, alpha=alpha, power=power) <= wanted

    if detects(SMALLEST_COUNT):
        return SMALLEST_COUNT  # fewer get no interval
    if not detects(_MOST_CLUSTERS):
        return None
    few, many = SMALLEST_COUNT, _MOST_CLUSTERS
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if detects(middle) else (middle, many)
    return many


def _power(rows: pd.DataFrame, method: str, baseline: str, length: int, wanted: float) -> Power:
    deviation, clusters, reason = _deviation(rows)
    return Power(
        method_label=method,
        baseline_label=baseline,
        context_length=length,
        clusters=clusters,
        deviation=deviation,
        detectable=None if deviation is None else detectable_difference(deviation, clusters),
        needed=None if deviation is None else needed_clusters(deviation, wanted),
        reason=reason,
    )


def _deviation(rows: pd.DataFrame) -> tuple[float | None, int, str | None]:
    """Return the standard deviation, n, and why there is none."""
    if not len(rows):
        return None, 0, "no sample is shared"
    weights = rows["weight"].tolist() if rows["weight"].notna().all() else None
    differences = (rows["score"] - rows["score_baseline"]).tolist()
    sums = Sums(*cluster_sums(differences, weights, clusters_of(rows)))
    n = len(sums.numerators)
    if n < SMALLEST_COUNT:
        return None, n, f"fewer than {SMALLEST_COUNT} samples or documents"
    deviation = standard_error(sums) * math.sqrt(n)
    if deviation <= REPRODUCIBLE * float(rows["score_baseline"].abs().mean()):
        return None, n, "all differences are the same: nothing is known of their spread"
    return deviation, n, None
