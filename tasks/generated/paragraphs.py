"""Paragraphs to count and paragraphs to find."""

from __future__ import annotations

import random
from collections.abc import Iterator

from longbench_run.tasks.generated.names import Split
from longbench_run.tasks.generated.passages import Passage, passages
from longbench_run.tasks.generated.sample_wordings import ABSTRACT


def repeating_paragraphs(seed: int, index: int, *, split: Split = "tasks") -> Iterator[str]:
    """Yield paragraphs without end, some of which came before, word for word.

    How many of them are different is `len(set(...))` of as many as were taken. What share of them is new, 0.3
    to 1, is drawn for each sample, so that the number of paragraphs does not tell it.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    draw = random.Random(f"{seed}:repeating paragraphs:{index}:{split}")
    fresh = draw.uniform(0.3, 1)
    told: list[str] = []
    for passage in passages(seed, index, split=split, wording="varied"):
        told.append(passage.text)
        yield passage.text
        while draw.random() > fresh:
            yield draw.choice(told)


def abstract(passage: Passage) -> str:
    """Return what a passage is about, in a sentence that fits no distractor of it."""
    first, second = (question.answers[0] for question in passage.questions[:2])
    return ABSTRACT.format(name=passage.title, first=first, second=second)
