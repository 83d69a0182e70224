"""Passages about invented people, towns, ships and the like, with questions that only the right one answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from longbench_run.tasks.generated import words
from longbench_run.tasks.generated.names import Names, Split
from longbench_run.tasks.generated.passage_wordings import FACTS, QUESTION, SCENERY, STATEMENT

Wording = Literal["regular", "varied"]
"""How facts are stated: all in one form, or each kind in forms of its own that do not name the relation."""

_LISTS: Mapping[str, tuple[str, ...]] = {
    "trade": words.TRADES,
    "month": words.MONTHS,
    "weekday": words.WEEKDAYS,
    "goods": words.GOODS,
    "keepsake": words.KEEPSAKES,
    "animal": words.ANIMALS,
}
_INVENTED: Mapping[str, Callable[[Names], str]] = {
    "person": Names.person,
    "town": Names.town,
    "ship": Names.name,
    "firm": Names.name,
    "mountain": Names.name,
    "school": Names.name,
    "name": Names.name,
    "word": Names.word,
    "pair": Names.pair,
}
_FEWEST_WORDS = (60, 95)
"""Words that a passage has at least are drawn from this range; its last sentence may bring up to 17 more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and what answers it."""

    question: str
    answers: tuple[str, ...]
    """Every right answer; one or two words each, up to four for a keepsake."""
    statements: tuple[str, ...]
    """What tells the answer, word for word: one sentence per passage that is needed."""

    @property
    def statement(self) -> str:
        """The statements as one text."""
        return " ".join(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """60 to 111 words about one entity."""

    title: str
    """Name of the entity."""
    text: str
    questions: tuple[Question, ...]
    """One per fact told, 4 to 6, in no order."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the passages of one sample."""

    random_state: random.Random
    names: Names
    wording: Wording

    def passage(self, kind: str, name: str, told: Mapping[str, str] | None = None) -> Passage:
        """Write about one entity.

        Args:
            kind: A key of `FACTS`.
            name: Name of the entity.
            told: Relation -> value, for facts that are settled beforehand.
        """
        draw = self.random_state
        told = told or {}
        others = [relation for relation in FACTS[kind] if relation not in told]
        relations = [*told, *draw.sample(others, draw.randint(4, min(6, len(FACTS[kind]))) - len(told))]
        questions = [self.question(kind, relation, name, told.get(relation)) for relation in relations]
        sentences = [question.statement for question in questions]
        fewest = draw.randint(*_FEWEST_WORDS)
        while sum(len(sentence.split()) for sentence in sentences) < fewest:
            scene = draw.choice(words.SCENES).format(hour=draw.choice(words.HOURS))
            sentences.append(SCENERY.format(weather=draw.choice(words.WEATHER), scene=scene))
        draw.shuffle(sentences)
        return Passage(title=name, text=" ".join(sentences), questions=tuple(questions))

    def question(self, kind: str, relation: str, name: str, value: str | None) -> Question:
        """Draw a fact, and state it and ask for it in the wording of this sample."""
        value_kind, question, statements = FACTS[kind][relation]
        if value is None:
            value = self.value(value_kind)
        if self.wording == "regular":
            question, statement = QUESTION, STATEMENT
        else:
            statement = self.random_state.choice(statements)
        filled = {"relation": relation, "name": name, "value": value}
        return Question(
            question=question.format(**filled), answers=(value,), statements=(statement.format(**filled),)
        )

    def value(self, kind: str) -> str:
        """Draw from a list, or invent."""
        if kind in _LISTS:
            return self.random_state.choice(_LISTS[kind])
        return _INVENTED[kind](self.names)

    def entity(self) -> tuple[str, str]:
        """Return the kind and the name of a new entity."""
        kind = self.random_state.choice(list(FACTS))
        return kind, _INVENTED[kind](self.names)

    def distractors(self, *gold: Passage) -> Iterator[Passage]:
        """Yield passages in which no name and no answer of ``gold`` occurs, not even in another word."""
        forbidden = [text.casefold() for passage in gold for text in _told(passage)]
        while True:
            passage = self.passage(*self.entity())
            whole = f"{passage.title} {passage.text}".casefold()
            if not any(text in whole for text in forbidden):
                yield passage


def passages(
    seed: int, index: int, *, split: Split = "tasks", wording: Wording = "regular"
) -> Iterator[Passage]:
    """Yield passages without end: the gold one, then distractors.

    Every passage is about another entity. No distractor contains the name of the gold one's entity or an answer
    to one of its questions, in any case, not even inside another word.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
        wording: ``regular`` states every fact as "The {relation} of {name} is {value}." and asks "What is the
            {relation} of {name}?"; ``varied`` uses other words for both.
    """
    writer = _writer(seed, f"passages:{index}", split, wording)
    gold = writer.passage(*writer.entity())
    yield gold
    yield from writer.distractors(gold)


def two_hop(
    seed: int, index: int, *, split: Split = "tasks", wording: Wording = "regular"
) -> tuple[Question, Iterator[Passage]]:
    """Return a question that takes two passages to answer, and passages without end.

    The first passage tells of A that its teacher, say, is B; the second tells the fact about B that is asked
    for. The others are distractors, as in `passages`, to both.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
        wording: As in `passages`.
    """
    writer = _writer(seed, f"two hops:{index}", split, wording)
    draw = writer.random_state
    kind, name = writer.entity()
    bridges = {
        relation: value_kind for relation, (value_kind, *_) in FACTS[kind].items() if value_kind in FACTS
    }
    inner = draw.choice(list(bridges))
    between = writer.value(bridges[inner])
    first = writer.passage(kind, name, {inner: between})
    while True:
        second = writer.passage(bridges[inner], between)
        asked = second.questions[0]
        if not any(answer.casefold() in first.text.casefold() for answer in asked.answers):
            break
    question = Question(
        question=asked.question.replace(between, f"the {inner} of {name}"),
        answers=asked.answers,
        statements=(*first.questions[0].statements, *asked.statements),
    )

    def all_passages() -> Iterator[Passage]:
        yield first
        yield second
        yield from writer.distractors(first, second)

    return question, all_passages()


def _writer(seed: int, what: str, split: Split, wording: Wording) -> _Writer:
    random_state = random.Random(f"{seed}:{what}:{split}:{wording}")
    return _Writer(random_state, Names(random_state, split), wording)


def _told(passage: Passage) -> Iterator[str]:
    yield passage.title
    for question in passage.questions:
        yield from question.answers
