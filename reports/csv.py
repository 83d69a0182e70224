"""A report as CSV: every result in long form, and each table; safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.reports.document import TABLES, Block, Table, Text
from longbench_run.reports.text import shortened, visible
from longbench_run.results.table import summarize

if TYPE_CHECKING:
    import pandas as pd

PAGE = "results.csv"

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for a formula, or for a command of another program; some take the wide letters as well."""
_LONGEST_FIELD = 32_000
"""Characters: spreadsheets cut what is longer, and some readers refuse it."""
_HARMLESS = re.compile(r"-|[+-]?\d+(\.\d+)?(e[+-]?\d+)?")


def write_csv(blocks: Iterable[Block], frames: Iterable[pd.DataFrame], folder: Path) -> Path:
    """Write ``results.csv``, one row per result, and ``tables/NAME.csv`` for each table.

    Args:
        blocks: The report; names of tables are those of their files.
        frames: Rows of `longbench_run.results.load` of each run.
        folder: It exists.

    Returns:
        Path of ``results.csv``: its columns are those of `longbench_run.results.summarize`.
    """
    (folder / TABLES).mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Table):
            rows = (block.head, *(tuple(cell.text for cell in cells) for cells in block.rows))
            _write(folder / TABLES / f"{block.name}.csv", (list(map(_joined, row)) for row in rows))
    path = folder / PAGE
    found = [summarize(frame) for frame in frames]
    head = [list(found[0].columns)] if found else []
    rows_of_all = (row for frame in found for row in frame.itertuples(index=False, name=None))
    _write(path, (*head, *rows_of_all))
    return path


def safe(text: str) -> str:
    """Return text on one line that no spreadsheet computes: an apostrophe stands before what looks like a formula.

    Args:
        text: Anything.

    Example:
        >>> safe("=1+1"), safe("-0.25"), safe("-")
        ("'=1+1", '-0.25', '-')
    """
    shown = shortened(visible(text), _LONGEST_FIELD)
    return f"'{shown}" if _FORMULA.match(shown) and not _HARMLESS.fullmatch(shown) else shown


def _write(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([_field(value) for value in row] for row in rows)


def _field(value: object) -> object:
    """Return what stands in a field; nothing where a value is missing, which NaN is as well."""
    if isinstance(value, str):
        return safe(value)
    return None if value is None or value != value else value  # noqa: PLR0124 (NaN is what differs from itself)


def _joined(line: Text) -> str:
    return "".join(span.text for span in line)
