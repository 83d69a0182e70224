"""Scores of suites: rounded before they are averaged, never averaged where a part is missing, and how sure they are."""

from __future__ import annotations

import random

import pytest

from longbench_run.results import load, suite_scores
from longbench_run.results.records import MetricInfo, SuiteAverageInfo, SuiteInfo, TaskIdentity, TaskSummary
from longbench_run.results.statistics import Interval, estimate
from longbench_run.results.store import Store, read_header
from longbench_run.results.suites import Part, mean_of, scores_of_suites

GROUPS = {"one": ("a", "b"), "two": ("c",)}
SUITE = SuiteInfo(name="suite", averages=(SuiteAverageInfo(name="en", groups=GROUPS),))
BUCKETED = SUITE.model_copy(update={"buckets": {"short": 100.0, "long": None}})


def summary(name, *, protocol="p", **changes):
    metric = MetricInfo(name="f1", higher_is_better=True, minimum=0.0, maximum=1.0)
    return TaskSummary(name=name, protocol=protocol, metrics=(metric,), source="s", licence="l", **changes)


@pytest.fixture
def scores(make, tmp_path):
    """Give `scores(values_by_task, suite)`: the scores of a run with those values, one per sample, by part and bucket."""

    def written(by_task, suite=SUITE, lengths=(), **changes):
        tasks = tuple(summary(name) for name in by_task)
        with Store.open(tmp_path / "run", make.header(tasks=tasks, suites=(suite,), **changes)) as store:
            for name, values in by_task.items():
                task = TaskIdentity(name=name, version=1, protocol="p", parameters={})
                store.append(
                    *(
                        make.record(
                            index,
                            cell=make.cell(task=task),
                            scores={"f1": value},
                            source_length=lengths[index] if lengths else None,
                        )
                        for index, value in enumerate(values)
                    )
                )
        run = tmp_path / "run"
        found = scores_of_suites(read_header(run), load(run))
        assert suite_scores(run)["value"].dropna().tolist() == [s.value for s in found if s.value is not None]
        return {(score.task or score.group or score.average, score.bucket): score for score in found}

    return written


def test_a_group_is_the_mean_of_rounded_scores_and_the_average_of_groups(scores):
    found = scores({"a": [1.0, 1.0, 0.0], "b": [0.5], "c": [1.0, 0.0]})
    assert {name: score.value for (name, _), score in found.items()} == {
        "a": 66.67,
        "b": 50.0,
        "c": 50.0,
        "one": (66.67 + 50.0) / 2,
        "two": 50.0,
        "en": ((66.67 + 50.0) / 2 + 50.0) / 2,
    }
    assert [found[name, None].n for name in ("a", "one", "en")] == [3, 4, 6]


def test_a_mean_that_lacks_a_part_is_not_given(scores):
    found = scores({"a": [1.0], "c": [0.0]})
    assert {name: score.value for (name, _), score in found.items()} == {
        "a": 100.0,
        "c": 0.0,
        "one": None,
        "two": 0.0,
        "en": None,
    }
    assert [(found[name, None].present, found[name, None].expected) for name in ("one", "en")] == [
        (1, 2),
        (1, 2),
    ]
    assert found["en", None].n == 2


def test_buckets_are_of_the_sources_length_and_end_before_their_bound(scores):
    found = scores(
        {"a": [1.0, 0.0, 1.0], "b": [1.0, 1.0, 0.5], "c": [0.0, 0.0, 0.0]}, BUCKETED, lengths=[99, 100, 5000]
    )
    assert {place: score.value for place, score in found.items() if place[0] in {"a", "b", "one"}} == {
        ("a", "short"): 100.0,
        ("b", "short"): 100.0,
        ("one", "short"): 100.0,
        ("a", "long"): 50.0,
        ("b", "long"): 75.0,
        ("one", "long"): 62.5,
    }


@pytest.mark.parametrize(("suite", "bucket", "expected"), [(SUITE, None, 2.67), (BUCKETED, "short", 2.68)])
def test_buckets_are_rounded_by_numpy_and_tasks_by_python(scores, suite, bucket, expected):
    """2.675 is a little less than it says: Python's rounding knows that, numpy's does not."""
    assert scores({"a": [107 / 4000]}, suite, lengths=[1])["a", bucket].value == expected


def test_a_sample_without_a_length_is_in_no_bucket(scores):
    assert scores({"a": [1.0]}, BUCKETED) == {}


def test_another_task_is_no_part(scores):
    assert scores({"other": [1.0]}) == {}


def test_the_interval_of_a_mean_is_that_of_its_parts():
    one = Part(50.0, 10, Interval(40.0, 53.0))
    two = Part(20.0, 20, Interval(17.0, 24.0))
    found = mean_of([one, two])
    assert (found.value, found.n) == (35.0, 30)
    assert found.interval == pytest.approx((35 - (10**2 + 3**2) ** 0.5 / 2, 35 + (3**2 + 4**2) ** 0.5 / 2))
    assert mean_of([one, Part(20.0, 5, None)]).interval is None
    assert mean_of([one]) == one


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    """Tasks of 40 yes/no samples with different chances, some of them rare: 600 suites."""
    draw = random.Random("coverage")
    chances = (0.02, 0.1, 0.3, 0.5, 0.9)
    truth = 100 * sum(chances) / len(chances)
    covered = 0
    for _ in range(600):
        parts = []
        for chance in chances:
            values = [float(draw.random() < chance) for _ in range(40)]
            found = estimate(values, is_binary=True)
            parts.append(Part(100 * found.value, 40, Interval(*(100 * bound for bound in found.interval))))
        interval = mean_of(parts).interval
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / 600 <= 0.975
