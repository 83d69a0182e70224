"""Generated English-like documents of any length, in which what was said early helps to tell what comes later."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from longbench_run.tasks.generated import words
from longbench_run.tasks.generated.document_wordings import (
    ANIMAL,
    ARTICLES,
    DATE,
    DIALOGUE,
    HOUSE,
    LETTER,
    PRICES,
    QUESTIONS,
    QUOTATIONS,
    REFRAIN,
    REMINDERS,
    SCENERY,
    SONG,
    STATEMENTS,
    TRADE,
    TRADE_ENDINGS,
    VESSEL,
)
from longbench_run.tasks.generated.names import Names, Split

GENERATOR_VERSION = 2
"""Raised whenever a document changes, its words included: numbers on other documents are other numbers."""


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    facts: dict[str, str]
    goods: str

    def say(self, template: str, relation: str) -> str:
        sentence = template.format(
            name=self.name, goods=self.goods, **(self.facts | {"value": self.facts[relation]})
        )
        return sentence[0].upper() + sentence[1:]


@dataclass(slots=True)
class _World:
    """One document in the making: who and what has been told so far."""

    random_state: random.Random
    names: Names
    towns: list[str] = field(default_factory=list)
    people: list[_Person] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    vessel: str = ""
    refrain: str = ""

    def __post_init__(self) -> None:
        draw = self.random_state
        self.towns = [self.names.town() for _ in range(3)]
        self.vessel = VESSEL.format(vessel=draw.choice(words.VESSELS), name=self.names.name())
        line = " ".join(self.names.word() for _ in range(draw.randint(5, 8)))
        burden = " ".join(self.names.word() for _ in range(draw.randint(3, 5)))
        self.refrain = REFRAIN.format(line=line.capitalize(), burden=burden)

    def earlier(self, things: list[str]) -> str:
        """Return one of ``things``, each order of magnitude of distance from the end about equally likely."""
        back = int(len(things) ** self.random_state.random())
        return things[-back]

    def company(self, count: int) -> list[_Person]:
        """Return that many different people who were introduced, one in two of them among the latest ten."""
        chosen: list[_Person] = []
        while len(chosen) < count:
            near = self.people[-10:] if self.random_state.random() < 0.5 else self.people
            person = self.random_state.choice(near)
            if person not in chosen:
                chosen.append(person)
        return chosen

    def newcomer(self) -> _Person:
        """Make up a person and let them into the cast."""
        draw = self.random_state
        animal = draw.choice(words.ANIMALS)
        article = ARTICLES[animal[0] in "aeiou" and not animal.startswith("one")]
        price = draw.choice(PRICES).format(shillings=draw.randint(2, 19), pence=draw.randint(2, 11))
        house = HOUSE.format(
            number=draw.randint(2, 199),
            street=draw.choice(words.STREETS),
            kind=draw.choice(words.STREET_KINDS),
        )
        birth = DATE.format(
            day=draw.randint(1, 28), month=draw.choice(words.MONTHS), year=draw.randint(1780, 1899)
        )
        facts = {
            "trade": draw.choice(words.TRADES),
            "home": draw.choice(self.towns),
            "house": house,
            "animal": ANIMAL.format(article=article, animal=animal, name=self.names.name()),
            "keepsake": draw.choice(words.KEEPSAKES),
            "birth": birth,
            "price": price,
            "fear": draw.choice(words.FEARS),
            "wish": draw.choice(words.WISHES),
            "inn": draw.choice(words.INNS),
        }
        person = _Person(self.names.person(), facts, draw.choice(words.GOODS))
        self.people.append(person)
        return person

    def statement(self, person: _Person, relation: str) -> str:
        """State a fact in one of its wordings."""
        sentence = person.say(self.random_state.choice(STATEMENTS[relation]), relation)
        self.sentences.append(sentence)
        return sentence

    def scenery(self) -> str:
        draw = self.random_state
        scene = draw.choice(words.SCENES).format(hour=draw.choice(words.HOURS))
        return SCENERY.format(weather=draw.choice(words.WEATHER), scene=scene)


def _introduction(world: _World) -> str:
    draw = world.random_state
    if draw.random() < 0.2:
        world.towns.append(world.names.town())
    person = world.newcomer()
    relations = draw.sample(sorted(STATEMENTS), draw.randint(4, 7))
    return " ".join([world.scenery(), *(world.statement(person, relation) for relation in relations)])


def _reminder(world: _World) -> str:
    draw = world.random_state
    parts = [world.scenery()] if draw.random() < 0.5 else []
    for person in world.company(draw.randint(1, 3)):
        for relation in draw.sample(sorted(STATEMENTS), draw.randint(1, 2)):
            plain = world.statement(person, relation)
            as_clause = plain if plain.startswith(person.name) else plain[0].lower() + plain[1:]
            parts.append(draw.choice(REMINDERS).format(statement=as_clause, plain=plain))
    return " ".join(parts)


def _quotation(world: _World) -> str:
    """Repeat sentences word for word."""
    draw = world.random_state
    return draw.choice(QUOTATIONS) + " ".join(
        world.earlier(world.sentences) for _ in range(draw.randint(1, 4))
    )


def _repetition(world: _World) -> str:
    """Repeat a whole paragraph word for word."""
    return world.earlier(world.paragraphs)


def _dialogue(world: _World) -> str:
    draw = world.random_state
    asking, answering = world.company(2)
    lines = []
    for relation in draw.sample(sorted(QUESTIONS), draw.randint(1, 3)):
        (person,) = world.company(1)
        question, answer = (person.say(template, relation) for template in QUESTIONS[relation])
        lines.append(
            DIALOGUE.format(
                question=question,
                answer=answer,
                asking=asking.name,
                answering=answering.name,
                manner=draw.choice(words.MANNERS),
            )
        )
    return " ".join(lines)


def _trade(world: _World) -> str:
    draw = world.random_state
    seller, buyer = world.company(2)
    filled = {
        "weekday": draw.choice(words.WEEKDAYS),
        "count": draw.choice((2, 3, 4, 5, 6, 8, 10, 12, 20, 40)),
        "manner": draw.choice(words.MANNERS),
        "vessel": world.vessel,
        "buyer": buyer.name,
        "buyer_home": buyer.facts["home"],
        "buyer_house": buyer.facts["house"],
        "seller": seller.name,
        "goods": seller.goods,
    } | {relation: seller.facts[relation] for relation in ("trade", "home", "price", "inn")}
    sentence = TRADE.format(**filled)
    world.sentences.append(sentence)
    return f"{sentence} {draw.choice(TRADE_ENDINGS).format(**filled)}"


def _letter(world: _World) -> str:
    draw = world.random_state
    writer, reader, absent = world.company(3)
    relations = draw.sample(sorted(STATEMENTS), 2)
    told = " ".join(world.statement(absent, relation) for relation in relations)
    return LETTER.format(
        home=writer.facts["home"],
        date=f"{draw.randint(1, 28)} {draw.choice(words.MONTHS)}",
        reader=reader.name,
        absent=absent.name,
        told=told,
        scenery=world.scenery(),
        writer=writer.name,
        house=writer.facts["house"],
    )


def _song(world: _World) -> str:
    draw = world.random_state
    (singer,) = world.company(1)
    manner = draw.choice(words.MANNERS).capitalize()
    return SONG.format(manner=manner, singer=singer.name, refrain=world.refrain)


def _landscape(world: _World) -> str:
    return " ".join(world.scenery() for _ in range(world.random_state.randint(2, 4)))


_KINDS: tuple[tuple[Callable[[_World], str], float], ...] = (
    (_introduction, 0.12),
    (_reminder, 0.28),
    (_quotation, 0.14),
    (_repetition, 0.08),
    (_dialogue, 0.14),
    (_trade, 0.10),
    (_letter, 0.05),
    (_song, 0.04),
    (_landscape, 0.05),
)


def paragraphs(seed: int, index: int, *, split: Split = "tasks") -> Iterator[str]:
    """Yield the paragraphs of one document, without end.

    Each document has a cast of its own, whose names, towns, prices and dates are made up. Facts about it are
    stated, asked for, put in other words and repeated word for word, near and far: the distance back is drawn
    so that every order of magnitude is about equally likely. New people come in as the document goes on.

    Args:
        seed: Seed of the collection.
        index: Number of the document, from 0.
        split: Split of everything invented.
    """
    random_state = random.Random(f"{seed}:documents:{index}:{split}")
    world = _World(random_state, Names(random_state, split))
    kinds, weights = zip(*_KINDS, strict=True)
    while True:
        kind = _introduction if len(world.people) < 3 else world.random_state.choices(kinds, weights)[0]
        paragraph = kind(world)
        world.paragraphs.append(paragraph)
        yield paragraph


def generate_document(seed: int, index: int, *, characters: int, split: Split = "tasks") -> str:
    """Return the first paragraphs of a document, as many as make at least ``characters`` characters.

    A shorter document is the beginning of a longer one of the same seed and index. See `paragraphs` for what
    is in it.

    Args:
        seed: Seed of the collection.
        index: Number of the document, from 0.
        characters: Length wanted, at least 1. The last paragraph is whole.
        split: Split of everything invented.
    """
    parts: list[str] = []
    length = 0
    for paragraph in paragraphs(seed, index, split=split):
        parts.append(paragraph)
        length += len(paragraph) + 2  # what joins two paragraphs
        if length - 2 >= characters:
            break
    return "\n\n".join(parts)
