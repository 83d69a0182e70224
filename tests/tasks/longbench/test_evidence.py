"""Whether evidence survived: whole words and paragraphs, and no claim where none can be made."""

from __future__ import annotations

import json

import pytest

from longbench_run.tasks.longbench.asking import sample_of
from longbench_run.tasks.longbench.datasets import DATASETS
from longbench_run.tasks.longbench.evidence import evidence_survived, parts_of_evidence
from longbench_run.tasks.longbench.prompts import filled
from longbench_run.tasks.longbench.rows import LongbenchRow
from longbench_run.tasks.longbench.synthetic import synthetic_row
from longbench_run.tasks.longbench.truncation import TRUNCATIONS


def survived(texts, before, after, *, as_read=str):
    return evidence_survived([texts], before=before, after=after, as_read=as_read)


def row(context, *answers, evidence=None):
    return LongbenchRow(
        context=context, question="", answers=answers, classes=(), length=1, evidence=evidence
    )


@pytest.mark.parametrize(
    ("texts", "before", "after", "expected"),
    [
        (("Ada",), "by Ada and Bob", "by Ada", True),
        (("Ada",), "by Ada and Bob", "and Bob", False),
        (("Ada", "Bob"), "by Ada and Bob", "and Bob", True),
        (("Carl",), "by Ada and Bob", "by Ada", None),
        (("Carl", "Bob"), "by Ada and Bob", "by Ada", False),
        (("ada  lovelace",), "Ada\nLovelace wrote", "Ada Lovelace", True),
        (("55",), "at 55 miles in 1955", "in 1955", False),
        (("55",), "at 55 miles in 1955", "at 55.", True),
        (("北京",), "他在北京工作", "在北京", True),
        (("(a)",), "see (a), x", "see (a)", True),
        (("",), "text", "text", None),
    ],
)
def test_one_text_that_stood_there_must_still_stand(texts, before, after, expected):
    assert survived(texts, before, after) is expected


def test_what_a_tokenizer_loses_is_not_missed():
    lossy = survived(
        ("naïve Ada",), "the naïve Ada", "the nave Ada", as_read=lambda text: text.replace("ï", "")
    )
    assert lossy is True
    assert survived(("naïve Ada",), "the naïve Ada", "the nave Ada") is False


def test_answers_that_stand_nowhere_are_no_evidence():
    assert parts_of_evidence(row("c", "Yes", "No", "unanswerable", "Ada"), "answer") == (("Ada",),)
    assert survived((), "text", "text") is None


def test_a_row_that_says_its_evidence_is_believed():
    assert parts_of_evidence(row("c", "Ada", evidence=("one", "two")), "answer") == (("one",), ("two",))
    assert parts_of_evidence(row("c", "Ada", evidence=()), "answer") == ()
    assert parts_of_evidence(row("c", "Ada"), None) is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [("one, then two", True), ("one, then", False), ("then two", False), ("then", False)],
)
def test_of_several_parts_all_must_survive(after, expected):
    parts = (("one", "1"), ("two",))
    assert evidence_survived(parts, before="one, then two", after=after, as_read=str) is expected
    assert evidence_survived((*parts, ("three",)), before="one, then two", after=after, as_read=str) is None


def test_no_parts_survive_any_cut():
    assert evidence_survived((), before="text", after="", as_read=str) is True


@pytest.mark.parametrize("dataset", ["hotpotqa", "gov_report", "passage_count"])
def test_a_made_up_row_with_parts_survives_only_as_a_whole(dataset, bundled):
    """Cut a little more each time: the claim is that of every part looked up by itself."""
    made = synthetic_row(dataset, 3, 0, units=12)
    asked = row(made.row["context"], *made.row["answers"], evidence=made.evidence)
    assert len(made.evidence) > 1
    found = set()
    parts = filled(dataset, context=asked.context, question="")
    shortest, whole = (len(bundled.encode_chat(text)) for text in (parts.with_context(""), parts.text))
    for limit in (*range(shortest + 20, whole, (whole - shortest) // 20), whole):
        sample = sample_of(
            DATASETS[dataset],
            asked,
            index=0,
            context_length=limit,
            truncation=TRUNCATIONS["exact"],
            limit=limit,
            tokenizer=bundled,
            document="row-0",
        )
        text = " ".join(bundled.decode(sample.request.prompt_ids).split())
        held = [" ".join(part.split()) in text for part in made.evidence]
        assert sample.evidence_survived is all(held)
        found.add((any(held), all(held)))
    assert {(True, False), (True, True)} <= found


@pytest.mark.parametrize(
    ("context", "answer", "paragraph"),
    [
        (
            "Paragraph 1: one\n\nParagraph 2: two\nmore\n\nParagraph 3: x",
            "Paragraph 2",
            "Paragraph 2: two\nmore",
        ),
        ("Paragraph 1: one\n\nParagraph 11: eleven", "Paragraph 1", "Paragraph 1: one"),
        ("Paragraph 1: see Paragraph 2: there\n\nParagraph 2: here", "Paragraph 2", "Paragraph 2: here"),
        ("段落1：一\n段落2：二", "段落2", "段落2：二"),  # noqa: RUF001
    ],
)
def test_a_paragraph_goes_to_the_next_number(context, answer, paragraph):
    assert parts_of_evidence(row(context, answer), "paragraph") == ((paragraph,),)


def test_a_text_without_paragraphs_has_no_evidence():
    assert parts_of_evidence(row("no heads here", "Paragraph 1"), "paragraph") == ((),)


def test_real_retrieval_rows_have_their_paragraph(shared):
    for name in ("passage_retrieval_en", "passage_retrieval_zh"):
        for line in (shared / f"data/longbench/{name}.jsonl").read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            ((found,),) = parts_of_evidence(row(fields["context"], *fields["answers"]), "paragraph")
            assert found in fields["context"]
            assert len(found) > 20
