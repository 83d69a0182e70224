"""Attention entropy read from records: means, slopes and where they come from."""

import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from longbench_run.results import entropy_by_position, entropy_slopes, load
from longbench_run.results.entropy import differences_of, entropy_cells, points_of, slopes_of
from longbench_run.results.lines import read_parts
from longbench_run.results.records import EntropyBucket, Failure, MetricInfo, TaskIdentity, TaskSummary
from longbench_run.results.store import Store, records_path

EDGES = (0, 16, 23, 32, 64)
ENTROPY = TaskSummary(
    name="attention_entropy",
    protocol="plain",
    metrics=(MetricInfo(name="entropy_drift", higher_is_better=False, minimum=0.0),),
    source="s",
    licence="l",
)


def buckets_of(values):
    """Return the buckets of an array (layers, buckets, heads)."""
    return tuple(
        EntropyBucket(
            layer=layer, start=start, stop=stop, heads=tuple(float(v) for v in values[layer, place])
        )
        for layer in range(len(values))
        for place, (start, stop) in enumerate(pairwise(EDGES))
    )


def even_of(start, stop):
    return float(np.mean(np.log(np.arange(start, stop) + 1)))


EVENS = [even_of(start, stop) for start, stop in pairwise(EDGES)]


@pytest.fixture
def entropy_record(make):
    cell = make.cell(
        task=TaskIdentity(name="attention_entropy", version=1, protocol="plain", parameters={}),
        context_length=64,
    )

    def build(index, values, **changes):
        fields = {
            "prediction": None,
            "document": f"document-{index}",
            "scores": {"entropy_drift": 0.5},
            "entropy_buckets": () if values is None else buckets_of(values),
        }
        return make.record(index, cell=cell, **{**fields, **changes})

    return build


@pytest.fixture
def loaded(make, tmp_path):
    def write(*records):
        header = make.header(tasks=(ENTROPY, *make.header().tasks))
        with Store.open(tmp_path / "run", header) as store:
            store.append(*records)
        return load(tmp_path / "run")

    return write


def failed(record):
    return record.model_copy(
        update={
            "status": "out_of_memory",
            "scores": {},
            "failure": Failure(type="OutOfMemoryError", message="no"),
            "entropy_buckets": (),
        }
    )


def test_rows_are_the_means_over_documents_and_heads(entropy_record, loaded):
    values = np.random.default_rng(0).uniform(0.5, 2.5, size=(12, 2, 4, 3)).round(6)
    frame = loaded(*(entropy_record(index, each) for index, each in enumerate(values)))
    found = entropy_by_position(frame)
    assert list(zip(found["layer"], found["start"], found["stop"], strict=True)) == [
        (layer, start, stop) for layer in (0, 1) for start, stop in pairwise(EDGES)
    ]
    means = values.mean(axis=(0, 3))
    np.testing.assert_allclose(found["value"], means.ravel())
    np.testing.assert_allclose(found["even"], EVENS * 2)
    np.testing.assert_allclose(found["ratio"], (means / EVENS).ravel())
    assert (found["n"] == 12).all()
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()
    # Standard errors of the documents' means, heads together: what the interval is about as wide as.
    errors = values.mean(axis=3).std(axis=0, ddof=1) / math.sqrt(12)
    np.testing.assert_allclose((found["high"] - found["low"]) / errors.ravel(), 4.4, atol=1.5)


def test_slopes_are_those_of_least_squares_without_the_first_bucket(entropy_record, loaded):
    values = np.random.default_rng(1).uniform(0.5, 2.5, size=(11, 3, 4, 2)).round(6)
    frame = loaded(*(entropy_record(index, each) for index, each in enumerate(values)))
    found = entropy_slopes(frame)
    expected = [np.polyfit(EVENS[1:], values[:, layer, 1:].mean(axis=(0, 2)), 1)[0] for layer in range(3)]
    np.testing.assert_allclose(found["value"], expected)
    assert list(found["layer"]) == [0, 1, 2]
    assert (found["n"] == 11).all()
    assert found["low"].notna().all()


def test_even_attention_has_ratio_and_slope_one_and_steady_attention_slope_zero(entropy_record, loaded):
    values = np.array([EVENS, [1.5] * 4])[:, :, None]
    (cell,) = entropy_cells(loaded(*(entropy_record(index, values) for index in range(10))))
    assert [point.ratio for point in points_of(cell)][:4] == pytest.approx([1] * 4)
    assert [slope.value for slope in slopes_of(cell).values()] == pytest.approx([1, 0], abs=1e-12)
    assert [slope.interval for slope in slopes_of(cell).values()][1] is None


def test_differences_are_of_the_samples_that_both_have_and_of_none_that_cannot_be_paired(
    entropy_record, loaded
):
    random_state = np.random.default_rng(4)
    values = random_state.uniform(1, 2, size=(2, 3, 2, 4, 1))  # cell, sample, layer, bucket, head
    places = np.arange(3)

    def cell_of(number, keys):
        records = [
            entropy_record(index, values[number, index], sample_key=key)
            for index, key in zip(places, keys, strict=True)
        ]
        return entropy_cells(loaded(*records))[0]

    baseline = cell_of(0, ["a", "b", None])
    shutil.rmtree(Path(baseline.key.run))
    found = differences_of(cell_of(1, ["b", "c", None]), baseline)
    np.testing.assert_allclose(found.to_numpy(), (values[1, 0] - values[0, 1])[:, :, 0])
    assert [*found.columns] == [*pairwise(EDGES)]
    assert [*found.index] == [0, 1]


def test_documents_are_what_is_counted_for_an_interval(entropy_record, loaded):
    values = np.random.default_rng(2).uniform(0.5, 2.5, size=(12, 1, 4, 2))
    frame = loaded(*(entropy_record(i, each, document=f"document-{i // 2}") for i, each in enumerate(values)))
    slopes, points = entropy_slopes(frame), entropy_by_position(frame)
    assert (slopes["n"] == 12).all()
    assert slopes["low"].isna().all()
    assert points["low"].isna().all()


def test_of_a_sample_computed_twice_the_last_counts_also_where_it_failed(entropy_record, loaded):
    low, high = np.full((1, 4, 1), 1.0), np.full((1, 4, 1), 2.0)
    frame = loaded(
        *(entropy_record(index, low) for index in range(3)),
        entropy_record(1, high),
        failed(entropy_record(2, None)),
    )
    found = entropy_by_position(frame)
    assert (found["n"] == 2).all()
    np.testing.assert_allclose(found["value"], 1.5)


def test_what_has_no_entropies_has_no_rows(make, entropy_record, loaded):
    frame = loaded(make.record(0), failed(entropy_record(0, None)))
    assert entropy_cells(frame) == ()
    for table in (entropy_by_position(frame), entropy_slopes(frame)):
        assert len(table) == 0
        assert {"method_label", "context_length", "layer", "value", "low", "high"} <= set(table.columns)


def test_only_the_lines_that_hold_entropies_are_read(make, entropy_record, loaded, tmp_path, monkeypatch):
    frame = loaded(make.record(0), entropy_record(0, np.ones((1, 4, 1))), make.record(1))
    read = []

    def counted(*args, **options):
        for part in read_parts(*args, **options):
            read.append(part)
            yield part

    monkeypatch.setattr("longbench_run.results.entropy.read_parts", counted)
    assert len(entropy_cells(frame)) == 1
    assert [part.cell.task.name for part, _ in read] == ["attention_entropy"]
    # Written by others, JSON may have spaces.
    path = records_path(tmp_path / "run")
    path.write_text(path.read_text().replace('"entropy_buckets":[{', '"entropy_buckets" : [ {'))
    assert len(entropy_cells(frame)) == 1
