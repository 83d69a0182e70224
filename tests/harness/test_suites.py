"""From a task's suite to the table of a run: the averages of a run are those of `score longbench`, digit by digit."""

from __future__ import annotations

import dataclasses
import json

import pytest

from longbench_run.harness.header import _suites, _task_summary
from longbench_run.results.records import (
    CellIdentity,
    MethodIdentity,
    ModelIdentity,
    ModelSummary,
    Record,
    RunHeader,
    TaskIdentity,
)
from longbench_run.results.store import Store
from longbench_run.results.suites import scores_of_suites
from longbench_run.results.table import load
from longbench_run.tasks.longbench.datasets import DATASETS, OF_E
from longbench_run.tasks.longbench.predictions import read_folder
from longbench_run.tasks.longbench.scoring import averages, score_folder
from longbench_run.tasks.registry import load_task, parts_of


def header_of(tasks):
    return RunHeader(
        run_key="a" * 64,
        command=("longbench-run",),
        config={},
        models=(
            ModelSummary(label="m", original_context_length=4096, original_context_length_source="flag"),
        ),
        methods=("none",),
        tasks=tuple(_task_summary(task) for task in tasks),
        suites=_suites(tasks),
        lengths=(4096,),
        versions={},
        device="cpu",
        started="2026-01-02T03:04:05Z",
    )


def records_of(task, file, values):
    cell = CellIdentity(
        model=ModelIdentity(name="m", revision="sha256:" + "ab" * 32),
        dtype="float32",
        attention="sdpa",
        original_context_length=4096,
        method=MethodIdentity(resolved="none", versions={}),
        task=TaskIdentity(name=task.info.name, version=1, protocol=task.protocol, parameters={}),
        context_length=4096,
        seed=0,
        decoding="greedy",
    )
    for index, (row, value) in enumerate(zip(file.rows, values, strict=True)):
        yield Record(
            cell_id=cell.cell_id(),
            cell=cell,
            model_label="m",
            method_label="none",
            factor_policy="fixed",
            index=index,
            status="ok",
            source_length=row.length,
            document=f"row-{index}",
            scores={task.info.metrics[0].name: value},
        )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["llama2-7b-chat", "longalpaca-7b-16k", "llama3-8b-inst-e"])
def test_a_run_with_the_authors_predictions_has_their_scores_and_averages(shared, tmp_path, model):
    folder = read_folder(shared / "data/longbench_predictions" / model)
    scored = list(score_folder(folder))
    ending = OF_E if folder.is_e else ""
    tasks = [load_task("longbench", dataset=f"{score.dataset.name}{ending}") for score in scored]
    with Store.open(tmp_path / "run", header_of(tasks)) as store:
        for task, file, score in zip(tasks, folder.files, scored, strict=True):
            assert file.dataset is score.dataset
            # Last first: what was computed first must not decide a digit.
            store.append(*reversed(list(records_of(task, file, score.values))))
    header = header_of(tasks)
    found = {
        (score.task or score.group, score.average, score.bucket): score
        for score in scores_of_suites(header, load(tmp_path / "run"))
    }

    printed = json.loads((shared / "data/longbench_predictions" / model / "result.json").read_text())
    for task, score in zip(tasks, scored, strict=True):
        by_bucket = score.score if folder.is_e else {None: score.score}
        for bucket, value in by_bucket.items():
            part = found[task.info.name, None, bucket]
            assert part.value == value
            assert part.low <= part.value <= part.high
        assert printed[score.dataset.name] == score.score
    for average in averages(scored, is_e=folder.is_e):
        by_bucket = average.score if isinstance(average.score, dict) else {None: average.score}
        for bucket, value in by_bucket.items():
            if (key := (average.category, average.language, bucket)) in found:
                assert found[key].value == value
                assert (found[key].present, found[key].expected) == (average.present, average.expected)
            else:
                assert value is None
    complete = [score for score in found.values() if score.average and score.group is None and score.value]
    whole = [mean for mean in averages(scored, is_e=folder.is_e) if mean.category is None and mean.score]
    assert {score.average for score in complete} == {mean.language for mean in whole}


@pytest.mark.parametrize("name", ["longbench", "longbench_synthetic"])
def test_every_part_of_a_task_is_in_its_suite_once_per_average(name):
    tasks = parts_of(load_task(name))
    (suite,) = header_of(tasks).suites
    first = suite.averages[0]
    members = [task for tasks in first.groups.values() for task in tasks]
    assert len(members) == len(set(members)) == len([t for t in tasks if t.info.name in members])
    everything = {task for average in suite.averages for tasks in average.groups.values() for task in tasks}
    assert everything == {task.info.name for task in tasks}


def test_a_suite_stands_once_in_the_header_and_survives_the_store(tmp_path):
    tasks = [*parts_of(load_task("longbench")), *parts_of(load_task("longbench", dataset="e"))]
    header = header_of([*tasks, load_task("passkey")])
    assert [suite.name for suite in header.suites] == ["LongBench", "LongBench-E"]
    assert header.suites[1].buckets == {"0-4k": 4000, "4-8k": 8000, "8k+": None}
    with Store.open(tmp_path / "run", header):
        pass
    stored = RunHeader.model_validate(json.loads((tmp_path / "run/run.json").read_text()))
    assert stored.suites == header.suites
    assert list(stored.suites[0].averages[0].groups) == list(
        dict.fromkeys(d.category for d in DATASETS.values())
    )


def test_the_floor_is_marked_in_the_header():
    task = load_task("longbench", dataset="hotpotqa")
    floor = dataclasses.replace(task, protocol="closed-book")
    qa = load_task("multidoc_qa", protocol="litm-v1-oracle")
    assert [each.reference for each in header_of([task, floor, qa]).tasks] == [None, "floor", "ceiling"]
