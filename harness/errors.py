"""Errors a user can mend: one line, exit code 2, no traceback."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class LongbenchError(ValueError):
    """Something the user can mend; the message is one line."""


class ConfigError(LongbenchError):
    """A flag, a configuration key or a parameter is wrong."""


class UnknownName(ConfigError):
    """A name is not known; the message suggests the nearest one."""


class ModelError(LongbenchError):
    """A model cannot be loaded or is no RoPE language model."""


class MethodNotApplicable(LongbenchError):
    """A method cannot serve this model; the message names the family, the argument and the reason."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, where: str | None = None, see: str
) -> UnknownName:
    """Return the error for a name that is not known.

    Args:
        kind: What it should have been, e.g. ``method``.
        name: What was written.
        known: Every known name.
        where: File and key where it stood, if not the command line.
        see: What lists the known names, e.g. ``longbench-run list methods``.
    """
    prefix = f"{where}: unknown" if where else "Unknown"
    nearest = get_close_matches(name, known, n=1)
    hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
    return UnknownName(f'{prefix} {kind} "{name}".{hint} See {see}.')
