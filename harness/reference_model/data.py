"""Training rows by name; each row is a function of seed, stage, step and its number."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.harness.reference_model import formats, problems, texts
from longbench_run.harness.reference_model.row import Refused, Row, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAKERS: Mapping[str, Callable[[Source, random.Random, int], Row]] = {
    "copying": problems.copying,
    "scattered": problems.scattered,
    "planted": problems.planted,
    "needles": texts.needles,
    "field_prompt": texts.field_prompt,
    "recurring_digits": texts.recurring_digits,
    "key_value": formats.key_value,
    "questions": formats.questions,
    "longbench": formats.longbench,
    "documents": formats.documents,
    "books": texts.book,
}
"""Kind of row -> what makes one of a length, in tokens."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes training rows of any length.

    Args:
        source: Tokenizer and books.
        seed: Seed of the training.
    """

    source: Source
    seed: int

    def batch(self, *, stage: str, step: int, rows: int, length: int, mixture: Mapping[str, float]) -> Row:
        """Return the rows of one step, stacked.

        Args:
            stage: Name of the stage.
            step: Number of the step in its stage.
            rows: Number of rows.
            length: Tokens in a row.
            mixture: Kind of row, of `MAKERS` -> share.
        """
        made = [self.row(f"{stage}:{step}:{number}", length, mixture) for number in range(rows)]
        return Row(np.stack([row.ids for row in made]), np.stack([row.kinds for row in made]))

    def row(self, place: str, length: int, mixture: Mapping[str, float]) -> Row:
        """Return the first row for a place that no task may ask about."""
        for attempt in count():
            draw = random.Random(f"{self.seed}:training:{place}" + (f":{attempt}" if attempt else ""))
            kind = draw.choices(list(mixture), list(mixture.values()))[0]
            with suppress(Refused):
                return MAKERS[kind](self.source, draw, length)
        raise AssertionError("attempts have no end")
