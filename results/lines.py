"""The lines of ``records.jsonl``, one record each: written, read back, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from longbench_run.results.migrations import RECORD_MIGRATIONS, migrated
from longbench_run.results.records import CellIdentity, Record, ResultsError

_REMEDY = "Restore the line, or delete it: its sample is then computed again."


class Line(NamedTuple):
    """A record and the byte offset where its line ends."""

    record: Record
    end: int


def encoded(record: Record) -> bytes:
    """Return the line of a record, newline included. No other newline byte is in it: JSON escapes them."""
    return record.model_dump_json().encode() + b"\n"


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file of records, in order; stop before a last line that was cut off.

    Cells are shared between records: a hundred thousand records have a few dozen.

    Args:
        path: ``records.jsonl``; a file that does not exist has no lines.

    Raises:
        ResultsError: If a line is no record (names the line), or is of a newer schema.
    """
    if not path.exists():
        return
    cells: dict[str, tuple[dict[str, Any], CellIdentity]] = {}
    end = number = 0
    with path.open("rb") as file:
        while line := file.readline():
            number += 1
            end += len(line)
            where = f"{path} line {number}"
            raw = _parsed(line)
            if raw is None:
                if not file.readline():
                    return
                head = line[:40].decode(errors="replace").rstrip("\n")
                raise ResultsError(f"{where}: record must be one JSON object, got {head!r}. {_REMEDY}")
            yield Line(_validated(migrated(raw, RECORD_MIGRATIONS, where=where), cells, where), end)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a whole line, else None."""
    if not line.endswith(b"\n"):
        return None
    try:
        raw = from_json(line)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


def _validated(
    raw: dict[str, Any], cells: dict[str, tuple[dict[str, Any], CellIdentity]], where: str
) -> Record:
    """Return the record of a JSON object, with the cell of an earlier one where they are equal."""
    identifier, cell = raw.get("cell_id"), raw.get("cell")
    known = cells.get(identifier) if isinstance(identifier, str) else None
    try:
        if known is not None and known[0] == cell:
            return Record.model_validate({**raw, "cell": known[1]})
        record = Record.model_validate(raw)
    except ValidationError as error:
        raise ResultsError(f"{where}: {first_problem(error)}. {_REMEDY}") from None
    if isinstance(cell, dict):
        cells[record.cell_id] = (cell, record.cell)
    return record


def first_problem(error: ValidationError) -> str:
    """Return what is wrong with the first bad field, in the words of this program's errors."""
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{name} must be there, got nothing"
    if problem["type"] == "extra_forbidden":
        return f"{name} must be a field of this schema, got {problem['input']!r:.80}"
    rule = problem["msg"].removeprefix("Input should be ")
    return f"{name} must be {rule}, got {problem['input']!r:.80}"
