"""A method: interpolate positions for the slower half of the frequencies only."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from longbench_run.harness.methods.base import Frequencies, Tuning, known
from longbench_run.harness.methods.factor import Factored


@dataclass(frozen=True, kw_only=True)
class SlowHalf(Factored):
    """Divide the slower half of the inverse frequencies by the factor; the faster half stays."""

    name: ClassVar[str] = "slow_half"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "slow half: the slower half of the frequencies divided by the factor"
    source: ClassVar[str] = "this package"
    tuning: ClassVar[Tuning] = "none needed"

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i / s for the slower half, theta_i for the others."""
        half = len(inv_freq) // 2
        return np.concatenate([inv_freq[:half], inv_freq[half:] / known(self.factor)]), base
