"""What a run holds when it is finished, kept beside it: a second run of the same command asks this file only.

Without it, knowing that nothing is missing would take the model's configuration and tokenizer, hence torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.results.records import sha256_of
from longbench_run.results.store import read_run

if TYPE_CHECKING:
    from longbench_run.harness.choices import Choices
    from longbench_run.harness.plan import Plan
    from longbench_run.results.store import Store, StoredRun

_NAME = "plan.json"
_VERSION = 1
_FAILED = frozenset({"error", "out_of_memory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Samples that a finished run has, by cell; an index of None stands for a cell that is not applicable."""

    cells: Mapping[str, frozenset[int | None]]

    def count_failed(self, stored: StoredRun) -> tuple[int, int]:
        """Return failed samples, and the cells that have any."""
        failed = [r for r in stored.records if r.cell_id in self.cells and r.status in _FAILED]
        return len(failed), len({record.cell_id for record in failed})


def plan_key(run_key: str, choices: Choices, *, package: str) -> str:
    """Return what a plan follows from: the run, its numbers of samples and this program's version."""
    counts = [choice.samples for choice in choices.tasks]
    return sha256_of({"plan_version": _VERSION, "run_key": run_key, "counts": counts, "package": package})


def write_expected(folder: Path, key: str, expected: Expected) -> None:
    """Replace the file as a whole.

    Args:
        folder: Run folder.
        key: See `plan_key`.
        expected: What the run holds now.
    """
    cells = {
        cell: None if indices == {None} else sorted(index for index in indices if index is not None)
        for cell, indices in expected.cells.items()
    }
    new = folder / f"{_NAME}.tmp"
    new.write_text(json.dumps({"plan_key": key, "cells": cells}) + "\n", encoding="utf-8")
    new.replace(folder / _NAME)


def read_finished(folder: Path, key: str, *, retry_failed: bool) -> tuple[Expected, StoredRun] | None:
    """Return what a run holds if nothing of it is missing, else None.

    Args:
        folder: Run folder; need not exist.
        key: See `plan_key`.
        retry_failed: Whether samples that failed count as missing.

    Raises:
        ResultsError: If the run's records cannot be read.
    """
    try:
        raw = json.loads((folder / _NAME).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict) or raw.get("plan_key") != key:
        return None
    expected = _expected(raw)
    stored = read_run(folder)
    if expected is None or stored.header.status != "complete":
        return None
    found: dict[str, set[int | None]] = {}
    for record in stored.records:
        if not (retry_failed and record.status in _FAILED):
            found.setdefault(record.cell_id, set()).add(record.index)
    complete = all(indices <= found.get(cell, set()) for cell, indices in expected.cells.items())
    return (expected, stored) if complete else None


def _expected(raw: Mapping[str, Any]) -> Expected | None:
    cells = raw.get("cells")
    if not isinstance(cells, dict):
        return None
    return Expected(
        cells={cell: frozenset([None] if indices is None else indices) for cell, indices in cells.items()}
    )


def expected_now(plan: Plan, store: Store) -> Expected:
    """Return what a run holds that computed everything its data had.

    Args:
        plan: Its plan.
        store: Its store, everything appended.
    """
    cells = {}
    for cell in plan.cells:
        indices = store.finished(cell.cell_id)
        within = {index for index in indices if index is not None and index < cell.count}
        cells[cell.cell_id] = frozenset[int | None]({None} if None in indices else within)
    return Expected(cells=cells)
