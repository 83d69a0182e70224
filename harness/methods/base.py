"""What an extension method is: a frozen value that says what it does on four axes, and nothing about models' code.

For a query at position p and a key at position j <= p::

    logit(p, j) = tau(layer, p) / sqrt(d) * <R(rho_q(p)) q, R(rho_k(j)) k>     where a mask allows it

A component fills in some of the axes: frequencies theta', logit scale tau, position map rho, mask. This file
knows numpy and no torch: the same values serve the kernels and a float64 formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float, Int, Shaped

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import Value, format_term
from longbench_run.harness.methods.rope_config import RopeConfig

T = TypeVar("T")
Positions = Int[np.ndarray, " n"]
Frequencies = Float[np.ndarray, " half_dim"]
LengthRule = Literal["none", "sample", "running"]
Tuning = Literal["none needed", "optional", "meant for fine-tuning", "trained with the model"]
"""What a method asks of the weights; ``optional``: its publications use it with fine-tuning and without."""
PositionMap = Callable[[Positions], Shaped[np.ndarray, " n"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeFacts:
    """What methods may know of a model."""

    family: str
    """``config.model_type``."""
    base: float
    """RoPE base b (HF: rope_theta)."""
    inv_freq: tuple[float, ...]
    """Inverse frequencies before any scaling that the model ships with, radians per token, fastest first."""
    original_context_length: int
    """Window of pretraining, L, in tokens."""
    layers: int
    """Number of decoder layers."""
    short_factor: tuple[float, ...] | None = None
    """LongRoPE's divisors inside the window, where the model's config holds them, shape ``(rotary_dim/2,)``."""
    long_factor: tuple[float, ...] | None = None
    """Those beyond the window."""

    @property
    def rotary_dim(self) -> int:
        """Rotated dimensions per head, d."""
        return 2 * len(self.inv_freq)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitScale:
    """Axis 2: a factor on the whole logit, on top of 1/sqrt(d): a constant, or values by query."""

    constant: float | None = None
    values: Callable[[Positions, int], Float[np.ndarray, " n"]] | None = None
    """Query positions p and the tokens seen when the forward pass ends -> tau(p), float64."""
    skip_layers: int = 0
    """How many first layers keep scale 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Keys ``[start(p), stop(p))`` for a query at p; both ends must not decrease with p, and are clipped to [0, p + 1]."""

    start: PositionMap
    stop: PositionMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Axis 3: an interval of keys with the positions that its queries and keys take; None keeps p or j.

    Bands of a method are disjoint, unless a key is meant to count twice.
    """

    keys: Interval
    query_map: PositionMap | None = None
    key_map: PositionMap | None = None
    prefill_only: bool = False
    """Left out where earlier tokens lie in the cache."""


def known(value: T | None) -> T:
    """Return a parameter that resolving has filled in.

    Raises:
        ValueError: If it is still None.
    """
    if value is None:
        raise ValueError("The method must be resolved first: call resolve(facts, context_length=...).")
    return value


@dataclass(frozen=True, kw_only=True)
class Component:
    """One named method; its dataclass fields are its parameters, None where the value follows from model and target."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    source: ClassVar[str]
    tuning: ClassVar[Tuning]
    differs: ClassVar[str] = ""
    """What differs between paper and released code, and which of them is the default here; empty: nothing."""
    as_released: ClassVar[bool] = False
    """Leaves the model as it is, a scaling that it ships with included; stands alone in a composition."""
    original_context_length: int | None = None
    """Window of pretraining, L, for this component alone, tokens; default: the model's."""

    @property
    def prefix_causal(self) -> bool:
        """Whether the logits at p depend only on tokens up to p, not on the input's length."""
        return True

    @property
    def order_independent(self) -> bool:
        """Whether results do not depend on what ran before."""
        return True

    @property
    def prefill_equals_decode(self) -> bool:
        """Whether one forward equals token by token."""
        return True

    @property
    def length_rule(self) -> LengthRule:
        """What length the frequencies follow: none, one for each sample, or a running one that every forward updates."""
        return "none"

    def at_length(self, tokens: int) -> Component:
        """Return the component whose frequencies are used at a length; itself where they follow none."""
        return self

    def length_after(self, seen: int | None, tokens: int) -> int:
        """Return the running length after a forward over ``tokens``, positions before it included.

        Args:
            seen: The running length before it; None at first.
            tokens: The largest position of the forward, plus 1.
        """
        return tokens

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.original_context_length is not None:
            self.require("original_context_length", self.original_context_length >= 1, "at least 1")

    def require(
        self, parameter: str, condition: bool, rule: str, remedy: str = "Leave it out for the default."
    ) -> None:
        """Raise the user's error for a parameter that breaks its rule.

        Raises:
            ConfigError: If ``condition`` is false.
        """
        if not condition:
            value = getattr(self, parameter)
            raise ConfigError(f"{self.name}: {parameter} must be {rule}, got {value!r}. {remedy}")

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Return the value with every parameter filled in.

        Args:
            facts: The model's rotary facts; its window is used where ``original_context_length`` is None.
            context_length: Target length in tokens.

        Raises:
            ConfigError: If a parameter does not fit the model's window.
            MethodNotApplicable: If the method cannot serve the model.
        """
        return replace(
            self, original_context_length=self.original_context_length or facts.original_context_length
        )

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: return the transformed inverse frequencies and the base they belong to."""
        return inv_freq, base

    def logit_scale(self) -> LogitScale | None:
        """Axis 2, or None where the logits keep their scale."""
        return None

    def bands(self) -> tuple[Band, ...] | None:
        """Axis 3: disjoint bands, or None where every key keeps its distance."""
        return None

    def mask(self) -> tuple[Interval, ...] | None:
        """Axis 4: disjoint intervals of visible keys, or None where all are visible."""
        return None

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """Return the transformers config that computes axis 1 and a constant scale of axis 2 as this component does.

        Args:
            config: That of the model without its scaling, or of the components before this one.

        Raises:
            ConfigError: If transformers has no keys for it.
        """
        if type(self).frequencies is not Component.frequencies:
            raise self._not_expressible("frequencies", "those of a rope_type")
        return config

    def exported(self, config: RopeConfig) -> RopeConfig:
        """Return the transformers config that computes what this component does, on all axes; see `rope_config`.

        Raises:
            ConfigError: If transformers has no keys for one of the axes.
        """
        scale = self.logit_scale()
        if self.bands() is not None:
            raise self._not_expressible("positions", "the tokens' own")
        if self.mask() is not None:
            raise self._not_expressible("mask", "the causal one")
        if scale is not None and (scale.values is not None or scale.skip_layers):
            raise self._not_expressible("logit scale", "one number for all queries and layers")
        return self.rope_config(config)

    def _not_expressible(self, axis: str, rule: str) -> ConfigError:
        return ConfigError(
            f"{self.name}: {axis} must be {rule} to be written as a transformers config, got {self.text()!r}. "
            "Apply the method from Python instead: method.applied_to(model)."
        )

    def reach(self, window: int) -> int | None:
        """Return the context length in tokens that the parameters as given name; None where they need none.

        Args:
            window: The model's window of pretraining, L, in tokens.

        Raises:
            ConfigError: If they would follow from a context length.
        """
        return None

    def pretrained_window(self) -> int:
        """Return L.

        Raises:
            ValueError: If the component was not resolved.
        """
        return known(self.original_context_length)

    def parameters(self) -> dict[str, Value]:
        """Return the parameters that have a value."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}

    def text(self) -> str:
        """Return the canonical text: parameters that have a value, sorted by name."""
        return format_term(self.name, self.parameters())
