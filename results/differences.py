"""Differences between two runs with their uncertainty, over the same samples or over independent ones."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from longbench_run.results.shares import (
    Difference,
    DifferenceKind,
    PairedShares,
    UnpairedShares,
    normal_quantile,
)
from longbench_run.results.statistics import Interval, cluster_sums
from longbench_run.results.studentised import Studentised, Sums, Vector, student_quantile, studentised

REPRODUCIBLE = 1e-5
"""Relative error of a value that is computed again: no difference is known better."""

_LEAST_RESAMPLES, _MOST_RESAMPLES = 1999, 19_999
_RESAMPLES_PER_TAIL = 40
"""Resamples expected beyond a bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FewValues:
    """Mean of bounded differences over the same samples that are nearly all the same."""

    value: float
    differences: Vector
    """Mean difference per cluster."""
    span: float
    """Largest possible difference, R."""

    @property
    def count(self) -> int:
        """Clusters."""
        return len(self.differences)

    def interval(
        self, lower_tail: float, upper_tail: float, *, times: float = 1.0
    ) -> tuple[Interval, DifferenceKind]:
        """Return Student's interval with a few pairs added.

        h = z^2 / 8 pairs are added at each end of what was seen around zero, and 2 h at zero: for yes/no at 95 % half a
        pair each and one, which is Agresti's and Min's. Where all differences are equal, d, nothing of their range was
        seen: a part u = z^2 / (n + z^2) of the pairs, Wilson's bound of 0 in n, may lie at the end of the metric's
        range: d - u (R + d) to d + u (R - d), which for d = 0 is Tango's.

        Source:
            Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions", Statistics
            in Medicine 24, generalised here to bounded values and any level.
        """
        low, high = self._gap(lower_tail, -1, times), self._gap(upper_tail, 1, times)
        return Interval(max(self.value - low, -self.span), min(self.value + high, self.span)), "few-values"

    def _gap(self, tail: float, sign: int, times: float) -> float:
        """Return how far the bound lies from the value, above (sign 1) or below it (-1)."""
        z_squared, n = normal_quantile(tail) ** 2, times * self.count
        if np.ptp(self.differences) <= REPRODUCIBLE * self.span:
            return z_squared / (n + z_squared) * (self.span - sign * self.value)
        total = n + z_squared / 2
        centre = n * self.value / total
        squares = (
            n * float((self.differences**2).mean())
            + z_squared / 4 * float(np.abs(self.differences).max()) ** 2
        )
        error = math.sqrt(max(0.0, squares / total - centre**2) / (total - 1))
        gap = sign * (centre - self.value) - student_quantile(tail, self.count - 1) * error
        return max(gap, REPRODUCIBLE * self.span)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDifference:
    """Difference of two weighted means: by cluster over the same samples, or of two groups of clusters."""

    found: Studentised
    count: int
    smallest_error: float
    """Standard error below which nothing is known."""
    span: float | None
    """Largest possible difference; None where the metric has no bounds."""
    few: Difference | None
    """What stands in where differences take too few values to be resampled; None where the metric has no bounds."""

    @property
    def value(self) -> float:
        """The difference."""
        return self.found.value

    def interval(
        self, lower_tail: float, upper_tail: float, *, times: float = 1.0
    ) -> tuple[Interval, DifferenceKind]:
        """Return the studentised bootstrap's.

        Without bounds of the metric Student's t stands in where it has none, over no less than the error of computing
        the same again. With bounds it is no narrower than Student's t: of scores that mostly do not change, some up and
        some down, it holds the difference too rarely (benchmarks/results/compare_coverage.md).
        """
        found = self.found
        resampled = found.bounds(lower_tail, upper_tail) if found.error > self.smallest_error else None
        if resampled is None and self.few is not None:
            return self.few.interval(lower_tail, upper_tail, times=times)
        kind: DifferenceKind = "student-t" if resampled is None else "bootstrap-t"
        known = replace(found, error=max(found.error, self.smallest_error))
        student = known.student_bounds(lower_tail, upper_tail)
        low, high = resampled or student
        if self.span is not None:
            low, high = min(low, student[0]), max(high, student[1])
        low, high = (self.value + (bound - self.value) / math.sqrt(times) for bound in (low, high))
        if self.span is not None:
            low, high = max(low, -self.span), min(high, self.span)
        return Interval(low, high), kind


class Scored(NamedTuple):
    """What one run scored: values, and the weights and clusters of samples."""

    values: Sequence[float]
    weights: Sequence[float] | None
    clusters: Sequence[Hashable]


class Bounds(NamedTuple):
    """What a metric says of its values."""

    is_binary: bool
    minimum: float | None
    maximum: float | None

    @property
    def span(self) -> float | None:
        """Largest possible difference."""
        return None if self.minimum is None or self.maximum is None else self.maximum - self.minimum


def paired_difference(
    baseline: Sequence[float], candidate: Scored, bounds: Bounds, *, tail: float
) -> Difference:
    """Return the difference over the same samples; weights and clusters are the candidate's, and the same.

    Args:
        baseline: Value per sample.
        candidate: The same samples in the same order, of at least two clusters.
        bounds: What the metric says.
        tail: Smallest tail that will be asked for: it decides how often clusters are resampled.

    Source:
        Miller 2024, arXiv:2411.00640 (paired differences, clustered); the intervals: see each class.
    """
    of_clusters = len(set(candidate.clusters))
    if bounds.is_binary and candidate.weights is None and of_clusters == len(baseline):
        pairs = list(zip(baseline, candidate.values, strict=True))
        return PairedShares(
            gained=sum(after > before for before, after in pairs),
            lost=sum(after < before for before, after in pairs),
            count=len(pairs),
        )
    values = np.asarray(candidate.values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    sums = Sums(*cluster_sums(values.tolist(), candidate.weights, candidate.clusters))
    level = Sums(*cluster_sums(baseline, candidate.weights, candidate.clusters))
    found = studentised(sums, resamples=resamples_for(tail))
    span = bounds.span
    means = sums.numerators / sums.denominators
    return MeanDifference(
        found=found,
        count=of_clusters,
        smallest_error=_smallest_error(level),
        span=span,
        few=None if span is None else FewValues(value=found.value, differences=means, span=span),
    )


def unpaired_difference(baseline: Scored, candidate: Scored, bounds: Bounds, *, tail: float) -> Difference:
    """Return the difference of two groups of samples that have nothing to do with each other.

    Args:
        baseline: At least two clusters.
        candidate: At least two clusters.
        bounds: What the metric says.
        tail: Smallest tail that will be asked for: it decides how often clusters are resampled.

    Source:
        See `UnpairedShares` and `longbench_run.results.studentised.studentised`.
    """
    groups = (candidate, baseline)
    is_alone = all(
        group.weights is None and len(set(group.clusters)) == len(group.values) for group in groups
    )
    if bounds.is_binary and is_alone:
        own, less = ((float(sum(group.values)), len(group.values)) for group in groups)
        return UnpairedShares(own=own, less=less, span=1.0)
    own_sums, less_sums = (Sums(*cluster_sums(*group)) for group in groups)
    return MeanDifference(
        found=studentised(own_sums, less_sums, resamples=resamples_for(tail)),
        count=min(len(own_sums.numerators), len(less_sums.numerators)),
        smallest_error=_smallest_error(less_sums),
        span=bounds.span,
        few=_as_shares(own_sums, less_sums, bounds),
    )


def resamples_for(tail: float) -> int:
    """Return how often clusters are resampled for a bound at ``tail``, within what is worth its time."""
    return min(_MOST_RESAMPLES, max(_LEAST_RESAMPLES, math.ceil(_RESAMPLES_PER_TAIL / tail)))


def _as_shares(own: Sums, less: Sums, bounds: Bounds) -> UnpairedShares | None:
    """Return the shares of their range that two means reach: no values with that mean vary more than yes/no do."""
    span = bounds.span
    if span is None or bounds.minimum is None:
        return None
    minimum = bounds.minimum

    def share(sums: Sums) -> tuple[float, int]:
        k = len(sums.numerators)
        reached = (float(sums.numerators.sum() / sums.denominators.sum()) - minimum) / span
        return min(1.0, max(0.0, reached)) * k, k

    return UnpairedShares(own=share(own), less=share(less), span=span)


def _smallest_error(level: Sums) -> float:
    """Return the standard error that computing a mean again has, however alike its values."""
    return max(REPRODUCIBLE * abs(float(level.numerators.sum() / level.denominators.sum())), 1e-9)
