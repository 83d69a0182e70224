"""The parameter that most frequency methods share: the extension factor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from longbench_run.harness.methods.base import Component, known

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class Factored(Component):
    """A component with an extension factor s = target / original context length."""

    factor: float | None = None
    """Extension factor s, at least 1; default: the target over L, at least 1, as arXiv:2309.00071 defines s."""

    def __post_init__(self) -> None:
        """Check the factor."""
        super().__post_init__()
        if self.factor is not None:
            self.require("factor", self.factor >= 1, "at least 1")

    def reach(self, window: int) -> int:
        """Return factor * L."""
        self.require(
            "factor",
            self.factor is not None,
            "given or follow from a context length",
            f"Write {self.name}:factor=4, or name the context length.",
        )
        return round(known(self.factor) * (self.original_context_length or window))

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in the factor."""
        resolved = super().resolve(facts, context_length)
        if resolved.factor is not None:
            return resolved
        return replace(resolved, factor=max(1.0, context_length / resolved.pretrained_window()))
