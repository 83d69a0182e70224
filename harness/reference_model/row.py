"""What a training row is made of: token ids, and what each of them is to the loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.tasks.documents import generate_document
from longbench_run.tasks.generated.names import belongs_to_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from random import Random

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast


class Kind(IntEnum):
    """What a token is to the loss."""

    IGNORED = 0
    """Not predicted: nothing before it tells what it is, or it tells nothing."""
    TEXT = 1
    COPIED = 2
    ANSWER = 3


GENERATED_SEED = 1_000_000_007
"""Seed of what is generated for training. Runs count their seeds from 0 and do not meet it."""
INDICES = 1_000_000_000
"""Generated samples to draw from."""


class Refused(ValueError):
    """A training sample holds what a task may ask for."""


def unasked(text: str) -> str:
    """Return a generated text that no task asks about, whatever its seed.

    Raises:
        Refused: If something in it belongs to the tasks.
    """
    found = belongs_to_tasks(text)
    if found is not None:
        raise Refused(f"training must not see {found!r}: tasks may ask for it")
    return text


@dataclass(frozen=True, slots=True)
class Row:
    """One training sequence."""

    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]


@dataclass(slots=True)
class RowBuilder:
    """Puts a row together from left to right."""

    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)

    def add(self, ids: Iterable[int], kind: Kind) -> None:
        """Append tokens that are all of one kind."""
        before = len(self.ids)
        self.ids.extend(int(token) for token in ids)
        self.kinds.extend([kind] * (len(self.ids) - before))

    def row(self, source: Source, length: int) -> Row:
        """Return ``<s>`` and the first ``length - 1`` tokens."""
        ids, kinds = self.ids[: length - 1], self.kinds[: length - 1]
        return Row(
            np.array([source.bos, *ids], dtype=np.int64), np.array([Kind.IGNORED, *kinds], dtype=np.int64)
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Source:
    """What rows are drawn from.

    Args:
        tokenizer: The model's tokenizer.
        books: Tokens of books, as from `read_books`. May be empty: generated documents take their place.
    """

    tokenizer: PreTrainedTokenizerFast
    books: NDArray[np.uint16]

    @property
    def bos(self) -> int:
        """Id of the token that begins a sequence."""
        return int(self.tokenizer.bos_token_id)

    @property
    def eos(self) -> int:
        """Id of the token that ends a sequence."""
        return int(self.tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, no special ones."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def random_tokens(
        self, draw: Random, count: int, vocabulary: NDArray[np.int64] | None = None
    ) -> list[int]:
        """Return tokens drawn evenly from a vocabulary, or from all that are not special."""
        generator = np.random.default_rng(draw.getrandbits(64))
        if vocabulary is None:
            drawn = generator.integers(3, len(self.tokenizer), count)  # 0, 1, 2 are special
        else:
            drawn = generator.choice(vocabulary, count)
        return [int(token) for token in drawn]

    def prose(self, draw: Random, count: int) -> NDArray[np.int64]:
        """Return ``count`` tokens from somewhere in the books, or of a generated document without books."""
        if len(self.books) < count:
            return self.document(draw, count)
        start = draw.randrange(len(self.books) - count + 1)
        return self.books[start : start + count].astype(np.int64)

    def document(self, draw: Random, count: int) -> NDArray[np.int64]:
        """Return ``count`` tokens of a generated document, from its beginning or from somewhere in it."""
        index = draw.randrange(INDICES)
        start = draw.choice((0, draw.randrange(4 * count + 4)))
        characters = 6 * count + 6
        while True:
            text = unasked(
                generate_document(GENERATED_SEED, index, characters=start + characters, split="training")
            )
            ids = self.encode(text[start : start + characters])
            if len(ids) >= count:
                return np.array(ids[:count], dtype=np.int64)
            characters *= 2


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
