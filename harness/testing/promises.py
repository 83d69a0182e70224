"""How a broken promise is told: what was declared, and what was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from longbench_run.tasks.testing.promises import require

if TYPE_CHECKING:
    from torch import Tensor

SAME = 1e-3
"""Logits nearer than this are the same sums in another order: fp32 noise on sharp weights reaches a third of it."""
CHANGED = 3e-3
"""Logits further than this are another computation: one wrong position moves them by 1e-2 and more."""


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two tensors; infinite where one holds what is no number."""
    difference = (found.detach().double() - expected.detach().double()).abs().max().item()
    return math.inf if math.isnan(difference) else difference


def require_same(found: Tensor, expected: Tensor, promise: str, *, tolerance: float = SAME) -> None:
    """Raise unless two tensors of logits are the same.

    Raises:
        BrokenPromise: If they are further apart than the tolerance.
    """
    require(found.shape == expected.shape, promise, f"shapes {found.shape} and {expected.shape}.")
    apart = distance(found, expected)
    worst = int((found - expected).abs().flatten(-1 if found.ndim == 1 else 0).argmax())
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), found.shape))
    require(apart <= tolerance, promise, f"values {apart:.2g} apart at {place}, more than {tolerance:g}.")


def require_declared(apart: float, *, declared: bool, name: str, what: str) -> None:
    """Hold a declaration both ways: what is kept must be kept, and what is said not to be kept must really not be.

    Args:
        apart: How far two computations lie apart that are one where the promise is kept.
        declared: What the method says.
        name: Name of the declaration.
        what: The promise in words, e.g. ``one forward equals token by token``.

    Raises:
        BrokenPromise: If the declaration is wrong.
    """
    if declared:
        require(
            apart <= SAME,
            f"{name} is declared True: {what}.",
            f"logits {apart:.2g} apart, more than {SAME:g}. Mend the method, or declare False.",
        )
    else:
        require(
            apart >= CHANGED,
            f"{name} is declared False, which costs speed or comparability: {what} must really not hold.",
            f"logits only {apart:.2g} apart. Declare True, or give a test where it shows.",
        )
