"""Numbers below 1.2e-38 are zero while a model is trained on a CPU, which takes many times as long with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


@contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Have this thread, and with it autograd on a CPU, compute no denormal numbers for as long as the block takes.

    Where attention is sharp, most gradients of its logits are such numbers: they move no weight, and take
    most of the time of a backward pass. Processors that cannot do it compute them.
    """
    were_zero = _are_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_zero)


def _are_zero() -> bool:
    return bool(torch.tensor(_SMALLEST_NORMAL) / 2 == 0)
