"""Position Interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from longbench_run.harness.methods.base import Frequencies, Tuning, known
from longbench_run.harness.methods.factor import Factored

if TYPE_CHECKING:
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class PositionInterpolation(Factored):
    """Divide every inverse frequency by the factor: position m becomes m / s.

    Source:
        Chen et al. 2023, arXiv:2306.15595.
    """

    name: ClassVar[str] = "pi"
    summary: ClassVar[str] = (
        "Position Interpolation: every frequency divided by the factor; meant for fine-tuning"
    )
    source: ClassVar[str] = "Chen et al. 2023, arXiv:2306.15595"
    tuning: ClassVar[Tuning] = "meant for fine-tuning"

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i / s."""
        return inv_freq / known(self.factor), base

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """``linear``."""
        return config.scaled("linear", by=self.name, factor=known(self.factor))
