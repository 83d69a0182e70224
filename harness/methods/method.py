"""A method: one component or a legal composition of several, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import parse_composition, split_list
from longbench_run.harness.methods.base import (
    Band,
    Component,
    Frequencies,
    Interval,
    LengthRule,
    LogitScale,
    PositionMap,
    RopeFacts,
)
from longbench_run.harness.methods.parameters import build_component
from longbench_run.harness.methods.position_maps import every_key
from longbench_run.harness.methods.registry import component_class

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from transformers import PreTrainedConfig, PreTrainedModel

    from longbench_run.harness.attention import Applied
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, slots=True)
class Method:
    """What is compared: components joined by ``+``, in the order written.

    Two methods are equal when their components are, however they were written.
    """

    components: tuple[Component, ...]
    text: str = field(compare=False)
    """As it was asked for: the label in tables and figures."""

    @property
    def canonical(self) -> str:
        """The text with every known parameter filled in and keys sorted; it parses back to an equal method."""
        return "+".join(component.text() for component in self.components)

    @property
    def versions(self) -> dict[str, int]:
        """Component name -> version of its implementation."""
        return {component.name: component.version for component in self.components}

    @property
    def as_released(self) -> bool:
        """Whether the model is left exactly as it is."""
        return any(component.as_released for component in self.components)

    @property
    def prefix_causal(self) -> bool:
        """Whether the logits at p depend only on tokens up to p, not on the input's length."""
        return all(component.prefix_causal for component in self.components)

    @property
    def order_independent(self) -> bool:
        """Whether results do not depend on what ran before."""
        return all(component.order_independent for component in self.components)

    @property
    def prefill_equals_decode(self) -> bool:
        """Whether one forward equals token by token."""
        return all(component.prefill_equals_decode for component in self.components)

    def resolve(
        self,
        facts: RopeFacts,
        *,
        original_context_length: int | None = None,
        context_length: int | None = None,
    ) -> Method:
        """Return the method with every parameter filled in.

        Args:
            facts: The model's rotary facts.
            original_context_length: Window of pretraining L in tokens; default: the model's. A component's own
                ``original_context_length`` wins.
            context_length: Target length in tokens, at least 1; default: the window.

        Raises:
            ConfigError: If a parameter does not fit the model's window.
            MethodNotApplicable: If the method cannot serve the model.
        """
        if original_context_length is not None:
            facts = replace(facts, original_context_length=original_context_length)
        target = facts.original_context_length if context_length is None else context_length
        return replace(
            self, components=tuple(component.resolve(facts, target) for component in self.components)
        )

    @property
    def length_rule(self) -> LengthRule:
        """What length the frequencies follow: that of the component that follows one."""
        return next((c.length_rule for c in self.components if c.length_rule != "none"), "none")

    def at_length(self, tokens: int) -> Method:
        """Return the method whose frequencies are used at a length; an equal one where they follow none."""
        return replace(self, components=tuple(component.at_length(tokens) for component in self.components))

    def length_after(self, seen: int | None, tokens: int) -> int:
        """Return the running length after a forward; see `Component.length_after`."""
        follower = next(c for c in self.components if c.length_rule == "running")
        return follower.length_after(seen, tokens)

    def frequencies(self, inv_freq: Frequencies, base: float) -> Frequencies:
        """Axis 1: the components' transforms, one after the other as written."""
        for component in self.components:
            inv_freq, base = component.frequencies(inv_freq, base)
        return inv_freq

    def logit_scales(self) -> tuple[LogitScale, ...]:
        """Axis 2: the scales, whose product multiplies the logits."""
        return tuple(scale for component in self.components if (scale := component.logit_scale()) is not None)

    def bands(self) -> tuple[Band, ...] | None:
        """Axes 3 and 4: the position map with every band cut to the visible keys; None where both are ordinary."""
        maps = [bands for component in self.components if (bands := component.bands()) is not None]
        masks = [mask for component in self.components if (mask := component.mask()) is not None]
        if not maps and not masks:
            return None
        bands = maps[0] if maps else (Band(keys=every_key()),)
        for mask in masks:
            bands = tuple(
                replace(band, keys=_common(band.keys, visible)) for band in bands for visible in mask
            )
        return bands

    def applied_to(
        self,
        model: PreTrainedModel,
        original_context_length: int | None = None,
        context_length: int | None = None,
    ) -> AbstractContextManager[Applied]:
        """Return a context manager inside which the model computes with this method.

        Args:
            model: Any Hugging Face causal language model with RoPE.
            original_context_length: Window of pretraining L in tokens; default: from the model's config.
            context_length: Target length in tokens, which only resolves parameters: longer inputs are computed,
                not refused. Default: the window.

        Returns:
            Context manager that yields what was applied, with its hash.

        Raises:
            ConfigError: If a parameter does not fit the model's window.
            MethodNotApplicable: If the model's family cannot be served, or a probe shows that it had no effect.
            RuntimeError: If a method is applied to this model already.
        """
        from longbench_run.harness.attention import apply

        return apply(
            self, model, original_context_length=original_context_length, context_length=context_length
        )

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """Return the transformers config of the components, one after the other as written; see `Component.exported`."""
        for component in self.components:
            config = component.exported(config)
        return config

    def reach(self, window: int) -> int | None:
        """Return the longest context length that the components name; see `Component.reach`."""
        found = [reach for component in self.components if (reach := component.reach(window)) is not None]
        return max(found, default=None)

    def export(
        self,
        model_config: PreTrainedConfig,
        original_context_length: int | None = None,
        context_length: int | None = None,
        *,
        trust_remote_code: bool = False,
    ) -> PreTrainedConfig:
        """Return the transformers config with which a model computes what it computes with this method applied.

        ``rope_parameters`` names rope_theta and, where the type has the key, the window of pretraining; a scaling that
        the model ships with is replaced. ``max_position_embeddings`` becomes the context length, except that
        the type ``dynamic`` takes L from it. ``none`` gives an equal config.

        Args:
            model_config: The model's config; it stays as it is.
            original_context_length: Window of pretraining L in tokens; default: from the config.
            context_length: Target length in tokens, at least 1; default: factor * L where the method names its
                factor. A method without one leaves ``max_position_embeddings`` as it is.
            trust_remote_code: Whether code that the model brings along may run.

        Raises:
            ConfigError: If transformers has no keys for the method, or a context length is needed.
            MethodNotApplicable: If the family does not compute the method from such a config.
            ModelError: If the config is not one of a causal language model with RoPE.
        """
        from longbench_run.harness.export import export_config

        return export_config(
            self,
            model_config,
            original_context_length=original_context_length,
            context_length=context_length,
            trust_remote_code=trust_remote_code,
        )


def _common(first: Interval, second: Interval) -> Interval:
    """Return the keys that lie in both intervals."""

    def pointwise(choose: np.ufunc, one: PositionMap, other: PositionMap) -> PositionMap:
        return lambda p: choose(one(p), other(p))

    return Interval(
        start=pointwise(np.maximum, first.start, second.start),
        stop=pointwise(np.minimum, first.stop, second.stop),
    )


def parse_method(text: str, *, where: str = "method") -> Method:
    """Read a method: ``name[:key=value]*``, composed with ``+``.

    Args:
        text: For example ``self_extend:group=4:window=16`` or ``abf+self_extend+log_n``.
        where: Flag or file and key that errors name.

    Raises:
        UnknownName: If a name is not known; the nearest is suggested.
        ConfigError: If a parameter is wrong or the composition is not legal.
    """
    terms = parse_composition(text, where=where)
    components = tuple(build_component(component_class(t.name, where=where), t, where=where) for t in terms)
    _check_composition(components, where=where)
    return Method(components=components, text=text.strip())


def parse_methods(text: str, *, where: str = "--methods") -> list[Method]:
    """Read a list of methods separated by commas.

    Raises:
        ConfigError: If the list or an entry is empty, or one of them is wrong.
    """
    return [parse_method(entry, where=where) for entry in split_list(text, where=where)]


def _check_composition(components: tuple[Component, ...], *, where: str) -> None:
    names = [component.name for component in components]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{where}: a composition must name each method once, got {name!r} twice. Keep one."
            )
    alone = [component.name for component in components if component.as_released]
    if alone and len(components) > 1:
        raise ConfigError(
            f"{where}: {alone[0]} must stand alone, got {'+'.join(names)!r}. It is the model as released: drop it."
        )
    maps = [component.name for component in components if type(component).bands is not Component.bands]
    if len(maps) > 1:
        raise ConfigError(
            f"{where}: a composition must hold one position map at most, got {' and '.join(maps)}. "
            "Each of them says at which positions every pair of tokens stands: keep one."
        )
