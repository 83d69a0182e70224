"""The scaling that Llama 3.1 ships with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from longbench_run.harness.methods.base import Frequencies, Tuning, known
from longbench_run.harness.methods.factor import Factored

if TYPE_CHECKING:
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class Llama3(Factored):
    """Keep pairs with a wavelength below L / high_freq_factor, divide those above L / low_freq_factor, a ramp between.

    Source:
        Llama 3.1 (Meta 2024), as ``llama3`` in transformers 5.23 ``modeling_rope_utils``. It is the ramp of the
        YaRN paper (linear in turns) with bounds 1 and 4 and without a temperature.
    """

    name: ClassVar[str] = "llama3"
    summary: ClassVar[str] = "Llama 3.1's scaling: pairs with few turns in the window divided by the factor"
    source: ClassVar[str] = "Meta 2024, Llama 3.1; transformers 5.23"
    tuning: ClassVar[Tuning] = "trained with the model"

    low_freq_factor: float = 1.0
    """Pairs with at most this many turns in the window are divided by the factor; default: Llama 3.1's."""
    high_freq_factor: float = 4.0
    """Pairs with at least this many turns in the window are kept; default: Llama 3.1's."""

    def __post_init__(self) -> None:
        """Check the bounds of the ramp."""
        super().__post_init__()
        self.require("low_freq_factor", self.low_freq_factor > 0, "above 0")
        rule = f"above low_freq_factor ({self.low_freq_factor:g})"
        self.require("high_freq_factor", self.high_freq_factor > self.low_freq_factor, rule)

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i where it turns often in the window, theta_i / s where rarely, a ramp in turns between."""
        turns = self.pretrained_window() * inv_freq / (2 * math.pi)
        width = self.high_freq_factor - self.low_freq_factor
        kept = np.clip((turns - self.low_freq_factor) / width, 0, 1)
        return inv_freq * kept + inv_freq / known(self.factor) * (1 - kept), base

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """``llama3``."""
        return config.scaled(
            "llama3",
            by=self.name,
            factor=known(self.factor),
            low_freq_factor=self.low_freq_factor,
            high_freq_factor=self.high_freq_factor,
            original_max_position_embeddings=self.pretrained_window(),
        )
