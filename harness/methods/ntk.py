"""NTK-aware scaling of the base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longbench_run.harness.methods.base import Frequencies, known
from longbench_run.harness.methods.factor import Factored
from longbench_run.harness.methods.frequencies import ntk_base, rebased


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

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: the frequencies of base b s^(d/(d-2))."""
        new_base = ntk_base(base, factor=known(self.factor), rotary_dim=2 * len(inv_freq))
        return rebased(inv_freq, base=base, new_base=new_base), new_base
