"""Few-shot examples whose answers follow from the examples before: types of questions, labels, dialogues."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from longbench_run.tasks.generated import words
from longbench_run.tasks.generated.names import Names, Split
from longbench_run.tasks.generated.passages import passages
from longbench_run.tasks.generated.sample_wordings import DIALOGUES, QUESTION_TYPES, TRIVIA

TYPES = tuple(QUESTION_TYPES)
"""Classes of `typed_questions`."""
_MOST_CLASSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What is shown, and what is to be said to it."""

    text: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """An example that is asked, and endless ones to show before it."""

    asked: Example
    examples: Iterator[Example]
    """The first is the one to go by; the others come in any order."""
    classes: tuple[str, ...] | None = None
    """Every label, where they are known beforehand."""


def typed_questions(seed: int, index: int, *, split: Split = "tasks") -> FewShot:
    """Return questions with the type of their answers, as in TREC.

    The example to go by asks the same of somebody else, so that matching it is enough.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    draw = random.Random(f"{seed}:typed questions:{index}:{split}")
    names = Names(draw, split)

    def example(label: str, question: str) -> Example:
        return Example(text=question.format_map(fillings(draw, names)), label=label)

    def another() -> Example:
        label = draw.choice(TYPES)
        return example(label, draw.choice(QUESTION_TYPES[label]))

    asked_label = draw.choice(TYPES)
    asked_question = draw.choice(QUESTION_TYPES[asked_label])
    asked, model = (example(asked_label, asked_question) for _ in range(2))
    return FewShot(asked=asked, examples=chain((model,), iter(another, None)), classes=TYPES)


def labelled_items(seed: int, index: int, *, split: Split = "tasks", classes: int = _MOST_CLASSES) -> FewShot:
    """Return invented items with invented labels, which only the examples tell.

    The item asked is that of the first example; no other item occurs twice.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
        classes: Different labels, at least 1.
    """
    draw = random.Random(f"{seed}:labelled items:{index}:{split}:{classes}")
    names = Names(draw, split)
    labels = tuple(names.name() for _ in range(classes))

    def another() -> Example:
        return Example(text=names.pair(), label=draw.choice(labels))

    asked = another()
    return FewShot(asked=asked, examples=chain((asked,), iter(another, None)), classes=labels)


def dialogues(seed: int, index: int, *, split: Split = "tasks") -> FewShot:
    """Return short dialogues with what they come to, as in SAMSum.

    The example to go by takes the same course between other people, about other things.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    draw = random.Random(f"{seed}:dialogues:{index}:{split}")
    names = Names(draw, split)

    def example(said: tuple[str, ...]) -> Example:
        filled = fillings(draw, names)
        return Example(text="\n".join(said).format_map(filled), label=DIALOGUES[said].format_map(filled))

    def another() -> Example:
        return example(draw.choice(tuple(DIALOGUES)))

    said = draw.choice(tuple(DIALOGUES))
    asked, model = (example(said) for _ in range(2))
    return FewShot(asked=asked, examples=chain((model,), iter(another, None)))


def trivia(seed: int, index: int, *, split: Split = "tasks") -> FewShot:
    """Return passages with a question each, as in LongBench's TriviaQA: the asked one holds its answer itself.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    examples = (
        Example(
            text=TRIVIA.format(passage=passage.text, question=passage.questions[0].question),
            label=passage.questions[0].answers[0],
        )
        for passage in passages(seed, index, split=split, wording="varied")
    )
    return FewShot(asked=next(examples), examples=examples)


def fillings(draw: random.Random, names: Names) -> Mapping[str, str]:
    """Return something new for every placeholder that a sentence may have."""
    lists: Mapping[str, Sequence[str]] = {
        "trade": words.TRADES,
        "goods": words.GOODS,
        "food": words.FOODS,
        "keepsake": words.KEEPSAKES,
        "animal": words.ANIMALS,
        "month": words.MONTHS,
        "weekday": words.WEEKDAYS,
    }
    invented = {
        "person": names.person(),
        "town": names.town(),
        "other": names.town(),
        "name": names.name(),
        "word": names.word(),
        "a": names.name(),
        "b": names.name(),
    }
    return invented | {name: draw.choice(entries) for name, entries in lists.items()}
