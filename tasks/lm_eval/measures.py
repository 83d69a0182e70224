"""What lm-eval makes of a document's responses, as scores of one sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from longbench_run.tasks.base import Metric, Score

_RIGHT_OR_WRONG = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"})
"""Metrics that are 0 or 1 for every document where lm-eval itself computes them."""
_OF_ALL_DOCUMENTS = frozenset({"bypass", "f1", "matthews_corrcoef", "bleu", "chrf", "chrf++", "ter"})
"""Aggregations of all documents at once: a single one has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """How the value that an aggregation takes of one document is read."""

    value: Callable[[Any], float] = float
    units: Callable[[Any], int] | None = None
    """What it is a mean over, where documents weigh as much as they have of it."""
    prefix: str = ""
    """What stands before the metric's name: another quantity has another name."""
    minimum: float | None = None


def _nats(pair: Sequence[Any]) -> float:
    return -float(pair[0]) / int(pair[1])


def _units(pair: Sequence[Any]) -> int:
    return int(pair[1])


def _squares(pair: Sequence[Any]) -> float:
    gold, probabilities = pair
    return float(sum((float(p) - (i == gold)) ** 2 for i, p in enumerate(probabilities)))


_READINGS: Mapping[str, _Reading] = {
    "perplexity": _Reading(value=lambda found: -float(found), prefix="log_", minimum=0.0),
    "weighted_perplexity": _Reading(value=_nats, units=_units, prefix="log_", minimum=0.0),
    "bits_per_byte": _Reading(value=lambda found: _nats(found) / math.log(2), units=_units, minimum=0.0),
    "brier_score": _Reading(value=_squares, minimum=0.0),
}
"""lm-eval's aggregation -> how it is read; all others take a number.

Perplexities are kept as their logarithms: exp of the weighted mean is lm-eval's number.
"""


@dataclass(frozen=True, slots=True)
class Measures:
    """The metrics of one of lm-eval's tasks that have a value for every document."""

    task: Any
    """lm-eval's task."""
    only: tuple[str, ...] = ()
    """Metrics that are asked for, by lm-eval's names; none for all."""

    def metrics(self) -> tuple[Metric, ...]:
        """Return what is known of each, in lm-eval's order; one per filter where a task has several."""
        better = self.task.higher_is_better()
        # A task that computes its metrics itself may call anything by a known name.
        known = not callable(self.task.config.process_results)
        return tuple(
            Metric(
                name=name,
                higher_is_better=bool(better.get(metric, True)),
                minimum=0.0 if known and metric in _RIGHT_OR_WRONG else reading.minimum,
                maximum=1.0 if known and metric in _RIGHT_OR_WRONG else None,
                is_binary=known and metric in _RIGHT_OR_WRONG,
            )
            for metric, reading in self._readings().items()
            for name in self._names(metric, reading).values()
        )

    def score(self, doc: Any, kind: str, responses: Sequence[Any]) -> Score:
        """Filter the responses and compute every metric of one document, as lm-eval does.

        Args:
            doc: The document.
            kind: Type of the task's requests.
            responses: One for each request of the document.
        """
        instances = [
            import_module("lm_eval.api.instance").Instance(
                kind, doc, (), place, resps=[response] * self._repeats
            )
            for place, response in enumerate(responses)
        ]
        scores: dict[str, float] = {}
        units: list[int] = []
        for ensemble in self._filters:
            ensemble.apply(instances)
            found = self.task.process_results(doc, [one.filtered_resps[ensemble.name] for one in instances])
            for metric, reading in self._readings().items():
                if metric in found:
                    scores[self._names(metric, reading)[ensemble.name]] = reading.value(found[metric])
                    units += [] if reading.units is None else [reading.units(found[metric])]
        # Metrics of one document may be means over different units: those of most of them decide.
        weight = float(Counter(units).most_common(1)[0][0]) if units else None
        return Score(scores=scores, weight=weight)

    @property
    def _filters(self) -> Sequence[Any]:
        found: Sequence[Any] = self.task._filters  # lm-eval has no public name for them
        return found

    @property
    def _repeats(self) -> int:
        """Return how often a request is to be answered: decoding is greedy, all answers are the same."""
        return int(self.task.config.repeats or 1)

    def _names(self, metric: str, reading: _Reading) -> dict[str, str]:
        """Return filter -> name of the metric behind it, as lm-eval writes it where there are several."""
        filters = [ensemble.name for ensemble in self._filters]
        name = f"{reading.prefix}{metric}"
        return {each: f"{name},{each}" if len(filters) > 1 else name for each in filters}

    def _readings(self) -> dict[str, _Reading]:
        names = {function: name for name, function in _aggregations().items()}
        used = {metric: names.get(function, "") for metric, function in self.task.aggregation().items()}
        return {
            str(metric): _READINGS.get(name, _Reading())
            for metric, name in used.items()
            if name not in _OF_ALL_DOCUMENTS and (not self.only or str(metric) in self.only)
        }


def _aggregations() -> Mapping[str, Callable[..., Any]]:
    found: Mapping[str, Callable[..., Any]] = import_module("lm_eval.api.registry").AGGREGATION_REGISTRY
    return found
