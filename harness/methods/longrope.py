"""LongRoPE: every pair divided by a factor of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from longbench_run.harness.errors import ConfigError, MethodNotApplicable
from longbench_run.harness.methods.base import Frequencies, LogitScale, Tuning, known
from longbench_run.harness.methods.factor import Factored

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class LongRope(Factored):
    """Divide pair i by the i-th factor of a searched list: a long list beyond the window, a short one inside it.

    The target decides once, for every position and every input: no key in a cache was rotated by the other list.
    The logits are multiplied by 1 + ln s / ln L with either list.

    Source:
        Ding et al. 2024, arXiv:2402.13753; transformers 5.23, ``_compute_longrope_parameters``. Differs: transformers
        chooses the list by each input's length, and some families drop their cache where it changes during a decode.
        The original frequencies that the paper keeps for the first tokens are in neither released code.
    """

    name: ClassVar[str] = "longrope"
    summary: ClassVar[str] = (
        "LongRoPE: each pair divided by a searched factor, by parameter or from the model's config"
    )
    source: ClassVar[str] = "Ding et al. 2024, arXiv:2402.13753; transformers 5.23"
    tuning: ClassVar[Tuning] = "meant for fine-tuning"
    differs: ClassVar[str] = (
        "The paper keeps the original frequencies for the first tokens; neither released code does, nor does the "
        "default. transformers chooses the list by each input's length, here the target chooses it once. "
        "microsoft/LongRoPE@c9e56aa also takes a list for each layer, which is left out."
    )

    short_factor: tuple[float, ...] | None = None
    """Divisors of the pairs, fastest first, for a target inside the window L; default: the model config's."""
    long_factor: tuple[float, ...] | None = None
    """Divisors of the pairs, fastest first, for a target beyond the window L; default: the model config's."""
    side: Literal["short", "long"] | None = None
    """Which list is used; default: long where the target exceeds L, the rule of transformers 5.23 for an input."""

    def __post_init__(self) -> None:
        """Check the factors."""
        super().__post_init__()
        for name in ("short_factor", "long_factor"):
            values = getattr(self, name)
            if values is not None:
                self.require(name, len(values) > 0 and min(values) > 0, "numbers above 0")

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in factor, lists and side; only the list of that side must exist."""
        resolved = super().resolve(facts, context_length)
        beyond = context_length > resolved.pretrained_window()
        resolved = replace(
            resolved,
            short_factor=self.short_factor or facts.short_factor,
            long_factor=self.long_factor or facts.long_factor,
            side=self.side or ("long" if beyond else "short"),
        )
        name = f"{resolved.side}_factor"
        used = getattr(resolved, name)
        if used is None:
            raise MethodNotApplicable(
                f"{self.name}: {name} must be given or stand in the model's config, got neither for the {facts.family} "
                f"model. Write {name}=1.0/1.02/... or {name}=@file.json."
            )
        pairs = len(facts.inv_freq)
        for name in ("short_factor", "long_factor"):
            values = getattr(resolved, name)
            if values is not None and len(values) != pairs:
                raise ConfigError(
                    f"{self.name}: {name} must be {pairs} numbers, one for each pair of rotated dimensions, got "
                    f"{len(values)}. Give the list that was searched for this model."
                )
        return resolved

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i / lambda_i, lambda the list of the side."""
        divisors = self.long_factor if known(self.side) == "long" else self.short_factor
        return inv_freq / np.array(known(divisors)), base

    def logit_scale(self) -> LogitScale | None:
        """Axis 2: 1 + ln s / ln L, with either list."""
        factor = known(self.factor)
        if factor <= 1:
            return None
        return LogitScale(constant=1 + math.log(factor) / math.log(self.pretrained_window()))

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """``longrope`` with the list of the side as both lists: transformers chooses by each input's length."""
        divisors = list(known(self.long_factor if known(self.side) == "long" else self.short_factor))
        scale = self.logit_scale()
        return config.scaled(
            "longrope",
            by=self.name,
            short_factor=divisors,
            long_factor=[*divisors],
            factor=known(self.factor),
            attention_factor=1.0 if scale is None else math.sqrt(known(scale.constant)),
            original_max_position_embeddings=self.pretrained_window(),
        )
