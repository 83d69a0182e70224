"""Entropy of a model's attention, in nats, query by query, without a matrix of probabilities."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longbench_run.harness.attention.bands import RotatedBand, band_entropy
from longbench_run.harness.attention.functions import AttentionRoute, own_attention, registered
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from torch import Tensor, nn

    Take = Callable[[int, Float[Tensor, "heads n"]], None]
    """What is done with the entropies of a layer."""

_NAME = "longbench_run_entropy"
_CHANGES_LOGITS = ("softcap", "s_aux", "position_bias")
"""Keyword arguments by which families change their logits, or add one that is of no key."""


@contextmanager
def entropy_taken(model: Any, take: Take) -> Iterator[None]:
    """Have the attention entropies of every forward pass in the block, of one sample without a cache, taken.

    With p(j) the probability that the query at position p gives to the key at j, as the method that is applied to the
    model computes it, the entropy is - sum_j p(j) ln p(j), between 0 and ln(p + 1). It is had as the log-sum-exp of the
    logits less their expectation, and that from one more pass of the attention kernel with keys in the place of
    values: memory grows with the sample, time about doubles.

    Args:
        model: Transformers model, with whatever method is applied to it.
        take: Called once a layer in every pass, with the layer's number and the entropies, shape (heads, n), in nats,
            fp32. Layers that hide keys by a window or chunks of their own are left out: their entropy says nothing of
            the context.

    Raises:
        MethodNotApplicable: From a forward pass with several samples or behind a cache, or of a family whose logits are
            changed in ways that are not known here.
    """
    previous = model.config._attn_implementation
    function = ALL_ATTENTION_FUNCTIONS.get(previous)
    route = getattr(function, "__self__", None)
    route = route if isinstance(route, AttentionRoute) else None

    def attention(  # noqa: PLR0917  # transformers calls every attention function with these positions
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scaling: float | None = None,
        **rest: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if not rest.get("sliding_window") and _sees_all(mask):
            _refuse_what_is_not_known(module, query, key, rest)
            logits = (
                route.logits(module, query, key, scaling=scaling) if route else _plain(query, key, scaling)
            )
            take(int(module.layer_idx), band_entropy(*logits)[0])  # type: ignore[arg-type]  # an int on every family
        result: tuple[Tensor, Tensor | None] = own_attention(module, previous)(
            module, query, key, value, mask, scaling=scaling, **rest
        )
        return result

    with registered(model, _NAME, attention, ALL_MASK_ATTENTION_FUNCTIONS[previous]):
        yield


def _plain(query: Tensor, key: Tensor, scaling: float | None) -> tuple[list[RotatedBand], float]:
    stop = np.arange(1, query.shape[2] + 1)
    band = RotatedBand(query=query, key=key, start=np.zeros_like(stop), stop=stop)
    return [band], query.shape[-1] ** -0.5 if scaling is None else scaling


def _sees_all(mask: Tensor | None) -> bool:
    """Return whether the last query sees every key; a mask of whole numbers holds positions and hides none."""
    if mask is None or mask.dtype == torch.int64:
        return True
    last = mask[..., -1, :]
    return bool(last.all() if mask.dtype == torch.bool else (last == 0).all())


def _refuse_what_is_not_known(module: nn.Module, query: Tensor, key: Tensor, rest: dict[str, Any]) -> None:
    if query.shape[0] != 1 or query.shape[2] != key.shape[2]:
        raise MethodNotApplicable(
            f"attention entropy must be taken of one sample without a cache, got {query.shape[0]} samples with "
            f"{query.shape[2]} queries and {key.shape[2]} keys."
        )
    for name in _CHANGES_LOGITS:
        if rest.get(name) is not None:
            raise MethodNotApplicable(
                f"attention entropy cannot be taken of {type(module).__name__}: its attention takes {name}. "
                "Use another model."
            )
