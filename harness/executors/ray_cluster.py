"""A Ray cluster: an actor per GPU or per so many cores, each with a model; Ray is an extra."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from longbench_run.harness.environment import package_versions
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors.base import Down, Up, WorkersLost
from longbench_run.harness.executors.serving import prepare_process

if TYPE_CHECKING:
    from types import TracebackType

    from longbench_run.harness.compute import Event, Job
    from longbench_run.harness.executors.choice import ExecutorChoice

ADDRESS_VARIABLE = "RAY_ADDRESS"
_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10.0, 30.0
_CONNECT = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='error')"
_SECONDS_TO_START = 300.0
_SAME = ("python", "longbench-run", "torch", "transformers")
"""Packages that can change a number: workers have the driver's versions."""
_STORE_BYTES = 256 * 2**20
"""Of Ray's own memory on one machine: what travels are token ids and results."""


class Remote:
    """What runs in an actor.

    Args:
        device: What it computes on; None for what each job's model says.
        threads: CPU threads.
    """

    def __init__(self, device: str | None, threads: int) -> None:
        """Load nothing yet."""
        from longbench_run.harness.compute import Worker

        prepare_process(threads)
        self._worker = Worker(device)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the packages here."""
        return package_versions()

    def compute(self, job: Job) -> Iterator[Event]:
        """Yield the events of a job."""
        from longbench_run.harness.compute import reported

        yield from reported(self._worker.compute(job))


class RayCluster:
    """Actors on a Ray cluster, or on this machine where no cluster is named.

    Args:
        choice: How many workers, and what each of them gets.
        address: ``auto`` or ``HOST:PORT`` of a running cluster; None for what the environment names, else for a
            cluster of this machine alone that ends with the run. One that this process is connected to already is used.
        device: What workers compute on: ``auto``, ``cpu`` or ``cuda``.
        where: Where the cluster was asked for, e.g. ``--ray-address:``.
    """

    def __init__(self, choice: ExecutorChoice, *, address: str | None, device: str, where: str) -> None:
        """Reach for nothing yet."""
        self._choice = choice
        of_environment = os.environ.get(ADDRESS_VARIABLE)
        self._address = address or of_environment or "local"
        self._device = device
        self._where = f"{ADDRESS_VARIABLE}:" if of_environment and not address else where
        self._ray: Any = None
        self._is_ours = False
        self._options: dict[str, Any] = {}
        self._gpus = 0
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        """What an actor was asked last -> its number: its versions, or the events of a job."""
        self._numbers = count()
        self.size = 0

    @property
    def device(self) -> str:
        """What workers compute on."""
        return "cuda:0" if self._gpus else "cpu"

    def hardware(self, device: str) -> str:
        """Return the number of workers and what each has; ``device`` is theirs."""
        of = "GPU" if self._gpus else "CPU core"
        number = self._gpus or self._options["num_cpus"]
        return f"{device} (Ray, {of}s: {self.size} x {number})"

    def __enter__(self) -> Self:
        """Connect, and count for how many workers there is room.

        Raises:
            ConfigError: If Ray is not installed, does not answer, or has no room for one.
        """
        if find_spec("ray") is None:
            raise ConfigError(
                "--executor: ray must be installed, got no package of that name. Run: pip install 'longbench-run[ray]'"
            )
        # Both before Ray is imported, which reads them: no statistics are sent, no variable of CUDA is emptied.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        if not ray.is_initialized():
            self._connect()
            self._is_ours = True
        try:
            self._make_room()
        except BaseException:
            self._disconnect()
            raise
        return self

    def _connect(self) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address == "local":
            options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        else:
            self._require_answer()
        try:
            self._ray.init(address=self._address, **options)
        except Exception as error:  # Ray raises errors of many kinds, none of which the user wrote
            raise self._no_answer(str(error)) from error

    def _require_answer(self) -> None:
        """Connect once in another process: where nothing answers, `ray.init` waits for minutes or ends its process.

        Raises:
            ConfigError: If there is no cluster, or it does not answer in time.
        """
        host, _, port = self._address.rpartition(":")
        try:
            if self._address != "auto":
                with socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT):
                    pass
            subprocess.run(
                [sys.executable, "-c", _CONNECT, self._address],
                capture_output=True,
                text=True,
                timeout=_SECONDS_TO_ANSWER,
                check=True,
            )
        except (ValueError, OverflowError):
            raise self._no_answer("no HOST:PORT") from None
        except (TimeoutError, subprocess.TimeoutExpired):
            raise self._no_answer("no answer in time") from None
        except OSError as error:
            raise self._no_answer(error.strerror or str(error)) from None
        except subprocess.CalledProcessError as error:
            # The last line says that it failed, one of Ray's own before it why.
            lines = str(error.stderr).strip().splitlines() or [""]
            why = next((line for line in lines if line.startswith("ray.exceptions.")), lines[-1])
            raise self._no_answer(why) from None

    def _no_answer(self, what: str) -> ConfigError:
        lines = [line.strip() for line in what.splitlines() if line.strip()]
        reason = " ".join(lines)[:200].rstrip(".") if lines else "no answer"
        return ConfigError(
            f"{self._where} must be the address of a running Ray cluster that this machine belongs to, "
            f"got {self._address!r} ({reason}). See `ray status`, or leave it out to use this machine alone."
        )

    def _make_room(self) -> None:
        """Decide what a worker gets and how many there are.

        Raises:
            ConfigError: If no machine has enough for one.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        has_gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
        wants_gpus = self._device == "cuda" or (self._device == "auto" and has_gpus)
        self._gpus = (1 if wants_gpus else 0) if self._choice.gpus is None else self._choice.gpus
        all_cores = min((int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1), default=1)
        cores = self._choice.cores or (1 if self._gpus else all_cores)
        self._options = {"num_cpus": cores, "num_gpus": self._gpus, "max_restarts": 0}
        room = sum(
            min(
                int(node.get("CPU", 0) // cores),
                int(node.get("GPU", 0) // self._gpus) if self._gpus else sys.maxsize,
            )
            for node in nodes
        )
        if room == 0:
            there = "; ".join(f"{node.get('CPU', 0):g} cores, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise ConfigError(
                f"--executor: a worker of {cores} cores and {self._gpus} GPUs must fit on a machine of the cluster, "
                f"got machines of {there or 'nothing'}. Ask for less, as in ray:cores=1."
            )
        self.size = min(room, self._choice.workers or room)

    def start(self, jobs: int) -> None:
        """Create the actors."""
        for _ in range(min(self.size, jobs)):
            self._start()

    def _start(self) -> None:
        # Over several GPUs the model's device map spreads it.
        device = {0: "cpu", 1: "cuda:0"}.get(self._gpus)
        actor = self._ray.remote(Remote).options(**self._options).remote(device, self._options["num_cpus"])
        number = next(self._numbers)
        self._actors[number] = actor
        self._waiting[actor.versions.remote()] = number

    def submit(self, worker: int, job: Job) -> None:
        """Give a job to an actor; whether it still lives, `events` tells."""
        events = self._actors[worker].compute.options(num_returns="streaming").remote(job)
        self._waiting[events] = worker

    def events(self) -> Iterator[tuple[int, Event | Up | Down]]:
        """Yield what the actors tell; one that died is replaced as soon as there is room."""
        from longbench_run.harness.compute import Attached, Computed

        heard, are_up = monotonic(), False
        while self._waiting:
            ready, _ = self._ray.wait(list(self._waiting), num_returns=1, timeout=1.0)
            if not ready:
                if not are_up and monotonic() - heard > _SECONDS_TO_START:
                    raise WorkersLost(
                        f"--executor: a Ray worker must start within {_SECONDS_TO_START:.0f} s, got none. "
                        "See `ray status`: other programs may have taken all there is."
                    )
                continue
            asked = ready[0]
            worker = self._waiting[asked]
            event: Event | Up | Down
            try:
                event = self._next(asked)
            except self._ray.exceptions.RayError as error:
                _require_package(error)
                event = Down(f"{type(error).__name__} of Ray")
            are_up = True
            if not isinstance(event, Attached | Computed):
                del self._waiting[asked]
            yield worker, event
            if isinstance(event, Down):
                # Dead or merely out of reach: it must not go on with a group that another one gets.
                self._ray.kill(self._actors.pop(worker))
                self._start()

    def _next(self, asked: Any) -> Event | Up:
        """Return what an actor answered next."""
        if not isinstance(asked, self._ray.ObjectRefGenerator):
            _require_same(self._ray.get(asked))
            return Up()
        event: Event = self._ray.get(next(asked))
        return event

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kill the actors: they hold nothing that is not told."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._waiting.clear()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours = False


def _require_package(error: Exception) -> None:
    """Tell a worker that cannot import this program from one that died.

    Raises:
        ConfigError: If that is what happened.
    """
    if "No module named 'longbench_run" in str(error):
        raise ConfigError(
            "--executor: every machine of the Ray cluster must have longbench-run, got one without it. "
            f"Run there: pip install 'longbench-run[ray]=={package_versions().get('longbench-run')}'"
        ) from None


def _require_same(found: Mapping[str, str]) -> None:
    """Refuse workers whose results would not be the driver's.

    Raises:
        ConfigError: If a package that can change a number has another version.
    """
    here = package_versions()
    for name in _SAME:
        if found.get(name) != here.get(name):
            raise ConfigError(
                f"--executor: every machine of the Ray cluster must have {name} {here.get(name)}, "
                f"got one with {found.get(name)}. Install the same packages everywhere."
            )
