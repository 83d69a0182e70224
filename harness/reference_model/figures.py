"""Figures measured on the reference model, kept one a line, so that a measurement can be killed and goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from longbench_run.results.statistics import Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was measured."""

    weights: str
    """sha256 of the weights file."""
    dtype: str
    """What was computed in."""
    task: str
    """``passkey`` or ``documents``."""
    method: str
    """With every parameter resolved."""
    context_length: int
    """In tokens."""
    seed: int
    """Of keys and documents."""
    count: int
    """Samples."""
    scored_until: int | None = None
    """Documents: where in the document the scored tokens end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A point and what came out."""

    point: Point
    scores: Sequence[float]
    """Per sample. Passkey: 1 where the key was found. Documents: nll in nats per token."""
    depths: Sequence[float]
    """Per sample. Documents: empty."""

    @property
    def estimate(self) -> Estimate:
        """Mean over samples with its 95 % interval."""
        return estimate(self.scores, is_binary=self.point.task == "passkey")

    @property
    def worst_depth(self) -> float:
        """Share of keys found at the worst depth."""
        by_depth: dict[float, list[float]] = {}
        for depth, score in zip(self.depths, self.scores, strict=True):
            by_depth.setdefault(depth, []).append(score)
        return min(sum(scores) / len(scores) for scores in by_depth.values())


class Figures:
    """A file of figures.

    Args:
        file: Made where there is none.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else [""]
        if lines[-1]:  # a kill cut the last line off: what follows it must not be joined to it
            file.write_text("".join(line + "\n" for line in lines[:-1]), encoding="utf-8")
        rows = [json.loads(line) for line in lines[:-1]]
        self._known = {
            point: Figure(point=point, scores=row["scores"], depths=row["depths"])
            for row in rows
            for point in [Point(**row["point"])]
        }

    def get(self, point: Point) -> Figure | None:
        """Return a figure, None where the point was not measured."""
        return self._known.get(point)

    def add(self, figure: Figure) -> None:
        """Keep a figure."""
        self._known[figure.point] = figure
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(figure)) + "\n")
