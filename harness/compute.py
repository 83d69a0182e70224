"""Compute what a plan lacks: load once, attach each method once, group by group, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.estimate import group_tokens
from longbench_run.harness.lengths import short_length
from longbench_run.harness.models.engine import iterate_group, token_sha256
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.memory import is_out_of_memory, release_memory
from longbench_run.harness.recording import failed_record, failure_of, not_applicable_record, sample_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.attention import Applied
    from longbench_run.harness.models.load import LoadedModel
    from longbench_run.harness.plan import FirstSamples, Group, MethodRun, Plan, PlannedCell
    from longbench_run.harness.progress import Progress
    from longbench_run.harness.sample_cache import SampleCache
    from longbench_run.results.records import Record, Status
    from longbench_run.results.store import Store
    from longbench_run.tasks.base import Sample

Member = tuple["PlannedCell", "Sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A group with its samples, of which some are still to be recorded."""

    group: Group
    members: tuple[Member, ...]
    """The whole group as far as the data goes: its shapes do not depend on what is stored."""
    wanted: frozenset[tuple[str, int]]
    """Cell key and index of what has no record yet."""


@dataclass(slots=True)
class Computation:
    """One plan, its store, and what was computed so far."""

    plan: Plan
    store: Store
    samples: SampleCache
    progress: Progress
    first: FirstSamples
    prefix_reuse: bool = True
    """Whether prompts that begin alike share what they share."""
    computed: int = 0
    _done: dict[str, set[int | None]] = field(init=False)

    def __post_init__(self) -> None:
        """Note what the store has."""
        self._done = {cell.cell_id: set(self.store.finished(cell.cell_id)) for cell in self.plan.cells}

    def run(self) -> int:
        """Compute everything that is missing; return how many samples were.

        Raises:
            TaskError: If a task cannot make its samples.
            ModelError: If weights cannot be loaded.
            ResultsError: If records cannot be written.
        """
        for cell in self.plan.cells:
            if cell.not_applicable is not None:
                self._not_applicable([cell], cell.not_applicable)
        runs = self.plan.method_runs()
        self.progress.start(
            sum(
                group_tokens(group, self.first)
                for run in runs
                for group in run.groups()
                if self._lacks(group)
            )
        )
        try:
            for _, of_weights in groupby(runs, key=lambda run: id(run.weights)):
                self._run_weights(list(of_weights))
        finally:
            self.progress.finish()
        return self.computed

    def _run_weights(self, runs: Sequence[MethodRun]) -> None:
        """Run the methods of one load; weights that nothing needs are not read."""
        loaded: LoadedModel | None = None
        for run in runs:
            if next(self._work(run), None) is None:
                continue
            if loaded is None:
                loaded = load_model(run.weights.inspected.spec, run.weights.inspected)
            self._run_method(loaded, run)
        del loaded
        release_memory()

    def _run_method(self, loaded: LoadedModel, run: MethodRun) -> None:
        with ExitStack() as stack:
            stack.enter_context(continued(loaded.model))
            try:
                applied = stack.enter_context(
                    run.method.applied_to(
                        loaded.model,
                        original_context_length=run.weights.original_context_length,
                        context_length=run.target_length,
                    )
                )
                _check_applied(applied, run)
            except MethodNotApplicable as error:
                self._not_applicable(run.cells, str(error))
                return
            except Exception as error:  # a method's bug must not stop the others: it is in the records
                self._all_failed(run, error)
                return
            try:
                for stage, works in groupby(self._work(run), key=lambda work: _stage(run, work)):
                    self._run_stage(loaded, run, applied, stage, works)
            except MethodNotApplicable as error:
                self._not_applicable(run.cells, str(error))

    def _run_stage(
        self, loaded: LoadedModel, run: MethodRun, applied: Applied, stage: str, works: Iterator[Work]
    ) -> None:
        # Materialised: the bar needs the number. Samples are shared with the cache, groups are small.
        of_stage = list(works)
        self.progress.stage(stage, sum(len(work.wanted) for work in of_stage))
        for work in of_stage:
            self._run_group(loaded, run, applied, work)
            self.progress.advance(tokens=group_tokens(work.group, self.first))

    def _run_group(self, loaded: LoadedModel, run: MethodRun, applied: Applied, work: Work) -> None:
        requests = [sample.request for _, sample in work.members]
        results = iterate_group(
            loaded,
            requests,
            prefix_causal=run.method.prefix_causal,
            announce=applied.sample,
            prefix_reuse=self.prefix_reuse,
        )
        for place, result in results:
            cell, sample = work.members[place]
            if (cell.cell_id, sample.index) not in work.wanted:
                continue
            record = sample_record(
                cell, sample, result, factor_policy=self.plan.factor_policy, applied_hash=applied.hash
            )
            self._append(record)
            self.progress.advance(samples=1)

    def _work(self, run: MethodRun) -> Iterator[Work]:
        """Yield the groups that lack a record, with the samples that the data has."""
        for group in run.groups():
            if not self._lacks(group):
                continue
            members = tuple(
                (cell, sample)
                for cell, index in group.members
                if (sample := self.samples.of_cell(cell).get(index)) is not None
            )
            wanted = frozenset(
                (cell.cell_id, sample.index)
                for cell, sample in members
                if self._is_missing(cell, sample.index)
            )
            if wanted:
                yield Work(group=group, members=members, wanted=wanted)

    def _lacks(self, group: Group) -> bool:
        return any(self._is_missing(cell, index) for cell, index in group.members)

    def _is_missing(self, cell: PlannedCell, index: int) -> bool:
        done = self._done[cell.cell_id]
        return index not in done and None not in done

    def _append(self, record: Record) -> None:
        self.store.append(record)
        self._done[record.cell_id].add(record.index)
        self.computed += 1

    def _not_applicable(self, cells: Sequence[PlannedCell], reason: str) -> None:
        for cell in cells:
            if None not in self._done[cell.cell_id]:
                self._append(not_applicable_record(cell, reason, factor_policy=self.plan.factor_policy))

    def _all_failed(self, run: MethodRun, error: Exception) -> None:
        """Give every sample of a method that could not be attached its row."""
        status: Status = "out_of_memory" if is_out_of_memory(error) else "error"
        failure = failure_of(error)
        for work in self._work(run):
            for cell, sample in work.members:
                if (cell.cell_id, sample.index) in work.wanted:
                    self._append(
                        failed_record(
                            cell,
                            sample,
                            prompt_sha256=token_sha256(sample.request),
                            status=status,
                            failure=failure,
                            factor_policy=self.plan.factor_policy,
                        )
                    )


def _check_applied(applied: Applied, run: MethodRun) -> None:
    """Refuse to record under a name what is not computed under it.

    Raises:
        RuntimeError: If the loaded model resolves a method differently than its configuration did.
    """
    if applied.method != run.method:
        raise RuntimeError(
            f"the plan resolved {run.method.canonical}, the model got {applied.method.canonical}"
        )


def _stage(run: MethodRun, work: Work) -> str:
    """Say what is at work: model, method, task and its lengths."""
    cells = [cell for cell, _ in work.members]
    lengths = [cell.context_length for cell in cells]
    span = short_length(min(lengths)) + (
        f"-{short_length(max(lengths))}" if min(lengths) < max(lengths) else ""
    )
    return f"{run.weights.model_label} {cells[0].method_label} {cells[0].identity.task.name} {span}"
