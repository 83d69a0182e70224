"""Adjusted base frequency, and its entropy-aware form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.grammar import format_value
from longbench_run.harness.methods.base import Component, Frequencies, LogitScale
from longbench_run.harness.methods.frequencies import rebased
from longbench_run.harness.methods.scales import log_n_scale

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class AdjustedBase(Component):
    """Raise the RoPE base to 500000.

    Source:
        Xiong et al. 2023, arXiv:2309.16039.
    """

    name: ClassVar[str] = "abf"
    summary: ClassVar[str] = "ABF: RoPE base raised to 500000; meant for fine-tuning"
    source: ClassVar[str] = "Xiong et al. 2023, arXiv:2309.16039"

    base: float = 500000.0
    """RoPE base b, at least the model's own."""

    def __post_init__(self) -> None:
        """Check the base."""
        super().__post_init__()
        self.require("base", self.base > 1, "above 1")

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Refuse a model whose base is already larger."""
        if facts.base > self.base:
            own, asked = format_value(facts.base), format_value(self.base)
            raise MethodNotApplicable(
                f"{self.name}: base must be at least the {facts.family} model's own ({own}), got {asked}. "
                "A smaller base shortens the reach; name a larger one."
            )
        return super().resolve(facts, context_length)

    def frequencies(self, inv_freq: Frequencies, base: float) -> tuple[Frequencies, float]:
        """Axis 1: the frequencies of the new base."""
        return rebased(inv_freq, base=base, new_base=self.base), self.base


@dataclass(frozen=True, kw_only=True)
class EntropyAwareAbf(AdjustedBase):
    """ABF with the logits multiplied by max(1, log_L n), n the keys visible to the query, from layer 2 on.

    Source:
        Zhang et al. 2024, arXiv:2401.07004, section 3.2. In GAIR-NLP/Entropy-ABF@a5e9107 the exclusion of the
        first layers has no effect: its numbers are those of ``skip_layers=0``. Differs: L is the model's window
        where the released code holds the literal 4096, and the scale is kept in fp32.
    """

    name: ClassVar[str] = "entropy_abf"
    summary: ClassVar[str] = "entropy-aware ABF: ABF with logits scaled by max(1, log_L n) from layer 2 on"
    source: ClassVar[str] = (
        "Zhang et al. 2024, arXiv:2401.07004; GAIR-NLP/Entropy-ABF@a5e9107 (skip_layers=0)"
    )

    skip_layers: int = 2
    """How many first layers keep scale 1; 0 is what the released code computes."""

    def __post_init__(self) -> None:
        """Check the count of layers."""
        super().__post_init__()
        self.require("skip_layers", self.skip_layers >= 0, "at least 0")

    def logit_scale(self) -> LogitScale:
        """Axis 2: max(1, log_L n), not in the first layers."""
        return log_n_scale(self.pretrained_window(), skip_layers=self.skip_layers)
