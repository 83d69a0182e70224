"""Few-shot examples: the one to go by tells what is right for the one asked."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.few_shot import TYPES, dialogues, labelled_items, trivia, typed_questions
from longbench_run.tasks.generated.names import ORDINARY, words_of

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)


def frame(text: str) -> list[str]:
    """Return the plain words of a text: what is left of it without what was invented."""
    return [word for word in words_of(text) if word in ORDINARY]


@given(SEEDS, INDICES)
def test_a_typed_question_is_answered_as_the_example_that_asks_the_same(seed, index):
    shots = typed_questions(seed, index)
    model, *others = islice(shots.examples, 20)

    assert shots.classes == TYPES
    assert {example.label for example in (model, *others)} <= set(TYPES)
    assert model.label == shots.asked.label
    assert model.text != shots.asked.text
    assert SequenceMatcher(None, frame(model.text), frame(shots.asked.text)).ratio() >= 0.5


def test_every_type_of_question_is_asked():
    assert {typed_questions(0, index).asked.label for index in range(400)} == set(TYPES)


def test_a_form_of_question_has_one_type():
    types: dict[str, set[str]] = {}
    for index in range(20):
        for example in islice(typed_questions(0, index).examples, 100):
            types.setdefault(" ".join(example.text.split()[:3]), set()).add(example.label)

    assert len(types) > 20
    assert all(len(labels) <= 2 for labels in types.values())


@given(SEEDS, INDICES, st.integers(1, 12))
def test_an_item_has_the_label_that_the_examples_give_it(seed, index, classes):
    shots = labelled_items(seed, index, classes=classes)
    examples = list(islice(shots.examples, 60))
    labels = {example.text: example.label for example in examples}

    assert len(labels) == 60
    assert labels[shots.asked.text] == shots.asked.label
    assert set(labels.values()) <= set(shots.classes)
    assert len(set(shots.classes)) == classes


@given(SEEDS, INDICES)
def test_a_summary_says_nothing_that_its_dialogue_does_not(seed, index):
    shots = dialogues(seed, index)
    for example in (shots.asked, *islice(shots.examples, 20)):
        invented = [word for word in words_of(example.label) if word not in ORDINARY]
        assert invented
        assert set(invented) <= set(words_of(example.text))
        assert {line.partition(":")[0] for line in example.text.split("\n")} & set(
            re.findall(r"\w+", example.label)
        )


@given(SEEDS, INDICES)
def test_the_example_to_go_by_takes_the_same_course_as_the_dialogue_asked(seed, index):
    shots = dialogues(seed, index)
    model = next(shots.examples)

    assert model.text.split(": ")[1].split()[0] == shots.asked.text.split(": ")[1].split()[0]
    assert not set(words_of(model.text)) & set(words_of(shots.asked.text)) - ORDINARY


@given(SEEDS, INDICES)
def test_only_the_passage_of_a_trivia_question_answers_it(seed, index):
    shots = trivia(seed, index)
    for example in (shots.asked, *islice(shots.examples, 10)):
        _, passage, question = re.fullmatch(
            r"(Passage):\n(.+)\nQuestion:\n(.+)\nAnswer:", example.text
        ).groups()
        assert example.label in passage
        assert example.label not in question
    assert not any(shots.asked.label in example.text for example in islice(shots.examples, 10))


@pytest.mark.parametrize("make", [typed_questions, labelled_items, dialogues, trivia])
def test_examples_do_not_end(make):
    assert len({example.text for example in islice(make(0, 0).examples, 500)}) > 490
