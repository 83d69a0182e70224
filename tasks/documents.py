"""Generated English-like documents of any length, in which what was said early helps to tell what comes later."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from longbench_run.tasks import words

GENERATOR_VERSION = 1
"""Raised whenever a document changes, its words included: numbers on other documents are other numbers."""

_STATEMENTS: dict[str, tuple[str, ...]] = {
    "trade": (
        "{name} was a {value}.",
        "By trade {name} was a {value}.",
        "Everyone in {home} knew {name} as the {value}.",
        "{name}, the {value}, was seldom seen without {animal}.",
    ),
    "home": (
        "{name} lived in {value}.",
        "The home of {name} was in {value}.",
        "It was in {value} that {name} kept house.",
        "Letters for {name} were sent to {value}.",
    ),
    "house": (
        "{name} had a house at {value}.",
        "The house of {name} stood at {value}.",
        "You would find {name} at {value}.",
        "At {value} there was a door with the name of {name} on it.",
    ),
    "animal": (
        "{name} kept {value}.",
        "Wherever {name} went, there went {value}.",
        "For company {name} had {value}.",
        "{name} would not part with {value} for any money.",
    ),
    "keepsake": (
        "In a drawer {name} kept the {value}.",
        "The {value} belonged to {name}.",
        "{name} never spoke of the {value}.",
        "Of all things {name} valued the {value}.",
    ),
    "birth": (
        "{name} was born on {value}.",
        "The register gives the birth of {name} as {value}.",
        "On {value} {name} came into the world.",
        "{name} always kept the day, {value}.",
    ),
    "price": (
        "{name} sold {goods} at {value} the dozen.",
        "From {name} one could have {goods} for {value}.",
        "{name} asked {value} for {goods}, and never a penny less.",
        "The price that {name} asked was {value}.",
    ),
    "fear": (
        "{name} was afraid of {value}.",
        "What {name} feared was {value}.",
        "Nothing troubled {name} so much as {value}.",
        "It was said that {value} made {name} turn pale.",
    ),
    "wish": (
        "{name} hoped {value}.",
        "The one wish of {name} was {value}.",
        "All that {name} wanted was {value}.",
        "If asked, {name} would say that the plan was {value}.",
    ),
    "inn": (
        "In the evening {name} sat at the {value}.",
        "{name} took supper at the {value}.",
        "At the {value} there was a chair that was called the chair of {name}.",
        "The {value} was the house where {name} was always welcome.",
    ),
}
_QUESTIONS: dict[str, tuple[str, str]] = {
    "trade": ("What is the trade of {name}?", "{name} is a {value}."),
    "home": ("Where does {name} live?", "{name} lives in {value}."),
    "house": ("At which door shall I ask for {name}?", "At {value}."),
    "animal": ("What was that beside {name}?", "That was {value}."),
    "keepsake": ("What does {name} keep in that drawer?", "The {value}."),
    "birth": ("When was {name} born?", "On {value}."),
    "price": ("What does {name} ask for {goods}?", "{value}, not a penny less."),
    "fear": ("What is {name} afraid of?", "Of {value}."),
    "wish": ("What does {name} hope for?", "{name} hopes {value}."),
    "inn": ("Where does {name} sit of an evening?", "At the {value}."),
}
_REMINDERS = (
    "As has been told, {statement}",
    "It will be remembered that {statement}",
    "{plain}",
    "{plain}",
    "{plain}",
    "Nothing had changed: {statement}",
    "The old people still said that {statement}",
)


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
    towns: list[str] = field(default_factory=list)
    people: list[_Person] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    vessel: str = ""
    refrain: str = ""

    def __post_init__(self) -> None:
        draw = self.random_state
        self.towns = [words.town_name(draw) for _ in range(3)]
        self.vessel = f"the {draw.choice(words.VESSELS)} {words.made_up_word(draw).capitalize()}"
        line = " ".join(words.made_up_word(draw) for _ in range(draw.randint(5, 8)))
        burden = " ".join(words.made_up_word(draw) for _ in range(draw.randint(3, 5)))
        self.refrain = f"{line.capitalize()}, {burden}, {burden}!"

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
        article = "an" if animal[0] in "aeiou" and not animal.startswith("one") else "a"
        price = f"{draw.randint(2, 19)} shillings" + (
            f" and {draw.randint(2, 11)} pence" if draw.random() < 0.5 else ""
        )
        facts = {
            "trade": draw.choice(words.TRADES),
            "home": draw.choice(self.towns),
            "house": f"{draw.randint(2, 199)} {draw.choice(words.STREETS)} {draw.choice(words.STREET_KINDS)}",
            "animal": f"{article} {animal} called {words.made_up_word(draw).capitalize()}",
            "keepsake": draw.choice(words.KEEPSAKES),
            "birth": f"the {draw.randint(1, 28)} of {draw.choice(words.MONTHS)} {draw.randint(1780, 1899)}",
            "price": price,
            "fear": draw.choice(words.FEARS),
            "wish": draw.choice(words.WISHES),
            "inn": draw.choice(words.INNS),
        }
        name = f"{draw.choice(words.FIRST_NAMES)} {words.surname(draw)}"
        person = _Person(name, facts, draw.choice(words.GOODS))
        self.people.append(person)
        return person

    def statement(self, person: _Person, relation: str) -> str:
        """State a fact in one of its wordings."""
        sentence = person.say(self.random_state.choice(_STATEMENTS[relation]), relation)
        self.sentences.append(sentence)
        return sentence

    def scenery(self) -> str:
        draw = self.random_state
        scene = draw.choice(words.SCENES).format(hour=draw.choice(words.HOURS))
        return f"{draw.choice(words.WEATHER)}, and {scene}."


def _introduction(world: _World) -> str:
    draw = world.random_state
    if draw.random() < 0.2:
        world.towns.append(words.town_name(draw))
    person = world.newcomer()
    relations = draw.sample(sorted(_STATEMENTS), draw.randint(4, 7))
    return " ".join([world.scenery(), *(world.statement(person, relation) for relation in relations)])


def _reminder(world: _World) -> str:
    draw = world.random_state
    parts = [world.scenery()] if draw.random() < 0.5 else []
    for person in world.company(draw.randint(1, 3)):
        for relation in draw.sample(sorted(_STATEMENTS), draw.randint(1, 2)):
            plain = world.statement(person, relation)
            as_clause = plain if plain.startswith(person.name) else plain[0].lower() + plain[1:]
            parts.append(draw.choice(_REMINDERS).format(statement=as_clause, plain=plain))
    return " ".join(parts)


def _quotation(world: _World) -> str:
    """Repeat sentences word for word."""
    draw = world.random_state
    opening = draw.choice(
        ("It was written in the book: ", "The clerk read once more: ", "Again and again: ", "")
    )
    return opening + " ".join(world.earlier(world.sentences) for _ in range(draw.randint(1, 4)))


def _repetition(world: _World) -> str:
    """Repeat a whole paragraph word for word."""
    return world.earlier(world.paragraphs)


def _dialogue(world: _World) -> str:
    draw = world.random_state
    asking, answering = world.company(2)
    lines = []
    for relation in draw.sample(sorted(_QUESTIONS), draw.randint(1, 3)):
        (person,) = world.company(1)
        question, answer = (person.say(template, relation) for template in _QUESTIONS[relation])
        lines.append(
            f'"{question}" asked {asking.name} {draw.choice(words.MANNERS)}. "{answer}" said {answering.name}.'
        )
    return " ".join(lines)


def _trade(world: _World) -> str:
    draw = world.random_state
    seller, buyer = world.company(2)
    count = draw.choice((2, 3, 4, 5, 6, 8, 10, 12, 20, 40))
    sentence = (
        f"On {draw.choice(words.WEEKDAYS)} {buyer.name} bought {count} dozen {seller.goods} of {seller.name}, "
        f"the {seller.facts['trade']} of {seller.facts['home']}, at {seller.facts['price']} the dozen."
    )
    world.sentences.append(sentence)
    closing = draw.choice(
        (
            f"They went by {world.vessel} to {buyer.facts['home']}.",
            f"They were carried to {buyer.facts['house']}.",
            f"The bargain was closed at the {seller.facts['inn']}.",
            f"{buyer.name} counted them {draw.choice(words.MANNERS)}.",
        )
    )
    return f"{sentence} {closing}"


def _letter(world: _World) -> str:
    draw = world.random_state
    writer, reader, absent = world.company(3)
    relations = draw.sample(sorted(_STATEMENTS), 2)
    told = " ".join(world.statement(absent, relation) for relation in relations)
    date = f"{draw.randint(1, 28)} {draw.choice(words.MONTHS)}"
    return (
        f"{writer.facts['home']}, {date}. Dear {reader.name}, you ask after {absent.name}. {told} "
        f"{world.scenery()} Yours, {writer.name}, {writer.facts['house']}."
    )


def _song(world: _World) -> str:
    draw = world.random_state
    (singer,) = world.company(1)
    return f"{draw.choice(words.MANNERS).capitalize()} {singer.name} began to sing: {world.refrain}"


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


def paragraphs(seed: int, index: int) -> Iterator[str]:
    """Yield the paragraphs of one document, without end.

    Each document has a cast of its own, whose names, towns, prices and dates are made up. Facts about it are
    stated, asked for, put in other words and repeated word for word, near and far: the distance back is drawn
    so that every order of magnitude is about equally likely. New people come in as the document goes on.

    Args:
        seed: Seed of the collection.
        index: Number of the document, from 0.
    """
    world = _World(random.Random(f"{seed}:documents:{index}"))
    kinds, weights = zip(*_KINDS, strict=True)
    while True:
        kind = _introduction if len(world.people) < 3 else world.random_state.choices(kinds, weights)[0]
        paragraph = kind(world)
        world.paragraphs.append(paragraph)
        yield paragraph


def generate_document(seed: int, index: int, *, characters: int) -> str:
    """Return the first paragraphs of a document, as many as make at least ``characters`` characters.

    A shorter document is the beginning of a longer one of the same seed and index. See `paragraphs` for what
    is in it.

    Args:
        seed: Seed of the collection.
        index: Number of the document, from 0.
        characters: Length wanted, at least 1. The last paragraph is whole.
    """
    parts: list[str] = []
    length = 0
    for paragraph in paragraphs(seed, index):
        parts.append(paragraph)
        length += len(paragraph) + 2  # what joins two paragraphs
        if length - 2 >= characters:
            break
    return "\n\n".join(parts)
