"""NTK-aware scaling of the base, and the two corrections of ReRoPE's author."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from longbench_run.harness.methods.base import Frequencies, Tuning, known
from longbench_run.harness.methods.factor import Factored
from longbench_run.harness.methods.frequencies import ntk_base, rebased

if TYPE_CHECKING:
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class NtkAware(Factored):
    """Raise the base to b s^(d/(d-2)): the fastest pair is kept, the slowest divided by s.

    Source:
        bloc97 2023; Peng et al. 2023, arXiv:2309.00071, equation 16. transformers has no such rope type: its
        equal is the default type with this base.
    """

    name: ClassVar[str] = "ntk"
    summary: ClassVar[str] = (
        "NTK-aware: base raised so that the fastest pair is kept and the slowest divided by the factor"
    )
    source: ClassVar[str] = "bloc97 2023; Peng et al. 2023, arXiv:2309.00071, equation 16"
    tuning: ClassVar[Tuning] = "none needed"

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: the frequencies of base b s^(d/(d-2))."""
        new_base = ntk_base(base, factor=known(self.factor), rotary_dim=2 * len(inv_freq))
        return rebased(inv_freq, base=base, new_base=new_base), new_base

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """The type as it is, with the new base: there is no static NTK type."""
        new_base = ntk_base(config.theta, factor=known(self.factor), rotary_dim=config.rotary_dim)
        return config.rebased(new_base, by=self.name)


@dataclass(frozen=True, kw_only=True)
class NtkFixed(Factored):
    """Divide pair i by s^(2(i+1)/d): the fastest pair is stretched a little too, the slowest by exactly s.

    Source:
        Su 2023, kexue.fm/archives/9706 (NTK-RoPE-fixed).
    """

    name: ClassVar[str] = "ntk_fixed"
    summary: ClassVar[str] = (
        "NTK-fixed: pair i divided by factor^(2(i+1)/d), so that the slowest is divided by the factor"
    )
    source: ClassVar[str] = "Su 2023, kexue.fm/archives/9706"
    tuning: ClassVar[Tuning] = "none needed"

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i s^(-2(i+1)/d)."""
        pairs = np.arange(1, len(inv_freq) + 1)
        return inv_freq * known(self.factor) ** (-pairs / len(inv_freq)), base


@dataclass(frozen=True, kw_only=True)
class NtkMixed(Factored):
    """Divide pair i by exp(a (i+1)^beta), a = ln s / (d/2)^beta: between Position Interpolation and NTK-fixed.

    Source:
        Su 2023, kexue.fm/archives/9706 (NTK-RoPE-mixed); bojone/rerope@acfe788, ``ntk_patch.py``.
    """

    name: ClassVar[str] = "ntk_mixed"
    summary: ClassVar[str] = (
        "NTK-mixed: pair i divided by exp(a (i+1)^beta); the author's form is ntk_mixed+log_n"
    )
    source: ClassVar[str] = "Su 2023, kexue.fm/archives/9706; bojone/rerope@acfe788"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The blog's best beta is 0.625, the released code's is 0.75, the default. The released code also scales q "
        "by log-n, which is ntk_mixed+log_n here."
    )

    beta: float = 0.75
    """Exponent, from 0 (Position Interpolation) to 1 (NTK-fixed); default from bojone/rerope@acfe788, ``ntk_patch.py``."""

    def __post_init__(self) -> None:
        """Check the exponent."""
        super().__post_init__()
        self.require("beta", 0 <= self.beta <= 1, "from 0 to 1")

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i exp(-ln s ((i+1) / (d/2))^beta)."""
        share = np.arange(1, len(inv_freq) + 1) / len(inv_freq)
        return inv_freq * np.exp(-np.log(known(self.factor)) * share**self.beta), base
