"""Methods against the unmodified model over the same samples, with a correction for how many are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from longbench_run.results.differences import Bounds, Scored, paired_difference
from longbench_run.results.shares import Difference, DifferenceKind
from longbench_run.results.statistics import CONFIDENCE, SMALLEST_COUNT, Interval
from longbench_run.results.table import SCORED, CellScores, latest_cells
from longbench_run.results.verdicts import Measured, Verdict, decide, smallest_tail

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 1 - CONFIDENCE
"""Chance of any wrong verdict within a family."""
Effect = Literal["better", "worse", "not shown"]

_EFFECTS: dict[Verdict, Effect] = {
    "improved": "better",
    "regressed": "worse",
    "same": "not shown",
    "inconclusive": "not shown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDifference:
    """One method less another at one context length, over the samples that both scored."""

    method_label: str
    baseline_label: str
    context_length: int
    value: float | None
    """Difference of the means in the unit of the metric; None where no sample, or one document alone, is shared."""
    interval: Interval | None
    """95 %, of this difference by itself; None below ten samples or documents."""
    kind: DifferenceKind | None
    samples: int
    """Pairs."""
    clusters: int
    """Documents among them, where samples name one; else as many."""
    effect: Effect
    """What is shown after Holm's correction over the family: *not shown* is not *equal*."""
    family: int
    """Comparisons in the family."""


def method_differences(
    frame: pd.DataFrame, *, baseline: str = "none", family: int | None = None
) -> tuple[MethodDifference, ...]:
    """Return every method less the baseline, by context length, in the order of the table.

    Samples are paired by their keys. Where a run holds two setups of one cell, the one computed last counts.

    Args:
        frame: Rows of `longbench_run.results.load` of one run, model, task, protocol and metric.
        baseline: Method label.
        family: Comparisons for which the chance of any wrong verdict is `ALPHA` together; fixed by what was planned,
            not by what was measured or is shown. Default: all methods of the run over all lengths in the frame.

    Raises:
        ValueError: If the frame holds more than one panel, or the family is smaller than what is compared.

    Source:
        Miller 2024, arXiv:2411.00640 (paired differences); Holm's correction: `longbench_run.results.verdicts.decide`.
    """
    others = [method for method in _methods(frame) if method != baseline]
    return _differences(frame, [(method, baseline) for method in others], family=family)


def all_method_differences(frame: pd.DataFrame, *, family: int | None = None) -> tuple[MethodDifference, ...]:
    """Return every method less every earlier one of the run, by context length: what no single baseline answers.

    Args:
        frame: Rows of `longbench_run.results.load` of one run, model, task, protocol and metric.
        family: As for `method_differences`. Default: all pairs of methods of the run over all lengths in the frame.

    Raises:
        ValueError: As `method_differences`.
    """
    pairs = [(method, baseline) for baseline, method in combinations(_methods(frame), 2)]
    return _differences(frame, pairs, family=family)


def paired_rows(frame: pd.DataFrame, *, baseline: str) -> Mapping[tuple[str, int], pd.DataFrame]:
    """Return method and context length -> the samples that it and the baseline scored, a row each.

    A row has what a comparison reads: score, weight, document and what is known of the metric; the baseline's score is
    ``score_baseline``.

    Args:
        frame: Rows of `longbench_run.results.load` of one run, model, task, protocol and metric.
        baseline: Method label.

    Raises:
        ValueError: If the frame holds more than one panel.
    """
    pairs = [(method, baseline) for method in _methods(frame) if method != baseline]
    return {(method, length): rows for (method, _, length), rows in _shared(frame, pairs).items()}


def _methods(frame: pd.DataFrame) -> list[str]:
    return [str(method) for method in frame["method_label"].cat.categories]


def _differences(
    frame: pd.DataFrame, pairs: Sequence[tuple[str, str]], *, family: int | None
) -> tuple[MethodDifference, ...]:
    """Return the differences of pairs of a method and a baseline, at every length of the frame."""
    size = len(pairs) * int(frame["context_length"].nunique()) if family is None else family
    shared = _shared(frame, pairs)
    found = {place: _difference(rows, size) for place, rows in shared.items()}
    known = {place: difference for place, difference in found.items() if difference is not None}
    measured = [
        Measured(difference, bool(shared[place]["higher_is_better"].iloc[0]))
        for place, difference in known.items()
    ]
    decisions = decide(measured, tolerance=0.0, alpha=ALPHA, family=size)
    verdicts = {place: decision.verdict for place, decision in zip(known, decisions, strict=True)}
    return tuple(
        MethodDifference(
            method_label=place[0],
            baseline_label=place[1],
            context_length=place[2],
            **_known(known.get(place)),
            samples=len(rows),
            effect=_EFFECTS[verdicts.get(place, "inconclusive")],
            family=size,
        )
        for place, rows in shared.items()
    )


def _shared(
    frame: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str, int], pd.DataFrame]:
    """Return (method, baseline, context length) -> rows of samples that both scored."""
    cells: dict[tuple[str, int], _Keyed] = {}
    panels = set()
    for key, rows in latest_cells(frame, ("sample_key", *SCORED, "higher_is_better")).items():
        panels.add((key.run, key.model_label, key.task, key.protocol, key.metric))
        # Rows without a key are nobody's pair.
        is_wanted = rows["score"].notna() & rows["sample_key"].notna()
        cells[key.method_label, key.context_length] = _Keyed.of(rows[is_wanted])
    if len(panels) > 1:
        raise ValueError(f"frame must hold one run, model, task, protocol and metric, got {sorted(panels)!r}")
    lengths = sorted({length for _, length in cells})
    return {
        (method, baseline, length): cells[method, length].beside(cells[baseline, length])
        for method, baseline in pairs
        for length in lengths
        if (method, length) in cells and (baseline, length) in cells
    }


class _Keyed(NamedTuple):
    """The scored rows of a cell, and where each sample is among them."""

    rows: pd.DataFrame
    places: Mapping[tuple[str, float | None], int]
    """(key, weight) of a sample, which are those of the same sample of other methods -> place of its row."""

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Keyed:
        """Number them."""
        of_samples = zip(rows["sample_key"].tolist(), rows["weight"].tolist(), strict=True)
        return cls(rows, {(key, _number(weight)): place for place, (key, weight) in enumerate(of_samples)})

    def beside(self, baseline: _Keyed) -> pd.DataFrame:
        """Return the rows of samples that both have, in the baseline's order, with its score."""
        shared = [sample for sample in baseline.places if sample in self.places]
        found = self.rows.take([self.places[sample] for sample in shared]).reset_index(drop=True)
        scores = baseline.rows["score"].to_numpy()
        found["score_baseline"] = scores[[baseline.places[sample] for sample in shared]]
        return found


def _difference(shared: pd.DataFrame, family: int) -> Difference | None:
    if not len(shared):
        return None
    scores = CellScores.of(shared)
    if len(np.unique(scores.clusters)) < 2:
        return None
    return paired_difference(
        shared["score_baseline"].tolist(),
        Scored(
            values=scores.values.tolist(),
            weights=None if np.isnan(scores.weights).any() else scores.weights.tolist(),
            clusters=scores.clusters.tolist(),
        ),
        Bounds(scores.is_binary, scores.minimum, scores.maximum),
        tail=smallest_tail(ALPHA, family),
    )


def _number(value: float) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124 (NaN is what differs from itself)


def _known(difference: Difference | None) -> dict[str, Any]:
    """Return value, interval, its kind and the number of clusters."""
    interval, kind = None, None
    if difference is not None and difference.count >= SMALLEST_COUNT:
        interval, kind = difference.interval(ALPHA / 2, ALPHA / 2)
    return {
        "value": None if difference is None else difference.value,
        "interval": interval,
        "kind": kind,
        "clusters": 0 if difference is None else difference.count,
    }
