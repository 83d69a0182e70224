"""Training rows: copying, planted keys, passkeys, generated documents, books; each row is a function of its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.tasks.documents import generate_document
from longbench_run.tasks.passkey import FILLER, passkey_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

DOCUMENT_SEED = 1_000_000_007
"""Seed of the documents trained on. Runs count their seeds from 0 and do not meet it."""


class Kind(IntEnum):
    """What a token is to the loss."""

    IGNORED = 0
    """Not predicted: nothing before it tells what it is, or it tells nothing."""
    TEXT = 1
    COPIED = 2
    ANSWER = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One training sequence."""

    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]


def read_book(path: Path) -> str:
    """Return the text of a file with Unix line ends."""
    return path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")


def read_books(folder: Path | None, tokenizer: PreTrainedTokenizerFast) -> NDArray[np.uint16]:
    """Return the tokens of every ``.txt`` file of a folder, one book after the other; empty without a folder."""
    books = [np.zeros(0, dtype=np.uint16)]
    for path in sorted(folder.glob("*.txt")) if folder else ():
        ids = tokenizer.encode(read_book(path), add_special_tokens=False)
        books.append(np.array(ids, dtype=np.uint16))
    return np.concatenate(books)


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes training rows of any length.

    Args:
        tokenizer: The model's tokenizer.
        books: Tokens of books, as from `read_books`. May be empty: generated documents take their place.
        seed: Seed of the training.
    """

    tokenizer: PreTrainedTokenizerFast
    books: NDArray[np.uint16]
    seed: int

    def batch(self, *, stage: str, step: int, count: int, length: int, mixture: Mapping[str, float]) -> Row:
        """Return the rows of one step, stacked.

        Args:
            stage: Name of the stage.
            step: Number of the step in its stage.
            count: Rows.
            length: Tokens in a row.
            mixture: Kind of row -> share. Kinds: copying, scattered, planted, passkey, documents, books.
        """
        makers: dict[str, Callable[[random.Random, int], Row]] = {
            "copying": self.copying,
            "scattered": self.scattered,
            "planted": self.planted,
            "passkey": self.passkey,
            "documents": self.documents,
            "books": self.book,
        }
        rows = []
        for number in range(count):
            draw = random.Random(f"{self.seed}:training:{stage}:{step}:{number}")
            kind = draw.choices(list(mixture), list(mixture.values()))[0]
            rows.append(makers[kind](draw, length))
        return Row(np.stack([row.ids for row in rows]), np.stack([row.kinds for row in rows]))

    def copying(self, draw: random.Random, length: int) -> Row:
        """Return one segment of 4 to 64 random tokens, repeated back to back."""
        segment = self._random_tokens(draw, draw.randint(4, 64))
        ids = np.resize(segment, length - 1)
        kinds = np.full(length - 1, Kind.COPIED)
        kinds[: len(segment) + 1] = Kind.IGNORED  # one more: that the repetition begins cannot be known
        return self._with_bos(ids, kinds)

    def scattered(self, draw: random.Random, length: int) -> Row:
        """Return random tokens among which earlier spans return, at any distance.

        In half of the rows the tokens come from a vocabulary so small that one token tells not enough: what
        follows must be found by matching two or more.
        """
        few = draw.random() < 0.5
        drawn = self._random_tokens(draw, max(32, length // draw.choice((4, 8, 16)))) if few else None
        ids: list[int] = []
        kinds: list[int] = []
        while len(ids) < length - 1:
            fresh = [int(t) for t in self._random_tokens(draw, draw.randint(1, 48), drawn)]
            ids += fresh
            kinds += [Kind.IGNORED] * len(fresh)
            for _ in range(draw.randint(1, 3)):
                start = draw.randrange(len(ids))
                span = ids[start : start + draw.randint(6, 64)]
                unknown = min(len(span), 3 if few else 1)
                ids += span
                kinds += [Kind.IGNORED] * unknown + [Kind.COPIED] * (len(span) - unknown)
        return self._with_bos(np.array(ids[: length - 1]), np.array(kinds[: length - 1]))

    def planted(self, draw: random.Random, length: int) -> Row:
        """Return text in which keys with values are planted, all asked for again at the end.

        A key is two to four tokens whose last one is common in the text around it. A value is five digits, or
        two to eight random tokens.
        """
        base = self._filler(draw, length) if draw.random() < 0.3 else self._text(draw, length)
        wanted = draw.randint(1, max(1, min(12, length // 96)))
        pairs, asked_tokens = [], 0
        digits = [self.tokenizer.encode(str(d), add_special_tokens=False)[-1] for d in range(10)]
        for _ in range(wanted):
            last = [int(base[draw.randrange(len(base))])]
            key = [int(t) for t in self._random_tokens(draw, draw.randint(1, 3))] + last
            if draw.random() < 0.5:
                value = self.tokenizer.encode(" ", add_special_tokens=False) + draw.choices(digits, k=5)
            else:
                value = [int(t) for t in self._random_tokens(draw, draw.randint(2, 8))]
            pairs.append((key, value))
            asked_tokens += len(key) + len(value)
        room = length - 1 - 2 * asked_tokens
        places = sorted(draw.randint(0, room) for _ in pairs)
        ids: list[int] = []
        kinds: list[int] = []
        before = 0
        is_text = draw.random() < 0.5  # or only what was asked for counts
        for place, (key, value) in zip(places, pairs, strict=True):
            ids += [int(t) for t in base[before:place]] + key + value
            kinds += [Kind.TEXT if is_text else Kind.IGNORED] * (place - before)
            kinds += [Kind.IGNORED] * (len(key) + len(value))
            before = place
        ids += [int(t) for t in base[before:room]]
        kinds += [Kind.TEXT if is_text else Kind.IGNORED] * (room - before)
        for key, value in draw.sample(pairs, len(pairs)):
            ids += key + value
            kinds += [Kind.IGNORED] * len(key) + [Kind.COPIED] * len(value)
        return self._with_bos(np.array(ids), np.array(kinds))

    def passkey(self, draw: random.Random, length: int) -> Row:
        """Return a passkey prompt with its answer, the needle at any depth, and text in what room is left.

        One row in three fills ``length``; the others stop anywhere before it.
        """
        key = draw.randint(10_000, 99_999)
        cycle = len(self._encode(" " + " ".join(FILLER)))
        frame = len(self._encode(passkey_prompt(key=key, sentences=0, boundary=0))) + 10
        most = max(0, (length - frame) * len(FILLER) // cycle)
        sentences = most if draw.random() < 1 / 3 else draw.randint(0, most)
        while True:
            boundary = draw.randint(0, sentences)
            prompt = self._encode(passkey_prompt(key=key, sentences=sentences, boundary=boundary))
            answer = [*self._encode(f" {key}."), self._eos]
            if len(prompt) + len(answer) < length:
                break
            sentences -= 1
        ids = prompt + answer
        kinds = [Kind.IGNORED] * len(prompt) + [Kind.ANSWER] * len(answer)
        rest = self._text(draw, length)[: length - 1 - len(ids)]
        return self._with_bos(
            np.concatenate([ids, rest]).astype(np.int64),
            np.concatenate([kinds, np.where(np.arange(len(rest)) == 0, Kind.IGNORED, Kind.TEXT)]),
        )

    def documents(self, draw: random.Random, length: int) -> Row:
        """Return a generated document, from its beginning or from somewhere in it."""
        ids = self._document(draw, length)
        return self._with_bos(ids, np.full(len(ids), Kind.TEXT))

    def book(self, draw: random.Random, length: int) -> Row:
        """Return a piece of a book."""
        ids = self._book(draw, length)
        return self._with_bos(ids, np.full(len(ids), Kind.TEXT))

    def _text(self, draw: random.Random, length: int) -> NDArray[np.int64]:
        return self._book(draw, length) if draw.random() < 0.6 else self._document(draw, length)

    def _book(self, draw: random.Random, length: int) -> NDArray[np.int64]:
        """Return ``length - 1`` tokens."""
        if len(self.books) < length:
            return self._document(draw, length)
        start = draw.randrange(len(self.books) - length)
        return self.books[start : start + length - 1].astype(np.int64)

    def _document(self, draw: random.Random, length: int) -> NDArray[np.int64]:
        """Return ``length - 1`` tokens."""
        index = draw.randrange(1_000_000_000)
        start = draw.choice((0, draw.randrange(4 * length)))
        characters = 6 * length
        while True:
            text = generate_document(DOCUMENT_SEED, index, characters=start + characters)[start:]
            ids = self._encode(text[:characters])
            if len(ids) >= length - 1:
                return np.array(ids[: length - 1])
            characters *= 2

    def _filler(self, draw: random.Random, length: int) -> NDArray[np.int64]:
        """Return ``length - 1`` tokens of the passkey's haystack, its sentences in an order of their own."""
        sentences = draw.sample(FILLER, len(FILLER))
        return np.resize(np.array(self._encode(" " + " ".join(sentences))), length - 1)

    def _random_tokens(
        self, draw: random.Random, count: int, vocabulary: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        generator = np.random.default_rng(draw.getrandbits(64))
        if vocabulary is None:
            return generator.integers(3, len(self.tokenizer), count)  # 0, 1, 2 are special
        return generator.choice(vocabulary, count)

    def _with_bos(self, ids: NDArray[np.int64], kinds: NDArray[np.int64]) -> Row:
        bos = self.tokenizer.bos_token_id
        return Row(
            np.concatenate([[bos], ids]).astype(np.int64),
            np.concatenate([[Kind.IGNORED], kinds]).astype(np.int64),
        )

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    @property
    def _eos(self) -> int:
        return int(self.tokenizer.eos_token_id)
