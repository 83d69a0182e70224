"""Intervals of what is computed from several means, from the intervals of the means (MOVER).

How far a bound of each mean lies from the mean stands in for its standard error. So an interval that knows its metric,
such as Wilson's, is passed on: where all of twenty answers are right or none is, resampling them would give no width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from longbench_run.results.differences import REPRODUCIBLE
from longbench_run.results.shares import normal_quantile
from longbench_run.results.statistics import CONFIDENCE, Interval
from longbench_run.results.studentised import Vector


class Mean(NamedTuple):
    """A mean with its interval, and what each cluster adds to its error."""

    value: float
    interval: Interval
    residuals: Mapping[str, float]
    """Cluster that other means may share -> A - r B, with r the mean, A the cluster's sum and B its weight."""


def correlation(one: Mean, other: Mean) -> float:
    """Return how the errors of two means go together, in [-1, 1]: 0 where they share no cluster.

    Args:
        one: A mean.
        other: A mean.
    """
    pairs = _pairs(one, other)
    size = math.sqrt(
        math.prod(sum(value * value for value in mean.residuals.values()) for mean in (one, other))
    )
    return float(pairs[0] @ pairs[1] / size) if size > 0 else 0.0


def least_correlation(one: Mean, other: Mean) -> float:
    """Return the same for a difference, where it must not be too large: that few clusters did alike says little of more.

    Over n shared clusters 1 - r is half of the mean square of the differences d of their residuals, in units of their root
    mean square. As if there were z^2 / 2 clusters more, half of them with the largest d; where every d is 0, a part
    z^2 / (n + z^2) of the clusters, Wilson's bound of 0 in n, may be without correlation.

    Args:
        one: A mean.
        other: A mean.

    Source:
        The clusters added: `longbench_run.results.differences.FewValues`.
    """
    found: float = correlation(one, other)
    pairs = _pairs(one, other)
    sizes = np.sqrt((pairs**2).mean(axis=1)) if pairs.size else np.zeros(2)
    if found <= 0 or not sizes.all():
        return found
    squares = (pairs[0] / sizes[0] - pairs[1] / sizes[1]) ** 2
    n, z_squared = pairs.shape[1], normal_quantile((1 - CONFIDENCE) / 2) ** 2
    if squares.max() <= REPRODUCIBLE:
        return float(found * n / (n + z_squared))
    apart = (float(squares.sum()) + z_squared / 4 * float(squares.max())) / (2 * (n + z_squared / 2))
    of_shared = 1 - float(squares.mean()) / 2
    if of_shared <= REPRODUCIBLE:
        return found
    return float(found * min(1.0, max(0.0, 1 - apart) / of_shared))


def _pairs(one: Mean, other: Mean) -> Vector:
    """Return the residuals of shared clusters, shape ``(2, n)``."""
    # Sorted: a set has another order in each process, and a sum another last digit.
    shared = sorted(one.residuals.keys() & other.residuals.keys())
    return np.array([[mean.residuals[name] for name in shared] for mean in (one, other)], dtype=np.float64)


def combined(means: Sequence[Mean], weights: Sequence[float], *, stretch: float = 1.0) -> Interval:
    """Return the interval of the sum of weights times means.

    Its bounds are as far from the sum as sqrt(sum_ij r_ij w_i w_j g_i g_j), with g_i the distance of the bound of mean i
    that lies on the same side once it is weighted, and r_ij the correlation.

    Args:
        means: At least one.
        weights: One for each; below 0 subtracts.
        stretch: How many times as far the bounds of each mean lie from it: for another level.

    Source:
        Zou, Huang and Zhang 2009, "A note on confidence interval estimation for a linear function of binomial
        proportions", Computational Statistics and Data Analysis 53; with correlations: Zou 2007, "Toward using confidence
        intervals to compare correlations", Psychological Methods 12.
    """
    value = math.fsum(weight * mean.value for mean, weight in zip(means, weights, strict=True))
    rho = np.eye(len(means))
    for i, j in combinations(range(len(means)), 2):
        of_sign = correlation if weights[i] * weights[j] > 0 else least_correlation
        rho[i, j] = rho[j, i] = of_sign(means[i], means[j])

    def gap(sign: int) -> float:
        reached = np.array(
            [
                weight * _gap(mean, sign if weight > 0 else -sign)
                for mean, weight in zip(means, weights, strict=True)
            ]
        )
        return stretch * _root(float(reached @ rho @ reached))

    return Interval(value - gap(-1), value + gap(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A mean over another one."""

    over: Mean
    under: Mean
    """Its interval lies above 0."""

    @property
    def value(self) -> float:
        """The ratio."""
        return self.over.value / self.under.value

    def interval(self, *, stretch: float = 1.0) -> Interval:
        """Return where the difference over - R under may be 0: Fieller's argument with the gaps of `combined`.

        Args:
            stretch: How many times as far the bounds of both means lie from them: for another level.

        Returns:
            Bounds of R; the upper one is infinite where, stretched, the divisor may be 0.

        Source:
            Donner and Zou 2012, "Closed-form confidence intervals for functions of the normal mean and standard
            deviation", Statistical Methods in Medical Research 21.
        """
        rho = least_correlation(self.over, self.under)
        over, under = self.over.value, self.under.value

        def parts(sign: int) -> tuple[float, float, float]:
            """Return a, b, c of a R^2 - 2 b R + c = 0."""
            own, other = stretch * _gap(self.over, sign), stretch * _gap(self.under, -sign)
            return under**2 - other**2, over * under - rho * own * other, over**2 - own**2

        a, b, c = parts(-1)
        low = c / (b + _root(b * b - a * c)) if c else 0.0
        a, b, c = parts(1)
        return Interval(low, (b + _root(b * b - a * c)) / a if a > 0 else math.inf)


def residuals(numerators: Vector, denominators: Vector, names: Sequence[str | None]) -> Mapping[str, float]:
    """Return A - r B of every cluster that has a name, r = sum(A) / sum(B).

    Args:
        numerators: A per cluster, shape ``(k,)``.
        denominators: B per cluster, shape ``(k,)``, above 0.
        names: Of the clusters; None where no other mean can have the same one.
    """
    of_clusters = numerators - numerators.sum() / denominators.sum() * denominators
    return {name: float(value) for name, value in zip(names, of_clusters, strict=True) if name is not None}


def _gap(mean: Mean, sign: int) -> float:
    return mean.interval.high - mean.value if sign > 0 else mean.value - mean.interval.low


def _root(square: float) -> float:
    return math.sqrt(max(0.0, square))  # rounding can leave -1e-17
