"""The table as Markdown, from stored figures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any

from benchmarks.rows import ROWS, Row

NOT_MEASURED = "not measured"
_COLUMNS = {"cpu": "CPU", "gpu": "GPU"}


def page(columns: Mapping[str, Any]) -> str:
    """Return the whole page.

    Args:
        columns: As `benchmarks.stored.Stored` keeps them; a column or a row that is missing was not measured.
    """
    lines = [
        "# What the engine costs",
        "",
        "Written by `python -m benchmarks` and `python -m benchmarks gpu`. A figure is a ratio of two ways that ran in turn",
        "in one process, every other round in the other order, unless a unit stands behind it: the median of the rounds,",
        "with their quartiles where there are several. Memory is the peak of one process for each way.",
        "",
        "| what | against | CPU | to reach | reached | GPU | to reach | reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = [row.what, row.peers]
        for name in _COLUMNS:
            stored = columns.get(name, {}).get("rows", {}).get(row.name)
            cells += [_figure(row, stored), str(row.limit(name) or "-"), _reached(row, name, stored)]
        lines.append("| " + " | ".join(cells) + " |")
    for name, title in _COLUMNS.items():
        lines += ["", f"## {title}", "", *_details(columns.get(name))]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return quartile, median and quartile of the rounds."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _figure(row: Row, stored: Mapping[str, Any] | None) -> str:
    if stored is None:
        return NOT_MEASURED
    if "failed" in stored:
        return "failed"
    low, middle, high = spread(stored["values"])
    unit = f" {row.unit}" if row.unit else ""
    around = f" ({low:.3g} to {high:.3g})" if len(stored["values"]) > 1 else ""
    return f"{middle:.3g}{unit}{around}"


def _reached(row: Row, column: str, stored: Mapping[str, Any] | None) -> str:
    limit = row.limit(column)
    if limit is None or stored is None:
        return "-"
    if "failed" in stored:
        return "no"
    return "yes" if limit.is_reached(spread(stored["values"])[1]) else "no"


def _details(column: Mapping[str, Any] | None) -> list[str]:
    if column is None:
        return [f"{NOT_MEASURED.capitalize()}."]
    machine = column["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = machine["threads"] or "torch's default"
    commands = sorted({row["command"] for row in column["rows"].values()})
    revisions = sorted({row["revision"] or "unknown" for row in column["rows"].values()})
    lines = [
        f"- Measured: {machine['title']}, on {machine['device']}, {machine['cores']} cores; threads: {threads}.",
        f"- Versions: {versions}.",
        f"- Command: {', '.join(f'`{command}`' for command in commands)}; revision {', '.join(revisions)}.",
    ]
    if column["pending"]:
        lines.append(f"- Stopped before: {', '.join(column['pending'])}.")
    lines += [
        "",
        "| row | rounds | details | cores that others kept busy | seconds | when |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        stored = column["rows"].get(row.name)
        if stored is None:
            continue
        busy = "unknown" if stored["others_busy"] is None else f"{stored['others_busy']:.2f}"
        details = stored.get("failed") or stored["note"]
        rounds = len(stored.get("values", ()))
        cells = [
            row.name,
            str(rounds),
            details.replace("|", "/"),
            busy,
            f"{stored['seconds']:.0f}",
            stored["measured"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
