"""What a component says of itself: its docstrings, defaults and declarations, as texts; no text stands here twice."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from longbench_run.harness.grammar import Value, format_value
from longbench_run.harness.methods.base import Component
from longbench_run.harness.methods.parameters import kinds

AXES = {
    "frequencies": ("frequencies", "at_length"),
    "logit scale": ("logit_scale",),
    "position map": ("bands",),
    "mask": ("mask",),
}
"""Axes in the order of their numbers -> the members that change them where a class overrides them."""

_DECLARATIONS = ("prefill_equals_decode", "prefix_causal", "order_independent")
_AXIS_TEXT = re.compile(r"Axis (\d): (.+?)\.(?= Axis|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a component."""

    name: str
    default: str | None
    """As it would be written; None where it follows from the model and the target, or must be given."""
    text: str
    """What it means, and where its default comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheNote:
    """Whether keys in a cache are those of one forward over all tokens."""

    exact: bool
    """For the defaults."""
    otherwise: tuple[str, ...]
    """Parameters that turn it around, as they are written."""
    reasons: tuple[str, ...]
    """Sentences on what the component does not keep."""

    @property
    def verdict(self) -> str:
        """Return it in a few words."""
        word, other = ("exact", "not with") if self.exact else ("not exact", "exact with")
        return f"{word}; {other} {', '.join(self.otherwise)}" if self.otherwise else word


def axis_texts(component: type[Component]) -> dict[str, str]:
    """Return what a component does on each axis that it changes, from "Axis 3: ... . Axis 4: ... ." in docstrings.

    Raises:
        ValueError: If a member that changes an axis does not say so in the first line of its docstring.
    """
    names = list(AXES)
    found: dict[str, str] = {}
    for member in (member for members in AXES.values() for member in members):
        if not _overrides(component, member):
            continue
        texts = _AXIS_TEXT.findall(_first_line(component, member))
        if not texts:
            raise ValueError(
                f'{component.__name__}.{member}: the docstring must begin with "Axis N: " and what is done there.'
            )
        found |= {names[int(number) - 1]: text for number, text in texts}
    return {name: found[name] for name in names if name in found}


def parameters(component: type[Component]) -> tuple[Parameter, ...]:
    """Return the parameters of a component, those that every component has last."""
    texts = _attribute_docstrings(component)
    shared = {field.name for field in fields(Component)}
    own_first = sorted(fields(component), key=lambda field: field.name in shared)
    return tuple(
        Parameter(
            name=field.name,
            default=None if field.default in (None, MISSING) else format_value(field.default),
            text=_with_default(component, field.name, texts.get(field.name, "")),
        )
        for field in own_first
    )


def cache_note(component: type[Component]) -> CacheNote:
    """Return whether a component's cache is exact, from its declarations."""
    exact = component().prefill_equals_decode
    return CacheNote(
        exact=exact,
        otherwise=tuple(
            f"{name}={format_value(value)}"
            for name, value in _choices(component)
            if _with_choice(component, name, value).prefill_equals_decode != exact
        ),
        reasons=tuple(
            _first_line(component, member) for member in _DECLARATIONS if _overrides(component, member)
        ),
    )


def _with_choice(component: type[Component], name: str, value: Any) -> Component:
    return component(**{name: value})


def _overrides(component: type[Component], member: str) -> bool:
    return getattr(component, member) is not getattr(Component, member)


def _first_line(component: type[Component], member: str) -> str:
    return _plain((inspect.getdoc(getattr(component, member)) or "").partition("\n")[0])


def _with_default(component: type[Component], name: str, text: str) -> str:
    """Add what ``default_NAME`` says it returns: a default that each class computes in its own way."""
    if not hasattr(component, f"default_{name}"):
        return text
    default = _first_line(component, f"default_{name}").removeprefix("Return ")
    return f"{text.rstrip('.')}; default: {default}"


def _choices(component: type[Component]) -> Iterator[tuple[str, Value]]:
    """Yield every value of the parameters that have a few."""
    annotations = get_type_hints(component)
    for field in fields(component):
        for kind in kinds(annotations[field.name]):
            if kind is bool:
                yield from ((field.name, value) for value in (False, True))
            elif get_origin(kind) is Literal:
                yield from ((field.name, value) for value in get_args(kind))


def _attribute_docstrings(component: type[Component]) -> dict[str, str]:
    """Return the string under each field; Python keeps it in the source only."""
    found: dict[str, str] = {}
    for cls in reversed(component.__mro__):
        if not issubclass(cls, Component):
            continue
        (body,) = (
            node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)
        )
        for field, text in pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(docstring))),
                ):
                    found[name] = _plain(docstring)
    return found


def _plain(docstring: str) -> str:
    """Return a docstring on one line, code marked as in Markdown."""
    return " ".join(docstring.split()).replace("``", "`")
