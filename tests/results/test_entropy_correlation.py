"""Rank correlation of entropy drift and loss: what is compared, in which direction, and how sure it is."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from longbench_run.results import entropy_correlations, load
from longbench_run.results.entropy_correlation import associations, rank_correlations
from longbench_run.results.records import (
    EntropyBucket,
    MethodIdentity,
    MetricInfo,
    TaskIdentity,
    TaskSummary,
)
from longbench_run.results.statistics import Interval
from longbench_run.results.store import Store

METHODS = ("none", "pi", "yarn", "abf", "string")
DRIFT = MetricInfo(name="entropy_drift", higher_is_better=False, minimum=0.0)
NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
RIGHT = MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0)


def summary(name, metric, **changes):
    return TaskSummary(
        **{"name": name, "protocol": "p", "metrics": (metric,), "source": "s", "licence": "l", **changes}
    )


TASKS = (summary("attention_entropy", DRIFT), summary("perplexity", NLL), summary("passkey", RIGHT))
BUCKETS = tuple(
    EntropyBucket(layer=0, start=start, stop=stop, heads=(1.0,)) for start, stop in ((0, 16), (16, 64))
)


@pytest.fixture
def run(make, tmp_path):
    """Write and load a run from task -> array (methods, samples), at a length."""

    def write(scores, *, length=1024, methods=METHODS, tasks=TASKS, leave_out=()):
        metrics = {task.name: task.metrics[0].name for task in tasks}
        records = []
        for task, values in scores.items():
            for method, of_method in zip(methods, values, strict=True):
                cell = make.cell(
                    task=TaskIdentity(name=task, version=1, protocol="p", parameters={}),
                    method=MethodIdentity(resolved=method, versions={}),
                    context_length=length,
                )
                records += [
                    make.record(
                        index,
                        cell=cell,
                        method_label=method,
                        prediction=None,
                        document=f"document-{index}",
                        scores={metrics[task]: float(score)},
                        weight=float(index + 1) if task == "perplexity" else None,
                        entropy_buckets=BUCKETS if task == "attention_entropy" else (),
                    )
                    for index, score in enumerate(of_method)
                    if (task, method, index) not in leave_out
                ]
        with Store.open(tmp_path / "run", make.header(methods=methods, tasks=tasks)) as store:
            store.append(*records)
        return load(tmp_path / "run")

    return write


def spread(means, *, samples=12, noise=0.001, seed=0):
    return np.asarray(means)[:, None] + np.random.default_rng(seed).normal(0, noise, (len(means), samples))


DRIFTS = spread((0.1, 0.2, 0.3, 0.4, 0.5))


def test_less_drift_with_less_loss_is_one_whatever_the_metrics_direction(run):
    frame = run(
        {
            "attention_entropy": DRIFTS,
            "perplexity": spread((1, 2, 3, 4, 5)),
            "passkey": spread((0.9, 0.8, 0.7, 0.6, 0.5)),
        }
    )
    found = entropy_correlations(frame)
    assert list(found["task"]) == ["perplexity", "passkey"]  # as the run has them
    assert list(found["value"]) == pytest.approx([1, 1])
    assert list(found["chance"]) == pytest.approx([2 / 120] * 2)  # this order and its reverse
    assert list(found["low"]) == pytest.approx([1, 1])
    assert found[["methods", "samples", "documents"]].to_numpy().tolist() == [[5, 12, 12]] * 2
    assert list(found["shown"]) == ["less loss"] * 2


def test_rho_is_scipys_over_weighted_means(run):
    losses = spread((1, 3, 2, 5, 4), noise=2.0, seed=3)
    found = entropy_correlations(run({"attention_entropy": DRIFTS, "perplexity": np.abs(losses)}))
    means = np.average(np.abs(losses), axis=1, weights=np.arange(12) + 1)
    assert found["value"].item() == pytest.approx(spearmanr(DRIFTS.mean(axis=1), means).statistic)


def test_an_order_that_samples_leave_open_has_a_wide_interval(run):
    noisy = spread((1.0, 1.01, 1.02, 1.03, 1.04), noise=0.5, seed=1)
    found = entropy_correlations(run({"attention_entropy": DRIFTS, "perplexity": noisy}))
    assert found["low"].item() < 0 < found["high"].item()
    assert found["shown"].item() == "not shown"


def test_a_sample_that_one_method_lacks_is_left_out_for_all(run):
    losses = spread((1, 2, 3, 4, 5))
    losses[:, 0] = (500, 400, 300, 200, 0)  # it would turn the order around
    gone = {("perplexity", "string", 0)}
    found = entropy_correlations(run({"attention_entropy": DRIFTS, "perplexity": losses}, leave_out=gone))
    assert found["samples"].item() == 11
    assert found["value"].item() == pytest.approx(1)


def test_values_that_are_all_equal_have_no_rho(run):
    found = entropy_correlations(run({"attention_entropy": DRIFTS, "passkey": np.zeros((5, 12))}))
    assert found[["value", "low", "chance"]].isna().all(axis=None)
    assert found["shown"].item() == "not shown"


def test_few_samples_have_no_interval(run):
    found = entropy_correlations(
        run({"attention_entropy": DRIFTS[:, :9], "perplexity": spread((1, 2, 3, 4, 5))})
    )
    assert found["value"].item() == pytest.approx(1)
    assert found["low"].isna().item()
    assert found["shown"].item() == "not shown"


@pytest.mark.parametrize("count", [3, 4])
def test_it_takes_four_methods(run, count):
    scores = {"attention_entropy": DRIFTS[:count], "perplexity": spread(range(1, count + 1))}
    assert len(entropy_correlations(run(scores, methods=METHODS[:count]))) == (count == 4)


def test_lengths_within_the_window_and_floors_are_left_out(run):
    scores = {"attention_entropy": DRIFTS, "perplexity": spread((1, 2, 3, 4, 5))}
    assert len(entropy_correlations(run(scores, length=512))) == 0
    floor = (*TASKS[:1], summary("perplexity", NLL, reference="floor"))
    assert len(entropy_correlations(run(scores, length=1025, tasks=floor))) == 0


def test_of_many_methods_orders_are_drawn(run):
    names = tuple(f"abf:base={n}" for n in range(9))
    means = np.arange(9) / 10 + 0.1
    found = entropy_correlations(
        run({"attention_entropy": spread(means), "perplexity": spread(means)}, methods=names)
    )
    assert 1 / 10_000 <= found["chance"].item() < 0.001


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=9))
def test_rank_correlations_are_scipys_also_with_ties(pairs):
    x, y = np.array(pairs, dtype=float).T
    expected = np.nan if min(np.ptp(x), np.ptp(y)) == 0 else spearmanr(x, y).statistic
    np.testing.assert_allclose(rank_correlations(x[None], y[None]), [expected], atol=1e-12)


def test_associations_are_corrected_for_their_number():
    def each(chance, low, high):
        return SimpleNamespace(chance=chance, interval=None if low is None else Interval(low, high))

    assert associations([each(0.03, 0.5, 1)]) == ["less loss"]
    assert associations([each(0.03, 0.5, 1), each(0.9, -0.5, 0.5)]) == ["not shown"] * 2
    assert associations([each(0.03, -1, -0.5), each(0.01, 0.5, 1)]) == ["more loss", "less loss"]
    assert (
        associations([each(None, None, None), each(0.01, -0.1, 1), each(0.01, None, None)])
        == ["not shown"] * 3
    )
