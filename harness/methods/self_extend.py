"""Self-Extend: exact positions near, grouped positions far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from longbench_run.harness.methods.base import Band, Tuning, known
from longbench_run.harness.methods.position_maps import far, near
from longbench_run.harness.methods.windowed import Windowed

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class SelfExtend(Windowed):
    """Neighbours keep their distance; beyond the window both positions are divided by the group size, floored.

    rho = p - j where p - j < W, else floor(p / G) - floor(j / G) + W - floor(W / G).

    Source:
        Jin et al. 2024, arXiv:2401.01325; datamllab/LongLM@cdbbb06.
    """

    name: ClassVar[str] = "self_extend"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = (
        "Self-Extend: exact distances in a window, floor-grouped positions beyond; no tuning"
    )
    source: ClassVar[str] = "Jin et al. 2024, arXiv:2401.01325; datamllab/LongLM@cdbbb06"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The shift is W - floor(W / G), as in the paper; some of the released files divide without floor, which "
        "differs where G does not divide W. The released code's optional log-n scale, off by default, is "
        "self_extend+log_n here."
    )

    group: int | None = None
    """Group size G, at least 1; default: the smallest with window + (target - window) / G <= L / 2, the lower end of the
    authors' rule (datamllab/LongLM@cdbbb06), and 1 for a target inside L; released: 8."""

    def __post_init__(self) -> None:
        """Check the group size."""
        super().__post_init__()
        if self.group is not None:
            self.require("group", self.group >= 1, "at least 1")

    @staticmethod
    def default_window(original_context_length: int) -> int:
        """Return min(1024, L / 4): datamllab/LongLM@cdbbb06 has 1024, the bound for small windows is this project's."""
        return min(1024, original_context_length // 4)

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in window and group."""
        resolved = super().resolve(facts, context_length)
        if resolved.group is not None:
            return resolved
        return replace(resolved, group=resolved._default_group(context_length))

    def _default_group(self, context_length: int) -> int:
        length, window = self.pretrained_window(), known(self.window)
        if context_length <= length:
            return 1
        room = length / 2 - window
        self.require(
            "window",
            room > 0,
            f"below half of the original window ({length}) where group is left out",
            "Name group.",
        )
        return max(1, math.ceil((context_length - window) / room))

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; far keys at floor(j / G), their queries at floor(p / G) + W - floor(W / G)."""
        window, group = known(self.window), known(self.group)
        shift = window - window // group
        return (
            Band(keys=near(window)),
            Band(keys=far(window), query_map=lambda p: p // group + shift, key_map=lambda j: j // group),
        )
