"""Models and their curricula as data: longer and longer rows, then the tasks' formats at the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longbench_run.harness.reference_model.circuit import Comparers


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
    """Kind of row -> share, as in `data.MAKERS`."""
    answer_weight: float = 1.0
    """Weight of copied and answer tokens in the loss; text has 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """A model and how it is trained."""

    head_dim: int
    """Of attention; all other sizes follow from it."""
    window: int
    """Native window, in tokens."""
    comparers: Comparers
    """Of the circuit that it begins with."""
    stages: tuple[Stage, ...]
    in_bfloat16: bool
    """Whether it is computed in bfloat16: slower than float32 where matrices are small."""


_GROWING = {
    "copying": 0.03,
    "scattered": 0.1,
    "planted": 0.07,
    "needles": 0.1,
    "field_prompt": 0.05,
    "recurring_digits": 0.1,
    "key_value": 0.15,
    "questions": 0.25,
    "documents": 0.05,
    "books": 0.1,
}
_SETTLING = {
    "scattered": 0.05,
    "planted": 0.05,
    "needles": 0.1,
    "field_prompt": 0.1,
    "recurring_digits": 0.1,
    "key_value": 0.15,
    "questions": 0.25,
    "longbench": 0.08,
    "documents": 0.05,
    "books": 0.07,
}
_POLISHING = {
    "scattered": 0.05,
    "planted": 0.05,
    "needles": 0.08,
    "field_prompt": 0.15,
    "recurring_digits": 0.15,
    "key_value": 0.15,
    "questions": 0.22,
    "longbench": 0.05,
    "documents": 0.05,
    "books": 0.05,
}

_STAGES = (
    Stage(
        name="grow-256",
        length=256,
        batch=16,
        steps=400,
        learning_rate=(3e-4, 3e-4),
        mixture=_GROWING,
        answer_weight=4.0,
    ),
    Stage(
        name="grow-512",
        length=512,
        batch=8,
        steps=400,
        learning_rate=(3e-4, 3e-4),
        mixture=_GROWING,
        answer_weight=4.0,
    ),
    Stage(
        name="grow-1024",
        length=1024,
        batch=4,
        steps=400,
        learning_rate=(3e-4, 3e-4),
        mixture=_GROWING,
        answer_weight=4.0,
    ),
    Stage(
        name="settle-2048",
        length=2048,
        batch=4,
        steps=900,
        learning_rate=(3e-4, 1e-5),
        mixture=_SETTLING,
        answer_weight=4.0,
    ),
    Stage(
        name="polish-2048",
        length=2048,
        batch=4,
        steps=500,
        learning_rate=(2e-4, 1e-5),
        mixture=_POLISHING,
        answer_weight=4.0,
    ),
    # Slow pairs of dimensions have turned farthest at the end of the window; it shall lie inside what was trained.
    Stage(
        name="reach-2560",
        length=2560,
        batch=4,
        steps=300,
        learning_rate=(1e-4, 5e-6),
        mixture=_POLISHING,
        answer_weight=4.0,
    ),
)

BUNDLED = Curriculum(
    head_dim=64, window=2048, comparers=((22, 700.0), (23, 1100.0)), stages=_STAGES, in_bfloat16=True
)
"""The model that is shipped."""
TINY = Curriculum(
    head_dim=32,
    window=512,
    comparers=((9, 175.0), (10, 275.0)),
    stages=(
        _STAGES[0],
        Stage(
            name="settle-512",
            length=512,
            batch=16,
            steps=500,
            learning_rate=(6e-4, 2e-5),
            mixture=_SETTLING,
            answer_weight=4.0,
        ),
        Stage(
            name="reach-640",
            length=640,
            batch=8,
            steps=200,
            learning_rate=(1e-4, 1e-5),
            mixture=_POLISHING,
            answer_weight=4.0,
        ),
    ),
    in_bfloat16=False,
)
"""A model of a quarter of the window, trained in minutes on a CPU, for studies that tune many variants."""
CURRICULA: Mapping[str, Curriculum] = {"bundled": BUNDLED, "tiny": TINY}
