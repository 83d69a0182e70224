"""Means over two crossed random factors, the seed of training and the sample of evaluation, and their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longbench_run.results.statistics import CONFIDENCE, SMALLEST_COUNT

_LARGEST_ROUNDING = 1e-12
"""Standard error, as a part of the largest score, below which it is rounding: all values are equal."""
_TOO_FEW = f"fewer than 2 seeds, or fewer than {SMALLEST_COUNT} samples or documents"
_ALL_EQUAL = "all values are equal: they say nothing about their spread"


class Scores(NamedTuple):
    """Scores that are combined sample by sample and seed by seed."""

    seeds: tuple[int, ...]
    """Seeds of training; empty where nothing was trained, and every seed has the same."""
    samples: tuple[Hashable, ...]
    """What tells samples apart, the same for all methods."""
    values: NDArray[np.float64]
    """Shape ``(seeds, samples)``; one row where there are no seeds."""
    weights: NDArray[np.float64]
    """Weight per sample, w, above 0, shape ``(samples,)``."""
    clusters: tuple[Hashable, ...]
    """Cluster of each sample, its document, say; the same one in other terms is the same everywhere."""


class Term(NamedTuple):
    """Scores times a coefficient."""

    coefficient: float
    scores: Scores


class _Part(NamedTuple):
    """A part of a variance and its degrees of freedom."""

    variance: float
    freedom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A linear combination of means over seeds and samples, and what is known of it."""

    value: float
    seeds: int
    """Seeds of training that all terms share, k; 0 where nothing was trained."""
    n: int
    """Samples of evaluation, each counted once."""
    clusters: int
    """Documents among them, where samples name one; else n."""
    low: float | None = None
    """Lower bound of the 95 % interval; None where there is none."""
    high: float | None = None
    p: float | None = None
    """Chance of so large a value or a larger one, on either side, where the true one is 0; None where not known."""
    freedom: float | None = None
    """Degrees of freedom of Student's t."""
    reason: str | None = None
    """Why there is no interval."""


def contrast(blocks: Sequence[Sequence[Term]]) -> Contrast | None:
    """Return the sum of all terms' weighted means, with its interval; None where a block shares no sample, or no seed.

    Terms of one block are of one set of samples and are combined sample by sample; blocks are other tasks or context
    lengths. All terms are combined seed by seed, over the seeds that all of them have. With k seeds, x the combination
    and T its sum over blocks of sum(w x) / sum(w):

        Var = S_seed^2 / k + sum over groups of clusters of S_cluster^2

    S_seed^2 is the variance of T over seeds. S_cluster^2 is the variance of the seeds' mean over clusters, linearised for
    the ratio; clusters of the same name in several blocks go together. Seeds and samples interact, and each part holds
    the interaction once: the sum is too large by it, never too small. The interval is Student's t with the degrees of
    freedom of Satterthwaite. Where all values are equal nothing is known of their spread: there is no interval then,
    and p is 1 for a value of 0 and unknown for others.

    Args:
        blocks: At least one, each of at least one term.

    Source:
        The same double count: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (arXiv:0712.1111).
        Satterthwaite 1946, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2.
    """
    seeds = _shared_seeds([term.scores for block in blocks for term in block])
    if seeds is not None and not seeds:
        return None
    of_seeds = np.zeros(len(seeds or (None,)))
    errors: dict[Hashable, float] = {}
    samples: set[Hashable] = set()
    fewest = math.inf
    for block in blocks:
        combined = _combined(block, seeds)
        if combined is None:
            return None
        of_seeds += combined.values @ combined.weights / combined.weights.sum()
        of_block = _cluster_errors(combined)
        for name, error in of_block.items():
            errors[name] = errors.get(name, 0.0) + error
        samples.update(combined.samples)
        fewest = min(fewest, len(of_block))
    parts = [_Part(sum(error**2 for error in errors.values()), int(fewest) - 1)]
    if seeds is not None:
        parts.append(
            _Part(float(of_seeds.var(ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0, len(seeds) - 1)
        )
    found = Contrast(
        value=float(of_seeds.mean()), seeds=len(seeds or ()), n=len(samples), clusters=len(errors)
    )
    if any(part.freedom < 1 for part in parts) or fewest < SMALLEST_COUNT:
        return replace(found, reason=_TOO_FEW)
    largest = max(
        float(np.abs(term.coefficient * term.scores.values).max()) for block in blocks for term in block
    )
    return _with_interval(found, parts, rounding=_LARGEST_ROUNDING * largest)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values after Holm's correction: what is at most alpha is shown, at a chance of alpha for any wrong one.

    Args:
        p_values: The whole family, fixed before looking at it; None where one is not known, which counts as 1.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    Example:
        >>> holm([0.01, None, 0.04])
        [0.03, None, 0.08]
    """
    known = [1.0 if p is None else p for p in p_values]
    largest = 0.0
    adjusted: list[float | None] = [None] * len(known)
    for rank, place in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        largest = max(largest, min(1.0, known[place] * (len(known) - rank)))
        adjusted[place] = None if p_values[place] is None else largest
    return adjusted


def _shared_seeds(scores: Iterable[Scores]) -> tuple[int, ...] | None:
    """Return the seeds that all scores have which have any; None where none has."""
    of_each = [each.seeds for each in scores if each.seeds]
    if not of_each:
        return None
    return tuple(seed for seed in of_each[0] if all(seed in seeds for seeds in of_each))


def _combined(terms: Sequence[Term], seeds: tuple[int, ...] | None) -> Scores | None:
    """Return the terms' sum over the samples that all of them have; None without any."""
    first = terms[0].scores
    places = [{sample: place for place, sample in enumerate(term.scores.samples)} for term in terms]
    kept = [sample for sample in first.samples if all(sample in of_term for of_term in places)]
    if not kept:
        return None
    values = np.zeros((len(seeds or (None,)), len(kept)))
    for term, of_term in zip(terms, places, strict=True):
        own = term.scores
        rows = [own.seeds.index(seed) for seed in seeds or ()] if own.seeds else [0]
        values += term.coefficient * own.values[np.ix_(rows, [of_term[sample] for sample in kept])]
    columns = [places[0][sample] for sample in kept]
    return Scores(
        seeds=seeds or (),
        samples=tuple(kept),
        values=values,
        weights=first.weights[columns],
        clusters=tuple(first.clusters[column] for column in columns),
    )


def _cluster_errors(scores: Scores) -> dict[Hashable, float]:
    """Return what each cluster adds to the error of the seeds' mean; their squares add up to its variance."""
    weights = scores.weights / scores.weights.sum()
    averaged = scores.values.mean(axis=0)
    errors: dict[Hashable, float] = {}
    for name, error in zip(scores.clusters, weights * (averaged - averaged @ weights), strict=True):
        errors[name] = errors.get(name, 0.0) + float(error)
    count = len(errors)
    return {name: error * math.sqrt(count / max(1, count - 1)) for name, error in errors.items()}


def _with_interval(found: Contrast, parts: Sequence[_Part], *, rounding: float) -> Contrast:
    from scipy.special import stdtr, stdtrit

    variance = sum(part.variance for part in parts)
    error = math.sqrt(variance)
    if error <= rounding:
        return replace(found, p=1.0 if abs(found.value) <= rounding else None, reason=_ALL_EQUAL)
    freedom = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return replace(
        found,
        low=found.value - reach,
        high=found.value + reach,
        p=2 * float(stdtr(freedom, -abs(found.value) / error)),
        freedom=freedom,
    )
