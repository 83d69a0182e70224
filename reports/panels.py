"""What one table and one figure show: one model, task and metric, over methods and context lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.text import length_label, perplexity_text, score_text
from longbench_run.results.positions import PositionCurve, position_curves
from longbench_run.results.records import MetricInfo, ModelSummary, Reference, RunHeader, TaskSummary
from longbench_run.results.references import reference_means
from longbench_run.results.statistics import SMALLEST_COUNT, Estimate, IntervalKind
from longbench_run.results.store import read_header
from longbench_run.results.table import CellKey, CellSummary, cells, load
from longbench_run.results.truncation import TruncationLedger, truncation_ledgers

if TYPE_CHECKING:
    import pandas as pd

INTERVAL_NAMES: Mapping[IntervalKind, str] = {
    "wilson": "Wilson",
    "bootstrap-t": "studentised bootstrap",
    "student-t": "Student's t",
    "bca": "BCa bootstrap",
}


class _Found(NamedTuple):
    """What was measured in a run."""

    cells: tuple[CellSummary, ...]
    curves: Mapping[CellKey, PositionCurve]
    ledgers: Mapping[CellKey, TruncationLedger]
    references: Mapping[CellKey, Mapping[str, Estimate]]


class Note(NamedTuple):
    """A cell that is not like the others, and why."""

    method: str
    context_length: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One model, task and metric: cells by method and context length, in the order shown."""

    model: ModelSummary
    task: TaskSummary
    metric: MetricInfo
    methods: tuple[str, ...]
    """Method labels in the order of the run."""
    lengths: tuple[int, ...]
    """Context lengths in tokens, ascending."""
    cells: Mapping[tuple[str, int], CellSummary]
    """(method label, context length) -> cell; what was not measured is absent."""
    curves: Mapping[tuple[str, int], PositionCurve]
    """(method label, context length) -> the same cell by position, where its samples have one."""
    ledgers: Mapping[tuple[str, int], TruncationLedger]
    """(method label, context length) -> what truncation took, where a sample was cut."""
    references: Mapping[tuple[str, int], Mapping[str, Estimate]]
    """(method label, context length) -> protocol that is a floor or a ceiling -> mean over the same questions."""
    roles: Mapping[str, Reference]
    """Protocol of the task -> what it is to the others, where it is a floor or a ceiling."""
    superseded: int
    """Cells of the run that are not shown: the same place was computed later by another version or setup."""

    @property
    def is_perplexity(self) -> bool:
        """Whether values are shown as perplexity, exp(nll)."""
        return self.metric.name == "nll"

    @property
    def quantity(self) -> str:
        """What the values are: the metric, or ``perplexity``."""
        return "perplexity" if self.is_perplexity else self.metric.name

    @property
    def title(self) -> str:
        """The name as a heading."""
        return ": ".join(self.name)

    @property
    def name(self) -> tuple[str, ...]:
        """Task and quantity, once where they are the same word."""
        return (self.quantity,) if self.task.name == self.quantity else (self.task.name, self.quantity)

    @property
    def direction(self) -> str:
        """Which values are good."""
        return "higher is better" if self.metric.higher_is_better else "lower is better"

    @property
    def scored(self) -> tuple[CellSummary, ...]:
        """Cells that have a value."""
        return tuple(cell for cell in self.cells.values() if cell.value is not None)

    @property
    def common_n(self) -> int | None:
        """The count of samples that most cells have; None without a scored cell."""
        counts = Counter(cell.n for cell in self.scored)
        return counts.most_common(1)[0][0] if counts else None

    @property
    def factor_policy(self) -> str:
        """The factor policy of the cells; more than one are joined."""
        return ", ".join(sorted({cell.factor_policy for cell in self.cells.values()})) or "unknown"

    def count_text(self) -> str:
        """Say how many samples stand behind a value, and of how many documents where samples share them."""
        if self.common_n is None:
            return "n = 0"
        clusters = {cell.clusters for cell in self.scored if cell.n == self.common_n}
        exact = all(cell.n == self.common_n for cell in self.scored)
        of = f" from {max(clusters)} documents" if max(clusters) != self.common_n else ""
        return f"n = {self.common_n}{of}{'' if exact else ' unless noted'}"

    def interval_text(self) -> str:
        """Name the intervals shown."""
        kinds = dict.fromkeys(INTERVAL_NAMES[cell.interval] for cell in self.scored if cell.interval)
        by = " by document" if any(cell.clusters != cell.n for cell in self.scored) else ""
        if kinds:
            return f"95 % interval: {', '.join(kinds)}{by}"
        is_small = all(min(cell.n, cell.clusters) < SMALLEST_COUNT for cell in self.scored)
        few = f"fewer than {SMALLEST_COUNT} samples or documents"
        return f"no interval: {few if is_small else 'values are all equal'}"

    def value_text(self, method: str, context_length: int, *, digits: int = 2) -> str:
        """Return what a table shows for a cell: value and interval, or why there is none.

        Args:
            method: Method label.
            context_length: Tokens.
            digits: Decimals of a score.
        """
        cell = self.cells.get((method, context_length))
        if cell is None:
            return "-"
        if cell.value is None:
            return _status_text(cell)
        value = self.number_text(cell.value, digits=digits)
        mark = "" if self._note_text(cell) is None else " !"
        if cell.low is None or cell.high is None:
            return f"{value} [-]{mark}"
        low, high = (self.number_text(bound, digits=digits) for bound in (cell.low, cell.high))
        return f"{value} [{low}, {high}]{mark}"

    def mean_text(self, found: Estimate | None, *, digits: int = 2) -> str:
        """Return a mean with its interval as a table shows it.

        Args:
            found: None where there is none.
            digits: Decimals of a score.
        """
        if found is None or found.value is None:
            return "-"
        value = self.number_text(found.value, digits=digits)
        if found.interval is None:
            return f"{value} [-]"
        low, high = (self.number_text(bound, digits=digits) for bound in found.interval)
        return f"{value} [{low}, {high}]"

    def number_text(self, value: float, *, digits: int = 2) -> str:
        """Return a value of the metric as it is shown.

        Args:
            value: In the unit of the metric; nats for nll.
            digits: Decimals of a score.
        """
        return perplexity_text(value) if self.is_perplexity else score_text(value, digits=digits)

    def notes(self) -> tuple[Note, ...]:
        """Return what must be said of single cells: another n than the rest, failures, no interval."""
        return tuple(
            Note(method, length, text)
            for method in self.methods
            for length in self.lengths
            if (cell := self.cells.get((method, length))) and (text := self._note_text(cell))
        )

    def _note_text(self, cell: CellSummary) -> str | None:
        failed = [
            f"{count} {name}"
            for count, name in ((cell.out_of_memory, "out of memory"), (cell.error, "failed"))
            if count
        ]
        if cell.value is None:
            because = f": {cell.failure}" if cell.failure else ""
            return "not applicable" + because if cell.not_applicable else ", ".join(failed) + because
        if cell.n != self.common_n or failed:
            return ", ".join([f"n = {cell.n}", *failed])
        return None

    def superseded_text(self) -> str:
        """Say how many results are not shown because later ones took their place."""
        return f"{self.superseded} older results by other versions or settings are in the run; the latest are shown"

    @property
    def has_value_without_interval(self) -> bool:
        """Whether ``[-]`` stands somewhere in the table."""
        return any(cell.low is None for cell in self.scored)


NO_INTERVAL = f"[-]: no interval below {SMALLEST_COUNT} samples or documents, or of values that are all equal"


def panels(run: Path | str) -> tuple[RunHeader, tuple[Panel, ...]]:
    """Return what there is to show of a run: every model, task and metric, measured or not.

    Args:
        run: Run folder.

    Raises:
        ResultsError: If the folder is no run or cannot be read.
    """
    header = read_header(run)
    return header, panels_of(header, load(run))


def panels_of(header: RunHeader, frame: pd.DataFrame) -> tuple[Panel, ...]:
    """Return what there is to show of a run whose samples are read already.

    Args:
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    found = _Found(
        cells(frame),
        {curve.key: curve for curve in position_curves(frame)},
        truncation_ledgers(frame),
        reference_means(frame),
    )
    return tuple(
        _panel(header, model, task, metric, found)
        for task in header.tasks
        for model in header.models
        for metric in task.metrics
    )


def _panel(
    header: RunHeader,
    model: ModelSummary,
    task: TaskSummary,
    metric: MetricInfo,
    run: _Found,
) -> Panel:
    key = (model.label, task.name, task.protocol, metric.name)
    of_panel = [
        cell for cell in run.cells if (cell.model_label, cell.task, cell.protocol, cell.metric) == key
    ]
    of_panel.sort(key=lambda cell: cell.position)
    found = {(cell.method_label, cell.context_length): cell for cell in of_panel}
    lengths = {length for _, length in found}
    if len(header.models) == 1 or not lengths:
        # Lengths given in windows differ between models: with several, only those seen belong to this one.
        lengths |= set(header.lengths)
    return Panel(
        model=model,
        task=task,
        metric=metric,
        methods=tuple(dict.fromkeys((*header.methods, *(method for method, _ in found)))),
        lengths=tuple(sorted(lengths)),
        cells=found,
        curves={place: run.curves[cell.key] for place, cell in found.items() if cell.key in run.curves},
        ledgers={place: run.ledgers[cell.key] for place, cell in found.items() if cell.key in run.ledgers},
        references={
            place: run.references[cell.key] for place, cell in found.items() if cell.key in run.references
        },
        roles={
            each.protocol: each.reference
            for each in header.tasks
            if each.name == task.name and each.reference is not None
        },
        superseded=len(of_panel) - len(found),
    )


def grouped(notes: Iterable[Note]) -> tuple[tuple[str, str], ...]:
    """Put cells with the same note together.

    Args:
        notes: Of one panel.

    Returns:
        Pairs of a text and the cells it holds for, such as ``pi at 4k, 8k; yarn at 8k``.
    """
    places: dict[str, dict[str, list[str]]] = {}
    for note in notes:
        at = places.setdefault(note.text, {}).setdefault(note.method, [])
        at.append(length_label(note.context_length))
    return tuple(
        (text, "; ".join(f"{method} at {', '.join(lengths)}" for method, lengths in of_methods.items()))
        for text, of_methods in places.items()
    )


def _status_text(cell: CellSummary) -> str:
    if cell.not_applicable:
        return "n/a"
    if cell.error or cell.out_of_memory:
        return "oom" if cell.out_of_memory >= cell.error else "err"
    return "-"
