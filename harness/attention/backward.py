"""Gradient checkpointing computes forward passes again: they must find the method still applied."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


@contextmanager
def backward_inside(model: Any) -> Iterator[None]:
    """Refuse gradients that checkpointed layers would compute after the block, with the model's own attention.

    Raises:
        RuntimeError: From ``backward()`` outside the block, of a pass inside it that was checkpointed. Without
            checkpointing nothing is computed again, and gradients may come later.
    """
    inside = True

    def refuse(_gradient: Tensor) -> None:
        if not inside:
            raise RuntimeError(
                "backward() of a model with gradient checkpointing must run inside the method's block, got it after the "
                "block: the passes that it computes again would not use the method. Call it inside."
            )

    def watch(_decoder: nn.Module, _args: Any, output: Any) -> None:
        # The decoder's last hidden states: their gradient comes before that of any layer.
        states = output[0]
        if (
            isinstance(states, torch.Tensor)
            and states.requires_grad
            and any(getattr(part, "gradient_checkpointing", False) for part in model.modules())
        ):
            states.register_hook(refuse)

    handle = model.base_model.register_forward_hook(watch)
    try:
        yield
    finally:
        inside = False
        handle.remove()
