"""Conversations as files hold them: ShareGPT's rows, or messages; imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longbench_run.harness.errors import ConfigError

ASSISTANT = "assistant"
_ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "assistant": ASSISTANT,
    "system": "system",
}
"""Role as files write it -> as chat templates do."""
_SHAPES: Mapping[str, tuple[str, str]] = {"conversations": ("from", "value"), "messages": ("role", "content")}
"""Key of a row -> keys of a turn in it: ShareGPT's, and the one of chat templates."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    text: str

    @property
    def message(self) -> dict[str, str]:
        """The turn as chat templates take it."""
        return {"role": self.role, "content": self.text}


Conversation = tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """Conversations with at least one response each, and what file they came from."""

    name: str
    sha256: str
    """Of the file's bytes."""
    conversations: tuple[Conversation, ...]
    without_response: int
    """How many more rows the file has, in which nothing is to be learnt."""


def read_conversations(path: str | Path) -> DataFile:
    """Read JSON Lines, or one JSON array, of conversations.

    Args:
        path: Rows with ``conversations`` (``from``, ``value``: ShareGPT) or ``messages`` (``role``, ``content``).

    Raises:
        ConfigError: If the file cannot be read, a row is no conversation, or none has a response.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise _wrong(file, "file", "one that can be read", error.strerror, "Check the path.") from error
    except UnicodeDecodeError as error:
        raise _wrong(file, "text", "UTF-8", f"byte {error.start}", "Convert the file.") from error
    rows = [_turns(row, f"{file}:{number}") for number, row in _rows(text, file)]
    kept = tuple(turns for turns in rows if any(turn.role == ASSISTANT for turn in turns))
    if not kept:
        raise _wrong(
            file, "data", "conversations with responses", f"none in {len(rows)} rows", "Give answers too."
        )
    return DataFile(
        name=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        conversations=kept,
        without_response=len(rows) - len(kept),
    )


def _rows(text: str, file: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number of each row's line, or its place in an array, and the row."""
    lines = [text] if text.lstrip().startswith("[") else text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            got = f"{error.msg} in column {error.colno}"
            raise _wrong(f"{file}:{number}", "row", "JSON", got, "Mend or drop the row.") from error
        yield from enumerate(value, start=1) if isinstance(value, list) else [(number, value)]


def _turns(row: Any, where: str) -> Conversation:
    shape = next((key for key in _SHAPES if isinstance(row, dict) and isinstance(row.get(key), list)), None)
    if shape is None:
        got = f"keys {', '.join(map(str, row))}" if isinstance(row, dict) else type(row).__name__
        rule = "a conversation under the key conversations or messages"
        raise _wrong(where, "row", rule, got, "Plain text has no responses to learn.")
    speaker, content = _SHAPES[shape]
    found = []
    for turn in row[shape]:
        role = _ROLES.get(str(turn.get(speaker)).lower()) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get(content), str):
            rule = f"a turn of {', '.join(_ROLES)} with text under {content!r}"
            raise _wrong(where, "turn", rule, repr(turn)[:80], "Mend or drop the row.")
        found.append(Turn(role, turn[content]))
    return tuple(found)


def _wrong(where: object, name: str, rule: str, got: object, remedy: str) -> ConfigError:
    return ConfigError(f"{where}: {name} must be {rule}, got {got}. {remedy}")
