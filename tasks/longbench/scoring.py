"""Scores of datasets, categories and languages, rounded where and how LongBench's `eval.py` rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longbench_run.tasks.longbench.chinese import load_cut
from longbench_run.tasks.longbench.datasets import (
    BUCKETS,
    CATEGORIES,
    DATASETS,
    DATASETS_E,
    LANGUAGES,
    Dataset,
    bucket_of,
    categories_of,
)
from longbench_run.tasks.longbench.metrics import CUTS_CHINESE, METRICS, Given, Value, first_line
from longbench_run.tasks.longbench.predictions import PredictionFolder, Predictions

ByBucket = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetScore:
    """Score of the predictions for one dataset."""

    dataset: Dataset
    values: tuple[float, ...]
    """Per prediction, 0 to 1, in the order of the file."""
    score: float | ByBucket
    """0 to 100, two decimals: what ``result.json`` holds. Per bucket for LongBench-E, None where one is empty."""
    empty: int
    """Predictions of nothing but spaces: scored as the authors do, almost always 0."""
    past_recursion_limit: int
    """Predictions with a score that the authors' scorer would probably have failed on, and counted as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """Mean of a category in a language, or of a language over its categories."""

    language: str
    category: str | None
    """None for the mean over categories."""
    score: float | ByBucket | None
    """Unrounded; None where a part is missing: the mean of the rest would not be the published quantity."""
    present: int
    """Datasets, or categories, that there is a score of."""
    expected: int


def score_sample(dataset: Dataset, prediction: str, answers: Sequence[str], given: Given) -> Value:
    """Return the best score of a prediction over the answers.

    Args:
        dataset: Decides the metric, and whether only the first line counts.
        prediction: What a model wrote.
        answers: Every right answer.
        given: Classes, and what cuts Chinese text.
    """
    metric = METRICS[dataset.metric]
    text = first_line(prediction) if dataset.first_line else prediction
    found = [metric(text, answer, given) for answer in answers]
    return Value(
        value=max(value.value for value in found),
        past_recursion_limit=any(value.past_recursion_limit for value in found),
    )


def score_folder(folder: PredictionFolder) -> Iterator[DatasetScore]:
    """Yield the score of each file.

    Raises:
        TaskError: If a dataset needs jieba and it is not installed; before the first file is scored.
    """
    chinese = next((file.path for file in folder.files if file.dataset.metric in CUTS_CHINESE), None)
    cut = load_cut(where=str(chinese), otherwise="move the file away") if chinese is not None else None
    for file in folder.files:
        yield _dataset_score(file, Given(classes=file.classes, cut=cut), is_e=folder.is_e)


def _dataset_score(file: Predictions, given: Given, *, is_e: bool) -> DatasetScore:
    found = [score_sample(file.dataset, row.text, row.answers, given) for row in file.rows]
    values = tuple(value.value for value in found)
    lengths = [row.length or 0 for row in file.rows]
    return DatasetScore(
        dataset=file.dataset,
        values=values,
        score=score_by_bucket(values, lengths) if is_e else score_of_values(values),
        empty=sum(not row.text.strip() for row in file.rows),
        past_recursion_limit=sum(value.past_recursion_limit for value in found),
    )


def score_of_values(values: Sequence[float]) -> float:
    """Return the score of a dataset, 0 to 100, two decimals.

    Args:
        values: Per prediction, 0 to 1; at least one.
    """
    return round(100 * sum(values) / len(values), 2)


def score_by_bucket(values: Sequence[float], lengths: Sequence[int]) -> ByBucket:
    """Return the scores of a dataset of LongBench-E, None for a bucket without predictions.

    Args:
        values: Per prediction, 0 to 1.
        lengths: Per prediction, the row's ``length`` in words.
    """
    buckets: dict[str, list[float]] = {name: [] for name in BUCKETS}
    for length, value in zip(lengths, values, strict=True):
        buckets[bucket_of(length)].append(value)
    # numpy's mean and numpy's rounding: both can differ from Python's in the last printed digit.
    return {n: float(np.round(100 * np.mean(part), 2)) if part else None for n, part in buckets.items()}


def averages(scores: Sequence[DatasetScore], *, is_e: bool) -> list[Average]:
    """Return the mean of every category per language, then of every language.

    A category is the mean of its datasets' printed scores, a language the mean of its categories; code counts for both
    languages.

    Args:
        scores: Of datasets.
        is_e: Whether they are LongBench-E's, which has English only.

    Source: THUDM/LongBench, README, the leaderboard's columns.
    """
    return averages_of({score.dataset.name: score.score for score in scores}, is_e=is_e)


def averages_of(by_name: Mapping[str, float | ByBucket], *, is_e: bool) -> list[Average]:
    """Do what `averages` does with scores that have only a name: those of a run's records, for instance.

    Args:
        by_name: Dataset, without LongBench-E's ending, -> its score as printed.
        is_e: Whether they are LongBench-E's.
    """
    known = DATASETS_E if is_e else DATASETS
    rows = []
    for language in LANGUAGES[:1] if is_e else LANGUAGES:
        of_language = []
        for category, names in categories_of(known, language).items():
            parts = [by_name[name] for name in names if name in by_name]
            of_language.append(_average(language, category, parts, expected=len(names)))
        means = [row.score for row in of_language if row.score is not None]
        rows += [*of_language, _average(language, None, means, expected=len(CATEGORIES))]
    return rows


def _average(
    language: str, category: str | None, parts: Sequence[float | ByBucket], *, expected: int
) -> Average:
    score: float | ByBucket | None = None
    if len(parts) == expected:
        flat = [part for part in parts if not isinstance(part, Mapping)]
        bucketed = [part for part in parts if isinstance(part, Mapping)]
        score = sum(flat) / len(flat) if flat else {name: _mean(bucketed, name) for name in BUCKETS}
    return Average(language=language, category=category, score=score, present=len(parts), expected=expected)


def _mean(parts: Sequence[ByBucket], bucket: str) -> float | None:
    values = [part[bucket] for part in parts]
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
