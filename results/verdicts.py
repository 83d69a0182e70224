"""From differences to verdicts: which cells improved, are the same, regressed, or cannot be told.

A verdict is what the whole interval says, and alpha holds for all verdicts of a comparison together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from longbench_run.results.shares import Difference, DifferenceKind
from longbench_run.results.statistics import SMALLEST_COUNT, Interval

Verdict = Literal["improved", "same", "regressed", "inconclusive"]

_MOST_SAMPLES = 10_000_000


class Tails(NamedTuple):
    """One-sided levels of the bounds of the gain: the difference in the direction in which it is better."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What can be said of one cell."""

    verdict: Verdict
    interval: Interval | None
    """Of the difference, in the unit of the metric; None where there are fewer than ten samples or clusters."""
    kind: DifferenceKind | None
    needed: int | None
    """Samples or clusters at which an inconclusive cell would be decided, if difference and variance stayed; None where
    no number would do it: the difference lies at the tolerance."""


class Measured(NamedTuple):
    """A difference, and which way is better."""

    difference: Difference
    higher_is_better: bool


def smallest_tail(alpha: float, family: int) -> float:
    """Return the smallest level that `decide` asks of a bound.

    Args:
        alpha: Chance of any wrong verdict, in (0, 1).
        family: Cells in the family, at least 1.
    """
    return alpha / (2 * family)


def decide(
    cells: Sequence[Measured], *, tolerance: float, alpha: float, family: int | None = None
) -> list[Decision]:
    """Return the verdict of every cell.

    Regressed: the whole interval of the gain lies below -tolerance; improved: above it; same: within -tolerance and
    tolerance. The bounds are one-sided at alpha / 2 over the number of cells, and Holm's step-down runs on either side
    by itself: upper bounds, which show regressions, at alpha / 2 / (m - r) once r cells have regressed, lower bounds
    likewise once cells have improved. The chance of any wrong verdict is at most alpha: a wrong one takes an upper bound
    below or a lower bound above the truth, a cell that regressed can make none of the former, and Holm's argument holds
    for each side with alpha / 2.

    Args:
        cells: At least ten samples or clusters each, or fewer, which is inconclusive.
        tolerance: Largest difference that is the same, in the unit of the metric, at least 0.
        alpha: Chance of any wrong verdict, in (0, 1).
        family: Cells in the family, m, fixed before looking at them. Default: as many as given.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6; why
        hypotheses may be nested within a cell: Goeman and Solari 2010, "The sequential rejection principle of familywise
        error control", Annals of Statistics 38. Equivalence by inclusion: Schuirmann 1987.
    """
    m = len(cells) if family is None else family
    known = [cell for cell in cells if cell.difference.count >= SMALLEST_COUNT]
    if m < len(cells):
        raise ValueError(f"family must be at least the number of cells, {len(cells)}, got {family!r}")
    regressed = improved = 0
    while True:
        tails = Tails(smallest_tail(alpha, max(1, m - improved)), smallest_tail(alpha, max(1, m - regressed)))
        gains = [_gain(cell, tails)[0] for cell in known]
        before = (regressed, improved)
        regressed = max(regressed, sum(gain.high < -tolerance for gain in gains))
        improved = max(improved, sum(gain.low > tolerance for gain in gains))
        if (regressed, improved) == before:
            break
    return [_decision(cell, tails, tolerance) for cell in cells]


def _gain(cell: Measured, tails: Tails, *, times: float = 1.0) -> tuple[Interval, DifferenceKind]:
    """Return the interval of the difference in the direction in which it is better."""
    if cell.higher_is_better:
        return cell.difference.interval(tails.lower, tails.upper, times=times)
    interval, kind = cell.difference.interval(tails.upper, tails.lower, times=times)
    return Interval(-interval.high, -interval.low), kind


def _verdict(gain: Interval, tolerance: float) -> Verdict:
    if gain.high < -tolerance:
        return "regressed"
    if gain.low > tolerance:
        return "improved"
    return "same" if -tolerance <= gain.low and gain.high <= tolerance else "inconclusive"


def _decision(cell: Measured, tails: Tails, tolerance: float) -> Decision:
    if cell.difference.count < SMALLEST_COUNT:
        return Decision(verdict="inconclusive", interval=None, kind=None, needed=None)
    gain, kind = _gain(cell, tails)
    verdict = _verdict(gain, tolerance)
    return Decision(
        verdict=verdict,
        interval=gain if cell.higher_is_better else Interval(-gain.high, -gain.low),
        kind=kind,
        needed=_needed(cell, tails, tolerance) if verdict == "inconclusive" else None,
    )


def _needed(cell: Measured, tails: Tails, tolerance: float) -> int | None:
    """Return the smallest count that decides, by bisection over how many times as many there are."""
    count = cell.difference.count

    def decides(samples: int) -> bool:
        return _verdict(_gain(cell, tails, times=samples / count)[0], tolerance) != "inconclusive"

    if not decides(_MOST_SAMPLES):
        return None
    few, many = count, _MOST_SAMPLES
    while many - few > max(1, many // 1000):
        middle = math.isqrt(few * many) if many > 4 * few else (few + many) // 2
        few, many = (few, middle) if decides(middle) else (middle, many)
    return many
