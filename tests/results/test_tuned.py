"""Tuned variants as methods: which cells there are, what is paired with what, and what a mean over tasks is of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from longbench_run.results.records import MethodIdentity, MetricInfo, TaskIdentity, TaskSummary, TuningSummary
from longbench_run.results.store import Store, read_header
from longbench_run.results.table import load
from longbench_run.results.tuned import (
    Place,
    TunedCell,
    TunedRun,
    change_of_difference,
    difference,
    loss,
    tuned_names,
    tuned_scores,
)

COUNT, SEEDS, LENGTHS = 12, (0, 1, 2), (512, 1024)
F1 = MetricInfo(name="f1", higher_is_better=True, minimum=0.0, maximum=1.0)
NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
QA, SUMMARIES = "qa", "summaries"


def task(name, metric, **changes):
    return TaskSummary(name=name, protocol="p", metrics=(metric,), source="s", licence="l", **changes)


TASKS = (task(QA, F1), task(SUMMARIES, F1), task("perplexity", NLL))


def tuning(method, samples, seed, **changes):
    values = {
        "method_label": f"{method}-{samples}-seed{seed}",
        "asked": method,
        "canonical": f"{method}:factor=2.0",
        "samples": samples,
        "steps": 2,
        "seed": seed,
        "context_length": 1024,
        "learning_rate": 2e-5,
        "composition": "none",
        "data_sha256": "a" * 64,
        "samples_sha256": "b" * 64,
        "losses": (2.0, 1.0),
    }
    return TuningSummary(**{**values, **changes})


VARIANTS = [tuning(m, n, seed) for m in ("pi", "yarn") for n in (8, 32) for seed in SEEDS]


@pytest.fixture
def write(make, tmp_path):
    """Give `write(score, ...)`: a run in which `score(label, task, length, index)` is what a sample scored."""

    def written(score, *, variants=VARIANTS, tasks=TASKS, config=None, **changes):
        labels = ["none", "pi", *(each.method_label for each in variants)]
        header = make.header(
            methods=tuple(labels), tasks=tasks, lengths=LENGTHS, tuned=tuple(variants), config=config or {}
        )
        resolved = {"none": "none:original_context_length=512", "pi": "pi:factor=2.0"} | {
            e.method_label: e.canonical for e in variants
        }
        with Store.open(tmp_path / "run", header) as store:
            store.append(
                *(
                    make.record(
                        index,
                        cell=make.cell(
                            task=TaskIdentity(name=of.name, version=1, protocol="p", parameters={}),
                            method=MethodIdentity(resolved=resolved[label], versions={}),
                            context_length=length,
                            # Every variant has weights of its own.
                            decoding=label,
                        ),
                        method_label=label,
                        sample_key=f"{of.name} {length} {index}",
                        scores={of.metrics[0].name: value},
                        **changes,
                    )
                    for label in labels
                    for of in tasks
                    for length in LENGTHS
                    for index in range(COUNT)
                    if (value := score(label, of.name, length, index)) is not None
                )
            )
        return TunedRun(read_header(tmp_path / "run"), load(tmp_path / "run"))

    return written


@pytest.fixture
def values():
    """Give a score in [0, 1] for every label, task, length and index, the same when asked again."""
    random, known = np.random.default_rng(0), {}
    return lambda *at: known.setdefault(at, float(random.uniform()))


def matrix(values, method, samples, *, at=QA, length=1024):
    return np.array(
        [[values(f"{method}-{samples}-seed{s}", at, length, i) for i in range(COUNT)] for s in SEEDS]
    )


def interval(x):
    """Return the 95 % interval of the mean of a matrix of seeds and samples, by the formula as it is written down."""
    of_seeds, of_samples = x.mean(axis=1).var(ddof=1) / len(x), x.mean(axis=0).var(ddof=1) / x.shape[1]
    freedom = (of_seeds + of_samples) ** 2 / (of_seeds**2 / (len(x) - 1) + of_samples**2 / (x.shape[1] - 1))
    return stats.t.interval(0.95, freedom, x.mean(), math.sqrt(of_seeds + of_samples))


def test_variants_are_cells_over_seeds_and_what_was_not_tuned_has_no_samples(write, values):
    run = write(values)

    assert run.methods == ("none", "pi", "yarn")
    assert (run.samples, run.lengths, run.targets) == ((0, 8, 32), LENGTHS, (1024,))
    assert run.places == (Place("m"), *(Place("m", of.name, "p", of.metrics[0].name) for of in TASKS))
    found = {each.cell: each.found for each in tuned_scores(run) if each.place.task == QA}
    # yarn was not measured on the model's own weights, and nothing tunes none.
    assert set(found) == {
        TunedCell(method, samples, length)
        for method, samples in [("none", 0), *(("pi", n) for n in (0, 8, 32)), ("yarn", 8), ("yarn", 32)]
        for length in LENGTHS
    }
    x = matrix(values, "pi", 8)
    cell = found[TunedCell("pi", 8, 1024)]
    assert (cell.value, cell.seeds, cell.n) == (pytest.approx(x.mean()), 3, COUNT)
    assert (cell.low, cell.high) == pytest.approx(interval(x))
    untuned = found[TunedCell("pi", 0, 1024)]
    assert untuned.value == pytest.approx(np.mean([values("pi", QA, 1024, i) for i in range(COUNT)]))
    assert untuned.seeds == 0


def test_the_interval_of_a_score_ends_where_the_metric_does_and_that_of_a_contrast_does_not(write):
    # One sample of twelve is right, or all but one: Student's t knows no bounds.
    run = write(lambda label, task, length, index: float((index == 0) != (length == 512)), tasks=TASKS[:2])

    for place in run.places:
        low, high = (run.score(place, TunedCell("yarn", 8, length)) for length in (1024, 512))
        assert (low.low, high.high) == (0.0, 1.0)
        assert low.low < low.value < low.high < 1
        assert run.contrast(place, {TunedCell("yarn", 8, 1024): 1.0}).low < 0


def test_the_mean_over_tasks_leaves_out_what_has_no_bounds_and_floors(write, values):
    tasks = (*TASKS, task("closed-book", F1, reference="floor"))
    run = write(values, tasks=tasks)

    assert [part.task for part in run.parts(Place("m"))] == [QA, SUMMARIES]
    found = run.contrast(Place("m"), {TunedCell("yarn", 32, 512): 1.0})
    means = [matrix(values, "yarn", 32, at=at, length=512).mean() for at in (QA, SUMMARIES)]
    assert (found.value, found.n) == (pytest.approx(np.mean(means)), 2 * COUNT)


def test_one_task_has_no_mean_over_tasks(write, values):
    assert write(values, tasks=TASKS[1:]).places == (
        Place("m", SUMMARIES, "p", "f1"),
        Place("m", "perplexity", "p", "nll"),
    )


def test_differences_pair_seeds_and_samples(write, values):
    run = write(values)
    place = Place("m", QA, "p", "f1")
    x = {(m, n): matrix(values, m, n) for m in ("pi", "yarn") for n in (8, 32)}

    found = run.contrast(place, difference("yarn", "pi", samples=8, context_length=1024))
    assert found.value == pytest.approx((x["yarn", 8] - x["pi", 8]).mean())
    assert (found.low, found.high) == pytest.approx(interval(x["yarn", 8] - x["pi", 8]))

    found = run.contrast(place, change_of_difference("yarn", "pi", samples=(8, 32), context_length=1024))
    y = x["yarn", 8] - x["pi", 8] - x["yarn", 32] + x["pi", 32]
    assert (found.value, found.low, found.high) == pytest.approx((y.mean(), *interval(y)))


def test_a_loss_over_lengths_pairs_seeds_alone(write, values):
    run = write(values)
    found = run.contrast(Place("m", QA, "p", "f1"), loss("yarn", samples=8, context_lengths=(512, 1024)))

    short, long = (matrix(values, "yarn", 8, length=length) for length in LENGTHS)
    variance = (short.mean(axis=1) - long.mean(axis=1)).var(ddof=1) / 3
    variance += sum(x.mean(axis=0).var(ddof=1) / COUNT for x in (short, long))
    assert found.value == pytest.approx(short.mean() - long.mean())
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, found.freedom) * math.sqrt(variance))
    assert found.n == 2 * COUNT


def test_a_seed_or_a_sample_that_one_lacks_is_left_out_of_the_pairs(write, values):
    def score(label, at, length, index):
        is_absent = label == "yarn-8-seed1" or (label == "pi-8-seed2" and index == 0)
        return None if is_absent else values(label, at, length, index)

    run = write(score)
    place = Place("m", QA, "p", "f1")
    found = run.contrast(place, difference("yarn", "pi", samples=8, context_length=1024))
    x = (matrix(values, "yarn", 8) - matrix(values, "pi", 8))[[0, 2], 1:]
    assert (found.seeds, found.n) == (2, COUNT - 1)
    assert (found.value, found.low) == pytest.approx((x.mean(), interval(x)[0]))
    assert run.contrast(place, {TunedCell("yarn", 8, 1024): 1.0}).seeds == 2
    assert run.contrast(place, {TunedCell("yarn", 64, 1024): 1.0}) is None


def test_weights_that_do_not_say_how_they_were_made_are_nobodys_untuned_method(write, values):
    run = write(values, config={"methods": [{"name": "pi", "label": None, "weights": "elsewhere"}]})

    assert run.contrast(Place("m", QA, "p", "f1"), {TunedCell("pi", 0, 512): 1.0}) is None
    assert run.contrast(Place("m", QA, "p", "f1"), {TunedCell("pi", 8, 512): 1.0}) is not None


def test_a_method_that_no_variant_was_tuned_with_is_compared_and_stands_in_no_table(write, values):
    of_yarn = [each for each in VARIANTS if each.asked == "yarn"]
    entry = {"name": "pi", "label": "pi", "weights": None}
    run = write(values, variants=of_yarn, config={"methods": [entry]})
    place = Place("m", QA, "p", "f1")

    found = run.contrast(place, {TunedCell("pi", 0, 512): 1.0, TunedCell("none", 0, 512): -1.0})
    assert found.value == pytest.approx(
        np.mean([values("pi", QA, 512, i) - values("none", QA, 512, i) for i in range(COUNT)])
    )
    assert run.methods == ("none", "yarn")
    assert "pi" not in {each.cell.method for each in tuned_scores(run)}


def test_what_is_called_as_a_tuned_method_and_computes_another_is_not_that_one_untuned(write, values):
    others = [tuning("pi", 8, seed, canonical="pi:factor=4.0") for seed in SEEDS]
    run = write(values, variants=others, config={"methods": [{"name": "pi", "label": "pi", "weights": None}]})

    assert run.contrast(Place("m", QA, "p", "f1"), {TunedCell("pi", 0, 512): 1.0}) is None


def test_methods_tuned_in_several_ways_are_told_apart(make):
    def names(*variants):
        return list(tuned_names(make.header(tuned=variants)).values())

    usual = tuning("yarn", 8, 0)
    assert names(usual, tuning("yarn", 32, 0, composition="long")) == ["yarn", "yarn"]
    long = tuning("yarn", 8, 0, method_label="b", composition="long")
    assert names(usual, long) == ["yarn, composition none", "yarn, composition long"]
    staged = tuning("yarn", 8, 0, method_label="b", composition="short_then_long")
    assert names(usual, staged)[1] == "yarn, composition short_then_long"
    other_data = tuning("yarn", 8, 0, method_label="b", data_sha256="c" * 64)
    assert names(usual, other_data) == [f"yarn, data_sha256 {letter * 12}" for letter in "ac"]
    assert names(usual, tuning("yarn", 8, 0, method_label="again")) == ["yarn-8-seed0", "again"]
