"""What a configuration asks for, its texts turned into methods and tasks; still knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.harness.config import TASK_KEYS
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.methods import Method, parse_method
from longbench_run.harness.models.spec import REFERENCE
from longbench_run.harness.task_texts import check_parameter, check_protocol, name_of, tasks_of
from longbench_run.results.records import TaskIdentity

if TYPE_CHECKING:
    from longbench_run.harness.config import MethodEntry, TaskEntry
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.tasks.base import Task

_BUNDLED_SAMPLES = {"passkey": 20, "perplexity": 10}
"""Samples per cell of the bundled model's default matrix: minutes on two cores, with honest intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """A method as asked for, not yet resolved for a model."""

    label: str
    method: Method
    weights: str | None
    """Weights of its own, None for the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """A task as asked for."""

    task: Task
    samples: int | None
    """Samples per cell that were asked for, None for the default."""

    @property
    def identity(self) -> TaskIdentity:
        """The task's part of every cell's identity."""
        task = self.task
        return TaskIdentity(
            name=task.info.name,
            version=task.info.version,
            protocol=task.protocol,
            parameters=dict(task.parameters()),
        )

    def count(self, model: str) -> int:
        """Return the samples per cell for a model, named as asked for."""
        if self.samples is not None:
            return self.samples
        default = self.task.info.default_count
        return _BUNDLED_SAMPLES.get(self.task.info.name, default) if model == REFERENCE else default


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a configuration asks for, texts turned into values; still knows no model."""

    methods: tuple[MethodChoice, ...]
    tasks: tuple[TaskChoice, ...]


def choose(loaded: LoadedConfig) -> Choices:
    """Turn the texts of a configuration into methods and tasks.

    Raises:
        ConfigError: If nothing is left to run, or two entries cannot be told apart.
    """
    config = loaded.config
    methods = [_method_choice(entry, loaded.where("methods").rstrip(":")) for entry in config.methods]
    has_baseline = any(choice.method.as_released and choice.weights is None for choice in methods)
    if config.baseline and not has_baseline:
        methods.insert(0, MethodChoice(label="none", method=parse_method("none"), weights=None))
    if not methods:
        raise ConfigError(
            f"{loaded.where('methods')} must be at least one where the baseline is left out, got none. "
            "Name a method, or drop --no-baseline."
        )
    labels = [choice.label for choice in methods]
    if labels.count("none") > 1:
        raise ConfigError(
            f"{loaded.where('methods')} label must be given once, got 'none' twice. "
            "It is the baseline's; choose another label, or pass --no-baseline."
        )
    tasks = [
        TaskChoice(task=task, samples=entry.samples or config.samples) for entry, task in asked_tasks(loaded)
    ]
    _check_tasks(tasks, loaded.where("tasks").rstrip(":"))
    return Choices(methods=tuple(methods), tasks=tuple(tasks))


def asked_tasks(loaded: LoadedConfig) -> list[tuple[TaskEntry, Task]]:
    """Return the tasks of a configuration, each with the entry that asks for it.

    Raises:
        ConfigError: If an entry does not follow the grammar, or no task has what all are given.
        TaskError: If a task, a parameter or a value is wrong.
    """
    config = loaded.config
    where = loaded.where("tasks").rstrip(":")
    names = [name_of(entry.name) for entry in config.tasks]
    if config.protocol is not None:
        check_protocol(config.protocol, names, where=loaded.where("protocol").rstrip(":"))
    shared = {key: value for key in TASK_KEYS if (value := getattr(config, key)) is not None}
    for key, value in shared.items():
        check_parameter(key, value, names, where=loaded.where(key).rstrip(":"))
    return [
        (entry, task)
        for entry in config.tasks
        for task in tasks_of(
            entry.name, entry.parameters, where=where, protocol=config.protocol, shared=shared
        )
    ]


def _method_choice(entry: MethodEntry, where: str) -> MethodChoice:
    return MethodChoice(
        label=entry.label or entry.name.strip(),
        method=parse_method(entry.name, where=where),
        weights=entry.weights,
    )


def _check_tasks(tasks: Sequence[TaskChoice], where: str) -> None:
    seen: set[tuple[str, str]] = set()
    for choice in tasks:
        key = (choice.identity.name, choice.identity.protocol)
        if key in seen:
            raise ConfigError(
                f"{where}: task must stand once per protocol, got {key[0]!r} with protocol {key[1]!r} twice. "
                "Tables could not tell them apart: make two runs."
            )
        seen.add(key)
