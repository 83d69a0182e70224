"""Paragraphs that repeat, and the sentence that fits one of them only."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.paragraphs import abstract, repeating_paragraphs
from longbench_run.tasks.generated.passages import passages

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)


def test_the_number_of_paragraphs_does_not_tell_how_many_are_different():
    shares = [len(set(islice(repeating_paragraphs(0, index), 60))) / 60 for index in range(200)]

    assert min(shares) < 0.4
    assert max(shares) > 0.9
    assert len({round(share, 1) for share in shares}) >= 6


@given(SEEDS, INDICES, st.integers(1, 20), st.integers(1, 20))
def test_fewer_paragraphs_are_the_first_of_more(seed, index, one, other):
    fewer, more = (list(islice(repeating_paragraphs(seed, index), count)) for count in sorted((one, other)))

    assert more[: len(fewer)] == fewer


@given(SEEDS, INDICES)
def test_an_abstract_fits_its_own_paragraph_only(seed, index):
    gold, *others = islice(passages(seed, index, wording="varied"), 12)
    named = [gold.title, *(question.answers[0] for question in gold.questions[:2])]

    assert all(text in abstract(gold) and text in gold.text for text in named)
    assert not any(text in passage.text for text in named for passage in others)
