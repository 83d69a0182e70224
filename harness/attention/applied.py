"""Applying a method to a model: a block that leaves no trace and proves that it took effect."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

from longbench_run.harness.attention.backward import backward_inside
from longbench_run.harness.attention.functions import AttentionRoute, registered
from longbench_run.harness.attention.lengths import FollowedLength, follow_length
from longbench_run.harness.attention.patched import patched
from longbench_run.harness.attention.probe import Probe, probe
from longbench_run.harness.attention.rotary import (
    Rotary,
    fp32_frequencies,
    model_rotary,
    rope_facts,
    rotary_modules,
)
from longbench_run.harness.attention.scales import Scales
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.methods import Method

_active: WeakSet[Any] = WeakSet()
"""Models that a method is applied to at this moment: global because a model must not be changed twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a model computes with inside the block."""

    method: Method
    """The method with every parameter resolved."""
    inv_freq: tuple[float, ...]
    """Effective inverse frequencies, radians per token, fastest first."""
    layers: tuple[int, ...]
    """Layers that attend as the method says."""
    layers_without_rope: tuple[int, ...]
    followed: FollowedLength | None = field(default=None, compare=False, repr=False)
    """Where the frequencies follow the length of samples."""

    def sample(self, tokens: int) -> AbstractContextManager[None]:
        """Announce how long a sample will be, for as long as it is computed: prompt plus answer budget.

        Methods whose frequencies follow the length of a sample (`length_rule`) stay at this one inside the block,
        through chunks and decode; otherwise they take the length of the first forward. For all others it does nothing.

        Args:
            tokens: Length in tokens, at least 1, of every row of a batch.
        """
        return self.followed.announced(tokens) if self.followed is not None else nullcontext()

    @property
    def hash(self) -> str:
        """Hex sha256 over all of it: two results with one hash were computed the same way."""
        content = {
            "method": self.method.canonical,
            "versions": self.method.versions,
            "inv_freq": self.inv_freq,
            "layers": self.layers,
            "layers_without_rope": self.layers_without_rope,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def apply(
    method: Method,
    model: Any,
    *,
    original_context_length: int | None = None,
    context_length: int | None = None,
) -> Iterator[Applied]:
    """Make a model compute with a method inside the block; see `Method.applied_to`."""
    if model in _active:
        raise RuntimeError("A method is applied to this model already: leave its block first.")
    facts = rope_facts(model, original_context_length=original_context_length)
    resolved = method.resolve(facts, context_length=context_length)
    with ExitStack() as stack:
        _active.add(model)
        stack.callback(_active.discard, model)
        layers: frozenset[int] = frozenset()
        without_rope: frozenset[int] = frozenset()
        followed: FollowedLength | None = None
        if not resolved.as_released:
            rotary = model_rotary(model)
            _set_frequencies(stack, rotary, fp32_frequencies(resolved, facts))
            with _evaluating(model):
                found = probe(model, rotary)
                without_rope = found.without_rope
                layers = _enter_attention(stack, model, resolved, rotary, found)
            if resolved.length_rule != "none":
                followed = stack.enter_context(follow_length(model, rotary, resolved, facts))
        yield Applied(
            method=resolved,
            inv_freq=_effective_frequencies(model),
            layers=tuple(sorted(layers)),
            layers_without_rope=tuple(sorted(without_rope)),
            followed=followed,
        )


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Switch dropout off for the probes; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _enter_attention(
    stack: ExitStack, model: Any, method: Method, rotary: Rotary, found: Probe
) -> frozenset[int]:
    """Register the method's attention where it has one, and return the layers that attend as it says."""
    scales, bands = method.logit_scales(), method.bands()
    if bands is None and not scales:
        return found.layers
    route = AttentionRoute(
        family=model.config.model_type,
        previous=model.config._attn_implementation,
        scales=Scales(scales),
        bands=bands,
        rotary=rotary,
        layers_without_rope=found.without_rope,
    )
    stack.enter_context(backward_inside(model, route))
    stack.callback(model.base_model.register_forward_pre_hook(route.begin, with_kwargs=True).remove)
    stack.enter_context(registered(model, f"longbench_run_{id(route):x}", route.attention, route.mask))
    with torch.no_grad():
        device = model.get_input_embeddings().weight.device
        model(torch.zeros((1, 2), dtype=torch.long, device=device), use_cache=False)
    if route.layers_touched != found.layers:
        raise MethodNotApplicable(
            f"the family {model.config.model_type!r} must attend through the method in layers {sorted(found.layers)}, got "
            f"{sorted(route.layers_touched)}: the method had no effect elsewhere. Use another model."
        )
    return found.layers


def _effective_frequencies(model: Any) -> tuple[float, ...]:
    """Return the inverse frequencies that the model computes with, one kind of layer after the other."""
    return tuple(
        value
        for module in rotary_modules(model)
        for name, buffer in module._buffers.items()
        if buffer is not None and name.endswith("inv_freq") and not name.endswith("original_inv_freq")
        for value in buffer.float().cpu().tolist()
    )


def _set_frequencies(stack: ExitStack, rotary: Rotary, inv_freq: torch.Tensor) -> None:
    module = rotary.module
    for name in (rotary.name("inv_freq"), rotary.name("original_inv_freq")):
        before = module._buffers.get(name)
        if before is not None:
            stack.enter_context(patched(module, name, inv_freq.to(before.device)))
    # A scaling that the model ships with belongs to the released frequencies, not to these.
    stack.enter_context(patched(module, rotary.name("attention_scaling"), 1.0))
    if hasattr(module, "rope_type"):
        released: Any = module.rope_type
        own = "default" if rotary.kind is None else {**released, rotary.kind: "default"}
        stack.enter_context(patched(module, "rope_type", own))
