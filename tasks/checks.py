"""Rules that parameters of several tasks share, and the words that say so when one is broken."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from longbench_run.tasks.base import TaskError, TaskInfo


def check_protocol(info: TaskInfo, protocol: str) -> None:
    """Refuse a protocol that the task does not have.

    Raises:
        TaskError: If ``protocol`` is none of the task's; the message names the nearest.
    """
    if protocol not in info.protocols:
        raise unknown(info.name, "protocol", protocol, info.protocols)


def check_at_least(task: str, name: str, value: int, minimum: int, *, default: int) -> None:
    """Refuse a whole number that is too small.

    Raises:
        TaskError: If ``value`` is below ``minimum``.
    """
    if value < minimum:
        raise TaskError(
            f"{task}: {name} must be at least {minimum}, got {value!r}. Leave it out for the default, "
            f"{default}."
        )


def unknown(task: str, kind: str, name: str, known: Iterable[str]) -> TaskError:
    """Return the error for a name that a task does not know: the known ones, and the nearest."""
    known = sorted(known)
    nearest = get_close_matches(name, known, n=1)
    hint = f' (did you mean "{nearest[0]}"?)' if nearest else ""
    listed = f"{kind.capitalize()}s: {', '.join(known)}." if known else f"It has no {kind}s."
    return TaskError(f'{task}: has no {kind} "{name}"{hint}. {listed}')
