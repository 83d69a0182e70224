"""Passages: a matching reader answers every question from the right one, and no other one helps."""

from __future__ import annotations

import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbench_run.tasks.generated.passage_wordings import FACTS
from longbench_run.tasks.generated.passages import passages, two_hop

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)
WORDINGS = st.sampled_from(["regular", "varied"])
SPLITS = st.sampled_from(["tasks", "training"])


def read(question: str, text: str) -> str | None:
    """Answer a regular question as a reader does who only matches."""
    relation, name = re.fullmatch(r"What is the ([a-z ]+?) of (.+)\?", question).groups()
    if name.startswith("the "):
        name = read(f"What is {name}?", text)
    found = re.search(rf"The {relation} of {name} is ([^.]+)\.", text)
    return found and found[1]


def taken(seed, index, count, **options):
    return list(islice(passages(seed, index, **options), count))


@settings(max_examples=50)
@given(SEEDS, INDICES, WORDINGS, SPLITS)
def test_a_passage_tells_several_facts_in_60_to_111_words(seed, index, wording, split):
    for passage in taken(seed, index, 10, wording=wording, split=split):
        assert 60 <= len(passage.text.split()) <= 111
        assert 4 <= len(passage.questions) <= 6
        assert len({question.question for question in passage.questions}) == len(passage.questions)
        for question in passage.questions:
            assert passage.title in question.question
            (answer,) = question.answers
            assert 1 <= len(answer.split()) <= 4
            assert passage.text.count(question.statement) == 1
            assert answer in question.statement
            assert passage.title in question.statement


@given(SEEDS, INDICES)
def test_a_matching_reader_answers_every_regular_question_among_all_passages(seed, index):
    drawn = taken(seed, index, 15)
    text = " ".join(passage.text for passage in drawn)

    for passage in drawn:
        for question in passage.questions:
            assert read(question.question, text) == question.answers[0]


@given(SEEDS, INDICES, WORDINGS)
def test_no_distractor_holds_the_name_or_an_answer_of_the_gold_passage(seed, index, wording):
    gold, *others = taken(seed, index, 15, wording=wording)
    told = [gold.title, *(answer for question in gold.questions for answer in question.answers)]

    for passage in others:
        whole = f"{passage.title}\n{passage.text}".lower()
        assert [text for text in told if text.lower() in whole] == []


@given(SEEDS, INDICES)
def test_a_question_over_two_hops_takes_both_passages(seed, index):
    question, stream = two_hop(seed, index)
    first, second, *others = islice(stream, 12)
    text = " ".join(passage.text for passage in (*others, second, first))

    assert read(question.question, text) == question.answers[0]
    assert question.answers[0].lower() not in " ".join(p.text for p in (first, *others)).lower()
    assert second.title.lower() not in " ".join(p.text for p in others).lower()
    assert first.title not in second.text
    assert second.title not in question.question
    assert [
        passage.text.count(s) for passage, s in zip((first, second), question.statements, strict=True)
    ] == [1, 1]


@pytest.mark.parametrize("wording", ["regular", "varied"])
def test_the_first_passage_of_two_never_holds_the_answer(wording):
    for index in range(1_000):  # one in fifty would by chance
        question, stream = two_hop(0, index, wording=wording)
        assert question.answers[0].lower() not in next(stream).text.lower()


@given(SEEDS, INDICES)
def test_two_hops_in_other_words_name_only_the_first_entity(seed, index):
    question, stream = two_hop(seed, index, wording="varied")
    first, second = islice(stream, 2)

    assert first.title in question.question
    assert second.title not in question.question
    assert question.answers[0] in second.text
    assert re.search(r"\bthe [a-z ]+ of ", question.question)


@pytest.mark.parametrize("kind", FACTS)
def test_statements_in_other_words_do_not_name_the_relation_as_a_question_does(kind):
    for relation, (_, question, statements) in FACTS[kind].items():
        assert all("{name}" in text and "{value}" in text for text in statements)
        assert "{name}" in question
        assert all(f"The {relation} of" not in text for text in statements)


@given(SEEDS, INDICES, st.integers(1, 20), st.integers(1, 20))
def test_fewer_passages_are_the_first_of_more(seed, index, one, other):
    fewer, more = (taken(seed, index, count) for count in sorted((one, other)))

    assert more[: len(fewer)] == fewer


def test_every_kind_of_entity_and_every_relation_comes():
    asked = {
        q.question.partition(" of ")[0]
        for index in range(40)
        for p in taken(0, index, 20)
        for q in p.questions
    }

    assert asked == {f"What is the {relation}" for kind in FACTS.values() for relation in kind}
