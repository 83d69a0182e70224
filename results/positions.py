"""What the position of the needle does: means by position, the depth of the U, the worst position and the spread.

Everything here is compared by question: a task asks the same question at every position. Where samples name no
document, the first sample of each position makes the first question, and so on: independent samples can be put
together in any way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from longbench_run.results.references import means_of, reference_rows
from longbench_run.results.statistics import Estimate, Interval, estimate, extremes, extremes_if_flat
from longbench_run.results.studentised import Vector
from longbench_run.results.table import CELL_KEYS, SCORED, CellKey, CellScores, groups_of_cells

if TYPE_CHECKING:
    import pandas as pd

MIDDLE = Interval(0.25, 0.75)
"""Positions that are the middle of the U, both included; its ends are 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPoint:
    """The samples of one position."""

    depth: float
    """Position of the needle, 0 to 1."""
    mean: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionCurve:
    """One cell and metric by position."""

    key: CellKey
    points: tuple[PositionPoint, ...]
    """By position, ascending; at least two."""
    questions: int
    """Questions with a score at every position: all that follows is over them."""
    u_depth: Estimate
    """Mean of the two ends minus mean of the middle positions, by question; above 0 is a U. Without a value where no
    position is an end, or none is in the middle; without an interval where every question has the same difference."""
    worst_depth: float | None
    """Position with the worst mean, the first of several; None without questions."""
    worst: float | None
    """Mean there."""
    worst_if_flat: float | None
    """What the worst of so many means is expected to be where the position makes no difference."""
    spread: float | None
    """Best mean minus worst, as a size."""
    spread_if_flat: float | None
    """What the spread is expected to be where the position makes no difference."""
    references: Mapping[str, Estimate]
    """Floor or ceiling (closed book, say) -> mean over the questions of this curve, see `reference_means`."""


def position_curves(frame: pd.DataFrame) -> tuple[PositionCurve, ...]:
    """Return the curve of every cell and metric that has scores at two positions or more.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    placed = frame[frame["score"].notna() & frame["depth"].notna()]
    references = reference_rows(frame)
    return tuple(
        _curve(key, rows, references)
        for key, rows in groups_of_cells(placed, (*SCORED, "depth", "higher_is_better"))
        if rows["depth"].nunique() > 1
    )


def by_position(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, metric and position: ``depth``, ``n``, ``value`` and its 95 % interval.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    import pandas as pd

    columns = [*CELL_KEYS, "depth", "n", "value", "low", "high", "interval"]
    return pd.DataFrame(
        [
            {**curve.key._asdict(), "depth": point.depth, **_columns(point.mean)}
            for curve in position_curves(frame)
            for point in curve.points
        ],
        columns=columns,
    )


def position_effects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell and metric: depth of the U with its interval, worst position and spread.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some.
    """
    import pandas as pd

    own = ["questions", "worst_depth", "worst", "worst_if_flat", "spread", "spread_if_flat"]
    u_depth = {"u_depth": "value", "u_depth_low": "low", "u_depth_high": "high"}
    rows = []
    for curve in position_curves(frame):
        found = _columns(curve.u_depth)
        rows.append(
            {
                **curve.key._asdict(),
                **{name: found[column] for name, column in u_depth.items()},
                **{name: getattr(curve, name) for name in own},
            }
        )
    return pd.DataFrame(rows, columns=[*CELL_KEYS, *u_depth, *own])


def _columns(found: Estimate) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"n": found.samples, "value": found.value, "low": low, "high": high, "interval": found.kind}


def _curve(key: CellKey, rows: pd.DataFrame, references: pd.DataFrame) -> PositionCurve:
    placed = rows["depth"].to_numpy(dtype=np.float64)
    depths = np.unique(placed)
    of_cell = CellScores.of(rows)
    points = tuple(
        PositionPoint(depth=float(depth), mean=of_cell.estimate(placed == depth)) for depth in depths
    )
    names, scores = _by_question(rows)
    higher = rows["higher_is_better"].iloc[0]  # None or NaN where the run does not say
    sign = -1.0 if higher is not None and not higher else 1.0
    found = extremes(sign * scores) if len(scores) else None
    flat = extremes_if_flat(sign * scores) if len(scores) else None
    return PositionCurve(
        key=key,
        points=points,
        questions=len(scores),
        u_depth=_u_depth(depths, names, scores, of_cell),
        worst_depth=float(depths[np.argmin(sign * scores.mean(axis=0))]) if len(scores) else None,
        worst=sign * found.worst if found else None,
        worst_if_flat=sign * flat.worst if flat else None,
        spread=found.spread if found else None,
        spread_if_flat=flat.spread if flat else None,
        references=means_of(references, key, rows),
    )


def _by_question(rows: pd.DataFrame) -> tuple[list[str], Vector]:
    """Return questions with a score at every position, and their scores, shape ``(questions, positions)``."""
    columns = (rows[name].tolist() for name in ("seed", "document", "depth", "score"))
    trials: Counter[tuple[int, float]] = Counter()
    # A document is one question for all seeds, a trial is of its seed.
    found: dict[tuple[int, str, bool], dict[float, list[float]]] = {}
    for seed, document, depth, score in zip(*columns, strict=True):
        is_named = isinstance(document, str)
        question = document if is_named else f"trial {trials[seed, depth]}"
        trials[seed, depth] += 1
        of_question = found.setdefault((seed, question, is_named), {})
        of_question.setdefault(depth, []).append(score)
    depths = sorted({depth for of_question in found.values() for depth in of_question})
    whole = sorted(question for question, of_question in found.items() if len(of_question) == len(depths))
    names = [name if is_named else f"{seed} {name}" for seed, name, is_named in whole]
    means = [
        sum(scores) / len(scores)
        for question in whole
        for scores in map(found[question].get, depths)
        if scores
    ]
    return names, np.array(means, dtype=np.float64).reshape(len(whole), len(depths))


def _u_depth(depths: Vector, names: list[str], scores: Vector, of_cell: CellScores) -> Estimate:
    ends = (depths == 0) | (depths == 1)
    middle = (depths >= MIDDLE.low) & (depths <= MIDDLE.high)
    if ends.sum() < 2 or not middle.any() or not len(scores):
        return Estimate(None, 0, 0, None, None)
    differences = scores[:, ends].mean(axis=1) - scores[:, middle].mean(axis=1)
    if np.ptp(differences) == 0:  # nothing is known of their spread
        return Estimate(float(differences[0]), len(differences), len(set(names)), None, None)
    low, high = of_cell.minimum, of_cell.maximum
    width = None if low is None or high is None else high - low
    return estimate(
        differences.tolist(),
        clusters=names,
        minimum=None if width is None else -width,
        maximum=width,
    )
