"""The model exactly as released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longbench_run.harness.methods.base import Component, Tuning


@dataclass(frozen=True, kw_only=True)
class Unmodified(Component):
    """The unmodified model, with the scaling it ships with, if any: the baseline of every comparison."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "the model exactly as released, its own scaling included"
    source: ClassVar[str] = "-"
    tuning: ClassVar[Tuning] = "none needed"
    as_released: ClassVar[bool] = True
