"""What a plan is made of: weights, cells, groups of samples, and the runs of one method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.harness.chat import ChatTemplate, TaskTokenizer

if TYPE_CHECKING:
    from longbench_run.harness.choices import TaskChoice
    from longbench_run.harness.methods import Method
    from longbench_run.harness.models.facts import InspectedModel
    from longbench_run.results.records import CellIdentity
    from longbench_run.tasks.base import Sample, Tokenizer


class SampleSource(NamedTuple):
    """All that decides which samples there are, and what they are."""

    tokenizer: str
    chat: str | None
    task: str
    context_length: int
    seed: int


FirstSamples = Mapping[SampleSource, "Sample"]
"""First sample by `PlannedCell.sample_source`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What has to be loaded once: a model, or a model with the weights that one method brings."""

    model_label: str
    inspected: InspectedModel
    asked: str
    """The model as asked for; ``reference`` has its own defaults."""
    method_weights: str | None
    original_context_length: int
    """Window of the model itself, L, in tokens."""
    chat: ChatTemplate | None = None
    """What prompts are wrapped into, for tasks that ask for it."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, as tasks see it."""
        return TaskTokenizer(tokenizer=self.inspected.tokenizer, chat=self.chat)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """One model, method, task, length and seed."""

    identity: CellIdentity
    cell_id: str
    weights: Weights
    method_label: str
    method: Method
    """Resolved; as asked for where it is not applicable."""
    target_length: int
    """Length that the method was configured for, in tokens."""
    choice: TaskChoice
    count: int
    """Samples asked for; the data may have fewer."""
    not_applicable: str | None = None
    """Why the method cannot serve the model."""

    @property
    def context_length(self) -> int:
        """Tokens asked for."""
        return self.identity.context_length

    @property
    def seed(self) -> int:
        """Seed of the samples."""
        return self.identity.seed

    @property
    def sample_source(self) -> SampleSource:
        """Key of the samples, which all methods share, and models of one tokenizer."""
        chat = self.weights.chat
        return SampleSource(
            self.weights.inspected.tokenizer_identity,
            None if chat is None else chat.name,
            self.identity.task.model_dump_json(),
            self.context_length,
            self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Samples of one resolved method that are computed together."""

    key: str
    members: tuple[tuple[PlannedCell, int], ...]
    """Cell and sample index, shortest length first; every length has a cell of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRun:
    """Cells that are computed while one resolved method is attached."""

    weights: Weights
    method: Method
    target_length: int
    cells: tuple[PlannedCell, ...]

    def groups(self) -> Iterator[Group]:
        """Yield the groups, a function of the plan alone: what is already stored does not change them."""
        members: dict[tuple[str, int, str], list[tuple[PlannedCell, int]]] = {}
        for cell in self.cells:
            for index in range(cell.count):
                key = cell.choice.task.group_key(context_length=cell.context_length, index=index)
                members.setdefault((cell.identity.task.model_dump_json(), cell.seed, key), []).append(
                    (cell, index)
                )
        for (_, _, key), found in members.items():
            found.sort(key=lambda member: (member[0].context_length, member[1]))
            yield Group(key=key, members=tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every cell of a run, in the order asked for: model, method, task, length, seed."""

    cells: tuple[PlannedCell, ...]
    factor_policy: str

    @property
    def lengths(self) -> tuple[int, ...]:
        """Context lengths of all models, in tokens, ascending."""
        return tuple(sorted({cell.context_length for cell in self.cells}))

    def method_runs(self) -> list[MethodRun]:
        """Return what to attach, one after the other; runs that need the same weights follow each other."""
        runs: dict[tuple[int, str], list[PlannedCell]] = {}
        for cell in self.cells:
            if cell.not_applicable is None:
                runs.setdefault((id(cell.weights), cell.identity.method.model_dump_json()), []).append(cell)
        order = list({id(cell.weights): None for cell in self.cells})
        return [
            MethodRun(
                weights=cells[0].weights,
                method=cells[0].method,
                target_length=cells[0].target_length,
                cells=tuple(cells),
            )
            for (_, _), cells in sorted(runs.items(), key=lambda item: order.index(item[0][0]))
        ]
