"""Differences against published values, plain formulas and scipy, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial, norm, t, ttest_ind

from longbench_run.results.differences import Bounds, Scored, paired_difference, unpaired_difference
from longbench_run.results.shares import PairedShares, UnpairedShares
from longbench_run.results.studentised import Studentised, Sums, studentised

NLL = Bounds(is_binary=False, minimum=0.0, maximum=None)
SCORE = Bounds(is_binary=False, minimum=0.0, maximum=1.0)
YES_NO = Bounds(is_binary=True, minimum=0.0, maximum=1.0)
PAIRS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60)).map(
    lambda drawn: PairedShares(gained=drawn[0], lost=drawn[1], count=sum(drawn))
)


def alone(values, weights=None):
    return Scored(values, weights, list(range(len(values))))


def paired(baseline, candidate, bounds, *, weights=None, tail=0.025):
    return paired_difference(baseline, alone(candidate, weights), bounds, tail=tail)


def score_statistic(gained, lost, n, difference):
    """Tango's statistic from its definition: the constrained likelihood is maximised by a general optimiser."""

    def minus_log_likelihood(share_lost):
        shares = share_lost + difference, share_lost, 1 - 2 * share_lost - difference
        return -sum(
            count * math.log(max(share, 1e-300))
            for count, share in zip((gained, lost, n - gained - lost), shares, strict=True)
        )

    found = minimize_scalar(
        minus_log_likelihood,
        bounds=(max(0.0, -difference), (1 - difference) / 2),
        method="bounded",
        options={"xatol": 1e-13},
    )
    return (gained - lost - n * difference) / math.sqrt(n * (2 * found.x + difference - difference**2))


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(5, 2, 50), (1, 1, 10), (12, 3, 20), (20, 40, 160), (3, 9, 30)]
)
@pytest.mark.parametrize("tail", [0.025, 0.001])
def test_tango_inverts_the_score_test_of_its_definition(gained, lost, n, tail):
    (low, high), kind = PairedShares(gained=gained, lost=lost, count=n).interval(tail, tail)
    z = norm.isf(tail)
    assert kind == "tango"
    assert score_statistic(gained, lost, n, low) == pytest.approx(z, abs=1e-4)
    assert score_statistic(gained, lost, n, high) == pytest.approx(-z, abs=1e-4)


def test_tango_without_a_changed_pair_is_its_closed_form():
    (low, high), _ = PairedShares(gained=0, lost=0, count=20).interval(0.025, 0.005)
    assert low == pytest.approx(-(norm.isf(0.025) ** 2) / (20 + norm.isf(0.025) ** 2))
    assert high == pytest.approx(norm.isf(0.005) ** 2 / (20 + norm.isf(0.005) ** 2))


@given(PAIRS)
def test_tango_has_a_width_holds_the_value_and_turns_with_the_runs(pairs):
    (low, high), _ = pairs.interval(0.025, 0.01)
    turned, _ = PairedShares(gained=pairs.lost, lost=pairs.gained, count=pairs.count).interval(0.01, 0.025)
    assert -1 <= low < high <= 1
    assert low <= pairs.value <= high
    assert (low, high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)


@pytest.mark.parametrize("shares", [(0.1, 0.05), (0.3, 0.3), (0.02, 0.2)])
def test_tango_holds_the_truth_by_exact_enumeration(shares):
    n, held = 20, 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            (low, high), _ = PairedShares(gained=gained, lost=lost, count=n).interval(0.025, 0.025)
            if low <= shares[0] - shares[1] <= high:
                held += multinomial.pmf([gained, lost, n - gained - lost], n, [*shares, 1 - sum(shares)])
    assert 0.93 <= held <= 0.995


@pytest.mark.parametrize(
    ("own", "less", "expected"),
    # Newcombe 1998, Statistics in Medicine 17, table II, method 10: contrasts (a), (c), (e) and (g).
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ],
)
def test_newcombe_as_published(own, less, expected):
    (low, high), kind = UnpairedShares(own=own, less=less, span=1.0).interval(0.025, 0.025)
    assert kind == "newcombe"
    assert (round(low, 4), round(high, 4)) == expected


def test_yes_and_no_of_independent_samples_are_tangos():
    found = paired([1, 1, 0, 0] * 5, [1, 0, 1, 0] * 5, YES_NO)
    assert found == PairedShares(gained=5, lost=5, count=20)


def test_yes_and_no_that_share_questions_are_resampled_by_question():
    generator = np.random.default_rng(0)
    drops = np.repeat(generator.random(20) < 0.3, 10)
    before, after = np.ones(200), 1.0 - drops
    clusters = [place // 10 for place in range(200)]
    together = paired_difference(before.tolist(), Scored(after.tolist(), None, clusters), YES_NO, tail=0.025)
    apart = paired(before.tolist(), after.tolist(), YES_NO)
    (low, high), _ = together.interval(0.025, 0.025)
    (narrow_low, narrow_high), _ = apart.interval(0.025, 0.025)
    assert (together.count, apart.count) == (20, 200)
    assert together.value == pytest.approx(apart.value)
    assert high - low > 2 * (narrow_high - narrow_low)


def test_nll_is_averaged_over_tokens_and_resampled_with_them():
    generator = np.random.default_rng(1)
    before, weights = generator.normal(2, 0.3, 15), generator.integers(100, 4000, 15).astype(float)
    after = before + generator.normal(0.05, 0.03, 15)
    found = paired(before.tolist(), after.tolist(), NLL, weights=weights.tolist())
    (low, high), kind = found.interval(0.025, 0.025)

    def plain(pick):
        """Difference and its standard error over one resample, from the formulas of a ratio estimate."""
        d, w = (after - before)[pick], weights[pick]
        ratio = (d * w).sum() / w.sum()
        residuals = w * (d - ratio)
        return ratio, math.sqrt(15 / 14 * (residuals**2).sum()) / w.sum()

    value, error = plain(np.arange(15))
    own = np.random.default_rng(9)
    scores = [(r - value) / e for r, e in (plain(own.integers(0, 15, 15)) for _ in range(8000))]
    q_low, q_high = np.quantile(scores, [0.025, 0.975])
    assert kind == "bootstrap-t"
    assert found.value == pytest.approx(np.average(after - before, weights=weights))
    # Two bootstraps differ by their Monte Carlo error only.
    assert (low, high) == pytest.approx((value - q_high * error, value - q_low * error), abs=0.25 * error)


def test_a_difference_knows_nothing_of_what_both_runs_share():
    generator = np.random.default_rng(2)
    easy = generator.normal(2, 0.001, 12)
    hard = easy + 10 * generator.random(12)
    step = generator.normal(0.1, 0.02, 12)
    bounds = [
        paired(base.tolist(), (base + step).tolist(), NLL).interval(0.025, 0.025)[0] for base in (easy, hard)
    ]
    assert bounds[0] == pytest.approx(bounds[1])


@pytest.mark.parametrize("difference", [0.0, 0.25])
@pytest.mark.parametrize("bounds", [NLL, SCORE])
def test_equal_differences_never_have_an_interval_of_width_0(difference, bounds):
    before = np.linspace(0.1, 0.6, 20)
    found = paired(before.tolist(), (before + difference).tolist(), bounds)
    (low, high), _ = found.interval(0.025, 0.025)
    assert low < difference < high


def test_scores_that_do_not_change_are_as_uncertain_as_yes_and_no_that_do_not():
    scores = paired([0.3] * 20, [0.3] * 20, SCORE)
    assert scores.interval(0.025, 0.005)[0] == pytest.approx(
        PairedShares(gained=0, lost=0, count=20).interval(0.025, 0.005)[0]
    )


def test_nll_computed_again_is_known_to_what_can_be_reproduced():
    before = np.linspace(1, 3, 12)
    (low, high), kind = paired(before.tolist(), before.tolist(), NLL).interval(0.025, 0.025)
    assert kind == "student-t"
    assert (low, high) == pytest.approx((-t.ppf(0.975, 11) * 2e-5, t.ppf(0.975, 11) * 2e-5))


def test_a_score_that_changed_once_is_not_taken_for_one_that_never_does():
    before, after = [0.5] * 40, [0.5] * 39 + [0.7]
    found = paired(before, after, SCORE)
    (low, high), kind = found.interval(0.025, 0.025)
    assert kind == "few-values"
    assert low < 0 < found.value < high


def test_few_changes_get_students_interval_over_the_pairs_that_agresti_and_min_add():
    """Yes/no at the level where z = 2: half a pair at each end, one at zero, written out with their weights."""
    tail = norm.sf(2.0)
    changes, n = [1.0, 1.0] + [0.0] * 18, 20
    (low, high), kind = paired([0.0] * n, changes, SCORE, tail=tail).interval(tail, tail)

    values = np.array([*changes, 1.0, -1.0, 0.0])
    weights = np.array([1.0] * n + [0.5, 0.5, 1.0])
    centre = np.average(values, weights=weights)
    error = math.sqrt(np.average((values - centre) ** 2, weights=weights) / (weights.sum() - 1))
    assert kind == "few-values"
    assert (low, high) == pytest.approx(
        (centre - t.isf(tail, n - 1) * error, centre + t.isf(tail, n - 1) * error)
    )


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=30),
    st.sampled_from([0.025, 0.0005]),
)
def test_an_interval_of_scores_holds_the_value_and_stays_within_what_is_possible(pairs, tail):
    before, after = (list(column) for column in zip(*pairs, strict=True))
    found = paired(before, after, SCORE, tail=tail)
    (low, high), _ = found.interval(tail, tail)
    assert -1 <= low < high <= 1
    assert low <= found.value <= high


def test_two_groups_have_welchs_error_and_freedom():
    generator = np.random.default_rng(3)
    own, less = generator.normal(2.2, 0.1, 90), generator.normal(2, 0.4, 60)
    found = studentised(Sums(own, np.ones(90)), Sums(less, np.ones(60)), resamples=2000)
    welch = ttest_ind(own, less, equal_var=False)
    assert found.value / found.error == pytest.approx(welch.statistic)
    assert found.freedom == pytest.approx(welch.df)
    assert found.student_bounds(0.025, 0.025) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    low, high = found.bounds(0.025, 0.025)
    # On normal values the bootstrap is Student's t but for its Monte Carlo error.
    assert (low, high) == pytest.approx(found.student_bounds(0.025, 0.025), abs=0.4 * found.error)


def test_unpaired_yes_and_no_are_newcombes():
    found = unpaired_difference(
        alone([1.0] * 8 + [0.0] * 4), alone([1.0] * 3 + [0.0] * 9), YES_NO, tail=0.025
    )
    assert found == UnpairedShares(own=(3.0, 12), less=(8.0, 12), span=1.0)


def test_unpaired_scores_without_spread_are_taken_for_shares_of_their_range():
    bounds = Bounds(is_binary=False, minimum=0.0, maximum=100.0)
    found = unpaired_difference(alone([20.0] * 12), alone([80.0] * 12), bounds, tail=0.025)
    share, _ = UnpairedShares(own=(9.6, 12), less=(2.4, 12), span=1.0).interval(0.025, 0.025)
    assert found.interval(0.025, 0.025)[0] == pytest.approx((100 * share.low, 100 * share.high))


def test_a_tail_beyond_the_resamples_is_stretched_as_students_t():
    scores = np.sort(np.random.default_rng(4).standard_t(9, 2000))
    found = Studentised(value=1.0, error=0.1, freedom=9.0, scores=scores)
    at_ten, _ = found.bounds(10 / 2000, 0.025)
    deeper, _ = found.bounds(1e-5, 0.025)
    assert (deeper - 1) / (at_ten - 1) == pytest.approx(t.ppf(1e-5, 9) / t.ppf(0.005, 9), rel=0.25)
    assert (deeper - 1) / -0.1 > scores[-10]


@pytest.mark.parametrize(
    "found",
    [
        PairedShares(gained=6, lost=4, count=40),
        UnpairedShares(own=(20.0, 40), less=(18.0, 40), span=1.0),
        paired([2.0 + 0.01 * (i % 7) for i in range(40)], [2.0 + 0.02 * (i % 5) for i in range(40)], NLL),
    ],
    ids=["tango", "newcombe", "nll"],
)
def test_four_times_as_many_samples_halve_the_interval(found):
    once, again = (found.interval(0.025, 0.025, times=times)[0] for times in (1.0, 4.0))
    assert (again.high - again.low) / (once.high - once.low) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("draw", "truth", "bounds"),
    [
        pytest.param(lambda g: g.normal(0.02, 0.05, 20), 0.02, NLL, id="normal"),
        pytest.param(lambda g: 0.05 * g.lognormal(0, 0.8, 20), 0.05 * math.exp(0.32), NLL, id="log-normal"),
        pytest.param(lambda g: (g.random(20) < 0.4) * g.uniform(0, 0.5, 20), 0.1, SCORE, id="zeros, one way"),
        pytest.param(
            lambda g: (g.random(20) < 0.4) * g.uniform(-0.5, 0.5, 20), 0.0, SCORE, id="zeros, both ways"
        ),
    ],
)
def test_intervals_of_twenty_pairs_hold_the_truth(draw, truth, bounds):
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        (low, high), _ = paired([0.5] * 20, (0.5 + draw(generator)).tolist(), bounds).interval(0.025, 0.025)
        held += low <= truth <= high
    assert held / 300 >= 0.88
