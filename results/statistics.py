"""Means with their uncertainty: Wilson, studentised bootstrap and BCa; by document where samples share one.

Miller 2024, "Adding error bars to evals" (arXiv:2411.00640), is the standard followed: samples that share a
document are not independent, so documents are what is resampled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from longbench_run.results.studentised import Sums, Vector, grouped, studentised

CONFIDENCE = 0.95
SMALLEST_COUNT = 10
"""Fewer samples or clusters get no interval: an asymptotic one would promise more than they know."""

_RESAMPLES = 4999
_SHUFFLES, _LEAST_SHUFFLES = 999, 99
_MOST_SHUFFLED = 4_000_000
"""Scores shuffled in all, unless that is fewer than `_LEAST_SHUFFLES` times."""
_SEED = 0
_LARGEST_BLOCK = 1_000_000
"""Numbers per array held at once while resampling: 8 MB."""

IntervalKind = Literal["wilson", "bootstrap-t", "student-t", "bca"]


class Interval(NamedTuple):
    """Bounds of a confidence interval, in the unit of the value."""

    low: float
    high: float


class Extremes(NamedTuple):
    """How far apart the means of several positions lie."""

    worst: float
    """Smallest mean."""
    spread: float
    """Largest mean minus smallest."""


class Estimate(NamedTuple):
    """A mean over samples and what is known of it."""

    value: float | None
    """None where there is no sample."""
    samples: int
    clusters: int
    """Documents, where samples name one; else samples."""
    interval: Interval | None
    """None where there are fewer than `SMALLEST_COUNT` samples or clusters, or where all values of an
    unbounded metric are equal: they say nothing about its spread."""
    kind: IntervalKind | None


def estimate(
    values: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    clusters: Sequence[Hashable] | None = None,
    is_binary: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the weighted mean of ``values``, sum(w v) / sum(w), with its interval.

    Numerator and denominator are summed by cluster, and clusters are resampled as a whole: for nll the sums
    of nll and of tokens stay together. The interval is Wilson's for yes/no values of independent samples;
    BCa where both bounds of the metric are known; else the studentised bootstrap, which keeps its coverage
    on skewed values such as nll (benchmarks/results/interval_coverage.md; log-normal values, n = 20: 0.93,
    against 0.87 of BCa and 0.86 of Student's t).

    Args:
        values: Score per sample, v.
        weights: Weight per sample, w, above 0, e.g. scored tokens. Default 1.
        clusters: Cluster per sample, e.g. its document. Default: every sample is its own.
        is_binary: True where every value is 0 or 1.
        minimum: Smallest possible value, where there is one.
        maximum: Largest possible value, where there is one.
        confidence: Nominal coverage, in (0, 1).

    Source:
        Miller 2024, arXiv:2411.00640 (clustered samples); the intervals: see each function.

    Example:
        >>> [round(bound, 3) for bound in estimate([1.0] * 19 + [0.0], is_binary=True).interval]
        [0.764, 0.991]
    """
    samples = len(values)
    if samples == 0:
        return Estimate(None, 0, 0, None, None)
    numerators, denominators = cluster_sums(values, weights, clusters)
    count = len(numerators)
    value = float(numerators.sum() / denominators.sum())
    if min(samples, count) < SMALLEST_COUNT:
        return Estimate(value, samples, count, None, None)
    interval: Interval | None
    kind: IntervalKind | None
    if is_binary and weights is None and count == samples:
        interval, kind = wilson_interval(float(sum(values)), samples, confidence=confidence), "wilson"
    elif minimum is not None and maximum is not None:
        interval, kind = _bounded_interval(numerators, denominators, minimum, maximum, confidence)
    else:
        interval, kind = studentised_interval(numerators, denominators, confidence=confidence)
        if interval is not None:
            interval = Interval(
                interval.low if minimum is None else max(interval.low, minimum),
                interval.high if maximum is None else min(interval.high, maximum),
            )
    return Estimate(value, samples, count, interval, kind)


def wilson_interval(successes: float, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a proportion; never of width 0, never outside [0, 1].

    With p = successes / n and z the normal quantile of (1 + confidence) / 2:
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        successes: Number of successes, 0 to n; a sum of scores in [0, 1] gives a conservative interval, for
            no
            distribution on [0, 1] with mean p has a variance above p (1 - p).
        trials: Number of trials, n, at least 1.
        confidence: Nominal coverage, in (0, 1).

    Raises:
        ValueError: If ``successes`` is not in [0, n].

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.
    """
    from scipy.special import ndtri

    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"successes must be in [0, trials] and trials at least 1, got {successes!r} of {trials!r}"
        )
    z = float(ndtri((1 + confidence) / 2))
    p = successes / trials
    middle = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At p = 0 and 1 the bounds are exactly 0 and 1; rounding must not leave 1e-17.
    low = 0.0 if p == 0 else (middle - half) / scale
    high = 1.0 if p == 1 else (middle + half) / scale
    return Interval(low, high)


def studentised_interval(
    numerators: Vector, denominators: Vector, *, confidence: float = CONFIDENCE
) -> tuple[Interval | None, IntervalKind | None]:
    """Return the studentised bootstrap interval (bootstrap-t) of a ratio of sums r = sum(A) / sum(B).

    Clusters are resampled; the standard error is the linearised one, se^2 = k / (k - 1) sum((A - r B)^2) / sum(B)^2 over k
    clusters; the interval is [r - q_high se, r - q_low se] with q the quantiles of (r* - r) / se*, and no narrower at
    either end than that of Student's t with k - 1 degrees of freedom: on the side where it would be narrower nothing is
    lost by it, and of skewed values the other side alone holds the truth too rarely. Where resamples without spread make a
    quantile infinite, it is Student's.

    Args:
        numerators: A per cluster, e.g. the sum of nll, shape ``(k,)``.
        denominators: B per cluster, e.g. the sum of tokens, shape ``(k,)``, above 0.
        confidence: Nominal coverage, in (0, 1).

    Returns:
        The interval and its kind; (None, None) where all ratios are equal.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 12; linearised ratio:
        Cochran 1977, "Sampling Techniques", chapter 6.
    """
    found = studentised(Sums(numerators, denominators), resamples=_RESAMPLES)
    if found.error <= 1e-12 * max(1.0, abs(found.value)):
        return None, None
    tail = (1 - confidence) / 2
    student = Interval(*found.student_bounds(tail, tail))
    bounds = found.bounds(tail, tail)
    if bounds is None:
        return student, "student-t"
    return Interval(min(bounds[0], student.low), max(bounds[1], student.high)), "bootstrap-t"


def extremes(scores: Vector) -> Extremes:
    """Return the smallest mean of a column, and the largest minus it.

    Args:
        scores: Shape ``(..., questions, positions)``; the last but one axis is averaged over.
    """
    means = scores.mean(axis=-2)
    lowest = means.min(axis=-1)
    return Extremes(float(np.mean(lowest)), float(np.mean(means.max(axis=-1) - lowest)))


def extremes_if_flat(scores: Vector) -> Extremes:
    """Return what `extremes` are expected to be where the position makes no difference.

    The worst of several means is below their mean even then, and the spread above 0: by how much depends on how many
    samples there are. Simulated with a fixed seed: every question's scores are permuted among the positions, which
    changes nothing if the position makes no difference, and keeps that some questions are harder than others.

    Args:
        scores: Score per question and position, shape ``(questions, positions)``.
    """
    generator = np.random.default_rng(_SEED)
    block = max(1, _LARGEST_BLOCK // scores.size)
    # Of many samples each shuffle says nearly the same.
    shuffles = min(_SHUFFLES, max(_LEAST_SHUFFLES, _MOST_SHUFFLED // scores.size))
    worst = spread = 0.0
    for start in range(0, shuffles, block):
        size = min(block, shuffles - start)
        shuffled = generator.permuted(np.broadcast_to(scores, (size, *scores.shape)), axis=-1)
        found = extremes(shuffled)
        worst += size * found.worst
        spread += size * found.spread
    return Extremes(worst / shuffles, spread / shuffles)


def _bounded_interval(
    numerators: Vector, denominators: Vector, minimum: float, maximum: float, confidence: float
) -> tuple[Interval, IntervalKind]:
    """Return the BCa interval of a ratio of sums within known bounds; Wilson's where values hardly vary.

    Source: Efron 1987, "Better bootstrap confidence intervals", JASA 82, as in `scipy.stats.bootstrap`.
    """
    from scipy.stats import bootstrap

    k = len(numerators)
    ratio = float(numerators.sum() / denominators.sum())
    sums = grouped(Sums(numerators, denominators))
    if not np.allclose(numerators / denominators, ratio, rtol=0, atol=1e-12 * (maximum - minimum)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns where BCa is not defined; the NaN is handled below
            found = bootstrap(
                tuple(sums),
                _ratio,
                paired=True,
                vectorized=True,
                n_resamples=_RESAMPLES,
                batch=max(1, _LARGEST_BLOCK // len(sums.numerators)),
                confidence_level=confidence,
                method="BCa",
                rng=np.random.default_rng(_SEED),
            ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high:
            return Interval(float(found.low), float(found.high)), "bca"
    share = min(1.0, max(0.0, (ratio - minimum) / (maximum - minimum)))
    wilson = wilson_interval(share * k, k, confidence=confidence)
    return Interval(*(minimum + (maximum - minimum) * bound for bound in wilson)), "wilson"


def _ratio(numerators: Vector, denominators: Vector, axis: int = -1) -> Vector:
    result: Vector = numerators.sum(axis=axis) / denominators.sum(axis=axis)
    return result


def cluster_sums(
    values: Sequence[float], weights: Sequence[float] | None, clusters: Sequence[Hashable] | None
) -> tuple[Vector, Vector]:
    """Return the sums of w v and of w per cluster, in the order in which clusters appear.

    Args:
        values: Score per sample, v.
        weights: Weight per sample, w, above 0. Default 1.
        clusters: Cluster per sample. Default: every sample is its own.

    Raises:
        ValueError: If a weight is not above 0.
    """
    v = np.asarray(values, dtype=np.float64)
    w = np.ones_like(v) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (w > 0).all():
        raise ValueError("every weight must be above 0")
    if clusters is None:
        return v * w, w
    places: dict[Hashable, int] = {}
    of = np.array([places.setdefault(cluster, len(places)) for cluster in clusters])
    return np.bincount(of, v * w).astype(np.float64), np.bincount(of, w).astype(np.float64)
