"""NTK-by-parts, and YaRN: the same frequencies with a temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from longbench_run.harness.methods.base import Frequencies, LogitScale, Tuning, known
from longbench_run.harness.methods.factor import Factored
from longbench_run.harness.methods.frequencies import Ramp, by_parts
from longbench_run.harness.methods.scales import yarn_scale_per_query, yarn_temperature

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts
    from longbench_run.harness.methods.rope_config import RopeConfig

_RAMPS = (
    "The paper's ramp is linear in the number of turns (ramp=paper), the released code's in the pair index. The "
    "default is the code's, which the released YaRN checkpoints, transformers and vLLM use; with base 10000 and "
    "L = 4096 the two differ by up to 1.7 times at s = 4 and 3.0 times at s = 16, in the middle pairs."
)


@dataclass(frozen=True, kw_only=True)
class NtkByParts(Factored):
    """Keep pairs with many turns in the window, divide those with few by the factor, a ramp between.

    Source:
        Peng et al. 2023, arXiv:2309.00071, section 3.2; jquesnelle/yarn@995db5b, ``linear_ramp_mask``.
    """

    name: ClassVar[str] = "ntk_by_parts"
    summary: ClassVar[str] = "NTK-by-parts: YaRN's frequencies without its temperature"
    source: ClassVar[str] = "Peng et al. 2023, arXiv:2309.00071, section 3.2; jquesnelle/yarn@995db5b"
    tuning: ClassVar[Tuning] = "optional"
    differs: ClassVar[str] = (
        f"{_RAMPS} The released code's older class of this name has other constants and mixes in NTK-aware scaling; "
        "it is not offered."
    )

    beta_fast: float = 32.0
    """Pairs with at least this many turns in the window are kept; default from arXiv:2309.00071."""
    beta_slow: float = 1.0
    """Pairs with at most this many turns in the window are divided by the factor; default from arXiv:2309.00071."""
    ramp: Ramp = "code"
    """``code``: linear in the pair index, jquesnelle/yarn@995db5b; ``paper``: linear in turns, arXiv:2309.00071."""

    def __post_init__(self) -> None:
        """Check the bounds of the ramp."""
        super().__post_init__()
        self.require("beta_slow", self.beta_slow > 0, "above 0")
        self.require("beta_fast", self.beta_fast > self.beta_slow, f"above beta_slow ({self.beta_slow:g})")

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: theta_i where it turns often in the window, theta_i / s where rarely, a ramp between."""
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

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """``yarn`` with the attention factor written out: left out, transformers takes YaRN's."""
        self.require(
            "ramp",
            self.ramp == "code",
            "code in a transformers config, which has no other",
            "Leave it out, or apply the method from Python instead: method.applied_to(model).",
        )
        return config.scaled(
            "yarn",
            by=self.name,
            factor=known(self.factor),
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            attention_factor=self._factor_on_states(),
            original_max_position_embeddings=self.pretrained_window(),
        )

    def _factor_on_states(self) -> float:
        """Return the factor on q and on k."""
        return 1.0


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
    differs: ClassVar[str] = (
        f"{_RAMPS} Where a family rotates a part of each head only, the released code and transformers scale that part; "
        "the default scales the whole logit, as the paper's formula."
    )

    attention_factor: float | None = None
    """Factor on q and on k; default: 0.1 ln s + 1, arXiv:2309.00071, equation 22. Not used by ``per_query``."""
    temperature: Literal["constant", "per_query"] = "constant"
    """``constant``: one, arXiv:2309.00071; ``per_query``: at the length each query sees, datamllab/LongLM@cdbbb06."""

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
        """Axis 2: attention_factor^2; with temperature=per_query: max(1, 0.1 ln((p + 1) / L) + 1)^2."""
        if self.temperature == "per_query":
            return yarn_scale_per_query(self.pretrained_window())
        return LogitScale(constant=known(self.attention_factor) ** 2)

    def _factor_on_states(self) -> float:
        """Return the factor on q and on k."""
        return known(self.attention_factor)
