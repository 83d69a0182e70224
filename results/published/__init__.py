"""Numbers that papers printed, as data: with source, table, protocol, and what is known to be wrong with them.

One file per paper, here beside this module; a new paper is one more. README.md says what their columns mean.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from longbench_run.results.records import ResultsError, Row

Unit = Literal["perplexity", "nats", "percent", "share"]
"""How a value is written."""

_IN_METRIC: Mapping[Unit, Callable[[float], float]] = {
    "perplexity": math.log,
    "nats": float,
    "percent": lambda value: value / 100,
    "share": float,
}
"""Unit -> what makes the metric's own of it: nats of nll, shares of scores."""
_NO_NUMBER = r">\d+|OOM|NaN"
_NUMBER = r"\d+(\.\d+)?"


def _blank(value: object) -> object:
    """Return None for an empty field of a file."""
    return None if value == "" else value


def _listed(value: object) -> object:
    return tuple(part for part in value.split("; ") if part) if isinstance(value, str) else value


Words = Annotated[str, Field(min_length=1)]
Unsaid = Annotated[Words | None, BeforeValidator(_blank)]
Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_blank)]


class Series(NamedTuple):
    """What a paper's numbers over context lengths have in common."""

    called: str
    tuned: str | None
    table: str
    model: str
    dataset: str
    protocol: str


class PublishedRow(Row):
    """One number of a paper."""

    paper: Words
    """Name under which `published` finds it."""
    source: Words
    """Paper, or repository with its commit."""
    table: Words
    """Its number, or what it is of where that is not recorded."""
    model: Words
    original_context_length: Count
    """Window of the model, tokens; None where it is not recorded."""
    method: Unsaid
    """Its name here; None where no method here corresponds."""
    called: Words
    """Name that the paper gives to the row."""
    tuned: Unsaid
    """``no``, or ``yes`` and on what; None where it is not recorded."""
    task: Words
    """Its name here, where a task here corresponds."""
    dataset: Words
    metric: Words
    """Its name here, where a metric here corresponds."""
    unit: Unit
    protocol: Words
    n: Count
    """Samples; None where it is not recorded."""
    context_length: Count
    """Tokens; None where inputs had none that was set."""
    value: Annotated[str, Field(pattern=rf"^({_NUMBER}|{_NO_NUMBER})$")]
    """As printed: a number, or ``>100``, ``OOM``, ``NaN`` in its place."""
    second_hand: bool
    """Whether it was read where others quote it."""
    flags: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    """What is known to be wrong with it, or to be careful of."""
    licence: Words

    @property
    def score(self) -> float | None:
        """The value in the unit of the metric: nats of ``nll``, shares of scores; None where it is no number."""
        try:
            printed = float(self.value)
        except ValueError:
            return None
        return _IN_METRIC[self.unit](printed) if math.isfinite(printed) else None

    @property
    def series(self) -> Series:
        """What it shares with the numbers at other context lengths."""
        return Series(*(getattr(self, name) for name in Series._fields))


@cache
def published_names() -> tuple[str, ...]:
    """Return the names of the papers that there are numbers of."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".csv") for name in names if name.endswith(".csv")))


@cache
def published(name: str) -> tuple[PublishedRow, ...]:
    """Return the numbers of a paper, in the order of its file.

    Args:
        name: One of `published_names`.

    Raises:
        ResultsError: If there is no paper of that name; the nearest is suggested.

    Example:
        >>> row = published("chunkllama")[0]
        >>> row.called, row.context_length, row.value, round(row.score, 3)
        ('RoPE', 4096, '7.87', 2.063)
    """
    known = published_names()
    if name not in known:
        nearest = get_close_matches(name, known, n=1)
        remedy = f'Did you mean "{nearest[0]}"?' if nearest else "Choose one of them."
        raise ResultsError(
            f"published: name of a paper must be one of {', '.join(known)}, got {name!r}. {remedy}"
        )
    lines = (files(__name__) / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return tuple(PublishedRow.model_validate(row) for row in csv.DictReader(lines))


def method_family(method: str) -> str:
    """Return the names of a method's components without their parameters, in one order.

    Args:
        method: A method as it is written or resolved.

    Example:
        >>> method_family("rerope:window=128+log_n"), method_family("log_n+rerope")
        ('log_n+rerope', 'log_n+rerope')
    """
    return "+".join(sorted(component.split(":")[0].strip() for component in method.split("+")))
