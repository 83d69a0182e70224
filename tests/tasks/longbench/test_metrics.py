"""Each metric of LongBench, trap by trap: values worked out by hand from what the authors' code does."""

from __future__ import annotations

import time
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.longbench import metrics
from longbench_run.tasks.longbench.datasets import DATASETS
from longbench_run.tasks.longbench.metrics import Given
from longbench_run.tasks.longbench.scoring import score_sample

NOTHING = Given()
LETTERS = Given(cut=list)
"""Cuts Chinese text into characters."""


@pytest.mark.parametrize(
    ("prediction", "answer", "f1"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("a-b", "ab", 1.0),  # punctuation goes before articles: no "a" is left alone
        ("a b", "b", 1.0),
        ("paris paris", "paris", 2 / 3),  # a bag, not a set
        ("Paris。", "paris", 0.0),  # only ASCII punctuation is dropped
        ("", "paris", 0.0),
        ("the", "the", 0.0),  # nothing is left of either
    ],
)
def test_qa_f1_compares_bags_of_normalised_words(prediction, answer, f1):
    assert metrics.qa_f1(prediction, answer, NOTHING).value == f1


@pytest.mark.parametrize(
    ("prediction", "answer", "f1"),
    [
        ("北京。", "北京", 1.0),
        ("》北京", "北京", 1.0),
        ("《北京", "北京", 0.8),  # the authors' list of punctuation lacks the left bracket
        ("A a", "aa", 1.0),
        ("", "北京", 0.0),
    ],
)
def test_qa_f1_zh_normalises_word_by_word(prediction, answer, f1):
    assert metrics.qa_f1_zh(prediction, answer, LETTERS).value == pytest.approx(f1, abs=1e-15)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("Sport", 1.0),
        ("Sport or News", 1 / 2),
        ("Sport news and News", 1 / 2),  # "Sport news" is a class of its own
        ("News", 0.0),
        ("sport", 0.0),  # as written
    ],
)
def test_classification_divides_by_the_classes_that_are_named(prediction, score):
    assert (
        metrics.classification(prediction, "Sport", Given(classes=["Sport", "News", "Music"])).value == score
    )


@pytest.mark.parametrize(
    ("classes", "score"),
    [
        (["Abbreviation expanded", "Abbreviation"], 1.0),
        (["Abbreviation", "Abbreviation expanded", "expanded"], 1.0),
        # Removing "Abbreviation" makes the walk pass over "expanded", which stays and halves the score.
        (["Abbreviation", "expanded", "Abbreviation expanded"], 1 / 2),
    ],
)
def test_classification_depends_on_the_order_of_the_classes(classes, score):
    found = metrics.classification("Abbreviation expanded", "Abbreviation expanded", Given(classes=classes))

    assert found.value == score


@pytest.mark.parametrize(
    ("metric", "prediction", "answer", "score"),
    [
        (metrics.retrieval, "Paragraph 7", "Paragraph 7", 1.0),
        (metrics.retrieval, "7, 8 or 7.5", "Paragraph 7", 2 / 4),
        (metrics.retrieval, "Paragraph 07", "Paragraph 7", 0.0),  # as written
        (metrics.retrieval, "seven", "Paragraph 7", 0.0),
        (metrics.retrieval_zh, "段落7", "段落7", 1.0),
        (metrics.retrieval_zh, "段落71", "段落7", 0.0),
        (metrics.count, "There are 12 of 30.", "12", 1 / 2),
        (metrics.count, "", "12", 0.0),
    ],
)
def test_numbers_are_compared_as_written_and_wrong_ones_divide(metric, prediction, answer, score):
    assert metric(prediction, answer, NOTHING).value == score


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("return x", "return x", 1.0),
        ("\n\nreturn x\ny = 1", "return x", 1.0),
        ("```python\n# a comment\n// another\nreturn x", "return x", 1.0),
        (" \nreturn x", "return x", 0.22),  # a line of one space is a line
        ("# only a comment", "return x", 0.0),
        ("", "return x", 0.0),
        ("abcd", "bcde", 0.75),
        ("abc", "abx", 0.67),  # whole percent: 66.7 is 67
        ("a" * 99, "a" * 101, 0.99),
        # Letters that fill more than 1 % of 200 or more are passed over by difflib: that of the answer only.
        ("x" + "ab" * 20, "y" + "ab" * 100, 0.0),
        ("y" + "ab" * 100, "x" + "ab" * 20, 0.33),
    ],
)
def test_code_sim_is_difflibs_ratio_of_the_first_line_of_code(prediction, answer, score):
    assert metrics.code_sim(prediction, answer, NOTHING).value == score


@given(st.text(alphabet="ab c", max_size=30), st.text(alphabet="ab c", max_size=30))
def test_code_sim_is_whole_percent(line, answer):
    percent = 100 * metrics.code_sim(line, answer, NOTHING).value

    assert percent == pytest.approx(round(percent), abs=1e-9)
    assert abs(percent - 100 * SequenceMatcher(None, line, answer).ratio()) <= 0.5 + 1e-9


def test_only_the_few_shot_datasets_take_the_first_line():
    assert [name for name, d in DATASETS.items() if d.first_line] == ["trec", "triviaqa", "samsum", "lsht"]


@pytest.mark.parametrize(
    ("dataset", "prediction", "score"),
    [
        ("triviaqa", "\n\nParis\nQuestion: who", 1.0),
        ("triviaqa", " \nParis", 0.0),  # a space before the newline: the first line is that space
        ("hotpotqa", "Paris\nBerlin", 2 / 3),
    ],
)
def test_the_first_line_counts_where_the_table_says_so(dataset, prediction, score):
    assert score_sample(DATASETS[dataset], prediction, ["Paris"], NOTHING).value == pytest.approx(score)


def test_the_best_answer_counts():
    assert score_sample(DATASETS["hotpotqa"], "Paris", ["Berlin", "Paris"], NOTHING).value == 1.0


@pytest.mark.parametrize(
    ("dataset", "prediction", "answer"),
    [
        ("hotpotqa", "word " * 20_000, "word " * 100),
        ("gov_report", "word " * 20_000, "word in a sentence of a report. " * 100),
        ("gov_report", "word. " * 17_000, "word in a sentence of a report. " * 100),
        ("dureader", "字" * 100_000, "字典" * 300),
        ("passage_count", "7 " * 50_000, "7"),
        ("lcc", "ab(c" * 25_000, "value = ab(c)[index]"),
        ("lcc", "# comment\n" * 10_000, "value = ab(c)[index]"),
    ],
)
def test_a_hundred_thousand_characters_are_scored_in_seconds(dataset, prediction, answer):
    started = time.perf_counter()

    found = score_sample(DATASETS[dataset], prediction, [answer], LETTERS)

    assert 0 <= found.value <= 1
    assert time.perf_counter() - started < 20  # measured: below 1 s
