"""From parameters as they were written to a component: types, known names, one-line errors."""

from __future__ import annotations

import math
import types
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import Term, Value, parse_number, parse_numbers

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import Component

_TRUTH = {"true": True, "false": False}


def build_component(cls: type[Component], term: Term, *, where: str) -> Component:
    """Return the component that a term describes.

    Raises:
        ConfigError: If a parameter is unknown, of the wrong type or breaks its rule; the message begins with ``where``.
    """
    annotations = get_type_hints(cls)
    known = sorted(field.name for field in fields(cls))
    values: dict[str, Value] = {}
    for key, text in term.parameters:
        if key not in known:
            nearest = get_close_matches(key, known, n=1)
            hint = f' (did you mean "{nearest[0]}"?)' if nearest else ""
            raise ConfigError(
                f'{where}: {cls.name} has no parameter "{key}"{hint}. Parameters: {", ".join(known)}.'
            )
        values[key] = _convert(text, annotations[key], where=f"{where}: {cls.name}: {key}")
    try:
        return cls(**values)  # type: ignore[arg-type]  # each value was converted by its own field's annotation
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _convert(text: str, annotation: Any, *, where: str) -> Value:
    """Return the value that a text spells for one field."""
    members = kinds(annotation)
    for kind in members:
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            if text not in choices:
                raise ConfigError(f"{where} must be one of {', '.join(map(str, choices))}, got {text!r}.")
            return text
        if get_origin(kind) is tuple:
            return parse_numbers(text, where=where)
    if bool in members:
        if text not in _TRUTH:
            raise ConfigError(f"{where} must be true or false, got {text!r}.")
        return _TRUTH[text]
    number = parse_number(text)
    if int in members and not isinstance(number, int):
        # 1e3 is a whole number too
        if not isinstance(number, float) or not number.is_integer():
            raise ConfigError(f"{where} must be a whole number, got {text!r}.")
        return int(number)
    if number is None or not math.isfinite(number):
        raise ConfigError(f"{where} must be a number, got {text!r}.")
    return number if int in members else float(number)


def kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, None left out."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for kind in get_args(annotation) if kind is not types.NoneType)
    return (annotation,)
