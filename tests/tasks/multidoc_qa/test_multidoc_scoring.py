"""best_subspan_em: what counts as an answer, and real answers of a model."""

from __future__ import annotations

import gzip
import json

import pytest

from longbench_run.tasks.multidoc_qa.scoring import (
    FIRST_LINE_PROTOCOL,
    PROTOCOL,
    best_subspan_em,
    first_line,
    score_file,
)


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("It was the Röntgen-tube.", ["röntgentube"], 1.0),
        ("in 1901", ["May 1901", "1901"], 1.0),
        ("in 19011", ["1901"], 1.0),  # a part of a word is enough
        ("in 1902", ["1901"], 0.0),
        ("", ["1901"], 0.0),
        ("anything", ["The"], 1.0),  # nothing is left of the answer, and nothing is in everything
    ],
)
def test_an_answer_anywhere_in_the_prediction_is_right(prediction, answers, score):
    assert best_subspan_em(prediction, answers) == score


@pytest.mark.parametrize(
    ("prediction", "line"), [(" Bonn \nParis", "Bonn"), ("\nParis", ""), ("Paris", "Paris"), ("a\r\nb", "a")]
)
def test_the_authors_script_takes_the_first_line(prediction, line):
    assert first_line(prediction) == line


@pytest.mark.parametrize("compressed", [False, True])
def test_both_protocols_are_scored_and_empty_predictions_counted(compressed, tmp_path):
    rows = [
        {"question": "q", "model_answer": text, "answers": ["Paris"]}
        for text in ("Paris", "Bonn\nParis", "Bonn", " ")
    ]
    text = "".join(f"{json.dumps(row)}\n\n" for row in rows).encode()
    path = tmp_path / ("a.jsonl.gz" if compressed else "a.jsonl")
    path.write_bytes(gzip.compress(text) if compressed else text)

    found = score_file(path)

    assert found.scores == {PROTOCOL: 0.5, FIRST_LINE_PROTOCOL: 0.25}
    assert (found.samples, found.empty) == (4, 1)


def test_real_answers_have_the_expected_scores_exactly(shared):
    """The expected values are of whole answers; of first lines there are none, the paper's setting is near them."""
    folder = shared / "data/lost_in_the_middle/predictions"
    expected = json.loads((folder / "expected.json").read_text())

    for name in ("10_total_documents.gold_at_0", "20_total_documents.gold_at_14"):
        (path,) = folder.glob(f"{name}.*.jsonl.gz")
        found = score_file(path)
        assert found.samples == 2655
        assert found.scores[expected["metric"]] == expected[name]
        assert found.scores[FIRST_LINE_PROTOCOL] < expected[name]
