"""Tuned variants as methods: means over the seeds of training, and differences paired by seed and sample.

A run measures each variant as a method of its own. Here the variants of one method and number of samples are one cell, and
their seeds are what is averaged over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from longbench_run.results.crossed import Contrast, Scores, Term, contrast
from longbench_run.results.published import method_family
from longbench_run.results.table import latest_cells

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.records import RunHeader, TuningSummary

NONE = "none"
"""The unmodified model."""
UNTUNED = 0
"""Number of samples of what was not tuned."""
_SHOWN_OF_HASH = 12


class Place(NamedTuple):
    """A metric of a task, or a mean over tasks, of one model."""

    model_label: str
    task: str | None = None
    """None for the mean over tasks, and so are protocol and metric."""
    protocol: str | None = None
    metric: str | None = None


class TunedCell(NamedTuple):
    """Where scores are means over seeds."""

    method: str
    """As it was asked for when it was tuned, whatever the label of its variants; of a method that was not tuned, as the
    run asks for it."""
    samples: int
    """Samples learnt from; `UNTUNED` for the method on the model's own weights."""
    context_length: int
    """Tokens of the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedScore:
    """A mean over seeds and samples."""

    place: Place
    cell: TunedCell
    found: Contrast


def difference(method: str, baseline: str, *, samples: int, context_length: int) -> Mapping[TunedCell, float]:
    """Return the contrast of a method less another, tuned with as many samples; paired by seed and sample."""
    return {
        TunedCell(method, samples, context_length): 1.0,
        TunedCell(baseline, samples, context_length): -1.0,
    }


def change_of_difference(
    method: str, baseline: str, *, samples: tuple[int, int], context_length: int
) -> Mapping[TunedCell, float]:
    """Return the contrast of a difference at a number of samples less the one at another: whether a gap closes."""
    before, after = (
        difference(method, baseline, samples=count, context_length=context_length) for count in samples
    )
    return {**before, **{cell: -coefficient for cell, coefficient in after.items()}}


def loss(method: str, *, samples: int, context_lengths: tuple[int, int]) -> Mapping[TunedCell, float]:
    """Return the contrast of a method at a context length less itself at another: whether its curve is flat.

    The samples are others at each length, so that seeds pair, and documents where samples name them.
    """
    start, stop = context_lengths
    return {TunedCell(method, samples, start): 1.0, TunedCell(method, samples, stop): -1.0}


class TunedRun:
    """The scores of a run by method, number of samples and context length."""

    def __init__(self, header: RunHeader, frame: pd.DataFrame) -> None:
        """Read every score; of two setups of one place, the one computed last.

        Args:
            header: The run.
            frame: Rows of `longbench_run.results.load` for it.
        """
        self.header = header
        self._found: dict[tuple[Place, TunedCell], Contrast | None] = {}
        self._scores = {
            at: found for at, by_seed in _rows(header, frame).items() if (found := _scores(at[0], by_seed))
        }

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """What there is to show: of each model the mean over tasks, where it has several, then every metric."""
        found = {place for place, _ in self._scores}
        every = [
            place
            for model in self.header.models
            for place in (
                Place(model.label),
                *(
                    Place(model.label, task.name, task.protocol, metric.name)
                    for task in self.header.tasks
                    for metric in task.metrics
                ),
            )
        ]
        return tuple(place for place in every if place in found or len(self.parts(place)) > 1)

    def parts(self, place: Place) -> tuple[Place, ...]:
        """Return the metrics that a place is the mean of: itself, or the first of every task, from 0 to 1, 1 the best.

        Args:
            place: Floors and ceilings, which are protocols of other tasks, are in no mean.
        """
        if place.task is not None:
            return (place,)
        measured = {found for found, _ in self._scores}
        first = [
            Place(place.model_label, task.name, task.protocol, task.metrics[0].name)
            for task in self.header.tasks
            if task.reference is None
            and (task.metrics[0].minimum, task.metrics[0].maximum) == (0.0, 1.0)
            and task.metrics[0].higher_is_better
        ]
        return tuple(part for part in first if part in measured)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The unmodified model, where it was measured, then the tuned methods in the order of the run; no others."""
        names = dict.fromkeys(tuned_names(self.header).values())
        return tuple(dict.fromkeys((*([NONE] if self.has(NONE, UNTUNED) else []), *names)))

    @cached_property
    def samples(self) -> tuple[int, ...]:
        """Numbers of samples, ascending; 0 where something untuned was measured."""
        return tuple(sorted({samples for _, samples in self._known}))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Context lengths that were measured, ascending."""
        return tuple(sorted({cell.context_length for _, cell in self._scores}))

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Context lengths that methods were tuned for, ascending."""
        return tuple(sorted({each.context_length for each in self.header.tuned}))

    @cached_property
    def _known(self) -> frozenset[tuple[str, int]]:
        return frozenset((cell.method, cell.samples) for _, cell in self._scores)

    def has(self, method: str, samples: int) -> bool:
        """Return whether a method was measured with a number of samples, anywhere."""
        return (method, samples) in self._known

    def contrast(self, place: Place, cells: Mapping[TunedCell, float]) -> Contrast | None:
        """Return a linear combination of cells: over the seeds that all tuned ones have, and the same samples.

        Args:
            place: A metric, or the mean over tasks.
            cells: Cell -> coefficient; see `difference`, `change_of_difference` and `loss`.

        Returns:
            None where a cell was not measured, in any of the tasks, or where nothing is shared.
        """
        parts = self.parts(place)
        blocks: list[list[Term]] = []
        for part in parts:
            of_length: dict[int, list[Term]] = {}
            for cell, coefficient in cells.items():
                found = self._scores.get((part, cell))
                if found is None:
                    return None
                of_length.setdefault(cell.context_length, []).append(Term(coefficient / len(parts), found))
            blocks += of_length.values()
        return contrast(blocks) if blocks else None

    def score(self, place: Place, cell: TunedCell) -> Contrast | None:
        """Return the mean of a cell over its seeds and samples; its interval ends where the metric does.

        Args:
            place: A metric, or the mean over tasks.
            cell: None is returned where it was not measured.
        """
        if (place, cell) not in self._found:
            found = self.contrast(place, {cell: 1.0})
            self._found[place, cell] = found and _within(found, *self._bounds(place))
        return self._found[place, cell]

    def _bounds(self, place: Place) -> tuple[float | None, float | None]:
        if place.task is None:
            return 0.0, 1.0
        return next(
            (metric.minimum, metric.maximum)
            for task in self.header.tasks
            for metric in task.metrics
            if (task.name, task.protocol, metric.name) == place[1:]
        )


def tuned_scores(run: TunedRun) -> tuple[TunedScore, ...]:
    """Return the mean of every place, method, number of samples and context length, over seeds and samples.

    Args:
        run: With tuned variants.
    """
    return tuple(
        TunedScore(place=place, cell=cell, found=found)
        for place in run.places
        for method in run.methods
        for samples in run.samples
        for length in run.lengths
        for cell in [TunedCell(method, samples, length)]
        if (found := run.score(place, cell)) is not None
    )


def tuned_names(header: RunHeader) -> Mapping[str, str]:
    """Return label of a variant -> what its method is called: as asked for, with what else tells it from others.

    Args:
        header: The run.
    """
    same: dict[tuple[str, int, int], list[TuningSummary]] = {}
    for each in header.tuned:
        same.setdefault((each.asked, each.samples, each.seed), []).append(each)
    apart = [
        name
        for name in ("composition", "learning_rate", "context_length", "steps", "data_sha256")
        if any(len({getattr(each, name) for each in of_one}) > 1 for of_one in same.values())
    ]
    names = {
        each.method_label: ", ".join((each.asked, *(_said(each, name) for name in apart)))
        for each in header.tuned
    }
    cells = Counter((names[each.method_label], each.samples, each.seed) for each in header.tuned)
    return {
        each.method_label: names[each.method_label]
        if cells[names[each.method_label], each.samples, each.seed] == 1
        else each.method_label
        for each in header.tuned
    }


def _said(tuning: TuningSummary, name: str) -> str:
    value = str(getattr(tuning, name))
    return f"{name} {value[:_SHOWN_OF_HASH] if name.endswith('sha256') else value}"


def _rows(
    header: RunHeader, frame: pd.DataFrame
) -> dict[tuple[Place, TunedCell], dict[int | None, pd.DataFrame]]:
    """Return the scored samples of each place and cell, by seed of training; None stands for no training."""
    names, tunings = tuned_names(header), {each.method_label: each for each in header.tuned}
    foreign = _with_weights(header) - tunings.keys()
    found: dict[tuple[Place, TunedCell], dict[int | None, pd.DataFrame]] = {}
    untuned: dict[tuple[Place, int, str], pd.DataFrame] = {}
    resolved: dict[tuple[Place, TunedCell], str] = {}
    for key, rows in latest_cells(frame).items():
        scored = rows[rows["score"].notna() & rows["sample_key"].notna()]
        if key.method_label in foreign or not len(scored):
            continue
        place = Place(key.model_label, key.task, key.protocol, key.metric)
        method = str(scored["method"].iloc[0])
        if key.method_label not in tunings:
            untuned[place, key.context_length, method] = scored
            continue
        tuning = tunings[key.method_label]
        cell = TunedCell(names[key.method_label], tuning.samples, key.context_length)
        found.setdefault((place, cell), {})[tuning.seed] = scored
        resolved[place, cell] = method
    for (place, cell), method in resolved.items():
        if (place, cell.context_length, method) in untuned:
            found[place, cell._replace(samples=UNTUNED)] = {None: untuned[place, cell.context_length, method]}
    tuned, asked = set(names.values()), _asked(header)
    for (place, length, method), rows in untuned.items():
        if method_family(method) == NONE:
            found[place, TunedCell(NONE, UNTUNED, length)] = {None: rows}
        elif (name := asked.get(str(rows["method_label"].iloc[0]))) is not None and name not in tuned:
            found[place, TunedCell(name, UNTUNED, length)] = {None: rows}
    return found


def _within(found: Contrast, minimum: float | None, maximum: float | None) -> Contrast:
    low, high = found.low, found.high
    return replace(
        found,
        low=low if low is None or minimum is None else max(low, minimum),
        high=high if high is None or maximum is None else min(high, maximum),
    )


def _with_weights(header: RunHeader) -> set[str]:
    """Return the labels of the methods that bring weights, as the configuration has them."""
    return {label for label, entry in _entries(header).items() if entry.get("weights")}


def _asked(header: RunHeader) -> Mapping[str, str]:
    """Return label -> what a method is called where it is asked for."""
    return {label: str(entry.get("name")).strip() for label, entry in _entries(header).items()}


def _entries(header: RunHeader) -> Mapping[str, Mapping[str, Any]]:
    return {
        str(entry.get("label") or entry.get("name")).strip(): entry
        for entry in header.config.get("methods", ())
        if isinstance(entry, Mapping)
    }


def _scores(place: Place, by_seed: Mapping[int | None, pd.DataFrame]) -> Scores | None:
    """Return the scores of the samples that every seed scored, over the same tokens."""
    of_seeds = [
        {
            (key, 1.0 if weight != weight else float(weight)): (score, document)  # noqa: PLR0124 (NaN)
            for key, weight, score, document in zip(
                rows["sample_key"], rows["weight"], rows["score"], rows["document"], strict=True
            )
        }
        for rows in by_seed.values()
    ]
    samples = [sample for sample in of_seeds[0] if all(sample in of_seed for of_seed in of_seeds)]
    if not samples:
        return None
    documents = [of_seeds[0][sample][1] for sample in samples]
    return Scores(
        seeds=tuple(seed for seed in by_seed if seed is not None),
        samples=tuple(samples),
        values=np.array([[of_seed[sample][0] for sample in samples] for of_seed in of_seeds]),
        weights=np.array([weight for _, weight in samples]),
        clusters=tuple(
            (place.task, document if isinstance(document, str) else sample)
            for document, sample in zip(documents, samples, strict=True)
        ),
    )
