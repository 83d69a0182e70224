"""Means over two crossed factors: what they are by plain formulas, and how often their intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from longbench_run.results.crossed import Contrast, Scores, Term, contrast, holm

SAMPLES = 50


def scores(values, *, seeds=None, names=None, weights=None, clusters=None):
    """Give scores of an array of shape ``(seeds, samples)``; each sample its own cluster where nothing else is said."""
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    names = tuple(range(values.shape[1])) if names is None else tuple(names)
    return Scores(
        seeds=tuple(range(len(values))) if seeds is None else tuple(seeds),
        samples=names,
        values=values,
        weights=np.ones(len(names)) if weights is None else np.asarray(weights, dtype=np.float64),
        clusters=names if clusters is None else tuple(clusters),
    )


def of(values, **changes):
    return contrast([[Term(1.0, scores(values, **changes))]])


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_one_block_is_the_plain_formula(random):
    values = random.normal(size=(5, SAMPLES))
    found = of(values)

    of_seeds, of_samples = values.mean(axis=1).var(ddof=1) / 5, values.mean(axis=0).var(ddof=1) / SAMPLES
    freedom = (of_seeds + of_samples) ** 2 / (of_seeds**2 / 4 + of_samples**2 / (SAMPLES - 1))
    error = math.sqrt(of_seeds + of_samples)
    assert found.value == pytest.approx(values.mean())
    assert found.freedom == pytest.approx(freedom)
    low, high = stats.t.interval(0.95, freedom, values.mean(), error)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(values.mean()) / error, freedom))
    assert (found.seeds, found.n, found.clusters, found.reason) == (5, SAMPLES, SAMPLES, None)


def test_without_training_it_is_the_t_test_of_one_sample(random):
    values = random.normal(0.3, 1, size=SAMPLES)
    found = of(values, seeds=())

    plain = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval(0.95)))
    assert (found.seeds, found.freedom) == (0, pytest.approx(SAMPLES - 1))


def test_terms_are_paired_by_seed_and_sample_wherever_they_stand(random):
    one, other = random.normal(size=(2, 4, 20))
    plain = of((one - other)[:3, :15])
    # Another order of seeds and samples, one seed and five samples that the first does not have.
    seeds, names = [2, 0, 1, 7], [*range(14, -1, -1), *range(100, 105)]
    moved = other[[2, 0, 1, 3]][:, [*range(14, -1, -1), *range(15, 20)]]
    found = contrast([[Term(1.0, scores(one)), Term(-1.0, scores(moved, seeds=seeds, names=names))]])

    assert (found.seeds, found.n) == (3, 15)
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high, found.p) == pytest.approx((plain.low, plain.high, plain.p))


def test_what_was_not_trained_is_the_same_for_every_seed(random):
    tuned, untuned = random.normal(size=(4, 20)), random.normal(size=20)
    found = contrast([[Term(1.0, scores(tuned)), Term(-1.0, scores(untuned, seeds=()))]])

    plain = of(tuned - untuned)
    assert (found.low, found.high, found.seeds) == (pytest.approx(plain.low), pytest.approx(plain.high), 4)


def test_a_mean_over_tasks_adds_variances_of_samples_and_averages_within_a_seed(random):
    tasks = [random.normal(size=(5, n)) + random.normal(size=(5, 1)) for n in (12, 30)]
    blocks = [
        [Term(0.5, scores(values, names=[(place, n) for n in range(values.shape[1])]))]
        for place, values in enumerate(tasks)
    ]
    found = contrast(blocks)

    of_seeds = (tasks[0].mean(axis=1) + tasks[1].mean(axis=1)) / 2
    variance = of_seeds.var(ddof=1) / 5
    variance += sum(values.mean(axis=0).var(ddof=1) / values.shape[1] / 4 for values in tasks)
    reach = stats.t.ppf(0.975, found.freedom) * math.sqrt(variance)
    assert found.value == pytest.approx(of_seeds.mean())
    assert found.high - found.value == pytest.approx(reach)
    assert (found.n, found.clusters) == (42, 42)


def test_a_document_is_one_cluster_at_all_lengths(random):
    documents = random.normal(size=SAMPLES)
    names = [f"document {n}" for n in range(SAMPLES)]
    short = scores(documents, seeds=(), names=[("short", n) for n in range(SAMPLES)], clusters=names)
    long = scores(documents + 1, seeds=(), names=[("long", n) for n in range(SAMPLES)], clusters=names)
    noise = long._replace(values=long.values + random.normal(0, 0.1, size=(1, SAMPLES)))
    found = contrast([[Term(1.0, noise)], [Term(-1.0, short)]])

    plain = stats.ttest_1samp((noise.values - short.values)[0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(plain))
    assert found.clusters == SAMPLES


def test_tokens_weigh_as_in_a_mean_over_all_of_them(random):
    values, weights = random.normal(size=(3, 12)), random.uniform(1, 9, size=12)
    found = of(values, weights=weights)

    mean = values.mean(axis=0)
    value = np.average(mean, weights=weights)
    residuals = weights * (mean - value) / weights.sum()
    variance = 12 / 11 * (residuals**2).sum()
    variance += np.average(values, axis=1, weights=weights).var(ddof=1) / 3
    assert found.value == pytest.approx(value)
    assert found.high - value == pytest.approx(stats.t.ppf(0.975, found.freedom) * math.sqrt(variance))


def test_what_says_nothing_of_its_spread_has_no_interval():
    alike, differing = np.full((3, 20), 0.1), np.tile(np.arange(20.0), (3, 1))

    assert of(alike).low is None
    assert (of(alike).p, of(alike - 0.1).p) == (None, 1.0)
    assert "all values are equal" in of(alike).reason
    # 0.1 + 0.2 is not 0.3: what is left of such sums is no spread.
    terms = [Term(c, scores(np.full((3, 20), v))) for c, v in ((1.0, 0.1), (1.0, 0.2), (-1.0, 0.3))]
    assert (contrast([terms]).p, contrast([terms]).low) == (1.0, None)
    assert of(differing).low is not None


@pytest.mark.parametrize(("seeds", "samples"), [(1, 20), (3, 9)])
def test_one_seed_or_nine_samples_have_no_interval(random, seeds, samples):
    found = of(random.normal(size=(seeds, samples)))

    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.reason == "fewer than 2 seeds, or fewer than 10 samples or documents"
    assert found.value is not None


def test_nothing_shared_is_no_contrast(random):
    one = scores(random.normal(size=(2, 20)))
    elsewhere = one._replace(samples=tuple(range(20, 40)))
    other_seeds = one._replace(seeds=(5, 6))

    assert contrast([[Term(1.0, one), Term(-1.0, elsewhere)]]) is None
    assert contrast([[Term(1.0, one), Term(-1.0, other_seeds)]]) is None
    assert isinstance(contrast([[Term(1.0, one), Term(-1.0, one)]]), Contrast)


def test_holm_is_the_step_down_procedure():
    p = [0.01, 0.04, 0.03, None, 0.005]
    # Independent: the smallest alpha at which the procedure as Holm wrote it shows each.
    alphas = np.linspace(0, 1, 100_001)

    def rejected(alpha, place):
        known = [1.0 if each is None else each for each in p]
        for rank, at in enumerate(sorted(range(5), key=known.__getitem__)):
            if known[at] > alpha / (5 - rank):
                return False
            if at == place:
                return True
        return False

    for place, adjusted in enumerate(holm(p)):
        if p[place] is None:
            assert adjusted is None
            continue
        smallest = next(alpha for alpha in alphas if rejected(alpha + 1e-12, place))
        assert adjusted == pytest.approx(smallest, abs=2e-5)


@pytest.mark.parametrize(
    ("of_seed", "of_sample", "of_both"), [(0.2, 1.0, 0.5), (1.0, 1.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_intervals_hold_the_truth_with_crossed_effects(of_seed, of_sample, of_both):
    random = np.random.default_rng(1)
    runs, held = 1500, 0
    for _ in range(runs):
        seeds = random.normal(0, of_seed, size=(5, 1))
        samples = random.normal(0, of_sample, size=(1, SAMPLES))
        found = of(seeds + samples + random.normal(0, of_both, size=(5, SAMPLES)))
        held += found.low <= 0 <= found.high

    # 1500 runs tell 0.95 to +-0.006; one sided: never below 0.94, and not of a width that holds everything.
    assert 0.94 <= held / runs <= 0.999
