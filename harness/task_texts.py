"""From a task as users write it to a task: ``name[:key=value]*`` and further parameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError, unknown_name
from longbench_run.harness.grammar import parse_term
from longbench_run.tasks.base import TaskInfo
from longbench_run.tasks.registry import TASKS, create_task, list_tasks, parts_of

if TYPE_CHECKING:
    from longbench_run.harness.config import Parameter
    from longbench_run.tasks.base import Task


def tasks_of(
    text: str,
    parameters: Mapping[str, Parameter],
    *,
    where: str,
    protocol: str | None = None,
    shared: Mapping[str, Parameter] = MappingProxyType({}),
) -> tuple[Task, ...]:
    """Return the tasks that an entry of the configuration describes: one, or the parts of one that has parts.

    Raises:
        ConfigError: As `task_of`.
        TaskError: As `task_of`, or if the parts cannot be found.
    """
    return parts_of(task_of(text, parameters, where=where, protocol=protocol, shared=shared))


def task_of(
    text: str,
    parameters: Mapping[str, Parameter],
    *,
    where: str,
    protocol: str | None = None,
    shared: Mapping[str, Parameter] = MappingProxyType({}),
) -> Task:
    """Return the task that an entry of the configuration describes; what it stands for is not looked for.

    Args:
        text: For example ``perplexity:protocol=sliding:stride=128``, or ``lm_eval/hellaswag``.
        parameters: Further parameters; none of them may stand in the text too.
        where: Flag or file and key that errors name.
        protocol: Protocol to use where the task has it and the entry names none.
        shared: Parameters to use where the task has them and the entry names none.

    Raises:
        ConfigError: If the text does not follow the grammar, or a parameter stands twice.
        TaskError: If the task, a parameter or a value is wrong.
    """
    term = parse_term(_spelled_out(text), where=where)
    written = dict(term.parameters)
    doubled = sorted(set(written) & set(parameters))
    if doubled:
        raise ConfigError(
            f"{where}: {term.name} must name each parameter once, got {doubled[0]!r} twice. Keep one."
        )
    merged: dict[str, Parameter] = {**written, **parameters}
    info = _info(term.name, where=where)
    if info is not None:
        merged = {key: value for key, value in shared.items() if key in info.parameters} | merged
        if protocol is not None and protocol in info.protocols:
            merged.setdefault("protocol", protocol)
    return create_task(term.name, merged, where=where)


def name_of(text: str) -> str:
    """Return the name of the task that a text asks for, as `list_tasks` has it."""
    return text.partition(":")[0].partition("/")[0]


def _spelled_out(text: str) -> str:
    """Return ``NAME:name=PART`` for ``NAME/PART``: what stands behind the slash is the parameter ``name``."""
    head, colon, parameters = text.strip().partition(":")
    name, slash, part = head.partition("/")
    return f"{name}:name={part}{colon}{parameters}" if slash else text


def _info(name: str, *, where: str) -> TaskInfo | None:
    """Return what a task says of itself, None where there is no such task."""
    return create_task(name, {}, where=where).info if name in list_tasks() else None


def check_protocol(protocol: str, names: list[str], *, where: str) -> None:
    """Refuse a protocol that none of the tasks has.

    Args:
        protocol: What was asked for.
        names: Tasks asked for.
        where: Flag or file and key that errors name.

    Raises:
        UnknownName: If no task has it.
    """
    infos = [_info(name, where=where) for name in names]
    known = [known for info in infos if info is not None for known in info.protocols]
    if protocol not in known:
        raise unknown_name("protocol", protocol, known, where=where, see="`longbench-run list protocols`")


def check_parameter(key: str, value: Parameter, names: list[str], *, where: str) -> None:
    """Refuse a parameter for every task that none of the tasks has.

    Args:
        key: Name of the parameter.
        value: What was asked for.
        names: Tasks asked for.
        where: Flag or file and key that errors name.

    Raises:
        ConfigError: If no task has it.
    """
    # A plugin that was not asked for is not imported to be suggested.
    own = [name for name in list_tasks() if TASKS.note(name) is None]
    infos = {name: _info(name, where=where) for name in [*own, *names]}
    has = [name for name, info in infos.items() if info is not None and key in info.parameters]
    if not set(has) & set(names):
        raise ConfigError(
            f"{where}: {key} must be left out where no task has it, got {value!r}. {', '.join(has)} would."
        )
