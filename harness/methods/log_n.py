"""Logits that grow with the logarithm of the keys visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longbench_run.harness.methods.base import Component, LogitScale, Tuning
from longbench_run.harness.methods.scales import log_n_scale


@dataclass(frozen=True, kw_only=True)
class LogN(Component):
    """Multiply the logits of the query at p by max(1, ln(p + 1) / ln L).

    Source:
        Chiang and Cholak 2022, arXiv:2202.12172; training-free form in bojone/rerope@acfe788.
    """

    name: ClassVar[str] = "log_n"
    summary: ClassVar[str] = (
        "log-n: logits multiplied by max(1, ln(p + 1) / ln L); meant to join another method"
    )
    source: ClassVar[str] = "Chiang and Cholak 2022, arXiv:2202.12172; bojone/rerope@acfe788"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The paper trains with a factor log n; the default is the released code's training-free form, relative to "
        "ln L, by query, never below 1. The released code rounds it to the dtype of q."
    )

    def logit_scale(self) -> LogitScale:
        """Axis 2: max(1, log_L n), n the keys visible to the query."""
        return log_n_scale(self.pretrained_window())
