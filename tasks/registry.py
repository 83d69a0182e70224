"""Names of the tasks, and from a name with parameters to a task; listing them imports none of them."""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from longbench_run.tasks.base import Composite, Task, TaskError
from longbench_run.tasks.checks import unknown
from longbench_run.tasks.plugins import Names

Parameter = str | int | float | bool | None

BUILT_IN = {
    "passkey": "longbench_run.tasks.passkey:Passkey",
    "perplexity": "longbench_run.tasks.perplexity:Perplexity",
    "attention_entropy": "longbench_run.tasks.attention_entropy:AttentionEntropy",
    "multidoc_qa": "longbench_run.tasks.multidoc_qa.task:MultidocQa",
    "key_value": "longbench_run.tasks.key_value:KeyValue",
    "longbench": "longbench_run.tasks.longbench.task:Longbench",
    "longbench_synthetic": "longbench_run.tasks.longbench.synthetic_task:LongbenchSynthetic",
    "lm_eval": "longbench_run.tasks.lm_eval.task:LmEvalTask",
}
"""Task name -> ``module:class``."""


def _fault(name: str, found: Any) -> str | None:
    """Return why what a plugin offers is no task, None where it is one."""
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        return "that is no dataclass"
    has = {*dir(found), *(field.name for field in dataclasses.fields(found))}
    lacking = [member for member in dir(Task) if not member.startswith("_") and member not in has]
    if lacking:
        return f"without {', '.join(lacking)}"
    default: Any = found()
    own = default.info.name
    return None if own.startswith(name) else f"whose name is {own!r}"


TASKS = Names(kind="task", group="longbench_run.tasks", built_in=BUILT_IN, error=TaskError, fault=_fault)
"""Every name, those of plugins among them."""

_WHOLE_NUMBER = re.compile(r"(?P<digits>-?[0-9]{1,15})(?P<thousands>[kK]?)\Z")
_TRUTH = {"true": True, "false": False}


def list_tasks() -> tuple[str, ...]:
    """Return the names of all tasks, in the order in which they are listed."""
    return TASKS.all()


def load_task(name: str, **parameters: Parameter) -> Task:
    """Return a task.

    Args:
        name: One of `list_tasks`.
        parameters: The task's own parameters; what is left out has its default.

    Raises:
        TaskError: If the name, a parameter or a value is wrong; one line, with the nearest known name.
    """
    return create_task(name, parameters)


def create_task(name: str, parameters: Mapping[str, Parameter], *, where: str | None = None) -> Task:
    """Return a task whose parameters may still be texts.

    Args:
        name: One of `list_tasks`.
        parameters: Parameter name -> value, or its text: ``4k`` means 4096.
        where: What the message begins with, e.g. ``run.yaml: tasks[0]``.

    Raises:
        TaskError: If the name, a parameter or a value is wrong; one line, with the nearest known name. If two
            packages have the name, or the plugin that has it is broken.
    """
    task_class = _task_class(name, where=where)
    try:
        return task_from(task_class, name, parameters)
    except TaskError as error:
        raise (TaskError(f"{where}: {error}") if where else error) from None


def task_from(task_class: type[Any], name: str, parameters: Mapping[str, Parameter]) -> Task:
    """Return a task of a class, whose parameters may still be texts.

    Args:
        task_class: A dataclass whose fields are the parameters.
        name: What errors call it.
        parameters: Parameter name -> value, or its text.

    Raises:
        TaskError: If a parameter or a value is wrong.
    """
    annotations = get_type_hints(task_class)
    known = [field.name for field in dataclasses.fields(task_class) if field.init]
    values = {}
    for key, value in parameters.items():
        if key not in known:
            raise unknown(name, "parameter", key, known)
        values[key] = _converted(value, annotations[key], where=f"{name}: {key}")
    task: Task = task_class(**values)
    return task


def parts_of(task: Task) -> tuple[Task, ...]:
    """Return the tasks that are measured apart where one is asked for: itself, unless it stands for several."""
    return tuple(task.parts()) if isinstance(task, Composite) else (task,)


def _task_class(name: str, *, where: str | None) -> type[Any]:
    names = TASKS.all()
    if name not in names:
        prefix = f"{where}: unknown" if where else "Unknown"
        nearest = get_close_matches(name, names, n=1)
        hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
        raise TaskError(f'{prefix} task "{name}".{hint} See `longbench-run list tasks`.')
    found: type[Any] = TASKS.load(name, where=where)
    return found


def _converted(value: Parameter, annotation: object, *, where: str) -> Parameter:
    """Return the value that a field of this type takes, from a value or its text."""
    kinds = get_args(annotation) or (annotation,)
    if value is None and types.NoneType in kinds:
        return None
    if bool in kinds:
        found = _TRUTH.get(value) if isinstance(value, str) else value
        if not isinstance(found, bool):
            raise TaskError(f"{where} must be true or false, got {value!r}. Write true or false.")
        return found
    if int in kinds:
        whole = _whole_number(value)
        if whole is None:
            raise TaskError(f"{where} must be a whole number, got {value!r}. Write it like 4096 or 4k.")
        return whole
    if float in kinds:
        number = _number(value)
        if number is None:
            raise TaskError(f"{where} must be a number, got {value!r}. Write it like 0.5.")
        return number
    if not isinstance(value, str):
        raise TaskError(f"{where} must be a text, got {value!r}. Write it in quotes.")
    return value


def _whole_number(value: Parameter) -> int | None:
    """Return the whole number that is meant, None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        match = _WHOLE_NUMBER.match(value)
        return int(match["digits"]) * (1024 if match["thousands"] else 1) if match else None
    return int(value) if float(value).is_integer() else None


def _number(value: Parameter) -> float | None:
    """Return the finite number that is meant, None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
