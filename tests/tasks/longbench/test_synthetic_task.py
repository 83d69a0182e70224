"""The same datasets, made up: any length, never beyond the budget, and never taken for the authors'."""

from __future__ import annotations

import dataclasses

import pytest
from rouge_score.rouge_scorer import RougeScorer

from longbench_run.tasks.base import Generated, TaskError
from longbench_run.tasks.longbench import synthetic_task
from longbench_run.tasks.longbench.synthetic import BUILDERS, synthetic_row
from longbench_run.tasks.longbench.synthetic_task import LongbenchSynthetic
from longbench_run.tasks.registry import load_task, parts_of

PARTS = parts_of(load_task("longbench_synthetic"))


def samples(task, tokenizer, *, more=2000, count=2, seed=0):
    length = task.minimum_length(tokenizer) + more
    return list(task.samples(context_length=length, count=count, seed=seed, tokenizer=tokenizer))


def test_every_part_says_what_it_is():
    assert [task.info.name for task in PARTS] == [f"longbench_synthetic_{task.dataset}" for task in PARTS]
    assert {task.dataset for task in PARTS} == set(BUILDERS)
    assert all("not LongBench's data" in task.info.summary for task in PARTS)


@pytest.mark.parametrize("task", PARTS, ids=lambda task: task.dataset)
def test_prompts_stay_within_the_budget_and_one_unit_more_would_not(task, budgeted, monkeypatch):
    made = []
    make = synthetic_task.synthetic_row

    def noted(*arguments, units):
        made.append((arguments, units))
        return make(*arguments, units=units)

    monkeypatch.setattr(synthetic_task, "synthetic_row", noted)
    (sample,) = samples(task, budgeted, count=1)

    arguments, fitting = made[-1]
    assert len(sample.request.prompt_ids) + sample.request.max_new_tokens <= sample.context_length
    assert (sample.tokens_truncated, sample.evidence_survived) == (0, True)
    larger = task._tokens(synthetic_task._read(make(*arguments, units=fitting + 1)), budgeted)
    assert larger + sample.request.max_new_tokens > sample.context_length


@pytest.mark.parametrize("task", PARTS, ids=lambda task: task.dataset)
def test_the_right_answer_gets_everything_and_another_nothing(task, bundled):
    for sample in samples(task, bundled, more=500):
        right = task.score(sample, Generated(token_ids=(), text=sample.target)).scores
        wrong = task.score(sample, Generated(token_ids=(), text="zzz")).scores
        (metric,) = task.info.metrics
        assert right == {metric.name: 1.0}
        assert wrong[metric.name] < 0.3


def test_summaries_are_scored_with_rouge_score(bundled):
    task = LongbenchSynthetic(dataset="gov_report")
    (sample,) = samples(task, bundled, more=0, count=1)
    half = " ".join(sample.target.split()[::2])
    expected = RougeScorer(["rougeL"]).score(sample.target, half)["rougeL"].fmeasure
    assert 0.3 < expected < 0.9
    assert task.score(sample, Generated(token_ids=(), text=half)).scores == {"rouge_score_l": expected}


def test_a_question_is_the_same_at_every_length(bundled):
    task = LongbenchSynthetic(dataset="multifieldqa_en")
    short, long = (samples(task, bundled, more=more, count=1)[0] for more in (0, 6000))
    assert short.target == long.target
    assert len(long.request.prompt_ids) > 4 * len(short.request.prompt_ids)
    assert samples(task, bundled, seed=1, count=1)[0].target != short.target


def test_closed_book_asks_the_same_questions_and_shows_nothing(bundled):
    floors = parts_of(load_task("longbench_synthetic", protocol="closed-book"))
    assert [task.dataset for task in floors] == [
        "narrativeqa", "qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "musique",
    ]  # fmt: skip
    for floor in floors:
        task = dataclasses.replace(floor, protocol="exact")
        assert floor.minimum_length(bundled) == task.minimum_length(bundled)
        for asked, shown in zip(samples(floor, bundled), samples(task, bundled), strict=True):
            assert (asked.document, asked.answers, asked.target) == (
                shown.document,
                shown.answers,
                shown.target,
            )
            assert (asked.evidence_survived, asked.tokens_truncated, asked.depth) == (None, None, None)
            text = bundled.decode(asked.request.prompt_ids)
            for evidence in synthetic_row(floor.dataset, 0, asked.index, units=3).evidence:
                assert evidence not in text
                assert evidence in bundled.decode(shown.request.prompt_ids)
            assert text.endswith(bundled.decode(shown.request.prompt_ids)[-60:])
    with pytest.raises(TaskError, match=r"must be one of questions with protocol closed-book, got 'trec'"):
        LongbenchSynthetic(protocol="closed-book", dataset="trec")


def test_its_suite_is_its_own_and_has_every_part():
    (suite,) = {id(task.info.suite): task.info.suite for task in PARTS}.values()
    assert suite.name == "longbench_synthetic"
    (average,) = suite.averages
    assert {name for group in average.groups.values() for name in group} == {task.info.name for task in PARTS}


def test_names_and_lengths_that_are_not_there_are_refused(bundled):
    for name in ("dureader", "hotpotqa_e"):
        with pytest.raises(TaskError, match=f'^longbench_synthetic: has no dataset "{name}"'):
            LongbenchSynthetic(dataset=name)
    with pytest.raises(TaskError, match=r'has no protocol "longbench-v1"'):
        LongbenchSynthetic(protocol="longbench-v1")
    task = LongbenchSynthetic(dataset="qasper")
    minimum = task.minimum_length(bundled)
    with pytest.raises(
        TaskError, match=rf"^longbench_synthetic_qasper: .* at least {minimum} .*, got {minimum - 1}\."
    ):
        task.samples(context_length=minimum - 1, count=1, seed=0, tokenizer=bundled)
    with pytest.raises(TaskError, match=r"dataset must be one where samples are made, got 'all'"):
        LongbenchSynthetic().minimum_length(bundled)
    assert dataclasses.replace(task, dataset="all").parts()
