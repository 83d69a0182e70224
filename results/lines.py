"""The lines of ``records.jsonl``, one record each: written, read back, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError
from pydantic_core import from_json

from longbench_run.results.migrations import RECORD_MIGRATIONS, migrated
from longbench_run.results.records import (
    SCHEMA_VERSION,
    Bucket,
    CellIdentity,
    CellPart,
    EntropyBucket,
    Failure,
    Record,
    ResultsError,
    Row,
    SamplePart,
)

_REMEDY = "Restore the line, or delete it: its sample is then computed again."
_SAMPLE_FOLLOWS, _SAMPLE_BEGINS = b',"index":', b'{"index":'
"""Where the line of a record goes on with the part of its sample, and how that begins as an object by itself."""


def _struct(model: type[Row], **nested: Any) -> Any:
    """Return the class of msgspec with the fields of a model: it reads a line in less than half of the time.

    It refuses unknown fields and converts nothing: what it reads, the model reads alike. For what it refuses, ask the model.

    Args:
        model: Whose fields have no rules but their types.
        nested: Field -> its type, where that names another model.
    """
    fields = [
        (name, nested.get(name, field.annotation))
        if field.is_required()
        else (name, nested.get(name, field.annotation), field.get_default(call_default_factory=True))
        for name, field in model.model_fields.items()
    ]
    return msgspec.defstruct(model.__name__, fields, kw_only=True, forbid_unknown_fields=True, gc=False)


Sample = _struct(
    SamplePart,
    failure=_struct(Failure) | None,
    nll_buckets=tuple[_struct(Bucket), ...],  # type: ignore[misc]
    entropy_buckets=tuple[_struct(EntropyBucket), ...],  # type: ignore[misc]
)
"""The fields of `SamplePart`, with the same values."""
_FIELDS = tuple(SamplePart.model_fields)
_OF_CELL = tuple(CellPart.model_fields.keys() - {"schema_version"})  # which migrations change
_read_sample = msgspec.json.Decoder(Sample).decode


_BUFFER = 1 << 20
"""Bytes read at once: lines are long, and few of them fit into the usual 8 KB."""


class Line(NamedTuple):
    """A record and the byte offset where its line ends."""

    record: Record
    end: int


Parts = tuple[CellPart, Any]
"""What the table reads of a record: one object for all records that begin alike, and the `Sample`. No class: its
objects take longer to make than a line to find."""


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
    end = 0
    for number, content in lines:
        end += len(content)
        where = f"{path} line {number}"
        raw = _object(content, where, lines)
        if raw is None:
            return
        yield Line(_validated(migrated(raw, RECORD_MIGRATIONS, where=where), cells, where), end)


def read_parts(path: Path, *, wanted: Callable[[bytes], bool] | None = None) -> Iterator[Parts]:
    """Yield what `read_lines` does, as the table of samples needs it and in a fraction of the time: it may be a million.

    What begins like an earlier line is of the same cell.

    Args:
        path: ``records.jsonl``; a file that does not exist has no lines.
        wanted: Says of a line whether it is to be read; the others cost next to nothing, and are not checked.

    Raises:
        ResultsError: As `read_lines`.
    """
    cells: dict[str, tuple[dict[str, Any], CellIdentity]] = {}
    known: dict[bytes, CellPart] = {}
    current: set[bytes] = set()  # those whose lines need no migration
    # The beginning of the cell last read, without and with what follows; no record begins with a newline.
    start, begins = b"", b"\n"
    lines = _lines(path, wanted)
    for number, content in lines:
        if not content.startswith(begins):
            start = content.partition(_SAMPLE_FOLLOWS)[0]
            begins = start + _SAMPLE_FOLLOWS if start in current else b"\n"
        if content.startswith(begins) and content.endswith(b"\n"):
            try:
                sample = _read_sample(_SAMPLE_BEGINS + content[len(begins) :])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # What is wrong, if anything is, is said below as of any line.
            else:
                yield known[start], sample
                continue
        where = f"{path} line {number}"
        raw = _object(content, where, lines)
        if raw is None:
            return
        record = _validated(migrated(raw, RECORD_MIGRATIONS, where=where), cells, where)
        if start not in known and (begun := _begun(start)) is not None and _is_same(begun, record):
            known[start] = record
            if begun.schema_version == SCHEMA_VERSION:
                current.add(start)
        of_cell = known.get(start, record)
        yield (
            of_cell if _is_same(of_cell, record) else record,
            Sample(**{name: getattr(record, name) for name in _FIELDS}),
        )


def _lines(path: Path, wanted: Callable[[bytes], bool] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line, or of those that are wanted."""
    if path.exists():
        with path.open("rb", buffering=_BUFFER) as file:
            lines = enumerate(file, start=1)
            yield from lines if wanted is None else (line for line in lines if wanted(line[1]))


def _object(line: bytes, where: str, others: Iterator[object]) -> dict[str, Any] | None:
    """Return the JSON object of a line; None of one that was cut off and has no other after it."""
    raw = _parsed(line)
    if raw is None and next(others, None) is not None:
        head = line[:40].decode(errors="replace").rstrip("\n")
        raise ResultsError(f"{where}: record must be one JSON object, got {head!r}. {_REMEDY}")
    return raw


def _begun(start: bytes) -> CellPart | None:
    """Return the part of a cell that a line begins with; None where it was cut within something else."""
    try:
        return CellPart.model_validate_json(start + b"}")
    except ValidationError:
        return None


def _is_same(part: CellPart, record: CellPart) -> bool:
    """Say whether two are of one cell and its labels: JSON may name a field again, after the sample's."""
    return all(getattr(part, name) == getattr(record, name) for name in _OF_CELL)


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
