"""The studentised bootstrap of a ratio of sums, or of a difference of two such ratios; clusters are resampled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_SEED = 0
_LARGEST_BLOCK = 1_000_000
"""Numbers per array held at once while resampling: 8 MB."""
_LARGEST_KEPT = 25_000_000
"""Counts of resamples kept for the next cell: 50 MB."""
_LARGEST_ROUNDING = 1e-6
"""Part of the standard error below which that of a resample is rounding: sums of squares cancel to about 1e-8."""
_MOST_CLUSTERS = 2000
_GROUPS = 1000
_BEYOND = 10
"""Resamples that must lie beyond a quantile for it to be read off."""


class Sums(NamedTuple):
    """What a ratio of sums is made of, per cluster."""

    numerators: Vector
    """A, e.g. the sum of nll, shape ``(k,)``."""
    denominators: Vector
    """B, e.g. the sum of tokens, shape ``(k,)``, above 0."""


def grouped(sums: Sums) -> Sums:
    """Return the sums of more than 2,000 clusters as those of 1,000 groups, drawn at random with a fixed seed.

    Groups of clusters are clusters: ratio and skewness stay what they are, and the standard error changes by 1 / sqrt(2 *
    1000), 2 %. What is resampled no longer grows with the run.

    Args:
        sums: Of any number of clusters.
    """
    k = len(sums.numerators)
    if k <= _MOST_CLUSTERS:
        return sums
    groups = np.random.default_rng(_SEED).permutation(k) % _GROUPS
    return Sums(*(np.bincount(groups, values).astype(np.float64) for values in sums))


@dataclass(frozen=True, slots=True, kw_only=True)
class Studentised:
    """A ratio of sums, or a difference of two, with the distribution of its studentised error."""

    value: float
    error: float
    """Standard error."""
    freedom: float
    """Degrees of freedom of Student's t: clusters less one; those of Welch for a difference."""
    scores: Vector
    """(r* - r) / se* of every resample, ascending, infinite where a resample has no spread."""

    def bounds(self, lower_tail: float, upper_tail: float) -> tuple[float, float] | None:
        """Return [r - q_high se, r - q_low se], with q the quantiles of the scores.

        A quantile so far out that fewer than ten resamples lie beyond it is that of ten, stretched as Student's t is
        between the two.

        Args:
            lower_tail: Nominal chance that the lower bound is too high, in (0, 0.5).
            upper_tail: Nominal chance that the upper bound is too low, in (0, 0.5).

        Returns:
            The bounds; None where resamples without spread make a quantile infinite.
        """
        low, high = self._quantile(upper_tail, sign=1), self._quantile(lower_tail, sign=-1)
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        return self.value + high * self.error, self.value - low * self.error

    def student_bounds(self, lower_tail: float, upper_tail: float) -> tuple[float, float]:
        """Return the same with the quantiles of Student's t.

        Args:
            lower_tail: Nominal chance that the lower bound is too high, in (0, 0.5).
            upper_tail: Nominal chance that the upper bound is too low, in (0, 0.5).
        """
        return (
            self.value + student_quantile(lower_tail, self.freedom) * self.error,
            self.value - student_quantile(upper_tail, self.freedom) * self.error,
        )

    def _quantile(self, tail: float, *, sign: int) -> float:
        """Return the quantile of sign times the scores at ``tail``."""
        resolved = max(tail, _BEYOND / len(self.scores))
        # An order statistic: interpolating between a finite and an infinite one gives no number.
        place = math.ceil(resolved * len(self.scores))
        found = float(self.scores[place - 1] if sign > 0 else -self.scores[-place])
        if tail == resolved:
            return found
        return found * student_quantile(tail, self.freedom) / student_quantile(resolved, self.freedom)


def student_quantile(tail: float, freedom: float) -> float:
    """Return the lower quantile of Student's t.

    Args:
        tail: Chance below it, in (0, 1).
        freedom: Degrees of freedom, above 0.
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, tail))


def studentised(own: Sums, less: Sums | None = None, *, resamples: int) -> Studentised:
    """Return sum(A) / sum(B), less the ratio of independent clusters where they are given.

    The standard error is the linearised one, se^2 = k / (k - 1) sum((A - r B)^2) / sum(B)^2 over k clusters; that of a
    difference is the root of the sum of squares. Two samples are resampled apart. Of many clusters, `grouped`.

    Args:
        own: At least two clusters.
        less: What is subtracted: at least two clusters. Default: nothing.
        resamples: How many, at least 100.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 12 (one sample) and 16.2 (two);
        linearised ratio: Cochran 1977, "Sampling Techniques", chapter 6; degrees of freedom: Welch 1947, Biometrika 34.
    """
    own = grouped(own)
    if less is None:
        first = _resampled(own, _counts_alone(len(own.numerators), resamples))
        return _scored(first.value, first.error, len(own.numerators) - 1, first.shifts, first.errors)
    less = grouped(less)
    generator = np.random.default_rng(_SEED)
    first = _resampled(own, _counts(len(own.numerators), resamples, generator))
    second = _resampled(less, _counts(len(less.numerators), resamples, generator))
    return _scored(
        first.value - second.value,
        math.hypot(first.error, second.error),
        _welch((first.error, len(own.numerators)), (second.error, len(less.numerators))),
        first.shifts - second.shifts,
        np.hypot(first.errors, second.errors),
    )


def standard_error(sums: Sums) -> float:
    """Return the linearised standard error of sum(A) / sum(B), sqrt(k / (k - 1) sum((A - r B)^2)) / sum(B).

    Args:
        sums: At least two clusters.

    Source:
        Cochran 1977, "Sampling Techniques", chapter 6.
    """
    numerators, denominators = sums
    k = len(numerators)
    residuals = numerators - float(numerators.sum() / denominators.sum()) * denominators
    return math.sqrt(k / (k - 1) * float(residuals @ residuals)) / float(denominators.sum())


class _Resampled(NamedTuple):
    value: float
    error: float
    shifts: Vector
    errors: Vector


def _scored(value: float, error: float, freedom: float, shifts: Vector, errors: Vector) -> Studentised:
    flat = errors <= _LARGEST_ROUNDING * error
    scores = np.where(flat, np.copysign(np.inf, shifts), shifts / np.where(flat, 1.0, errors))
    return Studentised(value=value, error=error, freedom=freedom, scores=np.sort(scores))


def _welch(*samples: tuple[float, int]) -> float:
    """Return Welch's degrees of freedom from standard errors and counts."""
    total = sum(error**2 for error, _ in samples)
    if total == 0:
        return float(min(count for _, count in samples) - 1)
    return float(total**2 / sum(error**4 / (count - 1) for error, count in samples))


def _counts_alone(k: int, resamples: int) -> Iterable[NDArray[np.integer[Any]]]:
    """Yield how often each cluster is in each resample of a sample that is resampled alone, block by block.

    They depend on nothing else, and a report asks for the same ones for each of its cells: kept where they are small.
    """
    if k * resamples <= _LARGEST_KEPT:
        return _kept_counts(k, resamples)
    return _counts(k, resamples, np.random.default_rng(_SEED))


@lru_cache(maxsize=4)
def _kept_counts(k: int, resamples: int) -> tuple[NDArray[np.uint16], ...]:
    # A cluster is in a resample k times at most, in practice a handful: far below what 16 bits hold.
    return tuple(counts.astype(np.uint16) for counts in _counts(k, resamples, np.random.default_rng(_SEED)))


def _counts(k: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.integer[Any]]]:
    """Yield counts of shape ``(block, k)``."""
    block = max(1, _LARGEST_BLOCK // k)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        # Counted draws, not `Generator.multinomial`: the same distribution, in a tenth of the time.
        draws = generator.integers(0, k, size=(size, k)) + k * np.arange(size)[:, np.newaxis]
        yield np.bincount(draws.ravel(), minlength=size * k).reshape(size, k)


def _resampled(sums: Sums, counts_of_blocks: Iterable[NDArray[np.integer[Any]]]) -> _Resampled:
    numerators, denominators = sums
    k = len(numerators)
    ratio = float(numerators.sum() / denominators.sum())
    residuals = numerators - ratio * denominators
    error = standard_error(sums)
    # Sums over a resample are counts of clusters times these: no array of resamples x clusters x moments.
    moments = np.stack(
        [residuals, denominators, residuals**2, residuals * denominators, denominators**2], axis=1
    )
    shifts, errors = [], []
    for counts in counts_of_blocks:
        e, b, ee, eb, bb = (counts.astype(np.float64) @ moments).T
        shift = e / b
        squares = np.maximum(ee - 2 * shift * eb + shift**2 * bb, 0.0)
        shifts.append(shift)
        errors.append(np.sqrt(k / (k - 1) * squares) / b)
    return _Resampled(ratio, error, np.concatenate(shifts), np.concatenate(errors))
