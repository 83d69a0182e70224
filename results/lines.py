"""The lines of ``records.jsonl``, one record each: written, read back, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, ValidationError, create_model
from pydantic_core import from_json

from longbench_run.results.columns import OF_SAMPLE
from longbench_run.results.migrations import RECORD_MIGRATIONS, migrated
from longbench_run.results.records import (
    SCHEMA_VERSION,
    CellIdentity,
    CellPart,
    Record,
    ResultsError,
    SamplePart,
)

_REMEDY = "Restore the line, or delete it: its sample is then computed again."
_SAMPLE_FOLLOWS, _SAMPLE_BEGINS = b',"index":', b'{"index":'
"""Where the line of a record goes on with the part of its sample, and how that begins as an object by itself."""


_READ: dict[str, Any] = {
    name: (SamplePart.model_fields[name].annotation, SamplePart.model_fields[name])
    for name in (*OF_SAMPLE, "scores", "failure")
}
_Columns = create_model("_Columns", __config__=ConfigDict(extra="ignore", allow_inf_nan=False), **_READ)
"""The fields of a sample that are columns, or are made into some."""


_BUFFER = 1 << 20
"""Bytes read at once: lines are long, and few of them fit into the usual 8 KB."""


class Line(NamedTuple):
    """A record and the byte offset where its line ends."""

    record: Record
    end: int


class Parts(NamedTuple):
    """What the table of samples reads of a record."""

    of_cell: CellPart
    """One object for all records that begin alike."""
    of_sample: Mapping[str, Any]
    """Field of `SamplePart` -> value, of at least those that are read."""


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
    cells: dict[str, tuple[dict[str, Any], CellIdentity]] = {}
    lines = _lines(path)
    for line in lines:
        where = f"{path} line {line.number}"
        raw = _object(line, where, lines)
        if raw is None:
            return
        yield Line(_validated(migrated(raw, RECORD_MIGRATIONS, where=where), cells, where), line.end)


def read_parts(path: Path) -> Iterator[Parts]:
    """Yield records as the table of samples needs them, in a third of the time of `read_lines`: it may be a million.

    What begins like an earlier line is of the same cell. Fields that are no columns, such as token ids, are not looked at.

    Args:
        path: ``records.jsonl``; a file that does not exist has no lines.

    Raises:
        ResultsError: As `read_lines`, but for what is not looked at.
    """
    cells: dict[str, tuple[dict[str, Any], CellIdentity]] = {}
    known: dict[bytes, CellPart] = {}
    current: set[bytes] = set()  # those whose lines need no migration
    lines = _lines(path)
    for line in lines:
        start, _, rest = line.content.partition(_SAMPLE_FOLLOWS)
        if start in current and line.content.endswith(b"\n"):
            try:
                sample = _Columns.model_validate_json(_SAMPLE_BEGINS + rest)
            except ValidationError:
                pass  # What is wrong, if anything is, is said below as of any line.
            else:
                yield Parts(known[start], sample.__dict__)
                continue
        where = f"{path} line {line.number}"
        raw = _object(line, where, lines)
        if raw is None:
            return
        record = _validated(migrated(raw, RECORD_MIGRATIONS, where=where), cells, where)
        if start not in known and _is_whole(start + b"}"):
            known[start] = record
            if raw["schema_version"] == SCHEMA_VERSION:
                current.add(start)
        yield Parts(known.get(start, record), record.__dict__)


class _RawLine(NamedTuple):
    content: bytes
    number: int
    end: int


def _lines(path: Path) -> Iterator[_RawLine]:
    if not path.exists():
        return
    end = 0
    with path.open("rb", buffering=_BUFFER) as file:
        for number, content in enumerate(file, start=1):
            end += len(content)
            yield _RawLine(content, number, end)


def _object(line: _RawLine, where: str, others: Iterator[_RawLine]) -> dict[str, Any] | None:
    """Return the JSON object of a line; None of one that was cut off and has no other after it."""
    raw = _parsed(line.content)
    if raw is None and next(others, None) is not None:
        head = line.content[:40].decode(errors="replace").rstrip("\n")
        raise ResultsError(f"{where}: record must be one JSON object, got {head!r}. {_REMEDY}")
    return raw


def _is_whole(start: bytes) -> bool:
    """Say whether the beginning of a line, closed, is the part of a cell: it was not cut within something else."""
    try:
        CellPart.model_validate_json(start)
    except ValidationError:
        return False
    return True


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
