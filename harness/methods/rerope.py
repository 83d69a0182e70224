"""ReRoPE and Leaky ReRoPE: distances beyond a window are held, or grow slowly."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from longbench_run.harness.methods.base import Band, Tuning, known
from longbench_run.harness.methods.position_maps import constant, far, near
from longbench_run.harness.methods.windowed import Windowed

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class ReRope(Windowed):
    """Distances are exact below the window and held at it beyond: rho = min(p - j, W).

    Source:
        Su 2023, kexue.fm/archives/9708; bojone/rerope@acfe788, ``rerope_patch.py``.
    """

    name: ClassVar[str] = "rerope"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "ReRoPE: distances held at the window; the author's form is rerope+log_n"
    source: ClassVar[str] = "Su 2023, kexue.fm/archives/9708; bojone/rerope@acfe788"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = "The released code also scales q by log-n, which is rerope+log_n here."

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; far keys at 0, their queries at W."""
        window = known(self.window)
        return (
            Band(keys=near(window)),
            Band(keys=far(window), query_map=constant(window), key_map=np.zeros_like),
        )


@dataclass(frozen=True, kw_only=True)
class LeakyReRope(Windowed):
    """Distances are exact below the window and grow by 1/k beyond: rho = W + (p - j - W) / k.

    Source:
        Su 2023, kexue.fm/archives/9708; bojone/rerope@acfe788, ``leaky_rerope_patch.py``.
    """

    name: ClassVar[str] = "leaky_rerope"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "Leaky ReRoPE: distances grow by 1/stretch beyond the window"
    source: ClassVar[str] = "Su 2023, kexue.fm/archives/9708; bojone/rerope@acfe788"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = "The released code also scales q by log-n, which is leaky_rerope+log_n here."

    stretch: float | None = None
    """k, at least 1; default: the smallest integer with window + (target - 1 - window) / k <= L - 1, so that no distance
    exceeds the trained ones (kexue.fm/archives/9708); released: 16."""

    def __post_init__(self) -> None:
        """Check the stretch."""
        super().__post_init__()
        if self.stretch is not None:
            self.require("stretch", self.stretch >= 1, "at least 1")

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in window and stretch."""
        resolved = super().resolve(facts, context_length)
        if resolved.stretch is not None:
            return resolved
        room = resolved.pretrained_window() - 1 - known(resolved.window)
        excess = context_length - 1 - known(resolved.window)
        resolved.require(
            "window",
            room > 0 or excess <= room,
            f"below the original window less 1 ({resolved.pretrained_window() - 1}) where stretch is left out",
            "Name stretch.",
        )
        return replace(resolved, stretch=float(max(1, math.ceil(excess / room))) if excess > 0 else 1.0)

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; far keys at j / k, their queries at W + (p - W) / k."""
        window, stretch = known(self.window), known(self.stretch)
        return (
            Band(keys=near(window)),
            Band(
                keys=far(window),
                query_map=lambda p: window + (p - window) / stretch,
                key_map=lambda j: j / stretch,
            ),
        )
