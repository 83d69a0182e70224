"""The default: one worker, which is this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from longbench_run.harness.environment import device_name
from longbench_run.harness.executors.base import Down, Up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from longbench_run.harness.compute import Event, Job, Worker


class InProcess:
    """Computes each job while its events are asked for."""

    size = 1
    device = None

    def __init__(self) -> None:
        """Load nothing yet, torch included."""
        self._worker: Worker | None = None
        self._job: Job | None = None

    def hardware(self, device: str) -> str:
        """Return the device with the name of its hardware."""
        return device_name(device)

    def start(self, jobs: int) -> None:
        """Make the worker."""
        from longbench_run.harness.compute import Worker

        self._worker = Worker() if jobs else None

    def submit(self, worker: int, job: Job) -> None:  # there is but one
        """Keep the job until `events` goes on."""
        self._job = job

    def events(self) -> Iterator[tuple[int, Event | Up | Down]]:
        """Yield that the worker is there, then the events of each job submitted meanwhile."""
        if self._worker is None:
            return
        yield 0, Up()
        while self._job is not None:
            job, self._job = self._job, None
            for event in self._worker.compute(job):
                yield 0, event

    def __enter__(self) -> Self:
        """Nothing is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the model go."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
