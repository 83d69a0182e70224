"""The curriculum as data: one row a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of training at one sequence length."""

    name: str
    length: int
    """Tokens in a row."""
    batch: int
    """Rows in a step."""
    steps: int
    """Most steps."""
    learning_rate: tuple[float, float]
    """At the first and at the last step, linear between."""
    mixture: Mapping[str, float]
    """Kind of row -> share, as in `data.Rows.batch`."""
    answer_weight: float = 1.0
    """Weight of copied and answer tokens in the loss; text has 1."""
    until_copying: float | None = None
    """Go on to the next stage when the running accuracy of copied tokens exceeds this."""


STAGES: tuple[Stage, ...] = (
    Stage(
        name="copy-128",
        length=128,
        batch=32,
        steps=6000,
        learning_rate=(3e-3, 3e-3),
        mixture={"copying": 0.6, "planted": 0.3, "books": 0.05, "documents": 0.05},
        until_copying=0.9,
    ),
    Stage(
        name="grow-256",
        length=256,
        batch=16,
        steps=500,
        learning_rate=(3e-3, 3e-3),
        mixture={
            "copying": 0.1,
            "scattered": 0.3,
            "planted": 0.3,
            "passkey": 0.1,
            "documents": 0.1,
            "books": 0.1,
        },
        answer_weight=2.0,
    ),
    Stage(
        name="grow-512",
        length=512,
        batch=8,
        steps=800,
        learning_rate=(3e-3, 2e-3),
        mixture={"scattered": 0.25, "planted": 0.25, "passkey": 0.2, "documents": 0.2, "books": 0.1},
        answer_weight=4.0,
    ),
    Stage(
        name="grow-1024",
        length=1024,
        batch=4,
        steps=800,
        learning_rate=(2e-3, 2e-3),
        mixture={"scattered": 0.2, "planted": 0.2, "passkey": 0.25, "documents": 0.2, "books": 0.15},
        answer_weight=4.0,
    ),
    Stage(
        name="grow-2048",
        length=2048,
        batch=2,
        steps=1200,
        learning_rate=(2e-3, 1.5e-3),
        mixture={"scattered": 0.15, "planted": 0.2, "passkey": 0.25, "documents": 0.2, "books": 0.2},
        answer_weight=4.0,
    ),
    Stage(
        name="settle-2048",
        length=2048,
        batch=4,
        steps=1200,
        learning_rate=(1.5e-3, 5e-5),
        mixture={"scattered": 0.1, "planted": 0.15, "passkey": 0.25, "documents": 0.25, "books": 0.25},
        answer_weight=4.0,
    ),
)
