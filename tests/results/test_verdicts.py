"""Verdicts of cells: what the whole interval says, with alpha for all of them."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from longbench_run.results.statistics import Interval
from longbench_run.results.verdicts import Measured, decide

QUANTILE = NormalDist().inv_cdf


@dataclass(frozen=True)
class Normal:
    """A difference whose interval is the plain normal one."""

    value: float
    error: float
    count: int = 50

    def interval(self, lower_tail, upper_tail, *, times=1.0):
        error = self.error / times**0.5
        low, high = (self.value + QUANTILE(tail) * error for tail in (lower_tail, 1 - upper_tail))
        return Interval(low, high), "student-t"


def verdicts(*differences, higher_is_better=True, **settings):
    cells = [Measured(difference, higher_is_better) for difference in differences]
    return [one.verdict for one in decide(cells, **{"tolerance": 0.01, "alpha": 0.05} | settings)]


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (-0.1, 0.01, "regressed"),
        (0.1, 0.01, "improved"),
        (0.002, 0.001, "same"),
        (-0.002, 0.1, "inconclusive"),
        (-0.02, 0.01, "inconclusive"),
        (0.0115, 0.001, "inconclusive"),
    ],
)
def test_a_verdict_is_what_the_whole_interval_says(value, error, expected):
    assert verdicts(Normal(value, error)) == [expected]


def test_where_lower_is_better_a_rise_is_a_regression():
    assert verdicts(Normal(0.1, 0.01), Normal(-0.1, 0.01), higher_is_better=False) == [
        "regressed",
        "improved",
    ]


def test_the_interval_is_that_of_the_difference_whichever_way_is_better():
    up, down = (
        decide([Measured(Normal(0.1, 0.01), better)], tolerance=0.01, alpha=0.05)[0].interval
        for better in (True, False)
    )
    assert up == pytest.approx(down)
    assert up == pytest.approx((0.1 - 1.959964 * 0.01, 0.1 + 1.959964 * 0.01), abs=1e-6)


def test_nine_samples_decide_nothing():
    (found,) = decide([Measured(Normal(-0.5, 0.001, count=9), True)], tolerance=0.01, alpha=0.05)
    assert (found.verdict, found.interval, found.needed) == ("inconclusive", None, None)


def test_a_larger_family_asks_for_more_of_every_cell():
    assert verdicts(Normal(-0.035, 0.01)) == ["regressed"]
    assert verdicts(Normal(-0.035, 0.01), family=20) == ["inconclusive"]


def test_a_family_smaller_than_its_cells_is_refused():
    with pytest.raises(ValueError, match="family must be at least the number of cells, 2, got 1"):
        verdicts(Normal(0, 1), Normal(0, 1), family=1)


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from([0.05, 0.3]),
)
def test_regressions_are_those_of_holm_on_one_sided_p_values(values, tolerance, alpha):
    error = 0.015
    p_values = sorted((norm.cdf((value + tolerance) / error), place) for place, value in enumerate(values))
    expected = set()
    for rank, (p, place) in enumerate(p_values):
        if p >= alpha / 2 / (len(values) - rank):
            break
        expected.add(place)

    found = verdicts(*(Normal(value, error) for value in values), tolerance=tolerance, alpha=alpha)

    assert {place for place, verdict in enumerate(found) if verdict == "regressed"} == expected


def test_a_regression_leaves_more_of_alpha_to_the_others():
    """One-sided p of the second: between alpha / 2 / 2, where Bonferroni stops, and alpha / 2."""
    second = Normal(-norm.isf(0.02) * 0.01, 0.01)
    assert verdicts(second, Normal(0.0, 0.01), tolerance=0.0) == ["inconclusive", "inconclusive"]
    assert verdicts(second, Normal(-1.0, 0.01), tolerance=0.0) == ["regressed", "regressed"]
    assert verdicts(second, Normal(1.0, 0.01), tolerance=0.0) == ["inconclusive", "improved"]


def test_any_wrong_verdict_is_as_rare_as_alpha():
    generator = np.random.default_rng(0)
    # At and within the tolerance, beyond it, far beyond it: each kind of truth invites a kind of error.
    truths = np.array([-0.2, -0.2, -0.01, -0.01, 0.0, 0.01, 0.011, 0.2])
    right = [{"regressed"}, {"regressed"}, {"same"}, {"same"}, {"same"}, {"same"}, {"improved"}, {"improved"}]
    wrong = 0
    for _ in range(1500):
        values = generator.normal(truths, 0.004)
        found = verdicts(*(Normal(value, 0.004) for value in values))
        wrong += any(verdict not in of | {"inconclusive"} for verdict, of in zip(found, right, strict=True))
    assert wrong / 1500 < 0.05 + 2 * (0.05 * 0.95 / 1500) ** 0.5


@pytest.mark.parametrize("value", [-0.03, 0.002, 0.0])
def test_the_count_that_would_decide_does_and_a_smaller_one_does_not(value):
    (found,) = decide([Measured(Normal(value, 0.05), True)], tolerance=0.01, alpha=0.05)
    assert found.verdict == "inconclusive"

    def at(count):
        return verdicts(Normal(value, 0.05 * (50 / count) ** 0.5, count=count))[0]

    assert at(found.needed) == ("regressed" if value < -0.01 else "same")
    assert at(round(0.99 * found.needed)) == "inconclusive"


def test_no_count_decides_a_difference_that_lies_at_the_tolerance():
    (found,) = decide([Measured(Normal(-0.01, 0.05), True)], tolerance=0.01, alpha=0.05)
    assert (found.verdict, found.needed) == ("inconclusive", None)


def test_no_cell_has_no_verdict():
    assert verdicts() == []
