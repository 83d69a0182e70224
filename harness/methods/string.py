"""STRING: distances beyond a shift are moved down into the range that training has seen often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from longbench_run.harness.methods.base import Band, Component, Interval, LogitScale, Tuning, known
from longbench_run.harness.methods.position_maps import far, near

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class String(Component):
    """rho = p - j where p - j < S, else p - j - S + W: for use inside the original window.

    Source:
        An et al. 2024, arXiv:2410.18745; HKUNLP/STRING@216cc2f.
    """

    name: ClassVar[str] = "string"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = (
        "STRING: distances beyond a shift moved down by it; for use inside the original window"
    )
    source: ClassVar[str] = "An et al. 2024, arXiv:2410.18745; HKUNLP/STRING@216cc2f"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The default is the paper's map. The released prefill counts the key at distance S twice, once with each "
        "rho, its decode once (variant=released). The released code also multiplies q and k by 0.1 ln 2 + 1, which "
        "is attention_factor=1.0693 here."
    )

    shift: int | None = None
    """Distance S from which on positions are moved, tokens, from 1 to L; default: L / 3, arXiv:2410.18745."""
    window: int = 128
    """Distance W that a key at S gets, tokens, at least 0; default from arXiv:2410.18745."""
    attention_factor: float = 1.0
    """Factor on q and on k, above 0; default: 1, the bare map; HKUNLP/STRING@216cc2f: 1.0693."""
    variant: Literal["paper", "released"] = "paper"
    """``paper``: arXiv:2410.18745; ``released``: the key at distance S counts twice in prefill, HKUNLP/STRING@216cc2f."""

    def __post_init__(self) -> None:
        """Check shift, window and attention factor."""
        super().__post_init__()
        if self.shift is not None:
            self.require("shift", self.shift >= 1, "at least 1")
        self.require("window", self.window >= 0, "at least 0")
        self.require("attention_factor", self.attention_factor > 0, "above 0")

    @property
    def prefill_equals_decode(self) -> bool:
        """The released prefill counts one key twice, its decode does not."""
        return self.variant == "paper"

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in the shift."""
        resolved = super().resolve(facts, context_length)
        length = resolved.pretrained_window()
        if resolved.shift is None:
            resolved = replace(resolved, shift=max(1, length // 3))
        resolved.require(
            "shift",
            known(resolved.shift) <= length,
            f"at most the original window ({length})",
            "Name a smaller one.",
        )
        return resolved

    def logit_scale(self) -> LogitScale | None:
        """Axis 2: attention_factor^2, nothing at its default."""
        return LogitScale(constant=self.attention_factor**2) if self.attention_factor != 1 else None

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; far keys where they are, their queries S - W earlier."""
        shift, window = known(self.shift), self.window
        bands = (Band(keys=near(shift)), Band(keys=far(shift), query_map=lambda p: p - shift + window))
        if self.variant == "paper":
            return bands
        at_shift = Interval(start=lambda p: p - shift, stop=lambda p: p - shift + 1)
        return (*bands, Band(keys=at_shift, prefill_only=True))
