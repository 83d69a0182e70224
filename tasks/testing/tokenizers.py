"""Two tokenizers that a task must be right with: they are as unlike as real ones, and need no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from longbench_run.tasks.base import Tokenizer

TURN_BEGINS, TURN_ENDS = 257, 258
"""Tokens around a user's turn."""
_ASCII = 128
_FIRST_PAIR = 259


class KnownTokenizer(Tokenizer, Protocol):
    """A tokenizer whose token ids are those below `vocabulary`."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        ...


class Bytes:
    """One token per byte of UTF-8, and one that begins every text."""

    bos_token_id = 256
    vocabulary = _FIRST_PAIR

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of ``text``."""
        return [self.bos_token_id] * add_special_tokens + list(text.encode())

    def encode_chat(self, text: str) -> list[int]:
        """Return the token ids of a user's turn."""
        return [self.bos_token_id, TURN_BEGINS, *text.encode(), TURN_ENDS]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of ``token_ids``; special tokens have none."""
        return bytes(token for token in token_ids if token < self.bos_token_id).decode(errors="replace")


class Pairs:
    """One token per two ASCII characters, so that one character more regroups all that follow; no special tokens."""

    bos_token_id = None
    vocabulary = _FIRST_PAIR + _ASCII**2

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of ``text``."""
        found, data, at = [], text.encode(), 0
        while at < len(data):
            pair = data[at : at + 2]
            if len(pair) == 2 and max(pair) < _ASCII:
                found.append(_FIRST_PAIR + _ASCII * pair[0] + pair[1])
                at += 2
            else:
                found.append(data[at])
                at += 1
        return found

    def encode_chat(self, text: str) -> list[int]:
        """Return the token ids of a user's turn."""
        return [TURN_BEGINS, *self.encode(text), TURN_ENDS]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of ``token_ids``; special tokens have none."""
        found = bytearray()
        for token in token_ids:
            if token >= _FIRST_PAIR:
                found += bytes(divmod(token - _FIRST_PAIR, _ASCII))
            elif token < Bytes.bos_token_id:
                found.append(token)
        return found.decode(errors="replace")
