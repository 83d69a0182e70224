"""Intervals against known values, against scipy, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, t

from longbench_run.results.statistics import (
    Interval,
    estimate,
    extremes,
    extremes_if_flat,
    studentised_interval,
    wilson_interval,
)
from longbench_run.results.studentised import Sums, grouped


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (13, 20), (20, 20), (5, 1000)])
def test_wilson_is_scipys(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_as_published():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_has_a_width_and_stays_in_range(case):
    successes, trials = case
    low, high = wilson_interval(successes, trials)
    assert 0 <= low < high <= 1
    assert low <= successes / trials <= high


@pytest.mark.parametrize(("successes", "trials"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(successes, trials):
    with pytest.raises(ValueError, match="successes must be in \\[0, trials\\] and trials at least 1"):
        wilson_interval(successes, trials)


def test_no_samples_have_no_value():
    assert estimate([]) == (None, 0, 0, None, None)


def test_nine_samples_have_a_value_and_no_interval():
    assert estimate([1.0] * 9, is_binary=True) == (1.0, 9, 9, None, None)
    assert estimate([1.0] * 10, is_binary=True).kind == "wilson"


def test_many_samples_of_nine_documents_have_no_interval():
    found = estimate(list(range(90)), clusters=[index % 9 for index in range(90)])
    assert found == (44.5, 90, 9, None, None)


def test_the_value_is_the_mean_over_tokens():
    found = estimate([1.0, 3.0], weights=[30.0, 10.0])
    assert found.value == pytest.approx(1.5)


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(ValueError, match="every weight must be above 0"):
        estimate([1.0, 2.0], weights=[1.0, 0.0])


def test_clusters_are_resampled_as_a_whole():
    generator = np.random.default_rng(0)
    documents = generator.normal(3, 1, 20)
    values = np.repeat(documents, 10)
    alone = estimate(values.tolist())
    together = estimate(values.tolist(), clusters=[index // 10 for index in range(200)])
    assert together.value == pytest.approx(alone.value)
    assert (together.samples, together.clusters) == (200, 20)
    # Ten copies of a document know no more than one.
    assert together.interval == pytest.approx(estimate(documents.tolist()).interval)
    assert width(together) > 2.5 * width(alone)


def test_a_document_in_pieces_counts_as_one():
    generator = np.random.default_rng(1)
    nll, tokens = generator.gamma(9, 0.3, (12, 2)), generator.integers(50, 300, (12, 2)).astype(float)
    pieces = estimate(
        nll.ravel().tolist(),
        weights=tokens.ravel().tolist(),
        clusters=[f"d{document}" for document in range(12) for _ in range(2)],
    )
    whole = (nll * tokens).sum(1) / tokens.sum(1)
    assert pieces.interval == pytest.approx(estimate(whole.tolist(), weights=tokens.sum(1).tolist()).interval)


def test_the_studentised_interval_is_its_definition_on_every_resample():
    generator = np.random.default_rng(2)
    a, b = generator.gamma(4, 1, 12), generator.uniform(1, 5, 12)
    (low, high), kind = studentised_interval(a, b)
    ratio = a.sum() / b.sum()

    def standard_error(a, b):
        k = len(a)
        return math.sqrt(k / (k - 1) * ((a - a.sum() / b.sum() * b) ** 2).sum()) / b.sum()

    own = np.random.default_rng(99)
    scores = []
    for _ in range(20_000):
        pick = own.integers(0, 12, 12)
        scores.append((a[pick].sum() / b[pick].sum() - ratio) / standard_error(a[pick], b[pick]))
    q_low, q_high = np.quantile(scores, [0.025, 0.975])
    error = standard_error(a, b)
    assert kind == "bootstrap-t"
    # Two bootstraps of 4,999 and 20,000 resamples differ by their Monte Carlo error only.
    student = t.ppf(0.975, 11)
    assert (
        q_high < student < -q_low
    )  # skewed: at one end the bootstrap's is narrower than Student's, and not taken
    assert low == pytest.approx(ratio - student * error)
    assert high == pytest.approx(ratio - q_low * error, abs=0.25 * error)


def test_resamples_without_spread_give_students_t():
    values = [2.0] * 11 + [3.0]
    found = estimate(values)
    half = t.ppf(0.975, 11) * np.std(values, ddof=1) / math.sqrt(12)
    assert found.kind == "student-t"
    assert found.interval == pytest.approx((found.value - half, found.value + half))


def test_an_interval_stays_within_the_metric():
    found = estimate([0.001] * 11 + [0.5], minimum=0.0)
    assert found.interval.low == 0.0


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_equal_scores_have_an_interval_with_a_width(value):
    found = estimate([value] * 20, minimum=0.0, maximum=1.0)
    assert found.kind == "wilson"
    assert found.interval == pytest.approx(wilson_interval(20 * value, 20))


def test_equal_values_without_bounds_have_no_interval():
    assert estimate([2.5] * 20) == (2.5, 20, 20, None, None)


def test_the_scale_of_a_bounded_metric_does_not_matter():
    generator = np.random.default_rng(3)
    shares = generator.beta(2, 3, 30)
    small = estimate(shares.tolist(), minimum=0.0, maximum=1.0)
    large = estimate((100 * shares).tolist(), minimum=0.0, maximum=100.0)
    assert small.kind == large.kind == "bca"
    assert large.interval == pytest.approx(Interval(*(100 * bound for bound in small.interval)))


def test_yes_and_no_that_share_documents_are_not_taken_for_independent():
    values = [float(index % 20 < 10) for index in range(200)]
    found = estimate(
        values, is_binary=True, clusters=[index % 20 for index in range(200)], minimum=0, maximum=1
    )
    assert found.kind == "bca"
    assert width(found) > 2 * width(estimate(values, is_binary=True))


def test_the_same_values_give_the_same_interval_and_global_state_is_left_alone():
    generator = np.random.default_rng(4)
    values = generator.gamma(2, 1, 40).tolist()
    before = np.random.get_state()[1].tolist()
    assert estimate(values) == estimate(values)
    assert np.random.get_state()[1].tolist() == before


def test_many_documents_are_resampled_in_little_memory():
    values = np.random.default_rng(5).gamma(4, 1, 20_000)
    found = estimate(values.tolist())
    half = 1.96 * values.std() / math.sqrt(20_000)
    assert found.interval == pytest.approx((found.value - half, found.value + half), abs=0.1 * half)


@pytest.mark.parametrize(
    ("draw", "mean", "bounds", "least", "most"),
    [
        pytest.param(lambda g, n: g.normal(3, 0.5, n), 3.0, {}, 0.90, 0.985, id="normal"),
        pytest.param(lambda g, n: g.lognormal(0, 0.8, n), math.exp(0.32), {}, 0.88, 0.985, id="log-normal"),
        pytest.param(
            lambda g, n: np.where(g.random(n) < 0.6, 0.0, g.beta(2, 2, n)),
            0.2,
            {"minimum": 0.0, "maximum": 1.0},
            0.88,
            0.985,
            id="zeros",
        ),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(draw, mean, bounds, least, most):
    generator = np.random.default_rng(6)
    held = 0
    for _ in range(300):
        low, high = estimate(draw(generator, 20).tolist(), **bounds).interval
        held += low <= mean <= high
    assert least <= held / 300 <= most


def width(found):
    return found.interval.high - found.interval.low


@pytest.mark.parametrize(("chance", "positions", "questions"), [(0.5, 5, 20), (0.8, 10, 50), (0.1, 3, 12)])
def test_expected_extremes_of_independent_samples_are_those_of_binomials(chance, positions, questions):
    """The exact values: of the smallest and the largest of so many independent binomial counts."""
    generator = np.random.default_rng(7)
    draws = (generator.random((60, questions, positions)) < chance).astype(float)
    found = np.mean([extremes_if_flat(scores) for scores in draws], axis=0)
    below = binom.cdf(np.arange(questions), questions, chance)
    smallest = float(np.sum((1 - below) ** positions)) / questions
    largest = float(np.sum(1 - below**positions)) / questions
    assert found[0] == pytest.approx(smallest, abs=0.02)
    assert found[1] == pytest.approx(largest - smallest, abs=0.02)


def test_questions_that_are_right_or_wrong_everywhere_have_no_spread_by_chance():
    """Paired: 20 easy and 20 hard questions give the same mean at each position, whatever is permuted."""
    scores = np.repeat([[1.0], [0.0]], 20, axis=0) * np.ones(5)
    assert extremes(scores) == extremes_if_flat(scores) == (0.5, 0.0)


def test_expected_extremes_are_the_same_each_time():
    scores = np.random.default_rng(1).random((700, 9)).round()
    assert extremes_if_flat(scores) == extremes_if_flat(scores.copy())


def test_many_clusters_are_resampled_in_groups_with_the_same_interval():
    generator = np.random.default_rng(5)
    values = generator.lognormal(0, 1, 6000)
    found = estimate(values.tolist(), minimum=0.0)
    error = values.std(ddof=1) / math.sqrt(6000)
    assert (found.samples, found.clusters, found.kind) == (6000, 6000, "bootstrap-t")
    # Skewness moves both bounds up by about 0.1 of the error; the groups know the error to 2 %.
    assert found.interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_groups_keep_every_sum_and_mix_what_comes_in_turns():
    sums = Sums(np.tile([0.0, 1.0], 5000), np.ones(10_000))
    found = grouped(sums)
    assert found.numerators.shape == (1000,)
    assert (found.numerators.sum(), found.denominators.sum()) == (5000, 10_000)
    # Ten draws of a coin have a variance of 2.5; groups of neighbours or of every thousandth would have 0 or 25.
    assert found.numerators.var() == pytest.approx(2.5, rel=0.2)
    assert grouped(Sums(sums.numerators[:2000], sums.denominators[:2000])).numerators.shape == (2000,)
