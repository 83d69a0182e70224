"""What a dry run prints: the cells, the tokens, and roughly how long they take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from longbench_run.harness.estimate import CellEstimate, cell_estimates, seconds
from longbench_run.harness.footprint import Footprint, cell_footprint, gibibytes, memory_of
from longbench_run.harness.lengths import short_length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from longbench_run.harness.plan import PlannedCell
    from longbench_run.harness.preparation import PreparedRun

_SHARED = "shared"
"""Where a longer length computes the tokens anyway."""
_COLUMNS = ("model", "method", "task", "length", "samples", "tokens")


def describe(prepared: PreparedRun, *, as_json: bool) -> str:
    """Return what a run would compute.

    Args:
        prepared: The plan.
        as_json: Whether for machines.
    """
    estimates = cell_estimates(prepared.plan, prepared.first)
    duration = seconds(estimates)
    refused = [cell for cell in prepared.plan.cells if cell.not_applicable is not None]
    if as_json:
        return json.dumps(_machine_readable(prepared, estimates, duration), indent=2) + "\n"
    rows = [_COLUMNS, *(_row(entry) for entry in estimates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    numeric = 3
    lines = [
        "  ".join(
            text.ljust(width) if column < numeric else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    reasons = dict.fromkeys(f"{cell.method_label}: {cell.not_applicable}" for cell in refused)
    device = prepared.weights[0].inspected.facts.device
    return "\n".join(
        [
            *lines,
            "",
            *_resolved(prepared.plan.cells),
            *reasons,
            "",
            f"{len(estimates)} cells, {sum(e.samples for e in estimates)} samples, "
            f"{sum(e.tokens for e in estimates):,} tokens: roughly {duration_text(duration)} on {device} "
            "(an order of magnitude; what is stored already is counted too).",
            *_memory(prepared),
            f"Output: {prepared.folder}",
            "",
        ]
    )


def _memory(prepared: PreparedRun) -> Iterator[str]:
    """Yield what the largest cell of each model needs."""
    largest: dict[str, tuple[Footprint, PlannedCell]] = {}
    for cell in prepared.plan.cells:
        if cell.not_applicable is None:
            needed = cell_footprint(cell, prepared.first)
            label = cell.weights.model_label
            if label not in largest or needed.total > largest[label][0].total:
                largest[label] = (needed, cell)
    for label, (needed, cell) in largest.items():
        device = cell.weights.inspected.facts.device
        there = memory_of(device)
        of = f" of the {gibibytes(there)} of {device}" if there is not None else ""
        yield (
            f"Memory of {label} at {short_length(cell.context_length)}: about {gibibytes(needed.total)}{of} "
            f"(weights {gibibytes(needed.weights)}, cache {gibibytes(needed.cache + needed.turned)}, "
            f"activations {gibibytes(needed.activations)})."
        )


def _row(entry: CellEstimate) -> tuple[str, ...]:
    cell = entry.cell
    task = cell.identity.task
    return (
        cell.weights.model_label,
        cell.method_label,
        f"{task.name} ({task.protocol})",
        short_length(cell.context_length),
        str(entry.samples),
        f"{entry.tokens:,}" if entry.tokens else _SHARED,
    )


def _resolved(cells: Sequence[PlannedCell]) -> Iterator[str]:
    """Yield what every method was resolved to, once each."""
    lines = {
        (cell.weights.model_label, cell.method_label, cell.method.canonical): None
        for cell in cells
        if cell.not_applicable is None
    }
    several = len({model for model, _, _ in lines}) > 1
    for model, label, canonical in lines:
        yield f"{model + ' ' if several else ''}{label} = {canonical}"


def _machine_readable(
    prepared: PreparedRun, estimates: list[CellEstimate], duration: float
) -> dict[str, Any]:
    by_cell = {entry.cell.cell_id: entry for entry in estimates}
    return {
        "folder": str(prepared.folder),
        "run_key": prepared.run_key,
        "estimated_seconds": round(duration, 1),
        "cells": [
            {
                "cell_id": cell.cell_id,
                "model": cell.weights.model_label,
                "method": cell.method_label,
                "resolved": cell.method.canonical,
                "task": cell.identity.task.name,
                "protocol": cell.identity.task.protocol,
                "context_length": cell.context_length,
                "seed": cell.seed,
                "samples": by_cell[cell.cell_id].samples if cell.cell_id in by_cell else 0,
                "tokens": by_cell[cell.cell_id].tokens if cell.cell_id in by_cell else 0,
                "bytes": cell_footprint(cell, prepared.first).total,
                "not_applicable": cell.not_applicable,
            }
            for cell in prepared.plan.cells
        ],
    }


def duration_text(seconds_: float) -> str:
    """Return a duration in whole hours, minutes or seconds."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds_ >= 1.5 * size:
            return f"{seconds_ / size:.0f} {unit}"
    return f"{max(1, seconds_):.0f} s"
