"""NTK-by-parts, and YaRN: the same frequencies with a temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from longbench_run.harness.methods.base import Frequencies, LogitScale, known
from longbench_run.harness.methods.factor import Factored
from longbench_run.harness.methods.frequencies import Ramp, by_parts
from longbench_run.harness.methods.scales import yarn_scale_per_query, yarn_temperature

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class NtkByParts(Factored):
    """Keep pairs with many turns in the window, divide those with few by the factor, a ramp between.

    Source:
        Peng et al. 2023, arXiv:2309.00071, section 3.2; the default ramp as in jquesnelle/yarn@995db5b, which
        is linear in the pair index where the paper's is linear in the number of turns (``ramp=paper``).
    """

    name: ClassVar[str] = "ntk_by_parts"
    summary: ClassVar[str] = "NTK-by-parts: YaRN's frequencies without its temperature"
    source: ClassVar[str] = "Peng et al. 2023, arXiv:2309.00071, section 3.2; jquesnelle/yarn@995db5b"

    beta_fast: float = 32.0
    """Pairs with at least this many turns in the window are kept."""
    beta_slow: float = 1.0
    """Pairs with at most this many turns in the window are divided by the factor."""
    ramp: Ramp = "code"
    """``code``: the ramp as released; ``paper``: the ramp as printed."""

    def __post_init__(self) -> None:
        """Check the bounds of the ramp."""
        super().__post_init__()
        self.require("beta_slow", self.beta_slow > 0, "above 0")
        self.require("beta_fast", self.beta_fast > self.beta_slow, f"above beta_slow ({self.beta_slow:g})")

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i kept, divided by s, or on the ramp between."""
        new = by_parts(
            inv_freq,
            base=base,
            factor=known(self.factor),
            original_context_length=self.pretrained_window(),
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            ramp=self.ramp,
        )
        return new, base


@dataclass(frozen=True, kw_only=True)
class Yarn(NtkByParts):
    """NTK-by-parts with the logits multiplied by (0.1 ln s + 1)^2.

    Source:
        Peng et al. 2023, arXiv:2309.00071; jquesnelle/yarn@995db5b. ``temperature=per_query`` takes the length
        that each query sees in place of the factor, as datamllab/LongLM@cdbbb06 suggests in a comment.
    """

    name: ClassVar[str] = "yarn"
    summary: ClassVar[str] = "YaRN: NTK-by-parts, logits multiplied by (0.1 ln s + 1)^2"
    source: ClassVar[str] = "Peng et al. 2023, arXiv:2309.00071; jquesnelle/yarn@995db5b"

    attention_factor: float | None = None
    """Factor on q and on k, so that the logits get its square; default 0.1 ln s + 1. Not used by ``per_query``."""
    temperature: Literal["constant", "per_query"] = "constant"
    """``constant``: one temperature; ``per_query``: max(1, 0.1 ln((p + 1) / L) + 1)^2."""

    def __post_init__(self) -> None:
        """Check the attention factor."""
        super().__post_init__()
        if self.attention_factor is not None:
            self.require("attention_factor", self.attention_factor > 0, "above 0")
            self.require(
                "attention_factor",
                self.temperature == "constant",
                "left out with temperature=per_query",
                "Drop one of them.",
            )

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in the factor and the attention factor."""
        resolved = super().resolve(facts, context_length)
        if resolved.attention_factor is not None or resolved.temperature == "per_query":
            return resolved
        return replace(resolved, attention_factor=yarn_temperature(known(resolved.factor)))

    def logit_scale(self) -> LogitScale:
        """Axis 2: the square of the attention factor, or the per-query temperature."""
        if self.temperature == "per_query":
            return yarn_scale_per_query(self.pretrained_window())
        return LogitScale(constant=known(self.attention_factor) ** 2)
