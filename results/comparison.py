"""Two runs compared: a verdict for every cell of the baseline, and one for the whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from longbench_run.results.matching import (
    MeasuredCell,
    Place,
    cells_of,
    changes,
    why_missing,
)
from longbench_run.results.pairing import Match, changed_pairs, match_cells, mean, sample_number, scored
from longbench_run.results.records import Record, ResultsError, Status
from longbench_run.results.shares import DifferenceKind
from longbench_run.results.statistics import SMALLEST_COUNT
from longbench_run.results.store import read_run
from longbench_run.results.verdicts import Decision, Measured, Verdict, decide, smallest_tail

CellVerdict = Verdict | Literal["failed", "missing", "not comparable"]
Outcome = Literal["regressed", "incomplete", "inconclusive", "holds"]

TOLERANCE, ALPHA = 0.01, 0.05

WORST_FIRST: Sequence[CellVerdict] = (
    "regressed",
    "failed",
    "missing",
    "not comparable",
    "inconclusive",
    "same",
    "improved",
)
"""Verdicts in the order in which they are shown."""
INCOMPLETE: frozenset[CellVerdict] = frozenset({"failed", "missing", "not comparable"})
"""Verdicts of cells that the baseline has and that the candidate cannot answer for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCell:
    """A cell of the baseline, and what became of it."""

    model: str
    method: str
    task: str
    protocol: str
    metric: str
    context_length: int
    verdict: CellVerdict
    reason: str | None
    """Why there is no other verdict; None where the numbers say it."""
    higher_is_better: bool | None
    baseline: float | None
    """Mean over the samples compared; None where there are none."""
    candidate: float | None
    difference: float | None
    """Candidate less baseline, in the unit of the metric."""
    low: float | None
    """Lower bound of the difference, at the level at which verdicts are found."""
    high: float | None
    interval: DifferenceKind | None
    samples: int
    """Samples compared: pairs, or of two groups the smaller."""
    clusters: int
    """Documents among them, where samples name one; else as many."""
    needed: int | None
    """Clusters at which an inconclusive cell would be decided, if difference and variance stayed."""
    missing: int
    """Samples that the baseline scored and the candidate has not finished."""
    added: int
    """Samples that the candidate alone scored."""
    failed: int
    """Samples that failed in the candidate and not in the baseline."""
    changed: int
    """Pairs whose scores differ by more than computing the same again makes them differ."""

    @property
    def place(self) -> Place:
        """The labels by which it was matched."""
        return Place(*(getattr(self, name) for name in Place._fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is known of a candidate against a baseline."""

    baseline: str
    """Folder, as given."""
    candidate: str
    tolerance: float
    """Largest difference that is the same, in the unit of each metric."""
    alpha: float
    """Chance of any wrong verdict."""
    is_paired: bool
    family: int
    """Cells that both runs have: the family for which alpha holds."""
    cells: tuple[ComparedCell, ...]
    """Worst first."""
    unmeasured: tuple[str, ...]
    """Cells that the baseline has not measured either, and why."""
    new_cells: int
    """Cells that the candidate alone has."""
    notes: tuple[str, ...]
    """What else differs between the runs."""

    @property
    def outcome(self) -> Outcome:
        """The verdict on the whole, the worst thing first."""
        found = self.counts
        if found["regressed"]:
            return "regressed"
        if any(found[verdict] for verdict in INCOMPLETE):
            return "incomplete"
        return "inconclusive" if found["inconclusive"] else "holds"

    @property
    def counts(self) -> Counter[CellVerdict]:
        """How many cells have each verdict."""
        return Counter(cell.verdict for cell in self.cells)


def compare_runs(
    baseline: Path | str,
    candidate: Path | str,
    *,
    tolerance: float = TOLERANCE,
    alpha: float = ALPHA,
    is_paired: bool = True,
) -> Comparison:
    """Compare two runs, cell by cell; nothing is written.

    Cells are matched by the labels of `Place`, samples by their `sample_key`, of all seeds together. A run that
    is not finished is compared over the samples that it has.

    Args:
        baseline: Run folder.
        candidate: Run folder.
        tolerance: Largest difference that is the same, in the unit of each metric (nats per token for nll, a share
            for yes/no scores), at least 0.
        alpha: Chance of any wrong verdict in the whole comparison, in (0, 1).
        is_paired: False compares runs of different seeds as independent samples.

    Raises:
        ResultsError: If a folder is no run or cannot be read, a number is out of range, or nothing can be compared.
    """
    _check(tolerance, alpha)
    runs = {str(baseline): read_run(baseline), str(candidate): read_run(candidate)}
    for folder, run in runs.items():
        if not run.records:
            raise ResultsError(
                f"{folder}: run must hold finished samples, got none. Run it, or resume it with the same command."
            )
    before, after = (cells_of(run) for run in (runs[str(baseline)], runs[str(candidate)]))
    measured = {place: cell for place, cell in before.items() if cell.scored}
    if not measured:
        failures = Counter(record.status for cell in before.values() for record in cell.failed)
        raise ResultsError(
            f"{baseline}: baseline must hold a sample with a score, got {_listed(failures)} only. "
            "Nothing can be compared with it; run it again with --overwrite failed."
        )
    matched = [place for place in measured if place in after]
    cells = list(_verdicts(measured, after, matched, tolerance=tolerance, alpha=alpha, is_paired=is_paired))
    if not any(cell.samples or cell.verdict == "failed" for cell in cells):
        raise ResultsError(
            f"{candidate}: candidate must share cells with the baseline, got none of {len(cells)} "
            f"({next(iter(measured))}: {cells[0].reason}). Nothing to compare; compare runs of the same tasks."
        )
    return Comparison(
        baseline=str(baseline),
        candidate=str(candidate),
        tolerance=tolerance,
        alpha=alpha,
        is_paired=is_paired,
        family=len(matched),
        cells=tuple(sorted(cells, key=_badness)),
        unmeasured=tuple(
            f"{place}: {_first_failure(cell.failed)}"
            for place, cell in before.items()
            if place not in measured
        ),
        new_cells=sum(place not in measured for place, cell in after.items() if cell.scored),
        notes=(
            *_notes([(measured[place], after[place]) for place in matched], is_paired=is_paired),
            *_unexplained(cells, measured, after),
        ),
    )


def _verdicts(
    measured: Mapping[Place, MeasuredCell],
    after: Mapping[Place, MeasuredCell],
    matched: Sequence[Place],
    *,
    tolerance: float,
    alpha: float,
    is_paired: bool,
) -> Iterator[ComparedCell]:
    """Yield every cell that the baseline has measured."""
    tail = smallest_tail(alpha, max(1, len(matched)))
    matches = {
        place: match_cells(measured[place], after[place], is_paired=is_paired, tail=tail) for place in matched
    }
    differences = {
        place: Measured(match.difference, match.info.higher_is_better)
        for place, match in matches.items()
        if isinstance(match, Match) and match.difference is not None
    }
    found = decide(list(differences.values()), tolerance=tolerance, alpha=alpha, family=len(matched))
    decisions = dict(zip(differences, found, strict=True))
    for place, cell in measured.items():
        match = matches.get(place)
        if match is None:
            has_other_protocol = any(place._replace(protocol=other.protocol) == other for other in after)
            yield _unanswered(
                cell, "not comparable" if has_other_protocol else "missing", why_missing(place, after)
            )
        elif isinstance(match, str):
            yield _unanswered(cell, "not comparable", match)
        else:
            yield _compared(match, decisions.get(place), is_paired=is_paired)


def _check(tolerance: float, alpha: float) -> None:
    if not 0 <= tolerance < math.inf:
        raise ResultsError(
            f"compare: --tolerance must be a number from 0, got {tolerance!r}. Leave it out for {TOLERANCE}."
        )
    if not 0 < alpha < 1:
        raise ResultsError(
            f"compare: --alpha must be above 0 and below 1, got {alpha!r}. Leave it out for {ALPHA}."
        )


def _compared(match: Match, decision: Decision | None, *, is_paired: bool) -> ComparedCell:
    before, after, shared = match.baseline, match.candidate, match.shared
    place = before.place
    expected = {sample_number(record) for record in before.scored}
    failed_before = {sample_number(record) for record in before.failed}
    failed = [record for record in after.failed if sample_number(record) not in failed_before]
    finished = {sample_number(record) for record in after.scored}
    clusters = min(len(set(scored(group, place.metric).clusters)) for group in shared)
    verdict: CellVerdict = decision.verdict if decision else "inconclusive"
    reason = None
    if failed:
        verdict, reason = (
            "failed",
            f"{_first_failure(failed)} ({len(failed)} of {len(after.records)} samples)",
        )
    elif not shared.candidate:
        verdict, reason = "missing", "the candidate has not finished any of its samples"
    elif decision is None or decision.interval is None:
        reason = f"fewer than {SMALLEST_COUNT} samples or documents are shared: no interval"
    means = [mean(group, place.metric) for group in shared]
    interval = decision.interval if decision else None
    return ComparedCell(
        **place._asdict(),
        verdict=verdict,
        reason=reason,
        higher_is_better=match.info.higher_is_better,
        baseline=means[0],
        candidate=means[1],
        difference=None if means[0] is None or means[1] is None else means[1] - means[0],
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        interval=decision.kind if decision else None,
        samples=min(map(len, shared)),
        clusters=clusters,
        needed=decision.needed if decision else None,
        missing=len(expected - finished - {sample_number(record) for record in failed}) if is_paired else 0,
        added=len(finished - expected) if is_paired else 0,
        failed=len(failed),
        changed=changed_pairs(shared, place.metric) if is_paired else 0,
    )


def _unanswered(cell: MeasuredCell, verdict: CellVerdict, reason: str) -> ComparedCell:
    """Return a cell of the baseline of which the candidate says nothing."""
    return ComparedCell(
        **cell.place._asdict(),
        verdict=verdict,
        reason=reason,
        higher_is_better=cell.info.higher_is_better if cell.info else None,
        baseline=mean(cell.scored, cell.place.metric),
        candidate=None,
        difference=None,
        low=None,
        high=None,
        interval=None,
        samples=0,
        clusters=0,
        needed=None,
        missing=len(cell.scored),
        added=0,
        failed=0,
        changed=0,
    )


def _badness(cell: ComparedCell) -> tuple[int, float]:
    """Return the key that puts the worst first: by verdict, then by how far the difference goes the wrong way."""
    loss = 0.0 if cell.difference is None else cell.difference
    return WORST_FIRST.index(cell.verdict), loss if cell.higher_is_better else -loss


def _first_failure(records: Sequence[Record]) -> str:
    for record in records:
        if record.failure is not None:
            return f"{record.status}: {record.failure.type}: {record.failure.message}"
    return records[0].status if records else "no score"


def _listed(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"


def _notes(pairs: Sequence[tuple[MeasuredCell, MeasuredCell]], *, is_paired: bool) -> Iterator[str]:
    """Yield what else differs, with the number of cells where it does not hold for all."""
    if not is_paired:
        yield "Samples are not paired: intervals are those of two independent groups, and wider than of pairs."
        if any(set(before.seeds) & set(after.seeds) for before, after in pairs):
            yield "The runs share a seed: without --unpaired their samples are paired, and differences are known better."
    found = Counter(text for before, after in pairs for text in changes(before, after))
    for text, count in found.items():
        yield text if count == len(pairs) else f"{text} (cells: {count} of {len(pairs)})"


def _unexplained(
    cells: Sequence[ComparedCell], before: Mapping[Place, MeasuredCell], after: Mapping[Place, MeasuredCell]
) -> Iterator[str]:
    """Say where scores changed although all that the records know of is the same: code, packages or hardware did it."""
    by_method: dict[str, list[ComparedCell]] = {}
    for cell in cells:
        place = cell.place
        if cell.changed and not changes(before[place], after[place]):
            by_method.setdefault(cell.method, []).append(cell)
    for method, found in by_method.items():
        changed, samples = (sum(getattr(cell, name) for cell in found) for name in ("changed", "samples"))
        yield (
            f"method {method}: {changed} of {samples} samples score differently (cells: {len(found)}), though model, "
            "method, task and their versions are the same: other code, packages or hardware"
        )
