"""Intervals from intervals: by published numbers, by what they must reduce to, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.results.mover import Mean, Ratio, combined, correlation, least_correlation, residuals
from longbench_run.results.shares import UnpairedShares
from longbench_run.results.statistics import Interval, wilson_interval


def share(successes, trials):
    return Mean(successes / trials, wilson_interval(successes, trials), {})


def normal_mean(values, names=None):
    error = values.std(ddof=1) / math.sqrt(len(values))
    spread = {} if names is None else residuals(values, np.ones(len(values)), names)
    return Mean(values.mean(), Interval(values.mean() - 1.96 * error, values.mean() + 1.96 * error), spread)


@given(st.integers(0, 30), st.integers(0, 40))
def test_the_difference_of_two_independent_shares_is_newcombes(own, less):
    found = combined((share(own, 30), share(less, 40)), (1, -1))
    expected, _ = UnpairedShares(own=(own, 30), less=(less, 40), span=1.0).interval(0.025, 0.025)
    assert found == pytest.approx(expected)


def test_the_difference_of_shares_as_published():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10: 56/70 - 48/80.
    low, high = combined((share(56, 70), share(48, 80)), (1, -1))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_one_mean_keeps_its_interval():
    mean = share(3, 20)
    assert combined((mean,), (1.0,)) == pytest.approx(mean.interval)


def test_over_a_divisor_that_is_known_the_ratio_is_the_mean_over_it():
    known = Mean(2.0, Interval(2.0, 2.0), {})
    assert Ratio(over=share(5, 20), under=known).interval() == pytest.approx(
        [bound / 2 for bound in wilson_interval(5, 20)]
    )


def test_the_ratio_of_normal_means_is_fiellers():
    generator = np.random.default_rng(0)
    x, y = generator.normal(3, 1, 50), generator.normal(5, 1, 50)
    a, b = x.mean(), y.mean()
    va, vb = x.var(ddof=1) / 50, y.var(ddof=1) / 50
    g = 1.96**2 * vb / b**2
    half = 1.96 / b * math.sqrt(va + (a / b) ** 2 * vb - g * va)
    expected = [(a / b - half) / (1 - g), (a / b + half) / (1 - g)]
    assert Ratio(over=normal_mean(x), under=normal_mean(y)).interval() == pytest.approx(expected)


@given(st.integers(0, 20), st.integers(5, 20))
def test_a_ratio_lies_in_its_interval_which_has_a_width(over, under):
    ratio = Ratio(over=share(over, 20), under=share(under, 20))
    low, high = ratio.interval()
    assert 0 <= low <= ratio.value <= high < math.inf
    assert low < high
    wide = ratio.interval(stretch=1.2)
    assert wide.low <= low
    assert wide.high >= high


def test_a_divisor_that_may_be_zero_leaves_the_ratio_unbounded():
    ratio = Ratio(over=share(10, 20), under=share(1, 20))
    assert ratio.interval(stretch=1.3).high == math.inf


def test_the_correlation_is_that_of_the_errors():
    generator = np.random.default_rng(1)
    documents = generator.normal(0, 1, 400)
    names = [f"d{index}" for index in range(400)]
    one, other = (normal_mean(documents + generator.normal(0, 0.5, 400), names) for _ in range(2))
    assert correlation(one, other) == pytest.approx(0.8, abs=0.05)
    assert correlation(one, other) == correlation(other, one)
    alone = normal_mean(documents, [f"e{index}" for index in range(400)])
    assert correlation(one, alone) == 0
    half = normal_mean(documents[:100], names[:100])
    assert correlation(one, half) == pytest.approx(0.8 * 1.12 / 2, abs=0.06)


def test_documents_that_all_do_alike_still_leave_a_width():
    right = np.array([1.0] * 15 + [0.0] * 5)
    names = [f"d{index}" for index in range(20)]
    mean = Mean(0.75, wilson_interval(15, 20), residuals(right, np.ones(20), names))
    assert correlation(mean, mean) == pytest.approx(1)
    assert least_correlation(mean, mean) == pytest.approx(20 / 23.84, abs=1e-3)
    low, high = combined((mean, mean), (1, -1))
    assert low < 0 < high


def test_differences_over_shared_documents_are_known_better_and_hold_the_truth():
    generator = np.random.default_rng(2)
    names = [f"d{index}" for index in range(30)]
    held, widths = 0, []
    for _ in range(1000):
        documents = generator.normal(2, 0.5, 30)
        one, other = (
            normal_mean(documents + level + generator.normal(0, 0.1, 30), names) for level in (0.1, 0)
        )
        low, high = combined((one, other), (1, -1))
        held += low <= 0.1 <= high
        widths.append(high - low)
    assert 0.93 <= held / 1000 <= 0.985
    # Twice 1.96 times sqrt(2) 0.1 / sqrt(30), against 0.5 for independent samples.
    assert np.mean(widths) == pytest.approx(0.101, rel=0.2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=10, max_size=40))
def test_the_least_correlation_is_no_larger_and_of_the_same_sign(pairs):
    names = [f"d{index}" for index in range(len(pairs))]
    one, other = (
        Mean(0.5, Interval(0.3, 0.7), residuals(np.array(side, dtype=float), np.ones(len(pairs)), names))
        for side in zip(*pairs, strict=True)
    )
    found, least = correlation(one, other), least_correlation(one, other)
    assert -1.000001 <= found <= 1.000001
    assert least <= found + 1e-12
    assert least * found >= 0


def test_documents_that_do_nothing_alike_have_no_correlation_however_it_is_rounded():
    one = Mean(0.5, Interval(0.3, 0.7), {"a": 0.3, "b": -0.3, "c": 0.3, "d": -0.3})
    other = Mean(0.5, Interval(0.3, 0.7), {"a": 0.1 + 1e-17, "b": 0.1, "c": -0.1, "d": -0.1})
    assert least_correlation(one, other) == pytest.approx(0, abs=1e-9)


def test_ratios_over_shared_documents_are_known_better_and_hold_the_truth():
    generator = np.random.default_rng(4)
    names = [f"d{index}" for index in range(40)]
    held, shared, apart = 0, [], []
    for _ in range(600):
        documents = generator.uniform(0.2, 1.0, 40)
        one, other = (
            normal_mean(documents * factor + generator.normal(0, 0.03, 40), names) for factor in (0.8, 1.0)
        )
        low, high = Ratio(over=one, under=other).interval()
        held += low <= 0.8 <= high
        shared.append(high - low)
        low, high = Ratio(over=one._replace(residuals={}), under=other).interval()
        apart.append(high - low)
    assert 0.93 <= held / 600 <= 0.995
    assert np.mean(shared) < 0.5 * np.mean(apart)
