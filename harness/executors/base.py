"""What an executor is: workers that compute jobs, somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from longbench_run.harness.errors import LongbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from longbench_run.harness.compute import Event, Job


class WorkersLost(LongbenchError):
    """No worker lives long enough to compute anything; the message is one line."""


@dataclass(frozen=True, slots=True)
class Up:
    """A worker waits for its first job."""


@dataclass(frozen=True, slots=True)
class Down:
    """A worker is gone, and what it was computing with it; another one may take its place under another number."""

    how: str
    """E.g. ``killed by SIGKILL``."""


class Executor(Protocol):
    """Workers, known by numbers; a context manager that has none left when it ends.

    It knows nothing of plans, records or stores: jobs go in, events come out, and both may be copied to another
    process. A worker has one job at a time. Its events come in order; an event that came is never taken back.
    """

    @property
    def size(self) -> int:
        """Workers that compute at the same time."""
        ...

    @property
    def device(self) -> str | None:
        """What workers of other machines compute on, ``cpu`` or ``cuda:0``; None where it is for the spec to say."""
        ...

    def hardware(self, device: str) -> str:
        """Return what computes, for the header.

        Args:
            device: What the first model of the plan is loaded on.
        """
        ...

    def start(self, jobs: int) -> None:
        """Start the workers, no more than there are jobs."""
        ...

    def submit(self, worker: int, job: Job) -> None:
        """Give a job to a worker that has none."""
        ...

    def events(self) -> Iterator[tuple[int, Event | Up | Down]]:
        """Yield what workers tell, each with its number; ends when there is no worker or, in-process, no job.

        Raises:
            LongbenchError: If no worker can be had.
        """
        ...

    def __enter__(self) -> Self:
        """Reach for what workers need.

        Raises:
            ConfigError: If it is not there.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all workers, whatever they are doing."""
        ...
