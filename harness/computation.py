"""Compute what a plan lacks: groups go to workers, what comes back is recorded, here and nowhere else."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.compute import (
    Attached,
    Broken,
    Computed,
    Finished,
    Job,
    Load,
    NotApplicable,
    Setup,
    Unattached,
)
from longbench_run.harness.executors.base import Down, Up, WorkersLost
from longbench_run.harness.models.engine import token_sha256
from longbench_run.harness.recording import failed_record, not_applicable_record, sample_record
from longbench_run.harness.schedule import Schedule
from longbench_run.results.records import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longbench_run.harness.compute import Event
    from longbench_run.harness.executors.base import Executor
    from longbench_run.harness.models.facts import ModelFacts
    from longbench_run.harness.models.spec import ModelSpec
    from longbench_run.harness.plan import FirstSamples, Group, MethodRun, Plan, PlannedCell
    from longbench_run.harness.progress import Progress
    from longbench_run.harness.sample_cache import SampleCache
    from longbench_run.harness.schedule import Item
    from longbench_run.results.records import Record, Status
    from longbench_run.results.store import Store
    from longbench_run.tasks.base import Sample

logger = logging.getLogger(__name__)

MOST_DEATHS = 3
"""Workers that may die over one group without a record between, and of one place in a row without attaching."""


@dataclass(slots=True, kw_only=True)
class _Work:
    """A group at a worker."""

    item: Item
    members: tuple[tuple[PlannedCell, Sample], ...]
    """The whole group as far as the data goes: its shapes do not depend on what is stored."""
    applied_hash: str | None = None
    """None until the worker has the method attached."""


@dataclass(slots=True, kw_only=True)
class Computation:
    """One plan, its store, and what was computed so far."""

    plan: Plan
    store: Store
    samples: SampleCache
    progress: Progress
    first: FirstSamples
    executor: Executor
    prefix_reuse: bool = True
    """Whether prompts that begin alike share what they share."""
    computed: int = 0
    _done: dict[str, set[int | None]] = field(init=False)
    _schedule: Schedule = field(init=False)
    _busy: dict[int, _Work] = field(init=False, default_factory=dict)
    _idle: dict[int, MethodRun | None] = field(init=False, default_factory=dict)
    """What each worker without a group computed last."""
    _lost: int = field(init=False, default=0)
    """Workers that died in a row without having attached anything."""
    _came_up: bool = field(init=False, default=False)
    """Whether any worker started."""
    _stage: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Note what the store has."""
        self._done = {cell.cell_id: set(self.store.finished(cell.cell_id)) for cell in self.plan.cells}
        self._schedule = Schedule(self.plan.method_runs(), self._missing, self.first)

    def run(self) -> int:
        """Compute everything that is missing; return how many samples were.

        Raises:
            TaskError: If a task cannot make its samples.
            ModelError: If weights cannot be loaded.
            WorkersLost: If workers die before they compute anything.
            ResultsError: If records cannot be written.
        """
        for cell in self.plan.cells:
            if cell.not_applicable is not None:
                self._not_applicable([cell], cell.not_applicable)
        self.progress.start(self._schedule.tokens)
        try:
            self.executor.start(len(self._schedule))
            for worker, event in self.executor.events():
                self._hear(worker, event)
                for idle in list(self._idle):
                    self._give(idle)
                if not self._busy and not self._schedule:
                    break
            if self._busy or self._schedule:
                raise RuntimeError(
                    f"the executor ended with {len(self._busy) + len(self._schedule)} groups to compute"
                )
        finally:
            self.progress.finish()
        return self.computed

    def _give(self, worker: int) -> None:
        """Give a worker the next group that lacks a record, with the samples that the data has."""
        last = self._idle[worker]
        while (item := self._schedule.take(last)) is not None:
            members = tuple(
                (cell, sample)
                for cell, index in item.group.members
                if (sample := self.samples.of_cell(cell).get(index)) is not None
            )
            if any(self._lacks(cell, sample.index) for cell, sample in members):
                self._tell_stage(item)
                del self._idle[worker]
                self._busy[worker] = _Work(item=item, members=members)
                job = Job(
                    setup=_setup(item.run),
                    requests=tuple(sample.request for _, sample in members),
                    prefix_reuse=self.prefix_reuse,
                )
                self.executor.submit(worker, job)
                return

    def _hear(self, worker: int, event: Event | Up | Down) -> None:
        """Take note of what a worker tells."""
        match event:
            case Up():
                self._idle[worker] = None
                self._came_up = True
            case Attached(applied_hash):
                self._busy[worker].applied_hash = applied_hash
                self._lost = 0
            case Computed(place, result):
                work = self._busy[worker]
                cell, sample = work.members[place]
                if self._lacks(cell, sample.index):
                    self._append(
                        sample_record(
                            cell,
                            sample,
                            result,
                            factor_policy=self.plan.factor_policy,
                            applied_hash=work.applied_hash or "",
                        )
                    )
                    work.item.deaths = 0
                    self.progress.advance(samples=1)
            case Finished():
                self.progress.advance(tokens=self._end(worker).item.tokens)
            case NotApplicable(reason):
                run = self._end(worker).item.run
                self._schedule.drop(run)
                self._not_applicable(run.cells, reason)
            case Unattached(status, failure):
                self._all_failed(self._end(worker).item, status, failure)
            case Broken(error):
                raise error
            case Down(how):
                self._bury(worker, how)

    def _end(self, worker: int) -> _Work:
        work = self._busy.pop(worker)
        self._idle[worker] = work.item.run
        return work

    def _bury(self, worker: int, how: str) -> None:
        """Give a dead worker's group to another one, unless it is the group that kills."""
        self._idle.pop(worker, None)
        work = self._busy.pop(worker, None)
        if work is None or work.applied_hash is None:
            self._lost += 1
            if self._lost >= MOST_DEATHS * self.executor.size:
                raise WorkersLost(
                    f"Workers must live to load a model, got {self._lost} that died before, the last one {how}. "
                    "See whether memory suffices for all of them, and run the same command again: "
                    "finished samples are kept."
                    if self._came_up
                    else f"Workers must start, got {self._lost} that died before they had, the last one {how}. "
                    'See what they say on stderr; a script calls run() below `if __name__ == "__main__":`.'
                )
        if work is None:
            logger.warning("A worker was lost before it had a group (%s); another one takes its place.", how)
            return
        item = work.item
        item.deaths += work.applied_hash is not None
        if item.deaths < MOST_DEATHS:
            logger.warning("%s: a worker was lost (%s); its group goes to another one.", item.stage, how)
            self._schedule.put_back(item)
            return
        message = f"{item.deaths} workers died over this sample's group, the last one {how}"
        self._failed(work.members, "error", Failure(type="WorkerDied", message=message))

    def _tell_stage(self, item: Item) -> None:
        """Say what is at work: of several workers, that there are several."""
        if self.executor.size > 1:
            if self._stage is None:
                self._stage = f"{self.executor.size} workers"
                self.progress.stage(self._stage, item.missing + self._schedule.count())
        elif item.stage != self._stage:
            self._stage = item.stage
            self.progress.stage(item.stage, item.missing + self._schedule.count(item.stage))

    def _missing(self, group: Group) -> int:
        return sum(self._lacks(cell, index) for cell, index in group.members)

    def _lacks(self, cell: PlannedCell, index: int) -> bool:
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

    def _all_failed(self, item: Item, status: Status, failure: Failure) -> None:
        """Give every sample of a method that could not be attached its row."""
        self._schedule.drop(item.run)
        for cell in item.run.cells:
            members = tuple((cell, sample) for sample in self.samples.of_cell(cell).values())
            self._failed(members, status, failure)

    def _failed(
        self, members: Sequence[tuple[PlannedCell, Sample]], status: Status, failure: Failure
    ) -> None:
        for cell, sample in members:
            if self._lacks(cell, sample.index):
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


def _setup(run: MethodRun) -> Setup:
    inspected = run.weights.inspected
    return Setup(
        load=Load(
            spec=_anywhere(inspected.spec, inspected.facts), facts=inspected.facts, inspected=inspected
        ),
        method=run.cells[0].identity.method,
        original_context_length=run.weights.original_context_length,
        target_length=run.target_length,
    )


def _anywhere(spec: ModelSpec, facts: ModelFacts) -> ModelSpec:
    """Return a spec that means the same in another folder, on another device and when a branch has moved."""
    return replace(
        spec,
        model=_whole_path(spec.model),
        revision=spec.revision if facts.identity.revision.startswith("sha256:") else facts.identity.revision,
        adapter=None if spec.adapter is None else _whole_path(spec.adapter),
        dtype=facts.dtype,
    )


def _whole_path(text: str) -> str:
    path = Path(text).expanduser()
    return str(path.resolve()) if path.is_dir() else text
