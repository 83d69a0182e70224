"""Differences of yes/no scores with their score intervals, and what every kind of difference can tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from longbench_run.results.statistics import Interval, wilson_interval

DifferenceKind = Literal["tango", "newcombe", "bootstrap-t", "student-t", "few-values"]


class Difference(Protocol):
    """Candidate less baseline in the unit of the metric, and how sure it is."""

    @property
    def value(self) -> float:
        """The difference."""
        ...

    @property
    def count(self) -> int:
        """Samples, or clusters where samples share them, that it rests on; of two groups, the smaller."""
        ...

    def interval(
        self, lower_tail: float, upper_tail: float, *, times: float = 1.0
    ) -> tuple[Interval, DifferenceKind]:
        """Return the interval, never of width 0.

        Args:
            lower_tail: Nominal chance that the lower bound is too high, in (0, 0.5).
            upper_tail: Nominal chance that the upper bound is too low, in (0, 0.5).
            times: As if there were so many times as many samples with the same variance, at least 1.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedShares:
    """Difference of two proportions over the same independent samples."""

    gained: int
    """Pairs in which the candidate alone is right."""
    lost: int
    """Pairs in which the baseline alone is right."""
    count: int
    """Pairs, n."""

    @property
    def value(self) -> float:
        """The difference, (gained - lost) / n."""
        return (self.gained - self.lost) / self.count

    def interval(
        self, lower_tail: float, upper_tail: float, *, times: float = 1.0
    ) -> tuple[Interval, DifferenceKind]:
        """Return Tango's score interval.

        Source:
            Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-
            sample design", Statistics in Medicine 17.
        """
        gained, lost, n = (times * number for number in (self.gained, self.lost, self.count))

        def score(difference: float) -> float:
            """Return the statistic of the hypothesis that the difference is ``difference``; it falls as that grows."""
            # Constrained maximum-likelihood estimate of P(lost): the root of a x^2 + b x + c.
            b = -gained - lost + (2 * n - gained + lost) * difference
            c = -lost * difference * (1 - difference)
            share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
            variance = n * (2 * share + difference * (1 - difference))
            above = gained - lost - n * difference
            if variance <= 0:
                return math.copysign(math.inf, above) if above else 0.0
            return above / math.sqrt(variance)

        low = _crossing(score, normal_quantile(lower_tail), -1.0, self.value)
        high = _crossing(score, -normal_quantile(upper_tail), self.value, 1.0)
        return Interval(low, high), "tango"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpairedShares:
    """Difference of two proportions over independent samples; or of two parts of a range, which is conservative."""

    own: tuple[float, int]
    """Successes and trials of the candidate."""
    less: tuple[float, int]
    """Successes and trials of the baseline."""
    span: float
    """What a share of 1 stands for: 1 for proportions."""

    @property
    def value(self) -> float:
        """The difference."""
        return self.span * (self.own[0] / self.own[1] - self.less[0] / self.less[1])

    @property
    def count(self) -> int:
        """Trials of the smaller group."""
        return min(self.own[1], self.less[1])

    def interval(
        self, lower_tail: float, upper_tail: float, *, times: float = 1.0
    ) -> tuple[Interval, DifferenceKind]:
        """Return Newcombe's hybrid score interval, made of Wilson's two.

        Source:
            Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in
            Medicine 17, method 10.
        """

        def gap(upper: tuple[float, int], lower: tuple[float, int], tail: float) -> float:
            """Return how far the difference upper - lower may be too small."""
            share, others = upper[0] / upper[1], lower[0] / lower[1]
            high, low = self._wilson(upper, tail, times).high, self._wilson(lower, tail, times).low
            return self.span * math.hypot(high - share, others - low)

        low, high = gap(self.less, self.own, lower_tail), gap(self.own, self.less, upper_tail)
        return Interval(self.value - low, self.value + high), "newcombe"

    @staticmethod
    def _wilson(sample: tuple[float, int], tail: float, times: float) -> Interval:
        successes, trials = sample
        grown = round(times * trials)
        return wilson_interval(successes / trials * grown, grown, confidence=1 - 2 * tail)


def normal_quantile(tail: float) -> float:
    """Return the upper quantile of the normal distribution.

    Args:
        tail: Chance above it, in (0, 1).
    """
    from scipy.special import ndtri

    return -float(ndtri(tail))


def _crossing(score: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return where a falling function passes ``target``, by bisection; an end where it does not."""
    if score(low) <= target:
        return low
    if score(high) >= target:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > target else (low, middle)
    return (low + high) / 2
