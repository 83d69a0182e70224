"""Two tokens through a model, to see what its layers really do: which rotate, by which frequencies, and which attend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from longbench_run.harness.attention.functions import own_attention, registered
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAME = "longbench_run_probe"
NEAR, FAR = (0, 1), (1000, 1001)
"""So far apart that pairs turn visibly however much a method slows them down."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the layers did with two tokens far on, against positions 0 and 1."""

    layers: frozenset[int]
    """Layers that called the attention function."""
    without_rope: frozenset[int]
    """Those whose keys do not depend on the position."""
    attention: nn.Module
    """The first layer with RoPE."""
    near: Tensor
    far: Tensor
    """Its incoming keys at the near and at the far positions, in fp32."""


def probe(model: Any, layers: frozenset[int]) -> Probe:
    """Look at the keys of every layer.

    Args:
        model: Any causal language model of transformers, with whatever is applied to it.
        layers: The ones to look at: those that read the frequencies in question.

    Raises:
        MethodNotApplicable: If no layer calls a registered attention function: the family has its own.
    """
    seen: list[dict[int, Tensor]] = []
    modules: dict[int, nn.Module] = {}
    previous = model.config._attn_implementation

    def attention(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
        layer = int(module.layer_idx)  # type: ignore[arg-type]  # an int on every family, typed Tensor | Module
        if layer in layers:
            seen[-1][layer], modules[layer] = key.detach().float(), module
        return own_attention(module, previous)(module, query, key, *args, **kwargs)

    device = model.get_input_embeddings().weight.device
    tokens = torch.tensor([[0, 1]], device=device) % model.get_input_embeddings().weight.shape[0]
    with registered(model, _NAME, attention, ALL_MASK_ATTENTION_FUNCTIONS[previous]), torch.no_grad():
        for positions in (NEAR, FAR):
            seen.append({})
            model(tokens, position_ids=torch.tensor([positions], device=device), use_cache=False)
    near, far = seen
    if not near:
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must route its attention through transformers' registry, got a "
            "family with its own. Use none, or another model."
        )
    # Later layers see keys that the first ones have shaped: equal up to rounding where nothing rotates.
    rounding = 1e-3 if model.get_input_embeddings().weight.dtype in (torch.float32, torch.float64) else 0.1
    still = frozenset(
        layer
        for layer in near
        if (near[layer] - far[layer]).abs().max() <= rounding * near[layer].abs().max()
    )
    if len(still) == len(near):
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must rotate the keys of at least one layer, got none that does. "
            "Use none, or another model."
        )
    first = min(near.keys() - still)
    return Probe(
        layers=frozenset(near), without_rope=still, attention=modules[first], near=near[first], far=far[first]
    )
