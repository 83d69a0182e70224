"""Retention, rise, area and effective length: by hand, with cells missing, and by how often intervals hold the truth."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.results.records import Failure, MethodIdentity, MetricInfo, ModelSummary, TaskSummary
from longbench_run.results.robustness import robustness
from longbench_run.results.statistics import wilson_interval
from longbench_run.results.store import Store, read_header
from longbench_run.results.table import load

RIGHT = MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True)
NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
LENGTHS = (512, 1024, 2048, 4096)


def right(n, of=20):
    return [1.0] * n + [0.0] * (of - n)


@pytest.fixture
def robust(make, tmp_path):
    def build(scores, *, metric=RIGHT, lengths=LENGTHS, document=None, weights=None, more=(), seeds=(0,)):
        """Return the aggregates of ``pi`` with the given scores by length."""
        task = TaskSummary(name="passkey", protocol="passkey-v1", metrics=(metric,), source="s", licence="l")
        header = make.header(tasks=(task,), methods=("pi",), lengths=lengths)
        with Store.open(tmp_path / "run", header, overwrite="all") as store:
            for length, values in scores.items():
                for place, score in enumerate(values):
                    index, seed = divmod(place, len(seeds))
                    store.append(
                        make.record(
                            index,
                            cell=make.cell(context_length=length, seed=seeds[seed]),
                            scores={metric.name: score},
                            document=None
                            if document is None
                            else document.format(place=place, length=length),
                            weight=None if weights is None else weights[place],
                        )
                    )
            for record in more:
                store.append(record)
        frame = load(tmp_path / "run")
        (found,) = robustness(read_header(tmp_path / "run"), frame)
        return found

    return build


def values(found):
    return {length: kept.value for length, kept in found.kept.items()}


def test_retention_is_over_the_own_score_at_the_window(robust):
    found = robust({512: right(16), 1024: right(14), 2048: right(8), 4096: right(0)})
    assert values(found) == pytest.approx({512: 1.0, 1024: 14 / 16, 2048: 0.5, 4096: 0.0})
    assert (found.method_label, found.task, found.metric, found.higher_is_better) == (
        "pi",
        "passkey",
        "accuracy",
        True,
    )


def test_the_effective_length_ends_where_the_threshold_first_fails(robust):
    found = robust({512: right(20), 1024: right(17), 2048: right(16), 4096: right(20)})
    assert (
        found.effective_length.value == 1024
    )  # 17 of 20 is 0.85 exactly; 4096 holds, after a length that does not
    found = robust({512: right(20), 1024: right(18), 2048: right(17), 4096: right(18)})
    assert (found.effective_length.value, found.effective_length.longest) == (4096, 4096)


def test_lengths_below_the_window_count_too(robust):
    found = robust({256: right(10), 512: right(20), 1024: right(20)}, lengths=(256, 512, 1024))
    assert (found.effective_length.value, found.effective_length.reason) == (None, None)
    low, high = found.effective_length.interval
    assert (low, high) == (None, None)


def test_the_area_is_the_trapezoid_over_log2_of_the_length(robust):
    lengths = (512, 1024, 4096)
    scores = {512: right(20), 1024: right(10), 4096: right(4)}
    found = robust(scores, lengths=lengths)
    means = [np.mean(scores[length]) for length in lengths]
    expected = np.trapezoid(means, np.log2(lengths)) / (math.log2(4096) - math.log2(512))
    assert found.area.value == pytest.approx(expected)
    assert found.area.interval.low < expected < found.area.interval.high


@given(st.floats(0.05, 1.0))
def test_a_flat_curve_has_its_height_as_area_and_loses_nothing(share):
    header = _header(RIGHT)
    frame = _frame(
        {length: [share] * 12 for length in LENGTHS}, RIGHT.model_copy(update={"is_binary": False})
    )
    (found,) = robustness(header, frame)
    assert found.area.value == pytest.approx(share)
    if found.effective_length.reason is None:
        assert found.effective_length.value == 4096
        assert all(kept.value == pytest.approx(1) for kept in found.kept.values())


def test_a_score_that_is_not_above_chance_at_the_window_has_no_retention(robust):
    quarter = RIGHT.model_copy(update={"chance": 0.25})
    scores = {512: right(8), 1024: right(8), 2048: right(8), 4096: right(8)}
    assert wilson_interval(8, 20).low < 0.25
    found = robust(scores, metric=quarter)
    assert set(values(found).values()) == {None}
    assert found.kept[1024].reason == "the score at the original window is not above chance"
    assert (found.effective_length.value, found.effective_length.reason) == (None, found.kept[1024].reason)
    assert found.area.value == pytest.approx(0.4)
    assert values(robust(scores))[1024] == 1  # without a chance declared it is 0


def test_a_window_without_an_interval_is_not_known_to_be_above_chance(robust):
    found = robust({length: right(9, 9) for length in LENGTHS})
    assert found.kept[1024].value is None
    assert found.kept[1024].reason.startswith("fewer than 10 samples or documents at the original window")


def test_nll_is_compared_by_difference_in_nats_with_token_weights(robust):
    weights = [100.0, 300.0] * 10
    nll = {512: [2.0, 2.2], 1024: [2.0, 2.24], 2048: [2.1, 2.3], 4096: [5.0, 6.0]}
    found = robust({at: two * 10 for at, two in nll.items()}, metric=NLL, weights=weights)
    assert values(found) == pytest.approx({512: 0.0, 1024: 0.03, 2048: 0.1, 4096: 3.6})
    assert found.effective_length.value == 1024
    assert found.area.value == pytest.approx(np.average([2.15, 2.18, 2.25, 5.75], weights=[1, 2, 2, 1]))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("out_of_memory", "out of memory at 2048 tokens"),
        ("error", "failed at 2048 tokens"),
        ("not_applicable", "not applicable at 2048 tokens"),
        (None, "not measured at 2048 tokens"),
    ],
)
def test_a_cell_without_a_score_is_a_reason_and_never_a_zero(make, robust, status, reason):
    failed = [] if status is None else [
        make.record(
            None if status == "not_applicable" else 0,
            cell=make.cell(context_length=2048),
            status=status,
            scores={},
            failure=Failure(type="E", message="m"),
        )
    ]  # fmt: skip
    found = robust({512: right(20), 1024: right(20), 4096: right(20)}, more=failed)
    assert (found.kept[2048].value, found.kept[2048].reason) == (None, reason)
    assert (found.area.value, found.area.interval, found.area.reason) == (None, None, reason)
    assert (found.effective_length.value, found.effective_length.reason) == (None, reason)
    assert found.kept[4096].value == 1
    # A length that fails before the missing one settles it.
    found = robust({512: right(20), 1024: right(2), 4096: right(20)}, more=failed)
    assert (found.effective_length.value, found.effective_length.interval) == (512, (512, 512))


def test_a_run_without_its_original_window_has_an_area_only(robust):
    found = robust({1024: right(20), 2048: right(10)}, lengths=(1024, 2048))
    assert found.kept[2048].reason == "not measured at 512 tokens"
    assert found.effective_length.reason == "not measured at 512 tokens"
    assert found.area.value == pytest.approx(0.75)


def test_every_right_answer_still_leaves_a_width(robust):
    found = robust({length: right(20) for length in LENGTHS})
    assert found.kept[1024].interval.low < 0.9
    assert found.kept[1024].interval.high > 1
    assert found.area.interval.low < 0.95
    assert found.effective_length.interval == (512, 4096)
    many = robust({length: right(200, 200) for length in LENGTHS})
    assert many.effective_length.interval == (4096, 4096)


def test_documents_shared_by_lengths_narrow_the_rise(robust):
    generator = np.random.default_rng(0)
    level = generator.normal(3, 0.5, 20)
    nll = {
        length: (level + generator.normal(0.02 * place, 0.02, 20)).tolist()
        for place, length in enumerate(LENGTHS)
    }
    shared = robust(nll, metric=NLL, document="d{place}")
    apart = robust(nll, metric=NLL, document="d{place} at {length}")
    assert shared.kept[1024].value == apart.kept[1024].value
    assert width(shared.kept[1024].interval) < 0.2 * width(apart.kept[1024].interval)
    assert width(shared.area.interval) > 1.2 * width(
        apart.area.interval
    )  # the same documents are not more documents


def test_several_seeds_are_samples_of_one_cell(robust):
    scores = {length: right(20, 30) for length in LENGTHS}
    one, three = robust(scores), robust(scores, seeds=(0, 1, 2))
    assert (three.kept, three.area, three.effective_length) == (one.kept, one.area, one.effective_length)


def test_a_document_seen_under_several_seeds_counts_once(robust):
    scores = {length: [2.0 + 0.1 * (place // 3) for place in range(36)] for length in LENGTHS}
    thirds = {length: [2.0 + 0.1 * place for place in range(12)] for length in LENGTHS}
    pooled = robust(scores, metric=NLL, seeds=(0, 1, 2))
    assert width(pooled.area.interval) < 0.7 * width(robust(thirds, metric=NLL).area.interval)


def test_of_two_setups_the_later_one_counts(make, robust):
    other = MethodIdentity(resolved="pi:factor=4.0", versions={"pi": 2})
    later = [
        make.record(index, cell=make.cell(method=other), scores={"accuracy": 1.0}) for index in range(20)
    ]
    found = robust({512: right(20), 1024: right(0)}, lengths=(512, 1024), more=later)
    assert found.kept[1024].value == 1


def test_nothing_measured_gives_nothing(make):
    assert robustness(make.header(), _frame({}, RIGHT)) == ()


def test_lengths_of_each_model_are_its_own(make):
    small, large = (
        ModelSummary(label=label, original_context_length=window, original_context_length_source="flag")
        for label, window in (("m", 512), ("n", 4096))
    )
    header = make.header(models=(small, large), methods=("pi",), lengths=(512, 1024, 4096, 8192))
    frames = [
        _frame({512: right(20), 1024: right(20)}, RIGHT),
        _frame({4096: right(20), 8192: right(10)}, RIGHT, model="n"),
    ]
    first, second = robustness(header, pd.concat(frames, ignore_index=True))
    assert (list(first.kept), list(second.kept)) == ([512, 1024], [4096, 8192])
    assert (first.effective_length.value, second.effective_length.value) == (1024, 4096)


@pytest.mark.parametrize(
    ("shares", "truth", "told"), [((0.9, 0.88, 0.7, 0.3), 1024, 290), ((0.6, 0.515, 0.515, 0.515), 4096, 5)]
)
def test_the_range_of_the_effective_length_holds_the_truth(shares, truth, told):
    generator = np.random.default_rng(3)
    header, held, narrow = _header(RIGHT), 0, 0
    for _ in range(300):
        scores = {
            at: (generator.random(100) < p).astype(float) for at, p in zip(LENGTHS, shares, strict=True)
        }
        (found,) = robustness(header, _frame(scores, RIGHT))
        low, high = (bound or 0 for bound in found.effective_length.interval)
        held += low <= truth <= high
        narrow += (low, high) != (512, 4096)
    assert held / 300 >= 0.94  # resampling holds the second in three of four
    assert narrow >= told  # and it says something


def width(interval):
    return interval.high - interval.low


def _header(metric):
    from longbench_run.results.records import RunHeader

    task = TaskSummary(name="passkey", protocol="passkey-v1", metrics=(metric,), source="s", licence="l")
    model = ModelSummary(label="m", original_context_length=512, original_context_length_source="flag")
    return RunHeader(
        run_key="a", command=(), config={}, models=(model,), methods=("pi",), tasks=(task,), lengths=LENGTHS,
        versions={}, device="cpu", started="2026-01-02T03:04:05Z",
    )  # fmt: skip


def _frame(scores, metric, *, model="m"):
    """Return the rows of `load` that aggregates read, without writing a run."""
    rows = [
        {"context_length": length, "index": index, "score": score}
        for length, of_length in scores.items()
        for index, score in enumerate(of_length)
    ]
    return pd.DataFrame(rows, columns=["context_length", "index", "score"]).assign(
        run="r", model_label=model, task="passkey", task_version=1, protocol="passkey-v1", metric=metric.name,
        method_label="pi", setup_id="s", seed=0, document=None, weight=math.nan, status="ok",
        is_binary=metric.is_binary, minimum=0.0, maximum=1.0 if metric.maximum else math.nan,
    )  # fmt: skip
