"""Two tokens through a model, to see what its layers really do: which rotate, by which frequencies, and which attend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from longbench_run.harness.attention.functions import own_attention, registered
from longbench_run.harness.attention.rotary import FamilyRotary, family_apply
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from longbench_run.harness.attention.rotary import Rotary

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


def probe(model: Any, rotary: Rotary) -> Probe:
    """Look at the keys of every layer.

    Args:
        model: Any causal language model of transformers, with whatever is applied to it.
        rotary: Its rotary module, and the layers to look at.

    Raises:
        MethodNotApplicable: If no layer calls a registered attention function, or keys do not turn by the
            frequencies: a method would have no effect.
    """
    seen: list[dict[int, Tensor]] = []
    modules: dict[int, nn.Module] = {}
    previous = model.config._attn_implementation

    def attention(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
        layer = int(module.layer_idx)  # type: ignore[arg-type]  # an int on every family, typed Tensor | Module
        if layer in rotary.layers:
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
    _check_rotation(rotary, modules, model)
    # Which is nearer, keys that turned or keys that stayed? No threshold: rounding in 16 bits, and dimensions far larger
    # than others, are the same on both sides.
    turns = {layer: _turned(rotary, modules[layer], near[layer], model) for layer in near}
    still = frozenset(
        layer for layer in near if (near[layer] - far[layer]).norm() < (turns[layer] - far[layer]).norm()
    )
    if len(still) == len(near):
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must rotate the keys of at least one layer by its rotary module's "
            "frequencies, got none that does: the method had no effect. Use none, or another model."
        )
    first = min(near.keys() - still)
    _check_keys(turns[first], far[first], model)
    return Probe(layers=frozenset(near), without_rope=still)


def _check_rotation(rotary: Rotary, modules: dict[int, nn.Module], model: Any) -> None:
    """Raise unless the rotary module computes with its frequencies."""
    family = FamilyRotary(rotary, family_apply(modules[min(modules)], family=model.config.model_type))
    device = model.get_input_embeddings().weight.device
    # Whether a family holds its pairs side by side or in halves, position 1 has each cosine twice.
    cosines = family.rotation(np.ones(1), device).cos.flatten().sort().values
    wanted = rotary.inv_freq.float().to(device).cos().repeat(2).sort().values
    if cosines.shape != wanted.shape or not torch.allclose(cosines, wanted, atol=1e-5):
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must compute its rotation from inv_freq, got one that does not follow "
            "it: the method had no effect. Use another model."
        )


def _turned(rotary: Rotary, module: nn.Module, near: Tensor, model: Any) -> Tensor:
    """Return a layer's near keys turned to the far positions."""
    family = FamilyRotary(rotary, family_apply(module, family=model.config.model_type))
    shift = np.full(near.shape[2], float(FAR[0] - NEAR[0]))
    return family.rotate(near, family.rotation(shift, near.device))


def _check_keys(turned: Tensor, far: Tensor, model: Any) -> None:
    """Raise unless keys turned as the frequencies say."""
    tolerance = 1e-3 if model.get_input_embeddings().weight.dtype == torch.float32 else 2e-2
    error = (turned - far).abs().max().item() / max(far.abs().max().item(), 1e-6)
    if error > tolerance:
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must rotate its keys with its rotary module's frequencies, got keys "
            f"{error:.2g} away: the method had no effect. Use another model."
        )
