"""Figures as JSON: each row is stored when it is measured, so that a benchmark that was stopped goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed import Bench, Figure
from longbench_run.harness.environment import device_name, git_revision, now, package_versions


@dataclass(slots=True)
class Stored:
    """The file with the figures of both columns."""

    path: Path
    columns: dict[str, Any] = field(init=False)
    """Column -> its ``machine``, its ``rows`` by name, and ``pending``: names that a stopped benchmark still owes."""

    def __post_init__(self) -> None:
        """Read what is there.

        Raises:
            SystemExit: If the file holds something else.
        """
        self.columns = {}
        if self.path.exists():
            try:
                self.columns = dict(json.loads(self.path.read_text(encoding="utf-8"))["columns"])
            except (ValueError, KeyError, TypeError):
                raise SystemExit(f"{self.path} must hold figures of this benchmark. Move it away.") from None

    def begin(self, bench: Bench, names: Sequence[str]) -> list[str]:
        """Return the rows to measure: what a stopped benchmark of the same kind owes of them, or all of them.

        Figures of the other column stay. Figures of this column stay unless machine, versions or sizes differ.
        """
        machine = describe(bench)
        column = self.columns.get(bench.column.name)
        if column is None or column["machine"] != machine:
            column = {"machine": machine, "rows": {}, "pending": []}
            self.columns[bench.column.name] = column
        owed = column["pending"]
        wanted = [name for name in names if name in owed] or list(names)
        column["pending"] = wanted + [name for name in owed if name not in wanted]
        self._write()
        return wanted

    def add(self, bench: Bench, name: str, row: dict[str, Any]) -> None:
        """Store a row."""
        column = self.columns[bench.column.name]
        column["rows"][name] = row
        column["pending"] = [other for other in column["pending"] if other != name]
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".json.new")
        new.write_text(json.dumps({"columns": self.columns}, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)


def describe(bench: Bench) -> dict[str, Any]:
    """Return what figures must have in common to stand in one column."""
    return {
        "device": device_name(bench.column.device),
        "cores": os.cpu_count(),
        "threads": bench.threads,
        "title": bench.column.title,
        "versions": package_versions(),
        "sizes": json.loads(json.dumps(asdict(bench.column.sizes))),
    }


def measured(figure: Figure, load: OtherLoad, *, command: str) -> dict[str, Any]:
    """Return a row as it is stored."""
    return {"values": list(figure.values), "note": figure.note, **_circumstances(load, command)}


def failed(error: Exception, load: OtherLoad, *, command: str) -> dict[str, Any]:
    """Return a row that came to nothing: the first line of why."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"failed": reason, **_circumstances(load, command)}


def _circumstances(load: OtherLoad, command: str) -> dict[str, Any]:
    return {
        "others_busy": load.read(),
        "seconds": round(time.perf_counter() - load.started, 1),
        "measured": now(),
        "revision": git_revision(),
        "command": command,
    }


class OtherLoad:
    """How many cores other processes kept busy since this was made; None where the system does not tell."""

    def __init__(self) -> None:
        """Begin to count."""
        self.started = time.perf_counter()
        self._before = _busy_elsewhere()

    def read(self) -> float | None:
        """Return the mean number of busy cores."""
        after, passed = _busy_elsewhere(), time.perf_counter() - self.started
        if after is None or self._before is None or passed <= 0:
            return None
        return round(max(0.0, (after - self._before) / passed), 2)


def _busy_elsewhere() -> float | None:
    """Return the seconds that cores were busy since the machine started, without those of this process and its children."""
    try:
        counts = [
            int(count) for count in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:]
        ]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *interrupts = counts
    own = os.times()
    everything = (user + nice + system + sum(interrupts[:2])) / os.sysconf("SC_CLK_TCK")
    return everything - own.user - own.system - own.children_user - own.children_system
