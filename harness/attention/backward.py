"""Gradient checkpointing computes forward passes again: they must find the method still applied."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from longbench_run.harness.attention.functions import AttentionRoute, Pass


@contextmanager
def backward_inside(model: Any, route: AttentionRoute) -> Iterator[None]:
    """Let checkpointed layers compute again what their own pass computed, and refuse it after the block.

    Raises:
        RuntimeError: From ``backward()`` outside the block, of a pass inside it that was checkpointed. Without
            checkpointing nothing is computed again, and gradients may come later.
    """
    inside = True

    def begin_backward(of: Pass) -> None:
        if not inside:
            raise RuntimeError(
                "backward() of a model with gradient checkpointing must run inside the method's block, got it after the "
                "block: the passes that it computes again would not use the method. Call it inside."
            )
        # Other passes may have come since, with other paddings.
        route.resume(of)

    def watch(_decoder: nn.Module, _args: Any, output: Any) -> None:
        stood = route.end()
        # The decoder's last hidden states: their gradient comes before that of any layer.
        states = output[0]
        if (
            isinstance(states, torch.Tensor)
            and states.requires_grad
            and any(getattr(part, "gradient_checkpointing", False) for part in model.modules())
        ):
            states.register_hook(lambda _gradient: begin_backward(stood))

    handle = model.base_model.register_forward_hook(watch)
    try:
        yield
    finally:
        inside = False
        handle.remove()
