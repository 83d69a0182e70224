"""Reading JSON Lines that others wrote, gzipped or not; whatever is wrong names file, line and field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from longbench_run.tasks.base import TaskError

_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a file."""

    path: Path
    line: int
    """From 1."""
    fields: dict[str, Any]
    inside: str = ""
    """Place in the line, where this is an object inside a field: ``ctxs[3]``."""

    def text(self, name: str) -> str:
        """Return a field that must be a text."""
        value = self._value(name)
        return value if isinstance(value, str) else self._refuse(name, "a text", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that must be a list of texts, at least one."""
        value = self._value(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return tuple(value)
        return self._refuse(name, "a list of at least one text", value)

    def texts_or_none(self, name: str) -> tuple[str, ...]:
        """Return a field that must be there, as a list of texts or null."""
        return () if self._value(name) is None else self.texts(name)

    def whole_number(self, name: str) -> int:
        """Return a field that must be a whole number."""
        value = self._value(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self._refuse(name, "a whole number", value)

    def truth(self, name: str) -> bool:
        """Return a field that must be true or false."""
        value = self._value(name)
        return value if isinstance(value, bool) else self._refuse(name, "true or false", value)

    def rows(self, name: str) -> tuple[Row, ...]:
        """Return a field that must be a list of objects, at least one."""
        value = self._value(name)
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return tuple(
                Row(path=self.path, line=self.line, fields=item, inside=f"{name}[{place}]")
                for place, item in enumerate(value)
            )
        return self._refuse(name, "a list of at least one object", value)

    @property
    def _where(self) -> str:
        return f"{self.path}, line {self.line}:{f' {self.inside}' if self.inside else ''}"

    def _value(self, name: str) -> Any:
        if name not in self.fields:
            held = ", ".join(sorted(self.fields)) or "none"
            raise TaskError(f"{self._where} has no field {name!r}. It has: {_shortened(held)}.")
        return self.fields[name]

    def _refuse(self, name: str, rule: str, value: object) -> NoReturn:
        got = _shortened(repr(value))
        raise TaskError(f"{self._where} field {name!r} must be {rule}, got {got}. Mend the line.")


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; lines of nothing but spaces are passed over.

    Args:
        path: JSON Lines; gzipped if its name ends with ``.gz``.

    Raises:
        TaskError: If the file or a line cannot be read, or there is no row at all.
    """
    line, empty = 0, True
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line, raw in enumerate(file, start=1):
                if raw.strip():
                    empty = False
                    yield Row(path=path, line=line, fields=_fields(raw.decode("utf-8"), path, line))
    except UnicodeDecodeError:
        raise TaskError(
            f"{path}, line {line}: must be UTF-8 text, got other bytes. Save it as UTF-8."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TaskError(f"{path}: cannot be read ({reason}). Name a file of JSON Lines.") from None
    if empty:
        raise TaskError(
            f"{path}: must hold at least one row, got none. Predict again, or leave the file out."
        )


def _fields(text: str, path: Path, line: int) -> dict[str, Any]:
    remedy = "Is the file cut off?"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        got = _shortened(repr(text.strip()))
        raise TaskError(f"{path}, line {line}: must be a JSON object, got {got}. {remedy}") from None
    if not isinstance(found, dict):
        got = _shortened(repr(found))
        raise TaskError(f"{path}, line {line}: must be a JSON object, got {got}. {remedy}")
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text) - _SHOWN} characters more)"
