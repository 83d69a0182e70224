"""Cells of one run, and which cell of another run each belongs to, or why none does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from longbench_run.results.records import CellIdentity, MetricInfo, Record
from longbench_run.results.store import StoredRun


class Place(NamedTuple):
    """Labels by which cells of two runs are matched."""

    model: str
    method: str
    task: str
    protocol: str
    metric: str
    context_length: int

    def __str__(self) -> str:
        """Name the cell; quotes keep what a label holds from being taken for anything else."""
        return (
            f"{self.task} {self.metric} ({self.protocol}) at {self.context_length} tokens, "
            f"method {self.method!r}, model {self.model!r}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCell:
    """The records of one place, of all seeds."""

    place: Place
    identity: CellIdentity
    """Of one of the seeds."""
    info: MetricInfo | None
    """None where the run does not declare the metric."""
    records: tuple[Record, ...]

    @property
    def scored(self) -> tuple[Record, ...]:
        """Records with a value."""
        return tuple(
            record for record in self.records if record.status == "ok" and self.place.metric in record.scores
        )

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records without one, because something went wrong or the method does not apply."""
        return tuple(record for record in self.records if record.status != "ok")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the samples, ascending."""
        return tuple(sorted({record.cell.seed for record in self.records}))


def cells_of(run: StoredRun) -> Mapping[Place, MeasuredCell]:
    """Return the cells of a run in its order; of two setups of one place, the one computed last.

    Args:
        run: As read from its folder.
    """
    declared = {(task.name, task.protocol): task.metrics for task in run.header.tasks}
    setups: dict[str, str] = {}
    by_label: dict[tuple[str, str, str, str, int], dict[str, list[Record]]] = {}
    for record in run.records:
        cell = record.cell
        if record.cell_id not in setups:
            setups[record.cell_id] = cell.setup_id()
        label = (
            record.model_label,
            record.method_label,
            cell.task.name,
            cell.task.protocol,
            cell.context_length,
        )
        of_setup = by_label.setdefault(label, {})
        of_setup.setdefault(setups[record.cell_id], []).append(record)
    found = {}
    for (model, method, task, protocol, length), by_setup in by_label.items():
        records = tuple(next(reversed(by_setup.values())))
        infos = {info.name: info for info in declared.get((task, protocol), ())}
        for metric in dict.fromkeys((*infos, *(name for record in records for name in record.scores))):
            place = Place(model, method, task, protocol, metric, length)
            found[place] = MeasuredCell(
                place=place, identity=records[0].cell, info=infos.get(metric), records=records
            )
    return found


def why_missing(place: Place, others: Iterable[Place]) -> str:
    """Return what another run lacks of a place, and what it has instead.

    Args:
        place: One that is not among the others.
        others: Places of the other run.
    """
    left = list(others)
    for name in ("task", "protocol", "metric", "model", "method", "context_length"):
        values = list(dict.fromkeys(repr(getattr(other, name)) for other in left))
        left = [other for other in left if getattr(other, name) == getattr(place, name)]
        if not left:
            has = ", ".join(values) if values else "nothing"
            return (
                f"the candidate has no {name.replace('_', ' ')} {getattr(place, name)!r} here, it has {has}"
            )
    raise ValueError(f"{place!r} is among the others")


def why_not_comparable(baseline: MeasuredCell, candidate: MeasuredCell) -> str | None:
    """Return what makes the scores of two cells of one place incomparable, None where nothing does.

    Args:
        baseline: A cell.
        candidate: The cell of the same place in another run.
    """
    before, after = baseline.identity.task, candidate.identity.task
    if before.version != after.version:
        return f"task version {before.version} against {after.version}"
    for name in dict.fromkeys((*before.parameters, *after.parameters)):
        values = tuple(task.parameters.get(name, "nothing") for task in (before, after))
        if values[0] != values[1]:
            return f"task parameter {name}={values[0]} against {values[1]}"
    if baseline.info is not None and candidate.info is not None and baseline.info != candidate.info:
        return f"metric {baseline.place.metric!r} has another direction or range"
    return None


def why_nothing_is_shared(baseline: MeasuredCell, candidate: MeasuredCell) -> str:
    """Return why two cells of the same task have no sample in common.

    Args:
        baseline: A cell with scored samples.
        candidate: The cell of the same place in another run, with scored samples.
    """
    if not set(baseline.seeds) & set(candidate.seeds):
        seeds = " against ".join(", ".join(map(str, cell.seeds)) for cell in (baseline, candidate))
        return f"no shared samples: seed {seeds}; --unpaired compares them"
    templates = [cell.identity.chat_template for cell in (baseline, candidate)]
    if templates[0] != templates[1]:
        return f"no shared samples: chat template {templates[0]} against {templates[1]}"
    return "no shared samples: other prompts, or other ones finished"


def changes(baseline: MeasuredCell, candidate: MeasuredCell) -> Sequence[str]:
    """Return what else differs between the setups of two cells: what a difference may come from.

    Args:
        baseline: A cell.
        candidate: The cell of the same place in another run.
    """
    before, after = baseline.identity, candidate.identity
    model, method = f"model {baseline.place.model}", f"method {baseline.place.method}"
    compared = (
        (f"{model}: revision", before.model.revision, after.model.revision),
        (f"{model}: adapter", before.model.adapter, after.model.adapter),
        (f"{model}: quantization", before.model.quantization, after.model.quantization),
        (f"{model}: dtype", before.dtype, after.dtype),
        (f"{model}: attention", before.attention, after.attention),
        (f"{model}: original window", before.original_context_length, after.original_context_length),
        (f"{method}: resolved to", before.method.resolved, after.method.resolved),
        (f"{method}: version", _versions(before), _versions(after)),
        ("decoding", before.decoding, after.decoding),
    )
    found = [f"{what} {one} against {two}" for what, one, two in compared if one != two]
    if not found and _applied(baseline) != _applied(candidate):
        found.append(f"{method}: something else was applied to the model, under the same name and version")
    return found


def _applied(cell: MeasuredCell) -> set[str]:
    return {record.applied_hash for record in cell.scored if record.applied_hash is not None}


def _versions(cell: CellIdentity) -> str:
    return "+".join(f"{name} {version}" for name, version in sorted(cell.method.versions.items()))
