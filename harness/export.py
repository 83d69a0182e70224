"""From a method to the transformers config that computes the same, where there is one."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from longbench_run.harness.attention.rotary import fp32_frequencies, rope_facts, rotary_modules
from longbench_run.harness.errors import ConfigError, MethodNotApplicable, ModelError
from longbench_run.harness.methods.rope_config import RopeConfig
from longbench_run.harness.models.hub import Source
from longbench_run.harness.models.skeleton import build_skeleton

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn
    from transformers import PreTrainedModel

    from longbench_run.harness.methods import Method, RopeFacts

_REMEDY = "Apply the method from Python instead: method.applied_to(model)."

_SCALING_KEYS = {
    "type", "rope_type", "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
    "short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "mscale", "mscale_all_dim", "truncate",
}  # fmt: skip
"""What the scaling that a model ships with consists of; other keys belong to the family and stay."""


def export_config(
    method: Method,
    model_config: PreTrainedConfig,
    *,
    original_context_length: int | None = None,
    context_length: int | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedConfig:
    """Return a config with which transformers computes a method; see `Method.export`."""
    exported = copy.deepcopy(model_config)
    if method.as_released:
        return exported
    text = exported.get_text_config()
    family = str(model_config.model_type)
    shipped = dict(getattr(text, "rope_parameters", None) or {})
    if any(isinstance(value, dict) for value in shipped.values()):
        raise MethodNotApplicable(
            "export: rope_parameters must be one set for all layers, got one for each kind of layer of the family "
            f"{family!r}. Export none, or give another model."
        )
    skeleton = _skeleton(model_config, trust_remote_code)
    try:
        facts = rope_facts(skeleton, original_context_length=original_context_length)
    except ModelError as error:
        raise ModelError(f"export: {error}") from None
    window = facts.original_context_length
    own_length = int(getattr(text, "max_position_embeddings", None) or window)
    if context_length is None:
        try:
            context_length = method.reach(window)
        except ConfigError:
            # What cannot be expressed for any length is said before one is asked for.
            _rope_config(method.resolve(facts), facts, own_length)
            raise
    resolved = method.resolve(facts, context_length=context_length)
    rope = _rope_config(resolved, facts, own_length if context_length is None else context_length)
    kept = {key: value for key, value in shipped.items() if key not in _SCALING_KEYS}
    # Without rope_theta, transformers would take None or the family's default in silence.
    text.rope_parameters = {**kept, "rope_type": rope.rope_type, "rope_theta": rope.theta, **rope.settings}
    text.max_position_embeddings = rope.max_position_embeddings
    _keep_window(text, rope, facts, family_keys=kept.keys() - {"rope_theta", "partial_rotary_factor"})
    _check(exported, resolved, facts, skeleton, trust_remote_code=trust_remote_code)
    return exported


def _rope_config(method: Method, facts: RopeFacts, context_length: int) -> RopeConfig:
    start = RopeConfig(theta=facts.base, rotary_dim=facts.rotary_dim, max_position_embeddings=context_length)
    return method.rope_config(start)


def _keep_window(
    text: PreTrainedConfig, rope: RopeConfig, facts: RopeFacts, *, family_keys: Collection[str]
) -> None:
    """Write down L where max_position_embeddings no longer says it."""
    own = "original_max_position_embeddings"
    window = rope.settings.get(own, facts.original_context_length)
    if family_keys:
        # What a family adds to rope_parameters may count from L: Ministral 3 scales queries by it whatever the type.
        text.rope_parameters.setdefault(own, window)
    # Where a family has an attribute of this name (Phi-3), transformers lets it win over the key of rope_parameters;
    # elsewhere it is free, and types without such a key warn about one.
    if hasattr(text, own) or (own not in text.rope_parameters and window != rope.max_position_embeddings):
        setattr(text, own, window)


def _skeleton(config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    name = str(config.model_type)
    source = Source(location=name, name=name, is_local=True)
    return build_skeleton(config, source=source, trust_remote_code=trust_remote_code, where="export")


def _check(
    exported: PreTrainedConfig,
    method: Method,
    facts: RopeFacts,
    before: PreTrainedModel,
    *,
    trust_remote_code: bool,
) -> None:
    """Raise unless transformers, reading the config back, computes what the method does.

    Families rewrite or refuse rope types of others, and some derive a scale of their own from them.
    """
    wanted = exported.get_text_config().rope_parameters
    where = f"export: rope_type {wanted['rope_type']!r}"
    try:
        # A copy: reading back fills in and pops keys.
        read = type(exported).from_dict(copy.deepcopy(exported.to_dict()))
        after = _skeleton(read, trust_remote_code)
        rotary = _rotary(after)
    except MethodNotApplicable:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, StrictDataclassError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise MethodNotApplicable(
            f"{where} must be one that the family {facts.family!r} takes, got {said}. {_REMEDY}"
        ) from error
    scale = math.prod(part.constant or 1.0 for part in method.logit_scales())
    if scale != 1 and not _rotates_all(read.get_text_config(), facts.rotary_dim):
        raise MethodNotApplicable(
            f"export: logit scale must be 1 where transformers scales rotated dimensions only, got {scale:g} in the family "
            f"{facts.family!r}, which rotates {facts.rotary_dim} of a head's dimensions and not the others. {_REMEDY}"
        )
    if scale != 1 and _may_hold_layers_without_rope(read.get_text_config()):
        raise MethodNotApplicable(
            "export: logit scale must be 1 where layers may have no RoPE, which transformers would not scale, got "
            f"{scale:g} in the family {facts.family!r}. {_REMEDY}"
        )
    found: torch.Tensor = rotary.inv_freq  # type: ignore[assignment]  # a buffer
    expected = fp32_frequencies(method, facts)
    got: Any = rotary.attention_scaling
    same = (
        found.shape == expected.shape
        and torch.allclose(found.float(), expected, rtol=1e-5, atol=0)
        and abs(got**2 - scale) < 1e-6 * scale
        and _own_scales(before) == _own_scales(after)
    )
    if not same:
        raise MethodNotApplicable(
            f"{where} must give the method's frequencies and logit scale in the family {facts.family!r}, got others. "
            f"{_REMEDY}"
        )


def _rotary(skeleton: PreTrainedModel) -> nn.Module:
    """Return the rotary module with numbers in it."""
    modules = list(rotary_modules(skeleton))
    if len(modules) != 1 or "inv_freq" not in modules[0]._buffers:
        raise MethodNotApplicable(
            f"export: the family {skeleton.config.model_type!r} must have one set of frequencies for all layers, got "
            "one for each kind of layer. Export none, or give another model."
        )
    build: Any = type(modules[0])
    module: nn.Module = build(config=modules[0].config)
    return module


def _rotates_all(text: Any, rotary_dim: int) -> bool:
    """Return whether every dimension of a head is rotated."""
    # DeepSeek's head_dim is that of the rotated part alone.
    if getattr(text, "qk_nope_head_dim", None):
        return False
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return bool(rotary_dim == head_dim)


def _may_hold_layers_without_rope(text: Any) -> bool:
    """Return whether a config says that some layers do not rotate, or mixes kinds of which one may not (cohere2)."""
    rotates = getattr(text, "no_rope_layers", None) or ()  # 1 where a layer rotates, despite the name
    return not all(rotates) or len(set(getattr(text, "layer_types", None) or ())) > 1


def _own_scales(skeleton: PreTrainedModel) -> list[float]:
    """Return the scales that attention modules multiply logits by, one layer after the other."""
    scales = (getattr(module, "scaling", None) for module in skeleton.modules())
    return [scale for scale in scales if isinstance(scale, float)]
