"""ROUGE-L equals the package's to the last bit, and has no recursion to run out of."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge import Rouge

from longbench_run.tasks.longbench.rouge import rouge_l

PIECES = st.sampled_from(["a ", "b ", "c ", "A ", "a", "b", ".", ". ", "\n", ",", " "])
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def official(prediction, answer):
    """Score as LongBench does: whatever the package raises counts as 0."""
    try:
        return Rouge().get_scores([prediction], [answer], avg=True)["rouge-l"]["f"]
    except (ValueError, RecursionError):
        return 0.0


@settings(max_examples=500)
@example("...", "a")
@example(" ", "a. ")
@example("a. .", "b. .")
@given(TEXTS, TEXTS)
def test_it_equals_the_package_to_the_last_bit(prediction, answer):
    assert rouge_l(prediction, answer).value == official(prediction, answer)


@pytest.mark.parametrize(
    ("prediction", "answer", "value"),
    [
        ("The Cat sat", "the cat sat", 1 / 3),  # case counts
        ("cat,", "cat", 0.0),  # and punctuation
        ("a a a a", "a", 1.0),  # a word counts once
        ("b. a", "a b", 1.0),  # sentences are put together: order between them is free
        ("b a", "a b", 1 / 2),  # within one it is not
        ("", "a", 0.0),
        ("...", "a", 0.0),
        ("a", "", 0.0),
    ],
)
def test_its_peculiarities(prediction, answer, value):
    assert rouge_l(prediction, answer).value == pytest.approx(value, abs=1e-7)


def test_of_several_longest_subsequences_it_picks_the_packages():
    """The union over sentences shows which one was picked: "a" or "b" of the first."""
    prediction, answer = "b a. b", "a b"

    assert rouge_l(prediction, answer).value == official(prediction, answer)
    assert rouge_l("a b", "b a").value == official("a b", "b a")


@pytest.mark.parametrize(("words", "is_past"), [(900, False), (1200, True), (20_000, True)])
def test_texts_beyond_the_packages_recursion_have_their_score_and_are_marked(words, is_past):
    # The only common word is the first of one and the last of the other: one step back per word.
    prediction, answer = " ".join(["z", *(f"x{i}" for i in range(words))]), "y z"

    found = rouge_l(prediction, answer)

    assert (official(prediction, answer) == 0.0) == is_past
    assert found.past_recursion_limit == is_past
    precision, recall = 1 / (words + 1), 1 / 2
    assert found.value == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-4)
