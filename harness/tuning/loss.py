"""The loss of responses, computed so that the (n x vocabulary) logits never exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

from longbench_run.harness.attention.patched import patched
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models.limits import LOGITS_BYTES
from longbench_run.harness.tuning.samples import IGNORED


class _Given(torch.nn.Module):
    """Stands where the decoder does and returns the states that it was given."""

    def __init__(self, states: Float[Tensor, "1 c hidden"]) -> None:
        super().__init__()
        self._states = states

    def forward(self, *_args: Any, **_keywords: Any) -> MoeModelOutputWithPast:
        """Return the states, as a decoder of any family does."""
        return MoeModelOutputWithPast(last_hidden_state=self._states)


def logits_rows(vocabulary: int) -> int:
    """Return how many positions' fp32 logits exist at a time."""
    return max(1, LOGITS_BYTES // (4 * vocabulary))


@contextmanager
def loss_by_pieces(model: PreTrainedModel, *, rows: int) -> Iterator[None]:
    """Inside the block, the model takes ``input_ids`` and ``labels`` and returns the summed nll under ``loss``.

    The decoder runs once; what the family does to its last states (the head, and scales or caps on the logits) runs
    over pieces of the positions that are learnt, in the model's own forward, and again in the backward pass.

    Args:
        model: A causal language model, with whatever method is applied to it.
        rows: Positions whose logits exist at a time, at least 1.

    Raises:
        MethodNotApplicable: If the family does not show its decoder.
    """
    prefix = model.base_model_prefix
    decoder = model._modules.get(prefix)
    if decoder is None:
        raise MethodNotApplicable(
            f"tune: family must be one with its decoder apart from its head, got {model.config.model_type!r}. "
            "Use another model."
        )
    own_forward = model.forward

    def piece(states: Float[Tensor, "1 c hidden"], targets: Int[Tensor, " c"]) -> Float[Tensor, ""]:
        model._modules[prefix] = _Given(states)
        try:
            placeholder = targets[None]
            logits = own_forward(input_ids=placeholder, use_cache=False, return_dict=True).logits
        finally:
            model._modules[prefix] = decoder
        return functional.cross_entropy(logits[0].float(), targets.to(logits.device), reduction="sum")

    def forward(input_ids: Int[Tensor, "1 n"], labels: Int[Tensor, "1 n"]) -> dict[str, Tensor]:
        output = decoder(input_ids=input_ids, use_cache=False, return_dict=True)
        hidden = output.last_hidden_state
        learnt = (labels[0, 1:] != IGNORED).nonzero()[:, 0]  # the logits at p are those of token p + 1
        loss = hidden.new_zeros((), dtype=torch.float32)
        for positions in learnt.split(rows):
            states = hidden[:, positions.to(hidden.device)]
            loss = loss + checkpoint(piece, states, labels[0, positions + 1], use_reentrant=False)
        return {"loss": loss}

    with patched(model, "forward", forward):
        yield
