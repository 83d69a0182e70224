"""Several devices of one machine: a process each."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from itertools import count
from multiprocessing import connection, get_context, parent_process
from typing import TYPE_CHECKING, Self

from longbench_run.harness.environment import device_name
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors.base import Down, Up
from longbench_run.harness.executors.serving import prepare_process, usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import TracebackType

    from longbench_run.harness.compute import Event, Job

_SECONDS_TO_END = 10.0

# A server that has imported torch and computed nothing forks the workers: one that died is replaced in a moment.
_CONTEXT = get_context("forkserver")
_PRELOADED = ["longbench_run.harness.compute"]


@dataclass(frozen=True, slots=True)
class _Child:
    device: str
    process: BaseProcess
    connection: Connection


class Processes:
    """One process per device.

    Args:
        devices: As torch spells them; ``cpu`` may stand several times and shares the cores.
        where: Where they were asked for, e.g. ``--devices:``.
    """

    device = None

    def __init__(self, devices: Sequence[str], *, where: str) -> None:
        """Start nothing yet."""
        self._devices = tuple(devices)
        self._where = where
        self._children: dict[int, _Child] = {}
        self._numbers = count()

    @property
    def size(self) -> int:
        """The number of devices."""
        return len(self._devices)

    def hardware(self, device: str) -> str:
        """Return the devices with the names of their hardware; ``device`` is the first of them."""
        del device
        counts = {name: self._devices.count(name) for name in self._devices}
        return ", ".join(
            device_name(name) if times == 1 else f"{times} x {device_name(name)}"
            for name, times in counts.items()
        )

    def __enter__(self) -> Self:
        """Look whether the devices are there.

        Raises:
            ConfigError: If they are not.
        """
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        got = repr(",".join(self._devices))
        missing = [name for name in self._devices if name != "cpu" and int(name.partition(":")[2]) >= gpus]
        if missing:
            have = "no GPU" if not gpus else "1 GPU" if gpus == 1 else f"{gpus} GPUs"
            remedy = (
                f"Name GPUs from 0 to {gpus - 1}."
                if gpus
                else "Pass cpu,cpu or install a CUDA build of torch."
            )
            raise ConfigError(
                f"{self._where} must be devices that torch sees, got {got} with {have}. {remedy}"
            )
        cores = usable_cores()
        if self._devices.count("cpu") > cores:
            raise ConfigError(
                f"{self._where} must name cpu at most once per core, got {got} with {cores} cores. Name fewer."
            )
        return self

    def start(self, jobs: int) -> None:
        """Start the processes."""
        _CONTEXT.set_forkserver_preload(_PRELOADED)
        for device in self._devices[:jobs]:
            self._start(device)

    def _start(self, device: str) -> None:
        ours, theirs = _CONTEXT.Pipe()
        threads = max(1, usable_cores() // self.size)
        process = _CONTEXT.Process(
            target=_serve, args=(theirs, device, threads), name=f"longbench-run {device}", daemon=True
        )
        process.start()
        # Once the child alone holds its end, its death is an end of file here.
        theirs.close()
        self._children[next(self._numbers)] = _Child(device, process, ours)

    def submit(self, worker: int, job: Job) -> None:
        """Send a job; whether its process still lives, `events` tells."""
        try:
            self._children[worker].connection.send(job)
        except OSError:
            return

    def events(self) -> Iterator[tuple[int, Event | Up | Down]]:
        """Yield what the processes send; one that died is replaced."""
        while self._children:
            numbers = {child.connection: number for number, child in self._children.items()}
            for ready in connection.wait(list(numbers)):
                worker = numbers[ready]  # type: ignore[index]  # these are the connections that were given
                child = self._children[worker]
                try:
                    event = child.connection.recv()
                except (EOFError, OSError):
                    del self._children[worker]
                    yield worker, Down(_end(child))
                    self._start(child.device)
                else:
                    yield worker, event

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill the processes: they hold nothing that is not sent."""
        for child in self._children.values():
            child.process.kill()
        for child in self._children.values():
            _end(child)
        self._children.clear()


def _end(child: _Child) -> str:
    """Wait for a process that ends or was told to, and say how it ended."""
    child.connection.close()
    child.process.join(_SECONDS_TO_END)
    code = child.process.exitcode
    if code is None:
        child.process.kill()
        child.process.join(_SECONDS_TO_END)
        return "did not answer any more"
    child.process.close()
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _serve(jobs: Connection, device: str, threads: int) -> None:
    """Compute jobs until the other end is closed."""
    # Ctrl-C reaches every process of a terminal; the one that writes the store decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from longbench_run.harness.compute import Worker, reported

    prepare_process(threads)
    worker = Worker(device)
    try:
        jobs.send(Up())
        while True:
            for event in reported(worker.compute(jobs.recv())):
                jobs.send(event)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    """End in the middle of a job too: a run that resumes needs the memory."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
