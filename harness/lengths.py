"""Context lengths as users write them: ``4096``, ``4k``, or ``2x`` for two original windows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_LENGTH = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[kKxX]?)\Z")


@dataclass(frozen=True, slots=True)
class Length:
    """A context length in tokens, or in original windows."""

    number: float
    in_windows: bool = False

    def tokens(self, original_context_length: int) -> int:
        """Return the length in tokens.

        Args:
            original_context_length: The model's window of pretraining, L, in tokens.
        """
        return round(self.number * original_context_length) if self.in_windows else round(self.number)

    def __str__(self) -> str:
        """Return the one text of this length."""
        return f"{self.number:g}x" if self.in_windows else str(round(self.number))


def parse_length(value: object) -> Length | None:
    """Return the length that a text or number names, None where it names none.

    Args:
        value: ``4096``, ``"4k"`` (4096 tokens), ``"2x"`` (two original windows, fractions allowed).
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = (
        format(value, "g" if isinstance(value, float) and not value.is_integer() else ".0f")
        if isinstance(value, float)
        else str(value)
    )
    match = _LENGTH.match(text.strip())
    if match is None:
        return None
    number, unit = float(match["number"]), match["unit"].lower()
    if number <= 0 or not math.isfinite(number):
        return None
    if unit == "x":
        return Length(number, in_windows=True)
    tokens = number * 1024 if unit == "k" else number
    return Length(tokens) if tokens.is_integer() else None


def short_length(tokens: int) -> str:
    """Return ``4k`` for 4096, and the plain number where 1024 does not divide it."""
    return f"{tokens // 1024}k" if tokens >= 1024 and tokens % 1024 == 0 else str(tokens)
