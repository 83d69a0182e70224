"""Invented words, names and identifiers, each of which belongs to one split for good.

What the reference model is trained on must say nothing of what tasks ask, whatever their seeds. So the split is
a property of a word, not of a seed: every invented word of a text is drawn until one of the text's split comes.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable, Iterable
from itertools import chain, count
from types import ModuleType
from typing import Literal
from zlib import crc32

from longbench_run.tasks.generated import (
    code_wordings,
    document_wordings,
    passage_wordings,
    sample_wordings,
    words,
)

Split = Literal["tasks", "training"]
"""Who may see a text: the tasks of this package, or the training of its reference model."""

_TABLES = (words, document_wordings, passage_wordings, sample_wordings, code_wordings)
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WORDS = re.compile(rf"{_UUID}|[A-Z]?[a-z]+|[A-Z]+")
_KEYS = re.compile(r"(?<![0-9A-Za-z])[1-9][0-9]{4}(?![0-9A-Za-z])")
_PLACEHOLDERS = re.compile(r"\{\w*\}")

_ONSETS = ("b", "br", "c", "cl", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "qu", "r", "s", "sk", "st",
           "t", "th", "tr", "v", "w", "z")  # fmt: skip
_NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ou", "y")
_CODAS = ("", "", "l", "m", "n", "r", "s", "t", "ck", "ld", "nd", "rn", "sh", "th", "x")
_TOWN_ENDINGS = ("bridge", "bury", "by", "dale", "field", "ford", "ham", "haven", "ley", "mere", "mouth", "port",
                 "stead", "ton", "wick", "worth")  # fmt: skip
_PATIENCE = 64
"""Draws after which a word gets one more syllable: short ones may be used up in a long text."""


def split_of(word: str) -> Split:
    """Return the split that an invented word, or a uuid, belongs to; half of them belong to each.

    Args:
        word: One word in any case. A name of several words has one split per word.
    """
    return "tasks" if crc32(word.lower().encode()) % 2 else "training"


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case: runs of letters, cut where `CamelCase` does, and uuids."""
    return [word.lower() for word in _WORDS.findall(text)]


def belongs_to_tasks(text: str, *, plain: frozenset[str] = frozenset()) -> str | None:
    """Return something in a generated text that only tasks may use, or None.

    Two things are the tasks' own: invented words of their split, and the keys of ``passkey``, which are numbers
    from 10000 to 99999 that stand alone. Every word that is neither in the word lists and wordings of this
    package nor in ``plain`` is taken for an invented one, so nothing invented is missed. For texts that nobody
    generated, such as books, ask `first_key`: they hold other words, and no needles.

    Args:
        text: A text of this package's generators, whole or in part, and what stands around it.
        plain: Lower-case words of the text that are neither invented nor of this package: an instruction's.
    """
    invented = (word for word in words_of(text) if word not in ORDINARY and word not in plain)
    return first_key(text) or next((word for word in invented if split_of(word) == "tasks"), None)


def first_key(text: str) -> str | None:
    """Return the first five-digit number of a text that could be a key of ``passkey``, or None."""
    found = _KEYS.search(text)
    return found.group() if found else None


def _texts(value: object) -> Iterable[str]:
    """Yield every text in a table of texts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(_texts, chain(value.keys(), value.values())))
    elif isinstance(value, tuple):
        yield from chain.from_iterable(map(_texts, value))


def _tables(module: ModuleType) -> Iterable[str]:
    """Yield every text in the tables of a module."""
    return chain.from_iterable(_texts(value) for name, value in vars(module).items() if name.isupper())


ORDINARY: frozenset[str] = frozenset(
    word
    for text in chain.from_iterable(map(_tables, _TABLES))
    for word in words_of(_PLACEHOLDERS.sub(" ", text))
)
"""Words of the lists and wordings that every text shares, in lower case. None of them is ever invented."""


class Names:
    """Draws the invented words of one text, none of them twice.

    Args:
        random_state: What is drawn from; the text's own.
        split: Split that every word belongs to.
    """

    def __init__(self, random_state: random.Random, split: Split) -> None:
        self._random_state = random_state
        self._split = split
        self._drawn: set[str] = set()

    def word(self) -> str:
        """Return a word of two or three syllables, in lower case."""
        return self._draw(lambda extra: self._syllables(self._random_state.choice((2, 2, 3)) + extra))

    def name(self) -> str:
        """Return a name of one word: of a family, a river, a ship."""
        return self.word().capitalize()

    def person(self) -> str:
        """Return a first name and an invented family name."""
        return f"{self._random_state.choice(words.FIRST_NAMES)} {self.name()}"

    def town(self) -> str:
        """Return the name of a town."""
        ending = self._random_state.choice(_TOWN_ENDINGS)
        return self._draw(lambda extra: self._syllables(1 + extra) + ending).capitalize()

    def pair(self) -> str:
        """Return two words joined by a hyphen, in lower case."""
        return f"{self.word()}-{self.word()}"

    def uuid(self) -> str:
        """Return a random (version 4) uuid."""
        return self._draw(lambda extra: str(uuid.UUID(int=self._random_state.getrandbits(128), version=4)))

    def _draw(self, make: Callable[[int], str]) -> str:
        """Return the first of endless tries that may be used; ``make`` gets how many syllables to add."""
        tries = (make(attempt // _PATIENCE) for attempt in count())
        word = next(word for word in tries if self._is_free(word))
        self._drawn.add(word)
        return word

    def _is_free(self, word: str) -> bool:
        return split_of(word) == self._split and word not in self._drawn and word not in ORDINARY

    def _syllables(self, number: int) -> str:
        choice = self._random_state.choice
        return "".join(choice(_ONSETS) + choice(_NUCLEI) + choice(_CODAS) for _ in range(number))
