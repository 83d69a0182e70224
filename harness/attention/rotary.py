"""A family's own rotary embedding: finding it, reading it, and rotating by further positions with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from longbench_run.harness.errors import MethodNotApplicable, ModelError
from longbench_run.harness.methods.base import RopeFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from transformers import PreTrainedConfig

    from longbench_run.harness.methods import Method


def rope_parameters(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the RoPE parameters of the text model; those of the full-attention layers where layers differ."""
    text_config = config.get_text_config()
    parameters = dict(getattr(text_config, "rope_parameters", None) or {})
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return dict(parameters.get("full_attention") or nested[0]) if nested else parameters


def original_window(config: PreTrainedConfig) -> tuple[int, str] | None:
    """Return the window of pretraining L in tokens and where it was read, the one before any scaling first."""
    text_config = config.get_text_config()
    candidates = (
        (
            rope_parameters(config).get("original_max_position_embeddings"),
            "rope_parameters.original_max_position_embeddings",
        ),
        (getattr(text_config, "original_max_position_embeddings", None), "original_max_position_embeddings"),
        (getattr(text_config, "max_position_embeddings", None), "max_position_embeddings"),
    )
    for value, name in candidates:
        if isinstance(value, int) and value >= 1:
            return value, f"config: {name}"
    return None


def rotary_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that hold inverse frequencies."""
    for module in model.modules():
        if any(name.endswith("inv_freq") for name in module._buffers):
            yield module


def rope_facts(model: Any, *, original_context_length: int | None = None) -> RopeFacts:
    """Return what methods may know of a model; weights are not read, a model on the meta device will do.

    Args:
        model: Any Hugging Face causal language model.
        original_context_length: Window L in tokens, where the config's is not to be used.

    Raises:
        ModelError: If the model has no RoPE, or its config holds no base or no window.
    """
    config = model.config
    family = config.model_type
    buffers = {
        name: buffer
        for module in rotary_modules(model)
        for name, buffer in module._buffers.items()
        if buffer is not None and name.endswith("inv_freq") and not name.endswith("original_inv_freq")
    }
    if not buffers:
        raise ModelError(
            f"family must be one with rotary position embeddings (RoPE), got {family!r}. "
            "Extension methods change rotary embeddings; give a model that has them."
        )
    text_config = config.get_text_config()
    base = rope_parameters(config).get("rope_theta", getattr(text_config, "rope_theta", None))
    if base is None:
        raise ModelError(
            f"rope_theta must be in the config, got none for family {family!r}. Add it to config.json."
        )
    window = original_context_length
    if window is None:
        found = original_window(config)
        if found is None:
            raise ModelError(
                "window of pretraining must be in the config, got none. Pass --original-context-length."
            )
        window = found[0]
    # Families with several kinds of layers name their buffers; the full-attention ones carry the long range.
    half_dim = buffers.get("full_attention_inv_freq", next(iter(buffers.values()))).shape[0]
    # In fp32 as transformers computes them: a method that changes nothing then changes not one bit.
    exponents = torch.arange(0, 2 * half_dim, 2, dtype=torch.float32) / (2 * half_dim)
    return RopeFacts(
        family=family,
        base=float(base),
        inv_freq=tuple((1.0 / (float(base) ** exponents)).tolist()),
        original_context_length=window,
        layers=int(text_config.num_hidden_layers),
        short_factor=_divisors(config, "short_factor"),
        long_factor=_divisors(config, "long_factor"),
    )


def fp32_frequencies(method: Method, facts: RopeFacts) -> Float[Tensor, " half_dim"]:
    """Return a method's frequencies for a model, from fp32 ones as transformers holds them, computed in float64."""
    original = torch.tensor(facts.inv_freq, dtype=torch.float32).double().numpy()
    return torch.from_numpy(method.frequencies(original, facts.base)).float()


def _divisors(config: PreTrainedConfig, name: str) -> tuple[float, ...] | None:
    """Return a list of LongRoPE that the model ships with."""
    values = rope_parameters(config).get(name)
    return tuple(float(value) for value in values) if values else None


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines that rotate by given positions, in fp32 and free of the family's own scaling."""

    cos: Float[Tensor, "1 n rotary_dim"]
    sin: Float[Tensor, "1 n rotary_dim"]


@dataclass(frozen=True, slots=True)
class Rotary:
    """What one kind of layer reads of a rotary module: all layers, or those of full attention where kinds differ."""

    module: nn.Module
    kind: str | None
    """transformers' layer type, which its names begin with; None where all layers read the same."""
    layers: frozenset[int]

    def name(self, attribute: str) -> str:
        """Return the name of an attribute for this kind."""
        return attribute if self.kind is None else f"{self.kind}_{attribute}"

    @property
    def inv_freq(self) -> Float[Tensor, " half_dim"]:
        """The frequencies in use, radians per token."""
        return cast("Tensor", getattr(self.module, self.name("inv_freq")))

    @property
    def attention_scaling(self) -> float:
        """The family's own factor on cosines and sines."""
        return float(getattr(self.module, self.name("attention_scaling")))

    def cos_sin(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the family's forward gives for positions, in fp32."""
        kind = {} if self.kind is None else {"layer_type": self.kind}
        # The dtype of this tensor is the dtype of the cosines: fp32 keeps far positions exact. Its forward itself:
        # a length that follows the module's calls must not follow this one.
        like = torch.empty(0, dtype=torch.float32, device=positions.device)
        cos, sin = self.module.forward(like, positions, **kind)
        return cos, sin


def model_rotary(model: Any) -> Rotary:
    """Return the rotary module whose frequencies methods change, for the layers that see all keys.

    Where every kind of layer has its own frequencies, those with a sliding window keep theirs: no distance in them
    ever exceeds it.

    Raises:
        MethodNotApplicable: If there is not one such module.
    """
    modules = list(rotary_modules(model))
    config = model.config.get_text_config()
    every = frozenset(range(config.num_hidden_layers))
    if len(modules) == 1:
        (module,) = modules
        if "inv_freq" in module._buffers:
            return Rotary(module, None, every)
        kind, kinds = "full_attention", getattr(config, "layer_types", None) or ()
        layers = frozenset(layer for layer, of in enumerate(kinds) if of == kind)
        if f"{kind}_inv_freq" in module._buffers and layers:
            return Rotary(module, kind, layers)
    raise MethodNotApplicable(
        f"the family {model.config.model_type!r} must have one set of frequencies for the layers that see all keys, got "
        f"{len(modules)} rotary modules without one. Use none, or another model."
    )


class FamilyRotary:
    """A rotary module with the family's function that applies it."""

    def __init__(self, rotary: Rotary, apply: Any) -> None:
        """Keep both; the module's frequencies are read at each call."""
        self._rotary = rotary
        self._apply = apply

    def rotation(self, positions: Shaped[np.ndarray, " n"], device: torch.device) -> Rotation:
        """Return the rotation by positions in tokens, fractions and negative ones allowed."""
        ids = torch.from_numpy(positions).to(device=device, dtype=torch.float32)[None]
        cos, sin = self._rotary.cos_sin(ids)
        # The model has multiplied q and k by it already; rotating further must not do so again.
        scaling = self._rotary.attention_scaling
        return Rotation(cos=cos / scaling, sin=sin / scaling)

    def rotate(self, states: Float[Tensor, "batch heads n head_dim"], rotation: Rotation) -> Tensor:
        """Return states rotated further, in their own dtype; computed in fp32."""
        wide = states.float()
        rotary_dim = rotation.cos.shape[-1]
        # The function turns queries and keys together: here one of them has no heads.
        turned: Tensor = self._apply(
            wide[..., :rotary_dim], wide[:, :0, :, :rotary_dim], rotation.cos, rotation.sin
        )[0]
        if rotary_dim < wide.shape[-1]:
            turned = torch.cat((turned, wide[..., rotary_dim:]), dim=-1)
        return turned.to(states.dtype)


def family_apply(attention: nn.Module, *, family: str) -> Any:
    """Return ``apply_rotary_pos_emb`` of the file that an attention module comes from.

    Raises:
        MethodNotApplicable: If that file has none.
    """
    found = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    if found is None:
        raise MethodNotApplicable(
            f"the family {family!r} must rotate with apply_rotary_pos_emb, got a file without one. Use none, or another "
            "model."
        )
    return found
