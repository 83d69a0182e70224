"""Detectable differences: by the published rule of thumb, by simulation of the test itself, and by hand on a run."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, t, ttest_1samp

from longbench_run.results.differences import Bounds, Scored, paired_difference
from longbench_run.results.power import detectable_difference, needed_clusters, power
from longbench_run.results.records import MethodIdentity, MetricInfo, TaskSummary
from longbench_run.results.store import Store
from longbench_run.results.table import load

NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
METHODS = ("none", "pi", "yarn")


def test_of_many_samples_it_is_the_normal_formula():
    # (1.96 + 0.84)^2 = 7.85: n for a difference of 0.05 with deviation 0.5.
    assert needed_clusters(0.5, 0.05) == pytest.approx(7.849 * 100, abs=3)
    assert detectable_difference(1.0, 1_000_000) == pytest.approx((1.95996 + 0.84162) / 1000, rel=1e-5)


@pytest.mark.parametrize("n", [10, 20, 100])
def test_the_detectable_difference_is_found_with_its_power_by_the_exact_t_test(n):
    shift = detectable_difference(1.0, n) * math.sqrt(n)
    critical = t.ppf(0.975, n - 1)
    exact = 1 - nct.cdf(critical, n - 1, shift) + nct.cdf(-critical, n - 1, shift)
    assert exact == pytest.approx(0.8, abs=0.015)


def test_the_detectable_difference_is_found_with_its_power_in_simulated_runs():
    generator = np.random.default_rng(0)
    n, deviation = 40, 0.3
    difference, trials = detectable_difference(deviation, n), 600
    by_t = found = 0
    for _ in range(trials):
        baseline = generator.normal(3, 1, n)
        changes = generator.normal(difference, deviation, n)
        by_t += ttest_1samp(changes, 0).pvalue < 0.05
        scored = Scored((baseline + changes).tolist(), None, list(range(n)))
        interval, _ = paired_difference(
            baseline.tolist(), scored, Bounds(False, 0.0, None), tail=0.025
        ).interval(0.025, 0.025)
        found += not interval.low <= 0 <= interval.high
    assert by_t / trials == pytest.approx(0.8, abs=0.05)
    assert found / trials == pytest.approx(0.8, abs=0.05)


@given(st.floats(0.001, 10), st.floats(0.001, 1))
def test_the_needed_number_is_the_smallest_that_detects(deviation, wanted):
    n = needed_clusters(deviation, wanted)
    if n is None:
        assert detectable_difference(deviation, 10_000_000) > wanted
    else:
        assert detectable_difference(deviation, n) <= wanted
        assert n == 10 or detectable_difference(deviation, n - 1) > wanted


def test_no_difference_to_detect_is_refused():
    with pytest.raises(ValueError, match="wanted must be above 0, got 0"):
        needed_clusters(1.0, 0.0)


@pytest.fixture
def frame_of(make, tmp_path):
    def build(scores, *, weights=None, documents=None):
        task = TaskSummary(name="passkey", protocol="passkey-v1", metrics=(NLL,), source="s", licence="l")
        with Store.open(tmp_path / "run", make.header(methods=METHODS, tasks=(task,))) as store:
            for (method, length), values in scores.items():
                cell = make.cell(method=MethodIdentity(resolved=method, versions={}), context_length=length)
                for index, score in enumerate(values):
                    store.append(
                        make.record(
                            index,
                            cell=cell,
                            method_label=method,
                            scores={"nll": float(score)},
                            sample_key=f"{length}-{index}",
                            weight=None if weights is None else weights[index],
                            document=None if documents is None else documents[index],
                        )
                    )
        return load(tmp_path / "run")

    return build


def test_the_deviation_is_that_of_the_paired_differences(frame_of):
    generator = np.random.default_rng(1)
    none, pi = generator.normal(3, 1, 25), generator.normal(3, 1, 25)
    (found,) = power(frame_of({("none", 1024): none, ("pi", 1024): pi}))
    expected = np.std(pi - none, ddof=1)
    assert (found.method_label, found.baseline_label, found.context_length) == ("pi", "none", 1024)
    assert (found.clusters, found.reason) == (25, None)
    assert found.deviation == pytest.approx(expected)
    assert found.detectable == pytest.approx((t.ppf(0.975, 24) + t.ppf(0.8, 24)) * expected / 5)
    assert found.needed == needed_clusters(expected, 0.05)


def test_samples_of_one_document_count_as_one(frame_of):
    generator = np.random.default_rng(2)
    changes = np.repeat(generator.normal(0, 0.1, 12), 5)
    documents = [f"d{index // 5}" for index in range(60)]
    (found,) = power(frame_of({("none", 1024): np.ones(60), ("pi", 1024): 1 + changes}, documents=documents))
    assert found.clusters == 12
    assert found.deviation == pytest.approx(np.std(changes[::5], ddof=1))


def test_tokens_weigh_the_differences(frame_of):
    weights = [100.0, 900.0] * 10
    changes = np.array([1.0, 0.0] * 10)
    (found,) = power(frame_of({("none", 1024): np.ones(20), ("yarn", 1024): 1 + changes}, weights=weights))
    # r = 0.1; residuals w (d - r) are +90 and -90 over a mean weight of 500.
    assert found.deviation == pytest.approx(math.sqrt(20 / 19) * 90 / 500)


@pytest.mark.parametrize(
    ("change", "n", "reason"),
    [
        ([0.0] * 20, 20, "all differences are the same: nothing is known of their spread"),
        ([1.0, 0.0] * 4, 8, "fewer than 10 samples or documents"),
    ],
)
def test_what_is_not_known_has_a_reason(frame_of, change, n, reason):
    (found,) = power(frame_of({("none", 1024): [1.0] * n, ("pi", 1024): np.add(1.0, change)}))
    assert (found.deviation, found.detectable, found.needed, found.reason) == (None, None, None, reason)
