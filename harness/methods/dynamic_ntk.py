"""Dynamic NTK: the base follows the length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from longbench_run.harness.methods.base import Component, LengthRule, Tuning, known
from longbench_run.harness.methods.factor import Factored
from longbench_run.harness.methods.ntk import NtkAware

if TYPE_CHECKING:
    from longbench_run.harness.methods.rope_config import RopeConfig


@dataclass(frozen=True, kw_only=True)
class DynamicNtk(Factored):
    """NTK-aware scaling by a n / L - (a - 1), n the length and a the factor; the model as trained where n <= L.

    A cache holds keys that were rotated when they arrived, so the length must stand still for as long as it is
    used: by default it is frozen for each sample, at prompt plus answer budget where that is announced
    (`longbench_run.harness.attention.Applied.sample`; the runner does), else at the length of the first forward.

    Source:
        emozilla 2023; Peng et al. 2023, arXiv:2309.00071, section 3.3 (where a = 1); a as in jquesnelle/yarn@995db5b
        and transformers 5.23, ``_compute_dynamic_ntk_parameters``. ``variant=transformers`` follows the length as
        transformers does, ``dynamic_frequency_update``: it changes with every token of a decode, while the cache
        keeps its keys; the largest length seen holds until one below L comes, and for a whole batch.
    """

    name: ClassVar[str] = "dynamic_ntk"
    summary: ClassVar[str] = "Dynamic NTK: base raised with the sample's length, frozen for each sample"
    source: ClassVar[str] = (
        "emozilla 2023; Peng et al. 2023, arXiv:2309.00071, section 3.3; transformers 5.23 (variant=transformers)"
    )
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The paper's scale is n / L, which is factor=1; jquesnelle/yarn@995db5b and transformers have a n / L - (a - 1) "
        "with the factor for a, the default. In both, n grows with every forward while cached keys keep the base of "
        "their arrival (variant=transformers); the paper asks for a cache of unrotated keys. The default freezes n "
        "for each sample, which needs none."
    )

    variant: Literal["frozen", "transformers"] = "frozen"
    """``frozen``: one length for each sample (this project's choice); ``transformers``: its rule, as published
    numbers used it (5.23)."""

    @property
    def prefix_causal(self) -> bool:
        """Every logit depends on the sample's length."""
        return False

    @property
    def order_independent(self) -> bool:
        """In transformers the base of an earlier, longer input stays."""
        return self.variant == "frozen"

    @property
    def prefill_equals_decode(self) -> bool:
        """In transformers cached keys keep the base of the length at which they came."""
        return self.variant == "frozen"

    @property
    def length_rule(self) -> LengthRule:
        """Frozen: one length for a sample; transformers: a new one with every forward pass."""
        return "sample" if self.variant == "frozen" else "running"

    def length_after(self, seen: int | None, tokens: int) -> int:
        """The largest length seen, until one below L comes."""
        window = self.pretrained_window()
        return max(seen or window, tokens) if tokens >= window else tokens

    def at_length(self, tokens: int) -> Component:
        """Axis 1: the frequencies of base b (a n / L - (a - 1))^(d/(d-2)) at n tokens, unchanged up to L."""
        factor, length = known(self.factor), self.pretrained_window()
        stretched = factor * tokens / length - (factor - 1)
        return NtkAware(factor=max(1.0, stretched), original_context_length=length)

    def rope_config(self, config: RopeConfig) -> RopeConfig:
        """``dynamic``, which takes max_position_embeddings for L: a larger one would switch it off."""
        self.require(
            "variant",
            self.variant == "transformers",
            "transformers in a transformers config, which freezes no length for a sample",
            "Write dynamic_ntk:variant=transformers, or apply the method from Python instead: method.applied_to(model).",
        )
        scaled = config.scaled("dynamic", by=self.name, factor=known(self.factor))
        return replace(scaled, max_position_embeddings=self.pretrained_window())
