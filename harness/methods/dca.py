"""Dual chunk attention (ChunkLlama)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from longbench_run.harness.methods.base import Band, Component, Interval, LogitScale, Positions, Tuning, known
from longbench_run.harness.methods.position_maps import constant

if TYPE_CHECKING:
    from longbench_run.harness.methods.base import RopeFacts


@dataclass(frozen=True, kw_only=True)
class DualChunk(Component):
    """Chunks of s tokens: exact distances inside one, a local window into the previous one, one query place beyond.

    With keys at j mod s, the query at p stands at p mod s for its own chunk, at min(p mod s + s, c - 1) for the
    previous one, and at c - 1 for all older ones.

    Source:
        An et al. 2024, arXiv:2402.17463 (the default); HKUNLP/ChunkLlama@2add4d7 (``variant=released``).
    """

    name: ClassVar[str] = "dca"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = (
        "Dual chunk attention: exact inside a chunk, held positions across chunks; no tuning"
    )
    source: ClassVar[str] = "An et al. 2024, arXiv:2402.17463; HKUNLP/ChunkLlama@2add4d7"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The default is the paper's map. The released code (variant=released) has smaller chunks, a smaller largest "
        "position, and multiplies q and k by 0.05 ln(n / L) + 1, which its authors say their published results do "
        "not use; it merges the bands in bfloat16, here they are merged in float32."
    )

    variant: Literal["paper", "released"] = "paper"
    """Whose defaults the others take: ``paper``, arXiv:2402.17463, or ``released``, HKUNLP/ChunkLlama@2add4d7."""
    chunk: int | None = None
    """Tokens in a chunk, s, from 1 to L; default: 3L/4; released: 5L/8."""
    largest_position: int | None = None
    """Largest position of a query, c - 1, at least chunk; default: L - 1; released: 3L/4."""
    mscale: bool | None = None
    """Multiply q and k by 0.05 ln(n / L) + 1 where the n tokens seen exceed L; default: false; released: true."""

    def __post_init__(self) -> None:
        """Check chunk and largest position."""
        super().__post_init__()
        if self.chunk is not None:
            self.require("chunk", self.chunk >= 1, "at least 1")
        if self.chunk is not None and self.largest_position is not None:
            self.require(
                "largest_position", self.largest_position >= self.chunk, f"at least chunk ({self.chunk})"
            )

    @property
    def prefix_causal(self) -> bool:
        """With mscale, every logit depends on the input's length."""
        return not self._scales

    @property
    def prefill_equals_decode(self) -> bool:
        """With mscale, a token is scaled by the length at which it is computed."""
        return not self._scales

    @property
    def _scales(self) -> bool:
        return self.variant == "released" if self.mscale is None else self.mscale

    def resolve(self, facts: RopeFacts, context_length: int) -> Self:
        """Fill in chunk, largest position and mscale."""
        resolved = super().resolve(facts, context_length)
        length = resolved.pretrained_window()
        chunk, largest = (
            (3 * length // 4, length - 1) if self.variant == "paper" else (5 * length // 8, 3 * length // 4)
        )
        resolved = replace(
            resolved,
            chunk=max(1, chunk) if self.chunk is None else self.chunk,
            largest_position=largest if self.largest_position is None else self.largest_position,
            mscale=self._scales,
        )
        resolved.require(
            "chunk",
            known(resolved.chunk) <= length,
            f"at most the original window ({length})",
            "Name a smaller one.",
        )
        return resolved

    def logit_scale(self) -> LogitScale | None:
        """Axis 2: (0.05 ln(n / L) + 1)^2 for n tokens beyond L, where mscale is on."""
        if not self._scales:
            return None
        length = self.pretrained_window()

        def values(positions: Positions, tokens: int) -> np.ndarray:
            return np.full(positions.shape, (0.05 * math.log(max(tokens / length, 1.0)) + 1.0) ** 2)

        return LogitScale(values=values)

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: keys at j mod s; queries at p mod s, min(p mod s + s, c - 1), c - 1 for own, previous, older chunks."""
        size, largest = known(self.chunk), known(self.largest_position)

        def begin(p: Positions) -> Positions:
            return p // size * size

        def within(j: Positions) -> Positions:
            return j % size

        return (
            Band(keys=Interval(start=begin, stop=lambda p: p + 1)),
            Band(
                keys=Interval(start=lambda p: begin(p) - size, stop=begin),
                query_map=lambda p: np.minimum(p % size + size, largest),
                key_map=within,
            ),
            Band(
                keys=Interval(start=np.zeros_like, stop=lambda p: begin(p) - size),
                query_map=constant(largest),
                key_map=within,
            ),
        )
