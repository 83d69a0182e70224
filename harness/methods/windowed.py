"""The parameter that two-band methods share: the window of exact distances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from longbench_run.harness.methods.base import Component

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class Windowed(Component):
    """A component that keeps exact distances below a window."""

    window: int | None = None
    """W, the distances below it stay exact; tokens, from 1 to L."""

    def __post_init__(self) -> None:
        """Check the window."""
        super().__post_init__()
        if self.window is not None:
            self.require("window", self.window >= 1, "at least 1")

    @staticmethod
    def default_window(original_context_length: int) -> int:
        """Return L / 4, the lower end of what its author finds best (kexue.fm/archives/9708); released: 512 for L = 4096."""
        return original_context_length // 4

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in the window, and refuse one that is larger than the model's."""
        resolved = super().resolve(facts, context_length)
        length = resolved.pretrained_window()
        if resolved.window is None:
            resolved = replace(resolved, window=max(1, self.default_window(length)))
        resolved.require(
            "window",
            resolved.window is not None and resolved.window <= length,
            f"at most the original window ({length})",
            "Name a smaller one.",
        )
        return resolved
