"""Rows in LongBench's format, made up from a seed: what the datasets ask, of things that nobody knows beforehand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.checks import unknown
from longbench_run.tasks.generated.names import Split
from longbench_run.tasks.longbench.datasets import DATASETS
from longbench_run.tasks.longbench.synthetic_contexts import BUILDERS, MOST_EVIDENCE, Wanted

SYNTHETIC_VERSION = 1
"""Raised whenever a row changes."""


class LongBenchRow(TypedDict):
    """A row as LongBench publishes it."""

    input: str
    context: str
    answers: list[str]
    length: int
    """Words of context, input and first answer."""
    dataset: str
    language: str
    all_classes: list[str] | None
    _id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRow:
    """A made-up row, and where its answer comes from."""

    row: LongBenchRow
    evidence: tuple[str, ...]
    """Parts of the context, word for word, without which nobody can answer; empty where the input holds them."""
    depths: tuple[float, ...]
    """Where the unit of each part of the evidence stands among the units, 0 (first) to 1 (last)."""


_LANGUAGES: Mapping[str, str] = {"en": "en", "code": "python"}


def synthetic_row(dataset: str, seed: int, index: int, *, units: int, split: Split = "tasks") -> SyntheticRow:
    """Return a made-up row of a dataset of LongBench.

    The question and its evidence are a function of (dataset, seed, index, split) alone; ``units`` only says how
    much stands around them. More units never make a row shorter, and the evidence keeps its place in proportion.

    Args:
        dataset: A dataset in English or code, a key of `synthetic_contexts.BUILDERS`.
        seed: Seed of the collection.
        index: Number of the row, from 0.
        units: Passages, paragraphs, examples, sections, meeting items or definitions in the context, at least
            `fewest_units`.
        split: Split of everything invented.

    Raises:
        TaskError: If there is no such dataset, or ``units`` is too small for it.

    Source: the form of rows is that of LongBench (Bai et al. 2023, arXiv:2308.14508); every text is made up.
    """
    fewest = fewest_units(dataset)
    if units < fewest:
        raise TaskError(
            f"longbench_synthetic: units must be at least {fewest} for {dataset}, got {units!r}. Ask for more."
        )
    draw = random.Random(f"{seed}:longbench:{dataset}:{index}:{split}")
    depths = tuple(draw.random() for _ in range(MOST_EVIDENCE))
    content = BUILDERS[dataset][1](Wanted(draw.getrandbits(64), index, split, units, depths))
    row: LongBenchRow = {
        "input": content.input,
        "context": content.context,
        "answers": list(content.answers),
        "length": sum(len(text.split()) for text in (content.context, content.input, content.answers[0])),
        "dataset": dataset,
        "language": _LANGUAGES[DATASETS[dataset].language],
        "all_classes": None if content.classes is None else list(content.classes),
        "_id": f"synthetic-{SYNTHETIC_VERSION}-{split}-{dataset}-{seed}-{index}",
    }
    return SyntheticRow(
        row=row,
        evidence=content.evidence,
        depths=tuple(place / max(1, units - 1) for place in content.places),
    )


def fewest_units(dataset: str) -> int:
    """Return the smallest number of units that a row of a dataset can have.

    Raises:
        TaskError: If there is no such dataset.
    """
    if dataset not in BUILDERS:
        raise unknown("longbench_synthetic", "dataset", dataset, BUILDERS)
    return BUILDERS[dataset][0]
