"""The text form of methods and tasks: ``name[:key=value]*``, joined by ``+``, listed with ``,``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | bool | str | tuple[float, ...]

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_SIGNED_EXPONENT = re.compile(r"\d[eE]\Z")


@dataclass(frozen=True, slots=True)
class Term:
    """One name with its parameters as they were written."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()


def split_list(text: str, *, where: str) -> list[str]:
    """Split at commas and drop surrounding blanks.

    Raises:
        ConfigError: If the list or one of its entries is empty.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        what = "empty" if entries == [""] else f"{text!r}"
        raise ConfigError(
            f"{where}: must be names separated by commas, got {what}. Name at least one, without empty entries."
        )
    return entries


def parse_term(text: str, *, where: str) -> Term:
    """Read ``name[:key=value]*``.

    Raises:
        ConfigError: If the text does not follow the grammar, or a key stands twice.
    """
    name, *fields = text.strip().split(":")
    if not _NAME.match(name):
        raise ConfigError(
            f"{where}: {text!r} must begin with a name of lower-case letters, digits and _, got {name!r}. "
            "Write name:key=value:key=value."
        )
    parameters: dict[str, str] = {}
    for entry in fields:
        key, equals, value = entry.partition("=")
        if not equals or not _NAME.match(key) or not value:
            raise ConfigError(
                f"{where}: {name} must be followed by key=value, got {entry!r}. Write {name}:key=value."
            )
        if key in parameters:
            raise ConfigError(f"{where}: {name} must name each parameter once, got {key!r} twice. Keep one.")
        parameters[key] = value
    return Term(name=name, parameters=tuple(parameters.items()))


def parse_composition(text: str, *, where: str) -> list[Term]:
    """Read terms joined by ``+``.

    Raises:
        ConfigError: If a term does not follow the grammar; ``1e+6`` is named as such.
    """
    parts = text.split("+")
    for left in parts[:-1]:
        if _SIGNED_EXPONENT.search(left):
            exponent = text[len(left) :].lstrip("+").split(":")[0].split("+")[0]
            number = re.search(r"[\d.]+[eE]\Z", left)
            mantissa = number.group() if number else left
            raise ConfigError(
                f"{where}: a number must be written without +, got '{mantissa}+{exponent}'. "
                f"Write {mantissa}{exponent}: + joins methods."
            )
    return [parse_term(part, where=where) for part in parts]


def parse_number(text: str) -> int | float | None:
    """Return the number that a text spells, an int where it is a whole one written without point or exponent."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def parse_numbers(text: str, *, where: str) -> tuple[float, ...]:
    """Read a list inside a method: ``1.0/1.02/1.1`` or ``@file.json``.

    Raises:
        ConfigError: If the file cannot be read or an entry is no number.
    """
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{where}: {text} must be a readable JSON file, got {error}. Give a list of numbers."
            ) from error
        if not isinstance(values, list) or not all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in values
        ):
            raise ConfigError(f"{where}: {text} must hold a JSON list of numbers. Write [1.0, 1.02, ...].")
        return tuple(float(v) for v in values)
    numbers = [parse_number(part) for part in text.split("/")]
    if any(number is None for number in numbers):
        raise ConfigError(
            f"{where}: must be numbers separated by /, got {text!r}. Write 1.0/1.02/1.1 or @file.json."
        )
    return tuple(float(number) for number in numbers if number is not None)


def format_value(value: Value) -> str:
    """Return the text of a value; parsing it gives the value back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "/".join(format_value(entry) for entry in value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return repr(value).replace("e+", "e")
    return str(value)


def format_term(name: str, parameters: Mapping[str, Value]) -> str:
    """Return the canonical text of a term: keys sorted."""
    return ":".join([name, *(f"{key}={format_value(parameters[key])}" for key in sorted(parameters))])
