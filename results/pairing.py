"""The samples of two cells that are compared: pairs of the same sample, or two groups that share none."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from longbench_run.results.differences import (
    REPRODUCIBLE,
    Bounds,
    Scored,
    paired_difference,
    unpaired_difference,
)
from longbench_run.results.matching import MeasuredCell, why_not_comparable, why_nothing_is_shared
from longbench_run.results.records import MetricInfo, Record
from longbench_run.results.shares import Difference
from longbench_run.results.statistics import cluster_sums


class Shared(NamedTuple):
    """The samples that are compared; in the same order where they are paired."""

    baseline: tuple[Record, ...]
    candidate: tuple[Record, ...]


class Match(NamedTuple):
    """A cell that both runs have."""

    baseline: MeasuredCell
    candidate: MeasuredCell
    shared: Shared
    info: MetricInfo
    difference: Difference | None
    """None where fewer than two clusters are compared."""


def match_cells(
    baseline: MeasuredCell, candidate: MeasuredCell, *, is_paired: bool, tail: float
) -> Match | str:
    """Return what two cells of one place share, or why they cannot be compared.

    Args:
        baseline: A cell with scored samples.
        candidate: The cell of the same place in another run.
        is_paired: Whether samples are matched by their keys.
        tail: Smallest tail of an interval that will be asked for.
    """
    reason, info = why_not_comparable(baseline, candidate), baseline.info
    if reason is not None:
        return reason
    if info is None or candidate.info is None:
        return f"metric {baseline.place.metric!r} is not declared: nothing says which way is better"
    shared = _pairs(baseline, candidate) if is_paired else Shared(baseline.scored, candidate.scored)
    if not shared.candidate:
        if candidate.scored:
            return why_nothing_is_shared(baseline, candidate)
        shared = Shared((), ())
    difference = _difference(baseline.place.metric, info, shared, is_paired=is_paired, tail=tail)
    return Match(baseline, candidate, shared, info, difference)


def _pairs(baseline: MeasuredCell, candidate: MeasuredCell) -> Shared:
    """Return the samples that both runs scored, over the same tokens, in the order of their keys' cells."""
    others = {(record.sample_key, record.weight): record for record in candidate.scored}
    pairs = [
        (record, others[record.sample_key, record.weight])
        # Sorted: an interval must not depend on the order in which samples were computed.
        for record in sorted(baseline.scored, key=sample_number)
        if record.sample_key is not None and (record.sample_key, record.weight) in others
    ]
    return Shared(tuple(one for one, _ in pairs), tuple(other for _, other in pairs))


def _difference(
    metric: str, info: MetricInfo, shared: Shared, *, is_paired: bool, tail: float
) -> Difference | None:
    """Return the difference; None where a group has fewer than two clusters, which say nothing of their spread."""
    before, after = (scored(sorted(group, key=sample_number), metric) for group in shared)
    if min(len(set(group.clusters)) for group in (before, after)) < 2:
        return None
    bounds = Bounds(info.is_binary, info.minimum, info.maximum)
    if is_paired:
        return paired_difference(before.values, after, bounds, tail=tail)
    return unpaired_difference(before, after, bounds, tail=tail)


def scored(records: Sequence[Record], metric: str) -> Scored:
    """Return values, weights and clusters of records.

    Args:
        records: Scored ones of one cell, each with the metric.
        metric: Name of the metric.
    """
    weights = [record.weight for record in records if record.weight is not None]
    clusters: list[Hashable] = [
        record.document if record.document is not None else ("sample", *sample_number(record))
        for record in records
    ]
    return Scored(
        values=[record.scores[metric] for record in records],
        weights=weights if len(weights) == len(records) else None,
        clusters=clusters,
    )


def sample_number(record: Record) -> tuple[int, int]:
    """Return seed and number of a sample; that of a whole cell is -1."""
    return record.cell.seed, -1 if record.index is None else record.index


def mean(records: Sequence[Record], metric: str) -> float | None:
    """Return the mean of a metric over scored records, by weight where all have one; None without records.

    Args:
        records: Scored ones of one cell, each with the metric.
        metric: Name of the metric.
    """
    if not records:
        return None
    numerators, denominators = cluster_sums(*scored(records, metric))
    return float(numerators.sum() / denominators.sum())


def changed_pairs(shared: Shared, metric: str) -> int:
    """Return how many pairs differ by more than computing the same again makes them differ.

    Args:
        shared: Pairs.
        metric: Name of the metric.
    """
    values = ((one.scores[metric], other.scores[metric]) for one, other in zip(*shared, strict=True))
    return sum(abs(after - before) > REPRODUCIBLE * abs(before) for before, after in values)
