"""Which group is computed next, and where: longest first, and where its method is attached already."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from longbench_run.harness.estimate import group_tokens
from longbench_run.harness.lengths import short_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longbench_run.harness.plan import FirstSamples, Group, MethodRun


@dataclass(slots=True, kw_only=True, eq=False)
class Item:
    """A group that lacks records."""

    run: MethodRun
    group: Group
    tokens: int
    """What it computes, judged by the first sample of each length."""
    missing: int
    """Samples without a record, as far as the plan tells."""
    stage: str
    """What people are told: model, method, task and lengths."""
    deaths: int = 0
    """Workers that died over it since its last record."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Queue:
    """What is left of one method on one model, longest first."""

    run: MethodRun
    order: int
    items: deque[Item]
    tokens: int
    is_begun: bool = False


@dataclass(slots=True)
class Schedule:
    """The groups still to be computed.

    Args:
        runs: Methods on models, in the order of the plan.
        missing: How many samples of a group have no record.
        first: First sample of each cell's source.
    """

    runs: Sequence[MethodRun]
    missing: Callable[[Group], int]
    first: FirstSamples
    _queues: list[_Queue] = field(init=False)

    def __post_init__(self) -> None:
        """Sort what lacks records."""
        self._queues = []
        for order, run in enumerate(self.runs):
            items = _longest_first(self._items(run))
            tokens = sum(item.tokens for item in items)
            self._queues.append(_Queue(run=run, order=order, items=deque(items), tokens=tokens))

    def __len__(self) -> int:
        """Return the number of groups."""
        return sum(len(queue.items) for queue in self._queues)

    @property
    def tokens(self) -> int:
        """Tokens of all groups."""
        return sum(queue.tokens for queue in self._queues)

    def count(self, stage: str | None = None) -> int:
        """Return the samples without a record, of one stage or of all."""
        return sum(
            item.missing for queue in self._queues for item in queue.items if stage in (None, item.stage)
        )

    def take(self, last: MethodRun | None) -> Item | None:
        """Take out the group that a worker computes next; None where there is none.

        A worker stays with what it has attached, then with the weights it has loaded. There it begins a method that
        nobody has begun; where all are begun it helps with the one that has most left: the shortest groups, left for
        the end, even out the rest.

        Args:
            last: What the worker computed last, None for a new one.
        """
        waiting = [queue for queue in self._queues if queue.items]
        if not waiting:
            return None

        def rank(queue: _Queue) -> tuple[bool, bool, int, bool, int, int]:
            return (
                queue.run is not last,
                last is None or queue.run.weights is not last.weights,
                next(q.order for q in waiting if q.run.weights is queue.run.weights),
                queue.is_begun,
                -queue.tokens if queue.is_begun else 0,
                queue.order,
            )

        queue = min(waiting, key=rank)
        queue.is_begun = True
        item = queue.items.popleft()
        queue.tokens -= item.tokens
        return item

    def put_back(self, item: Item) -> None:
        """Give a group to the next worker that asks for one of its method."""
        queue = self._of(item.run)
        queue.items.appendleft(item)
        queue.tokens += item.tokens

    def drop(self, run: MethodRun) -> None:
        """Forget the groups of a method that cannot be computed."""
        queue = self._of(run)
        queue.items.clear()
        queue.tokens = 0

    def _of(self, run: MethodRun) -> _Queue:
        return next(queue for queue in self._queues if queue.run is run)

    def _items(self, run: MethodRun) -> list[Item]:
        return [
            Item(
                run=run,
                group=group,
                tokens=group_tokens(group, self.first),
                missing=missing,
                stage=_stage(run, group),
            )
            for group in run.groups()
            if (missing := self.missing(group))
        ]


def _longest_first(items: list[Item]) -> list[Item]:
    """Sort by tokens; groups of one stage stay together, so that samples are made once and people can follow."""
    longest: dict[str, int] = {}
    for item in items:
        longest[item.stage] = max(item.tokens, longest.get(item.stage, 0))
    stages = {stage: place for place, stage in enumerate(longest)}
    return sorted(items, key=lambda item: (-longest[item.stage], stages[item.stage], -item.tokens))


def _stage(run: MethodRun, group: Group) -> str:
    cells = [cell for cell, _ in group.members]
    lengths = [cell.context_length for cell in cells]
    span = short_length(min(lengths)) + (
        f"-{short_length(max(lengths))}" if min(lengths) < max(lengths) else ""
    )
    return f"{run.weights.model_label} {cells[0].method_label} {cells[0].identity.task.name} {span}"
