"""Runs as tables: rows, order, and what stands behind each number."""

import gc
import math
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run import results
from longbench_run.results.columns import COLUMNS, NUMBERS, OF_SAMPLE, WHOLE_NUMBERS
from longbench_run.results.records import Failure, MethodIdentity, ResultsError, TaskIdentity
from longbench_run.results.statistics import wilson_interval
from longbench_run.results.store import Store
from longbench_run.results.table import cells, load, summarize


def write(folder, header, records):
    with Store.open(folder, header) as store:
        store.append(*records)
    return folder


def test_one_row_per_record_with_the_documented_columns(make, tmp_path):
    run = write(
        tmp_path / "a",
        make.header(),
        [
            make.record(0, depth=0.5, prompt_tokens=100),
            make.record(1, status="error", scores={}, failure=Failure(type="RuntimeError", message="no")),
        ],
    )
    frame = load(run)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["score"].tolist()[0] == 1.0
    assert math.isnan(frame["score"].tolist()[1])
    assert frame["metric"].tolist() == ["accuracy", "accuracy"]
    assert frame["failure"].tolist()[1] == "RuntimeError: no"
    assert frame["prompt_tokens"].tolist()[0] == 100
    assert pd.isna(frame["prompt_tokens"].tolist()[1])
    assert set(frame["run"]) == {str(run)}


def test_a_sample_computed_twice_counts_once(make, tmp_path):
    run = write(
        tmp_path / "a",
        make.header(),
        [make.record(0, status="error", scores={}), make.record(0, scores={"accuracy": 1.0})],
    )
    frame = load(run)
    assert frame.index.tolist() == [0]
    (cell,) = cells(frame)
    assert (cell.n, cell.value, cell.error) == (1, 1.0, 0)


def test_every_status_is_counted_and_none_is_a_score_of_zero(make, tmp_path):
    run = write(
        tmp_path / "a",
        make.header(),
        [
            *(make.record(index, scores={"accuracy": 1.0}) for index in range(12)),
            make.record(12, status="error", scores={}),
            make.record(13, status="out_of_memory", scores={}),
        ],
    )
    (row,) = summarize(load(run)).to_dict("records")
    assert (row["n"], row["value"]) == (12, 1.0)
    assert (row["ok"], row["error"], row["out_of_memory"], row["not_applicable"]) == (12, 1, 1, 0)
    assert (row["low"], row["high"]) == wilson_interval(12, 12)


def test_a_cell_that_is_not_applicable_has_no_value(make, tmp_path):
    run = write(tmp_path / "a", make.header(), [make.record(None, status="not_applicable", scores={})])
    (cell,) = cells(load(run))
    assert (cell.value, cell.low, cell.n, cell.not_applicable) == (None, None, 0, 1)


def test_rows_are_in_the_order_of_the_run_whatever_was_computed_first(make, tmp_path):
    none = make.cell(method=MethodIdentity(resolved="none", versions={"none": 1}))
    short = make.cell(context_length=512)
    records = [
        make.record(1),
        make.record(0, cell=short),
        make.record(0),
        make.record(0, cell=none, method_label="none"),
    ]
    found = cells(load(write(tmp_path / "a", make.header(), records)))
    assert [(cell.method_label, cell.context_length) for cell in found] == [
        ("none", 1024),
        ("pi", 512),
        ("pi", 1024),
    ]


def test_the_order_of_computing_changes_no_number(make, tmp_path):
    def records(order):
        return [
            make.record(index, scores={"nll": 2 + math.sin(index)}, weight=10.0 + index, document=f"d{index}")
            for index in order
        ]

    header = make.header(tasks=())
    forward = cells(load(write(tmp_path / "a", header, records(range(15)))))
    backward = cells(load(write(tmp_path / "b", header, records(reversed(range(15))))))
    assert (forward[0].value, forward[0].low, forward[0].high) == (
        backward[0].value,
        backward[0].low,
        backward[0].high,
    )
    assert forward[0].interval == "bootstrap-t"


def test_a_mean_over_tokens_is_weighted_by_them(make, tmp_path):
    run = write(
        tmp_path / "a",
        make.header(tasks=()),
        [make.record(0, scores={"nll": 1.0}, weight=30.0), make.record(1, scores={"nll": 3.0}, weight=10.0)],
    )
    (cell,) = cells(load(run))
    assert cell.value == pytest.approx(1.5)


def test_several_metrics_have_a_row_each(make, tmp_path):
    run = write(tmp_path / "a", make.header(tasks=()), [make.record(0, scores={"f1": 0.5, "exact": 0.0})])
    assert [(cell.metric, cell.value) for cell in cells(load(run))] == [("exact", 0.0), ("f1", 0.5)]


def test_runs_are_never_pooled(make, tmp_path):
    runs = [write(tmp_path / name, make.header(), [make.record(0)]) for name in ("b", "a")]
    found = cells(load(*runs))
    assert [(cell.run, cell.n) for cell in found] == [(str(run), 1) for run in runs]


def test_protocols_and_versions_are_never_pooled(make, tmp_path):
    other = make.cell(task=TaskIdentity(name="passkey", version=2, protocol="passkey-v1", parameters={}))
    run = write(tmp_path / "a", make.header(), [make.record(0), make.record(0, cell=other)])
    assert [(cell.task_version, cell.n) for cell in cells(load(run))] == [(1, 1), (2, 1)]


def test_setups_are_never_pooled_but_seeds_are(make, tmp_path):
    cells_of_run = [
        make.cell(),
        make.cell(seed=1),
        make.cell(method=MethodIdentity(resolved="pi:factor=2.0", versions={"pi": 2})),
    ]
    run = write(tmp_path / "a", make.header(), [make.record(0, cell=cell) for cell in cells_of_run])
    assert sorted((cell.n, cell.position) for cell in cells(load(run))) == [(1, 2), (2, 1)]


def expected(run, header, records):
    """The table of a run, row by row."""
    last = {(record.cell_id, record.index): number for number, record in enumerate(records)}
    metrics = {metric.name: metric for task in header.tasks for metric in task.metrics}
    rows, failures = [], []
    for number, record in enumerate(records):
        for name in dict.fromkeys([*metrics, *record.scores]) or [""]:
            info = metrics.get(name)
            cell = record.cell
            row = {
                **{column: getattr(record, column) for column in OF_SAMPLE},
                **{
                    column: getattr(record, column)
                    for column in ("model_label", "method_label", "factor_policy")
                },
                **{column: getattr(cell, column) for column in ("context_length", "seed")},
                **{
                    "run": run,
                    "task": cell.task.name,
                    "task_version": 1,
                    "protocol": "passkey-v1",
                    "metric": name,
                },
                **{"score": record.scores.get(name), "method": cell.method.resolved, "reference": None},
                **{"original_context_length": 512, "cell_id": record.cell_id, "setup_id": cell.setup_id()},
                **{bound: info and getattr(info, bound) for bound in ("minimum", "maximum")},
                **{flag: info and getattr(info, flag) for flag in ("higher_is_better", "is_binary")},
                "is_last": last[record.cell_id, record.index] == number,
            }
            rows.append(row)
            if row["is_last"]:
                failures.append(record.failure and f"{record.failure.type}: {record.failure.message}")
    kept = [number for number, row in enumerate(rows) if row["is_last"]]
    frame = {}
    for name in COLUMNS:
        if name == "failure":
            frame[name] = pd.Series(failures)
            continue
        # What a column of samples holds is told from all of them, and what one of cells or metrics does from its rows.
        of_samples = name in OF_SAMPLE
        values = [row[name] for number, row in enumerate(rows) if of_samples or number in kept]
        if name in NUMBERS or name in WHOLE_NUMBERS:
            column = pd.Series(values, dtype="float64").astype(
                "Int64" if name in WHOLE_NUMBERS else "float64"
            )
        else:
            column = pd.Series(values)
        frame[name] = column.take(kept).reset_index(drop=True) if of_samples else column
    for name, order in {
        "run": [run],
        "model_label": [model.label for model in header.models],
        "method_label": header.methods,
        "task": [task.name for task in header.tasks] or ["passkey"],
    }.items():
        frame[name] = pd.Categorical(frame[name], categories=order, ordered=True)
    return pd.DataFrame(frame)


TEXTS = st.none() | st.text()
SAMPLES = st.fixed_dictionaries(
    {
        "index": st.integers(0, 5),
        "seed": st.integers(0, 1),
        "scores": st.dictionaries(st.sampled_from(["accuracy", "f1", "nll"]), st.floats(-1, 1), max_size=3),
    },
    optional={
        **dict.fromkeys(("document", "prompt_head", "prompt_tail", "prediction", "target"), TEXTS),
        **dict.fromkeys(("prompt_tokens", "source_length", "peak_bytes"), st.none() | st.integers(0, 2**53)),
        **dict.fromkeys(("weight", "depth", "seconds_decode"), st.none() | st.floats(0, 1)),
        "evidence_survived": st.none() | st.booleans(),
        "answers": st.lists(st.text(), max_size=2).map(tuple),
        "failure": st.none() | st.builds(Failure, type=st.just("E"), message=st.text()),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.lists(SAMPLES, min_size=1, max_size=7),
    is_declared=st.booleans(),
    block=st.sampled_from([1, 2, 3, 100]),
)
def test_the_table_is_what_its_records_are_row_by_row(make, tmp_path_factory, samples, is_declared, block):
    header = make.header(**({} if is_declared else {"tasks": ()}))
    cells_of_run = [make.cell(seed=seed) for seed in (0, 1)]
    records = [
        make.record(cell=cells_of_run[sample["seed"]], **{k: v for k, v in sample.items() if k != "seed"})
        for sample in samples
    ]
    records = [
        record.model_copy(update={"prediction": None}) if is_declared else record for record in records
    ]
    run = write(tmp_path_factory.mktemp("run"), header, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("longbench_run.results.rows._BLOCK", block)
        found = load(run)
    pd.testing.assert_frame_equal(found, expected(str(run), header, records), check_exact=True)


def test_the_collector_of_garbage_is_on_again_after_an_error(make, tmp_path):
    with pytest.raises(ResultsError, match=r"without run\.json"):
        load(tmp_path)
    assert gc.isenabled()


def test_an_empty_run_has_no_rows(make, tmp_path):
    frame = load(write(tmp_path / "a", make.header(), []))
    assert len(frame) == 0
    assert list(frame.columns) == list(COLUMNS)
    assert len(summarize(frame)) == 0
    assert "value" in summarize(frame).columns


def test_the_package_exports_its_names_and_loads_nothing_for_it():
    code = (
        "import sys, longbench_run.results as results, longbench_run.results.store;"
        "heavy = {'pandas', 'scipy', 'matplotlib', 'numpy', 'torch'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert results.load.__name__ == 'load';"
        "assert set(results.__all__) == set(dir(results))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'longbench_run\.results' has no attribute 'lead'"):
        _ = results.lead
