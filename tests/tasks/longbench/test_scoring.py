"""Scores of folders: rounding, buckets, averages, and which of the two benchmarks a folder holds."""

from __future__ import annotations

import json

import pytest

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench.datasets import CATEGORIES, DATASETS, DATASETS_E, bucket_of
from longbench_run.tasks.longbench.predictions import read_folder
from longbench_run.tasks.longbench.scoring import averages, score_folder

QA = {"pred": "Paris", "answers": ["Paris"], "all_classes": None, "length": 10}
WRONG = QA | {"pred": "Berlin"}
LSHT = {"pred": "体育", "answers": ["体育"], "all_classes": ["体育", "传媒业"], "length": 1}


def write(folder, **files):
    """Write rows as DATASET.jsonl; a double underscore stands for a hyphen."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name.replace('__', '-')}.jsonl").write_text(text, encoding="utf-8")
    return folder


def scored(folder, **options):
    return {score.dataset.name: score for score in score_folder(read_folder(folder, **options))}


def test_the_table_is_the_published_one():
    assert (len(DATASETS), len(DATASETS_E)) == (21, 13)
    assert sum(d.size for d in DATASETS.values()) == 4750
    assert {d.category for d in DATASETS.values()} == set(CATEGORIES)
    assert sum(d.max_new_tokens for d in DATASETS.values()) == 3168


@pytest.mark.parametrize(
    ("length", "bucket"), [(0, "0-4k"), (3999, "0-4k"), (4000, "4-8k"), (7999, "4-8k"), (8000, "8k+")]
)
def test_a_bucket_ends_before_its_upper_bound(length, bucket):
    assert bucket_of(length) == bucket


def test_a_score_is_rounded_to_two_decimals(tmp_path):
    assert scored(write(tmp_path, hotpotqa=[QA, QA, WRONG]))["hotpotqa"].score == 66.67


def test_an_empty_bucket_has_no_score(tmp_path):
    rows = [QA | {"length": 100}, WRONG | {"length": 100}, QA | {"length": 9000}]

    assert scored(write(tmp_path, hotpotqa_e=rows))["hotpotqa"].score == {
        "0-4k": 50.0,
        "4-8k": None,
        "8k+": 100.0,
    }


def test_buckets_are_rounded_by_numpy_and_datasets_by_python(tmp_path):
    """2.675 is a little less than it says: Python's rounding knows that, numpy's does not."""
    row = QA | {"pred": " ".join(["7"] * 107 + ["8"] * 3893), "answers": ["Paragraph 7"]}
    folder = write(tmp_path, passage_retrieval_en=[row])

    assert scored(folder, is_e=False)["passage_retrieval_en"].score == 2.67
    assert scored(folder, is_e=True)["passage_retrieval_en"].score["0-4k"] == 2.68


def test_classes_are_those_of_the_last_row(tmp_path):
    first = {"pred": "a b", "answers": ["a"], "all_classes": ["a"], "length": 1}

    found = scored(write(tmp_path, trec=[first, first | {"all_classes": ["a", "b"]}]))["trec"]

    assert found.values == (0.5, 0.5)


def test_an_empty_prediction_scores_0_and_is_counted(tmp_path):
    found = scored(write(tmp_path, hotpotqa=[QA, QA | {"pred": ""}, QA | {"pred": " \n"}]))["hotpotqa"]

    assert (found.values, found.empty) == ((1.0, 0.0, 0.0), 2)


def test_code_counts_for_both_languages_and_an_incomplete_category_has_no_average(tmp_path):
    code = QA | {"pred": "x", "answers": ["x"]}
    folder = write(tmp_path, lcc=[code], repobench__p=[code | {"pred": "y"}], hotpotqa=[QA], lsht=[LSHT])
    means = averages(list(score_folder(read_folder(folder))), is_e=False)
    found = {(m.language, m.category): (m.score, m.present, m.expected) for m in means}

    assert found["en", "code"] == found["zh", "code"] == (50.0, 2, 2)
    assert found["en", "multi-doc QA"] == (None, 1, 3)
    assert found["zh", "few-shot"] == (100.0, 1, 1)
    assert found["en", None] == (None, 1, 6)
    assert found["zh", None] == (None, 2, 6)


@pytest.mark.parametrize(
    ("folder", "files", "is_e", "why"),
    [
        ("any", {"trec_e": 1}, True, "the files' names end with _e"),
        ("any-e", {"trec": 300, "musique": 200}, False, "it holds datasets that LongBench-E does not have"),
        ("any", {"hotpotqa": 300, "qasper": 224}, True, "the numbers of rows"),
        ("any", {"hotpotqa": 300, "qasper": 226}, True, "the numbers of rows"),
        ("pred_e", {"hotpotqa": 200, "multifieldqa_en": 150}, False, "the numbers of rows"),
        ("any", {"multifieldqa_en": 150}, False, "nothing says otherwise"),
        ("model-e", {"multifieldqa_en": 150}, True, "the folder's name"),
        ("pred_e/model", {"multifieldqa_en": 150}, True, "the folder's name"),
    ],
)
def test_longbench_e_is_told_by_names_and_numbers_of_rows(folder, files, is_e, why, tmp_path):
    rows = {name: [LSHT if name.startswith("trec") else QA] * count for name, count in files.items()}

    found = read_folder(write(tmp_path / folder, **rows))

    assert (found.is_e, found.why) == (is_e, why)


def test_what_is_asked_for_wins(tmp_path):
    folder = write(tmp_path, hotpotqa=[QA] * 300)

    assert scored(folder, is_e=False)["hotpotqa"].score == 100.0
    assert scored(folder, is_e=True)["hotpotqa"].score["0-4k"] == 100.0


def test_longbench_needs_no_length(tmp_path):
    row = {name: value for name, value in QA.items() if name != "length"}

    assert scored(write(tmp_path, hotpotqa=[row]))["hotpotqa"].score == 100.0


def test_chinese_text_is_cut_by_jieba(tmp_path):
    row = QA | {"pred": "我来到北京清华大学", "answers": ["清华大学"]}

    found = scored(write(tmp_path, multifieldqa_zh=[row]))["multifieldqa_zh"]

    assert found.values == (pytest.approx(2 * (1 / 4) / (1 / 4 + 1)),)  # 我 来到 北京 清华大学


def test_without_jieba_chinese_words_are_refused_and_the_rest_is_scored(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("longbench_run.tasks.longbench.chinese.import_module", missing)
    rest = write(tmp_path / "rest", hotpotqa=[QA], lsht=[LSHT])
    chinese = write(tmp_path / "chinese", hotpotqa=[QA], dureader=[QA])

    assert set(scored(rest)) == {"hotpotqa", "lsht"}
    with pytest.raises(TaskError) as error:
        scored(chinese)
    assert str(error.value) == (
        f"{chinese}/dureader.jsonl: Chinese text must be cut into words by jieba, which is not installed. "
        'Run `pip install "longbench-run[chinese]"`, or move the file away.'
    )
