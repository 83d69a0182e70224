"""Adjusted base frequency, and its entropy-aware form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.grammar import format_value
from longbench_run.harness.methods.base import Component, Frequencies, LogitScale, Tuning
from longbench_run.harness.methods.frequencies import rebased
from longbench_run.harness.methods.scales import log_n_scale

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class AdjustedBase(Component):
    """Raise the RoPE base to 500000.

    Source:
        Xiong et al. 2023, arXiv:2309.16039.
    """

    name: ClassVar[str] = "abf"
    summary: ClassVar[str] = "ABF: RoPE base raised to 500000; meant for fine-tuning"
    source: ClassVar[str] = "Xiong et al. 2023, arXiv:2309.16039"
    tuning: ClassVar[Tuning] = "meant for fine-tuning"

    base: float = 500000.0
    """RoPE base b', at least the model's own; default from arXiv:2309.16039."""

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
        """Axis 1: the frequencies of base b'."""
        return rebased(inv_freq, base=base, new_base=self.base), self.base

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """The type as it is, with the new base."""
        return config.rebased(self.base, by=self.name)


@dataclass(frozen=True, kw_only=True)
class EntropyAwareAbf(AdjustedBase):
    """ABF with the logits multiplied by max(1, log_L n), n the keys visible to the query, from layer 2 on.

    Source:
        Zhang et al. 2024, arXiv:2401.07004, section 3.2; GAIR-NLP/Entropy-ABF@a5e9107, ``patch/EABF.py``.
    """

    name: ClassVar[str] = "entropy_abf"
    summary: ClassVar[str] = "entropy-aware ABF: ABF with logits scaled by max(1, log_L n) from layer 2 on"
    source: ClassVar[str] = (
        "Zhang et al. 2024, arXiv:2401.07004; GAIR-NLP/Entropy-ABF@a5e9107 (skip_layers=0)"
    )
    differs: ClassVar[str] = (
        "The paper keeps scale 1 in the first two layers, the default; in the released code that exclusion has no "
        "effect, which is skip_layers=0. The paper's prose names a base of 50,000, its Table 1 and the released code "
        "500,000, the default. L is the model's window here and the literal 4096 in the released code, which also "
        "rounds the scale to the dtype of q."
    )

    skip_layers: int = 2
    """How many first layers keep scale 1; default from arXiv:2401.07004, section 3.2; 0 as GAIR-NLP/Entropy-ABF."""

    def __post_init__(self) -> None:
        """Check the count of layers."""
        super().__post_init__()
        self.require("skip_layers", self.skip_layers >= 0, "at least 0")

    def logit_scale(self) -> LogitScale:
        """Axis 2: max(1, log_L n), n the keys visible to the query; 1 in the first skip_layers layers."""
        return log_n_scale(self.pretrained_window(), skip_layers=self.skip_layers)
