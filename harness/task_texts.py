"""From a task as users write it to a task: ``name[:key=value]*`` and further parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError, unknown_name
from longbench_run.harness.grammar import parse_term
from longbench_run.tasks.registry import create_task, list_tasks, load_task

if TYPE_CHECKING:
    from longbench_run.harness.config import Parameter
    from longbench_run.tasks.base import Task


def task_of(
    text: str, parameters: Mapping[str, Parameter], *, where: str, protocol: str | None = None
) -> Task:
    """Return the task that an entry of the configuration describes.

    Args:
        text: For example ``perplexity:protocol=sliding:stride=128``.
        parameters: Further parameters; none of them may stand in the text too.
        where: Flag or file and key that errors name.
        protocol: Protocol to use where the task has it and the entry names none.

    Raises:
        ConfigError: If the text does not follow the grammar, or a parameter stands twice.
        TaskError: If the task, a parameter or a value is wrong.
    """
    term = parse_term(text, where=where)
    written = dict(term.parameters)
    doubled = sorted(set(written) & set(parameters))
    if doubled:
        raise ConfigError(
            f"{where}: {term.name} must name each parameter once, got {doubled[0]!r} twice. Keep one."
        )
    merged: dict[str, Parameter] = {**written, **parameters}
    if protocol is not None and "protocol" not in merged and protocol in protocols_of(term.name):
        merged["protocol"] = protocol
    return create_task(term.name, merged, where=where)


def protocols_of(name: str) -> tuple[str, ...]:
    """Return the protocols of a task; none where there is no such task."""
    return load_task(name).info.protocols if name in list_tasks() else ()


def check_protocol(protocol: str, names: list[str], *, where: str) -> None:
    """Refuse a protocol that none of the tasks has.

    Args:
        protocol: What was asked for.
        names: Tasks asked for.
        where: Flag or file and key that errors name.

    Raises:
        UnknownName: If no task has it.
    """
    known = [known for name in names for known in protocols_of(name)]
    if protocol not in known:
        raise unknown_name("protocol", protocol, known, where=where, see="`longbench-run list protocols`")
