"""Methods against the unmodified model: by hand and by scipy, over pairs alone, with Holm's correction."""

import numpy as np
import pytest

from longbench_run.results.method_differences import all_method_differences, method_differences
from longbench_run.results.records import MethodIdentity, MetricInfo, TaskSummary
from longbench_run.results.store import Store
from longbench_run.results.table import load

NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True)
METHODS = ("none", "pi", "yarn")


@pytest.fixture
def frame_of(make, tmp_path):
    def build(scores, *, metric=ACCURACY, keys=None, weights=None, documents=None):
        """Return the table of a run of (method, length) -> score per sample."""
        task = TaskSummary(name="passkey", protocol="passkey-v1", metrics=(metric,), source="s", licence="l")
        with Store.open(tmp_path / "run", make.header(methods=METHODS, tasks=(task,))) as store:
            for (method, length), values in scores.items():
                cell = make.cell(method=MethodIdentity(resolved=method, versions={}), context_length=length)
                for index, score in enumerate(values):
                    store.append(
                        make.record(
                            index,
                            cell=cell,
                            method_label=method,
                            scores={metric.name: float(score)},
                            sample_key=f"{length}-{index}" if keys is None else keys[method][index],
                            weight=None if weights is None else weights[index],
                            document=None if documents is None else documents[index],
                        )
                    )
        return load(tmp_path / "run")

    return build


def test_the_bounds_are_where_tangos_score_test_of_the_shares_just_rejects(frame_of):
    from scipy.optimize import minimize_scalar

    gained, lost, n = 3, 9, 40
    scores = {
        ("none", 1024): [1] * lost + [0] * gained + [1] * (n - gained - lost),
        ("pi", 1024): [0] * lost + [1] * gained + [1] * (n - gained - lost),
    }
    (found,) = method_differences(frame_of(scores))
    assert found.value == pytest.approx((gained - lost) / n)
    assert (found.samples, found.clusters, found.kind) == (n, n, "tango")

    def statistic(difference):
        def minus_log_likelihood(share_lost):
            share_gained = share_lost + difference
            rest = 1 - share_lost - share_gained
            return -(
                lost * np.log(share_lost) + gained * np.log(share_gained) + (n - lost - gained) * np.log(rest)
            )

        bounds = (max(0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
        share = minimize_scalar(
            minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        return (gained - lost - n * difference) / np.sqrt(n * (2 * share + difference - difference**2))

    assert [statistic(bound) for bound in found.interval] == pytest.approx([1.959964, -1.959964], abs=1e-4)


def test_a_mean_of_paired_differences_is_near_students_of_scipy(frame_of):
    from scipy import stats

    generator = np.random.default_rng(0)
    hard = generator.normal(3, 1, 200)
    scores = {("none", 1024): hard, ("pi", 1024): hard - 0.1 + generator.normal(0, 0.2, 200)}
    (found,) = method_differences(frame_of(scores, metric=NLL))
    test = stats.ttest_rel(scores["pi", 1024], scores["none", 1024])
    assert found.value == pytest.approx(float(np.mean(scores["pi", 1024] - scores["none", 1024])))
    assert found.interval == pytest.approx(tuple(test.confidence_interval()), abs=0.01)
    assert found.effect == "better"  # less nll


def test_samples_are_paired_by_key_whatever_their_order_and_others_are_left_out(frame_of):
    keys = {
        "none": [f"k{i}" for i in range(20)],
        "pi": [f"k{19 - i}" for i in range(18)] + ["other", None],
    }
    scores = {("none", 1024): range(20), ("pi", 1024): [19 - i + 1 for i in range(18)] + [500, 500]}
    (found,) = method_differences(frame_of(scores, metric=NLL, keys=keys))
    assert found.samples == 18
    assert found.value == pytest.approx(1.0)


def test_a_sample_that_was_scored_over_other_tokens_is_no_pair(frame_of):
    frame = frame_of({("none", 1024): [3.0] * 12, ("pi", 1024): [2.0] * 12}, metric=NLL, weights=[10.0] * 12)
    elsewhere = (frame["method_label"] == "pi") & frame["index"].isin([0, 1])
    frame.loc[elsewhere, "weight"] = 11.0
    (found,) = method_differences(frame)
    assert (found.samples, found.value) == (10, pytest.approx(-1.0))


def test_samples_without_a_key_are_no_pairs(frame_of):
    keys = {method: [None] * 12 for method in METHODS}
    scores = {("none", 1024): [0] * 12, ("pi", 1024): [1] * 12}
    (found,) = method_differences(frame_of(scores, keys=keys))
    assert (found.samples, found.value, found.interval, found.effect) == (0, None, None, "not shown")


def test_tokens_weigh_and_documents_are_what_is_counted(frame_of):
    scores = {("none", 1024): [0.0] * 24, ("pi", 1024): [1.0, 3.0] * 12}
    found = method_differences(
        frame_of(scores, metric=NLL, weights=[3.0, 1.0] * 12, documents=[f"d{i // 2}" for i in range(24)])
    )[0]
    assert found.value == pytest.approx((3 * 1 + 1 * 3) / 4)
    assert (found.samples, found.clusters) == (24, 12)


def test_fewer_than_ten_pairs_have_a_value_and_no_interval(frame_of):
    scores = {("none", 1024): [0] * 9, ("pi", 1024): [1] * 9}
    (found,) = method_differences(frame_of(scores))
    assert (found.value, found.interval, found.effect) == (1.0, None, "not shown")


def test_what_is_shown_depends_on_the_planned_family_and_never_on_what_was_measured(frame_of):
    frame = frame_of({("none", 1024): [1] * 20, ("pi", 1024): [1] * 13 + [0] * 7})
    effects = {family: method_differences(frame, family=family)[0].effect for family in (1, 1000)}
    assert effects == {1: "worse", 1000: "not shown"}
    # The run has two methods to compare and the frame one length, though `yarn` was not measured.
    assert method_differences(frame)[0].family == 2


def test_under_the_null_a_family_is_wrong_no_more_often_than_alpha(frame_of):
    frame = frame_of({(method, 1024): [0.0] * 30 for method in METHODS}, metric=NLL)
    generator = np.random.default_rng(1)
    draws, wrong = 200, 0
    for _ in range(draws):
        frame["score"] = generator.normal(5, 1, len(frame))
        wrong += any(found.effect != "not shown" for found in method_differences(frame))
    # 0.05 and three standard errors of 200 draws.
    assert wrong / draws <= 0.05 + 3 * (0.05 * 0.95 / draws) ** 0.5
    # and a planted effect is seen, so that the above is no empty claim
    frame.loc[frame["method_label"] == "yarn", "score"] += 2
    assert [found.effect for found in method_differences(frame)] == ["not shown", "worse"]


def test_two_panels_in_one_frame_are_refused(frame_of):
    frame = frame_of({("none", 1024): [1] * 12, ("pi", 1024): [1] * 12})
    frame.loc[frame.index[0], "metric"] = "another"
    with pytest.raises(ValueError, match="one run, model, task, protocol and metric"):
        method_differences(frame)


def test_all_pairs_are_each_method_less_every_earlier_one_in_one_family(frame_of):
    generator = np.random.default_rng(2)
    scores = {(method, length): generator.normal(5, 1, 12) for method in METHODS for length in (1024, 2048)}
    frame = frame_of(scores, metric=NLL)
    found = {(d.method_label, d.baseline_label, d.context_length): d for d in all_method_differences(frame)}
    pairs = [("pi", "none"), ("yarn", "none"), ("yarn", "pi")]
    assert list(found) == [(*pair, length) for pair in pairs for length in (1024, 2048)]
    assert {difference.family for difference in found.values()} == {6}
    for (method, baseline, length), difference in found.items():
        expected = np.mean(scores[method, length] - scores[baseline, length])
        assert difference.value == pytest.approx(expected)
    (alone,) = (d for d in method_differences(frame) if (d.method_label, d.context_length) == ("pi", 1024))
    assert alone.interval == pytest.approx(found["pi", "none", 1024].interval, abs=0.1)
