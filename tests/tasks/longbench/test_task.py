"""The task on the authors' data: one task per dataset, its samples, and scores that are the authors'."""

from __future__ import annotations

import json
import pickle
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks.base import Generated, GenerateRequest, Sample, TaskError
from longbench_run.tasks.longbench import asking
from longbench_run.tasks.longbench.datasets import DATASETS, SELECTIONS, VARIANTS
from longbench_run.tasks.longbench.predictions import read_folder
from longbench_run.tasks.longbench.scoring import averages_of, score_by_bucket, score_of_values
from longbench_run.tasks.longbench.task import Longbench
from longbench_run.tasks.longbench.templates import TEMPLATES
from longbench_run.tasks.registry import create_task, load_task, parts_of


def error_of(call, *arguments, **options):
    with pytest.raises(TaskError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def names(**parameters):
    return [task.info.name for task in parts_of(create_task("longbench", parameters))]


def test_it_stands_for_every_dataset_until_some_are_named():
    assert names() == [f"longbench_{name}" for name in DATASETS]
    assert names(dataset="hotpotqa") == ["longbench_hotpotqa"]
    assert names(dataset="lcc/hotpotqa/lcc") == ["longbench_lcc", "longbench_hotpotqa"]
    assert names(dataset="hotpotqa_e") == ["longbench_hotpotqa_e"]
    assert len(names(dataset="e")) == 13
    assert all(name.endswith("_e") for name in names(dataset="e"))
    assert (len(names(dataset="en")), len(names(dataset="zh"))) == (16, 5)
    assert set(names(dataset="en/zh")) == set(names())


def test_a_part_is_its_own_part():
    (task,) = parts_of(Longbench(dataset="hotpotqa"))
    assert task == Longbench(dataset="hotpotqa")
    assert pickle.loads(pickle.dumps(task)) == task
    assert parts_of(load_task("passkey")) == (load_task("passkey"),)


def test_a_part_says_its_own_metric_size_and_wrapper():
    infos = {name: Longbench(dataset=name).info for name in VARIANTS}
    assert {n: i.default_count for n, i in infos.items() if i.default_count not in (200, 300)} == {
        "multifieldqa_en": 150,
        "lcc": 500,
        "repobench-p": 500,
        "qasper_e": 224,
        "multifieldqa_en_e": 150,
        "multi_news_e": 294,
    }
    assert [metric.name for metric in infos["lsht"].metrics] == ["classification"]
    assert [n for n in DATASETS if not infos[n].uses_chat_template] == [
        "trec",
        "triviaqa",
        "samsum",
        "lsht",
        "lcc",
        "repobench-p",
    ]


def test_an_unknown_dataset_names_the_nearest():
    assert error_of(Longbench, dataset="hotpotq").startswith(
        'longbench: has no dataset "hotpotq" (did you mean "hotpotqa"?). Datasets: 2wikimqa, 2wikimqa_e, all, '
    )
    assert 'has no dataset ""' in error_of(Longbench, dataset="")
    assert 'has no dataset "musique_e"' in error_of(Longbench, dataset="hotpotqa/musique_e")


def test_closed_book_asks_the_datasets_of_questions():
    questions = [
        "narrativeqa",
        "qasper",
        "multifieldqa_en",
        "multifieldqa_zh",
        "hotpotqa",
        "2wikimqa",
        "musique",
        "dureader",
    ]
    assert names(protocol="closed-book") == [f"longbench_{name}" for name in questions]
    assert names(protocol="closed-book", dataset="e/musique") == [
        f"longbench_{name}"
        for name in ("qasper_e", "multifieldqa_en_e", "hotpotqa_e", "2wikimqa_e", "musique")
    ]
    assert error_of(Longbench, protocol="closed-book", dataset="hotpotqa/trec") == (
        "longbench: dataset must be one of questions with protocol closed-book, got 'trec'. Take one of: "
        f"{', '.join(questions)}, qasper_e, multifieldqa_en_e, hotpotqa_e, 2wikimqa_e."
    )
    for name, dataset in VARIANTS.items():
        asked = Longbench(dataset=name).info.protocols
        assert ("closed-book" in asked) == (dataset.category in {"single-doc QA", "multi-doc QA"})
        assert asked[0] == "longbench-v1"
        assert Longbench(dataset=name).info.references == {"closed-book": "floor"}


def test_closed_book_is_the_prompt_without_the_context_at_every_length(write_rows, one_byte):
    folder = str(write_rows("hotpotqa", {"context": "by Ada " * 900, "input": "Who wrote it?"}))
    task = Longbench(dataset="hotpotqa", protocol="closed-book", data_dir=folder)
    prompts = set()
    for length in (1024, 4096):
        (sample,) = task.samples(context_length=length, count=1, seed=0, tokenizer=one_byte)
        assert (sample.tokens_truncated, sample.truncated_at, sample.evidence_survived) == (None, None, None)
        assert (sample.target, sample.document, sample.depth) == ("Ada", "row-0", None)
        prompts.add(bytes(sample.request.prompt_ids[1:]).decode())
    empty = TEMPLATES["hotpotqa"].format(context="", input="Who wrote it?")
    assert prompts == {f"[INST]{empty}[/INST]"}
    minimum = task.minimum_length(one_byte)
    assert minimum == len(f"[INST]{empty}[/INST]") + 1 + 32
    assert error_of(task.samples, context_length=minimum - 1, count=1, seed=0, tokenizer=one_byte)


def test_a_suite_has_every_dataset_where_the_authors_average_it():
    suite = Longbench(dataset="trec").info.suite
    of_language = {average.name: average.groups for average in suite.averages}
    assert (suite.name, list(of_language), suite.buckets) == ("LongBench", ["en", "zh"], {})
    assert {name: len(tasks) for name, tasks in of_language["en"].items()} == {
        "single-doc QA": 3,
        "multi-doc QA": 3,
        "summarization": 3,
        "few-shot": 3,
        "synthetic": 2,
        "code": 2,
    }
    assert [len(tasks) for tasks in of_language["zh"].values()] == [1, 1, 1, 1, 1, 2]
    everything = {name for groups in of_language.values() for tasks in groups.values() for name in tasks}
    assert everything == set(names())
    of_e = Longbench(dataset="trec_e").info.suite
    assert (of_e.name, [average.name for average in of_e.averages]) == ("LongBench-E", ["en"])
    assert {name for group in of_e.averages[0].groups.values() for name in group} == set(names(dataset="e"))
    assert list(of_e.buckets) == ["0-4k", "4-8k", "8k+"]
    assert Longbench().info.suite is None


def test_max_length_belongs_to_the_authors_protocol():
    assert error_of(Longbench, protocol="exact", max_length=3500) == (
        "longbench: max_length must be left out with protocol exact, got 3500. Leave it out for what the context "
        "length gives."
    )
    assert "max_length must be at least 2, got 1" in error_of(Longbench, max_length=1)


def test_samples_need_one_dataset():
    for call in (lambda t: t.parameters(), lambda t: t.minimum_length(None)):
        assert error_of(call, Longbench()) == (
            "longbench: dataset must be one where samples are made, got 'all'. Take its parts()."
        )


def test_parameters_say_the_content_and_no_place(write_rows, tmp_path):
    folder = write_rows("hotpotqa", {})
    same = write_rows("hotpotqa", {}, folder="elsewhere")
    tasks = [Longbench(dataset="hotpotqa", data_dir=str(place)) for place in (folder, tmp_path, same)]
    assert len({json.dumps(task.parameters()) for task in tasks}) == 1
    assert set(tasks[0].parameters()) == {"dataset", "data", "max_length"}
    assert str(tmp_path) not in json.dumps(tasks[0].parameters())
    write_rows("hotpotqa", {"length": 61}, folder="elsewhere")
    assert tasks[2].parameters() != tasks[0].parameters()


def test_a_sample_holds_what_scoring_and_reports_need(write_rows, one_byte):
    folder = write_rows(
        "hotpotqa", {"answers": ["Ada", "Ada L."], "context": "by Ada " * 300, "length": 77}, {}
    )
    task = Longbench(dataset="hotpotqa", data_dir=str(folder))
    found = list(task.samples(context_length=1024, count=9, seed=0, tokenizer=one_byte))
    assert [sample.index for sample in found] == [0, 1]  # all that the file has
    first = found[0]
    assert (first.target, first.answers, first.source_length) == ("Ada", ("Ada", "Ada L."), 77)
    assert (found[1].target, found[1].answers) == ("Ada", ())
    whole = len(one_byte.encode(asking.parts_of(DATASETS["hotpotqa"], task._rows()[0]).text))
    assert (first.tokens_truncated, first.truncated_at, first.evidence_survived) == (whole - 500, 250, True)
    assert len(first.request.prompt_ids) == 500 - 1 + len("[INST][/INST]") + 1
    assert first.request.max_new_tokens == 32
    assert (first.request.end_ids, first.request.min_new_tokens) == ((), 0)
    assert first.document != found[1].document
    assert list(task.samples(context_length=1024, count=1, seed=7, tokenizer=one_byte)) == found[:1]


def test_samsum_ends_at_a_newline_and_says_something_first(write_rows, one_byte):
    task = Longbench(dataset="samsum", data_dir=str(write_rows("samsum", {})))
    (sample,) = task.samples(context_length=1024, count=1, seed=0, tokenizer=one_byte)
    assert (sample.request.end_ids, sample.request.min_new_tokens) == ((ord("\n"),), 1)
    assert not bytes(sample.request.prompt_ids[1:]).startswith(b"[INST]")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(more=st.integers(0, 3000))
def test_exact_prompts_and_answers_stay_within_the_context_length(budgeted, write_rows, more):
    changes = [{"context": "The ferry left at nine. " * n, "input": "When? " * n} for n in (0, 3, 60)]
    task = Longbench(dataset="hotpotqa", protocol="exact", data_dir=str(write_rows("hotpotqa", *changes)))
    length = task.minimum_length(budgeted) + more
    found = list(task.samples(context_length=length, count=3, seed=0, tokenizer=budgeted))
    assert len(found) == 3
    for sample in found:
        assert len(sample.request.prompt_ids) + sample.request.max_new_tokens <= length


def test_a_length_that_is_too_short_is_refused_at_the_call(write_rows, one_byte):
    folder = str(write_rows("hotpotqa", {"input": "Q" * 5000}))
    for protocol in ("longbench-v1", "exact"):
        task = Longbench(dataset="hotpotqa", protocol=protocol, data_dir=folder)
        minimum = task.minimum_length(one_byte)
        assert (minimum == 1024) == (protocol == "longbench-v1")
        assert error_of(task.samples, context_length=minimum - 1, count=1, seed=0, tokenizer=one_byte) == (
            f"longbench_hotpotqa: context_length must be at least {minimum} with protocol {protocol} and this tokenizer, "
            f"got {minimum - 1}. Ask for a longer one."
        )


def test_max_length_wins_over_the_context_length(write_rows, one_byte):
    folder = str(write_rows("lcc", {"context": "x = 1\n" * 500}))
    task = Longbench(dataset="lcc", max_length=300, data_dir=folder)
    (sample,) = task.samples(context_length=777, count=1, seed=0, tokenizer=one_byte)
    assert len(sample.request.prompt_ids) == 300
    assert task.minimum_length(one_byte) == 300
    assert task.parameters()["max_length"] == 300


def test_a_row_without_a_field_is_named(write_rows, one_byte):
    folder = write_rows("hotpotqa", {})
    path = folder / "hotpotqa.jsonl"
    path.write_text(
        path.read_text() + '{"context": "c", "answers": ["a"], "length": 1, "all_classes": null}\n'
    )
    task = Longbench(dataset="hotpotqa", data_dir=str(folder))
    found = error_of(task.samples, context_length=1024, count=1, seed=0, tokenizer=one_byte)
    assert found == f"{path}, line 2: has no field 'input'. It has: all_classes, answers, context, length."


def test_chinese_without_jieba_is_refused_before_anything_is_computed(write_rows, one_byte, monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    asking._cut.cache_clear()
    task = Longbench(dataset="dureader", data_dir=str(write_rows("dureader", {})))
    assert error_of(task.samples, context_length=1024, count=1, seed=0, tokenizer=one_byte) == (
        "longbench_dureader: Chinese text must be cut into words by jieba, which is not installed. "
        'Run `pip install "longbench-run[chinese]"`, or name datasets without Chinese: dataset=en.'
    )
    assert "dureader" not in SELECTIONS["en"]
    english = Longbench(dataset="hotpotqa", data_dir=str(write_rows("hotpotqa", {})))
    assert list(english.samples(context_length=1024, count=1, seed=0, tokenizer=one_byte))


def scored(task, prediction, answers, classes, length):
    sample = Sample(
        index=0,
        context_length=4096,
        request=GenerateRequest(prompt_ids=(1,), max_new_tokens=1),
        target=answers[0],
        answers=answers if len(answers) > 1 else (),
        classes=classes,
        source_length=length,
    )
    (value,) = task.score(sample, Generated(token_ids=(), text=prediction)).scores.values()
    return value


@pytest.mark.parametrize(("model", "datasets"), [("llama2-7b-chat", 21), ("llama3-8b-inst-e", 11)])
def test_scores_of_samples_add_up_to_the_authors_numbers(shared, model, datasets):
    """Real predictions, given to the task as outputs, and the numbers that the authors' scorer prints."""
    path = shared / "data/longbench_predictions" / model
    expected = json.loads((path / "result.json").read_text())
    folder = read_folder(path)
    by_name = {}
    for file in folder.files:
        task = Longbench(dataset=f"{file.dataset.name}{'_e' if folder.is_e else ''}")
        values = [scored(task, row.text, row.answers, file.classes, row.length) for row in file.rows]
        lengths = [row.length for row in file.rows]
        by_name[file.dataset.name] = (
            score_by_bucket(values, lengths) if folder.is_e else score_of_values(values)
        )
    assert by_name == {name: expected[name] for name in by_name}
    assert len(by_name) == datasets
    whole = {mean.category: mean for mean in averages_of(by_name, is_e=folder.is_e) if mean.language == "en"}
    assert (whole["summarization"].present, whole[None].expected) == (2 if folder.is_e else 3, 6)
    if not folder.is_e:
        assert whole["code"].score == (by_name["lcc"] + by_name["repobench-p"]) / 2


def test_the_prediction_that_is_compared_is_kept():
    task = Longbench(dataset="trec")
    sample = Sample(
        index=0,
        context_length=4096,
        request=GenerateRequest(prompt_ids=(1,), max_new_tokens=1),
        target="Date",
        classes=("Date", "Other"),
    )
    score = task.score(sample, Generated(token_ids=(), text="\nDate\nQuestion: next"))
    assert (score.prediction, score.scores) == ("Date", {"classification": 1.0})
