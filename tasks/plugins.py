"""Names of methods and tasks, those of other packages among them: listing imports none, selecting imports one.

Another package adds a name by an entry point of the group ``longbench_run.methods`` or ``longbench_run.tasks``.
Both kinds are found here, in the package that both registries may import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

_OURS = "longbench-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of one kind: built in, and added by what is installed beside this package."""

    kind: str
    """What a name stands for, e.g. ``method``."""
    group: str
    """Group of the entry points that add names."""
    built_in: Mapping[str, str]
    """Name -> ``module:class``, in the order in which they are listed."""
    error: type[ValueError]
    """What is raised where a name cannot be selected; its message is one line for the user."""
    fault: Callable[[str, Any], str | None]
    """From a name and what its entry point leads to: why that is none of this kind, None where it is one."""

    def all(self) -> tuple[str, ...]:
        """Return every name once: built-in ones in their order, then added ones in alphabetical order."""
        return tuple(dict.fromkeys([*self.built_in, *self._added()]))

    def note(self, name: str) -> str | None:
        """Return whose a name is, or that it is several packages'; None for a built-in one."""
        added = self._added().get(name, ())
        if not added:
            return None
        conflict = self._conflict(name)
        return f"error: {conflict}" if conflict else f"plugin of {_origin(added[0])}: {_summary(added[0])}"

    def distribution(self, name: str) -> tuple[str, str] | None:
        """Return name and version of the distribution that added a name; None for a built-in one."""
        added = self._added().get(name, ())
        return _distribution(added[0]) if added else None

    def load(self, name: str, *, where: str | None) -> Any:
        """Import what a name stands for.

        Args:
            name: One of `all`.
            where: Flag or file and key that errors name.

        Raises:
            ValueError: As `error`, if two packages have the name, or its plugin cannot be loaded or is none of
                this kind; distributions and their versions are named.
        """
        begin = f"{where}: {self.kind}" if where else self.kind.capitalize()
        conflict = self._conflict(name)
        if conflict is not None:
            raise self.error(f'{begin} "{name}" {conflict}')
        if name in self.built_in:
            return self.load_built_in(name)
        (entry,) = self._added()[name]
        try:
            found = entry.load()
            fault = self.fault(name, found)
        except (Exception, SystemExit) as error:  # anything may be wrong in a file that others wrote
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise self.error(
                f'{begin} "{name}" of {_origin(entry)} cannot be loaded: {reason}. Repair or uninstall {_origin(entry)}.'
            ) from error
        if fault is not None:
            raise self.error(
                f'{begin} "{name}" of {_origin(entry)} must be a {self.kind}, got {entry.value} {fault}. '
                f"Repair or uninstall {_origin(entry)}."
            )
        return found

    def load_built_in(self, name: str) -> Any:
        """Import what a built-in name stands for, whatever else is installed."""
        return EntryPoint(name=name, value=self.built_in[name], group=self.group).load()

    def _added(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        return _entries(self.group, tuple(sys.path))

    def _conflict(self, name: str) -> str | None:
        owners = [_origin(entry) for entry in self._added().get(name, ())]
        if name in self.built_in:
            owners.insert(0, f"{_OURS} {version(_OURS)}")
        if len(owners) <= 1:
            return None
        return f"must be of one package, got {' and '.join(owners)}. Uninstall all of them but one."


@cache
def _entries(group: str, path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return name -> entry points of a group, by name and distribution.

    Args:
        group: Of the entry points.
        path: Where packages are looked for, `sys.path`; what is installed there later is not seen.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, _distribution(entry))):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution that an entry point belongs to."""
    if entry.dist is None:  # only of those that are made by hand
        raise ValueError(f"{entry.value} belongs to no distribution.")
    return entry.dist.name, entry.dist.version


def _origin(entry: EntryPoint) -> str:
    return " ".join(_distribution(entry))


def _summary(entry: EntryPoint) -> str:
    """Return what a distribution says of itself, or where its code is if it says nothing."""
    said = entry.dist.metadata.json.get("summary") if entry.dist is not None else None
    return str(said or entry.value)
