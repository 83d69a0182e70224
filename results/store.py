"""A run is a folder: ``records.jsonl`` (append-only), ``run.json`` (replaced as a whole) and ``lock``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from pydantic import ValidationError

from longbench_run.results.durable import copy_file, replace_text, sync_folder, write_bytes
from longbench_run.results.lines import encoded, first_problem, read_lines
from longbench_run.results.lock import RunLock
from longbench_run.results.migrations import HEADER_MIGRATIONS, migrated
from longbench_run.results.records import Record, ResultsError, RunHeader, Status

logger = logging.getLogger(__name__)

Overwrite = Literal["missing", "failed", "all"]
"""``missing`` computes samples without a record, ``failed`` also those that failed, ``all`` everything."""

_RECORDS, _HEADER, _NEW_HEADER, _LOCK = "records.jsonl", "run.json", "run.json.tmp", "lock"
_FAILED: frozenset[Status] = frozenset({"error", "out_of_memory"})


class StoredRun(NamedTuple):
    """What a run folder holds."""

    header: RunHeader
    records: tuple[Record, ...]
    """One per (cell, index): the last one written."""


def read_run(folder: Path | str) -> StoredRun:
    """Read a run, also one that another process is writing; nothing is changed.

    Args:
        folder: A run folder.

    Raises:
        ResultsError: If the folder is no run, or a line of it cannot be read.
    """
    folder = Path(folder)
    header = read_header(folder)
    records = {
        (line.record.cell_id, line.record.index): line.record for line in read_lines(records_path(folder))
    }
    return StoredRun(header, tuple(records.values()))


def records_path(folder: Path | str) -> Path:
    """Return the file of a run's records.

    Args:
        folder: A run folder.
    """
    return Path(folder) / _RECORDS


def read_header(folder: Path | str) -> RunHeader:
    """Read ``run.json``.

    Args:
        folder: A run folder.

    Raises:
        ResultsError: If the folder is no run, or its header cannot be read.
    """
    path = Path(folder) / _HEADER
    try:
        raw = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"{folder}: run must be a folder that longbench-run wrote, got one without {_HEADER}. "
            "See what is in runs/."
        ) from None
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ResultsError(
            f"{path}: header must be one JSON object, got something else. "
            "Restore the file, or run again with --overwrite all."
        )
    try:
        return RunHeader.model_validate(migrated(raw, HEADER_MIGRATIONS, where=str(path)))
    except ValidationError as error:
        raise ResultsError(
            f"{path}: {first_problem(error)}. Restore the file, or run again with --overwrite all."
        ) from None


def check_output(folder: Path | str, run_key: str, *, overwrite: Overwrite = "missing") -> None:
    """Say whether a run may be written to a folder; nothing is changed.

    Args:
        folder: Where the run is to go.
        run_key: Key of the run that is to be written.
        overwrite: What is asked for.

    Raises:
        ResultsError: If the folder holds another run, or files that are no run.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ResultsError(f"{folder}: --output must be a folder, got a file. Choose another --output.")
    if not folder.exists():
        return
    if not (folder / _HEADER).exists():
        foreign = sorted({path.name for path in folder.iterdir()} - {_LOCK, _NEW_HEADER})
        if foreign:
            raise ResultsError(
                f"{folder}: --output must be a new folder or a run, got a folder that holds other files "
                f"({foreign[0]!r}). Choose another --output."
            )
    elif overwrite != "all":
        stored = read_header(folder)
        if stored.run_key != run_key:
            raise ResultsError(
                f"{folder}: --output must be a new folder or the same run, got a folder that holds another "
                f"run (started {stored.started}). Choose another --output or --overwrite all."
            )


class Store:
    """The one writer of a run folder; a context manager.

    A record counts as finished once `append` has returned: it is on the disk then. A process may be killed
    at any time; the next `open` removes at most the line that was being written.
    """

    def __init__(
        self, folder: Path, header: RunHeader, lock: RunLock, statuses: dict[str, dict[int | None, Status]]
    ) -> None:
        """Use `Store.open`."""
        self.folder = folder
        self._header = header
        self._lock: RunLock | None = lock
        self._statuses = statuses
        self._file = os.open(folder / _RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._file).st_size

    @classmethod
    def open(cls, folder: Path | str, header: RunHeader, *, overwrite: Overwrite = "missing") -> Self:
        """Create a run, or resume it where the folder holds the same one.

        Args:
            folder: Where the run is; made where it is missing.
            header: What is asked for now. On resume the stored time of the start is kept.
            overwrite: What is computed again. With ``all`` the former run is moved to ``replaced-N`` inside
                the
                folder: it is the user's to delete.

        Raises:
            ResultsError: If the folder holds another run or other files, another process writes to it, it
                cannot
                be written, or a line of its records cannot be read.
        """
        folder = Path(folder)
        check_output(folder, header.run_key, overwrite=overwrite)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = RunLock(folder)
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            check_output(folder, header.run_key, overwrite=overwrite)
            if overwrite == "all":
                _set_aside(folder)
            elif (folder / _HEADER).exists():
                header = header.model_copy(update={"started": read_header(folder).started})
            statuses = _resumed(folder / _RECORDS, retry=_FAILED if overwrite == "failed" else frozenset())
            _write_header(folder, header)
            store = cls(folder, header, lock, statuses)
            sync_folder(folder)
        except OSError as error:
            lock.release()
            raise _unwritable(folder, error) from None
        except BaseException:
            lock.release()
            raise
        return store

    @property
    def header(self) -> RunHeader:
        """The header as it is on the disk."""
        return self._header

    def finished(self, cell_id: str) -> frozenset[int | None]:
        """Return the sample indices of a cell that need no computing; None stands for a cell not applicable.

        Args:
            cell_id: The cell's key.
        """
        return frozenset(self._statuses.get(cell_id, ()))

    def statuses(self, cell_id: str) -> Mapping[int | None, Status]:
        """Return the status of every finished sample of a cell.

        Args:
            cell_id: The cell's key.
        """
        return dict(self._statuses.get(cell_id, {}))

    def append(self, *records: Record) -> None:
        """Write records and return when they are on the disk.

        Args:
            records: One or a few: they are written together.

        Raises:
            ResultsError: If they cannot be written; the file is then as it was before.
        """
        if self._lock is None:
            raise ValueError("this store is closed")
        data = b"".join(encoded(record) for record in records)
        try:
            write_bytes(self._file, data)
        except BaseException as error:
            # Half a line would join the next one: whoever goes on after the exception must find whole lines.
            os.ftruncate(self._file, self._size)
            if isinstance(error, OSError):
                raise _unwritable(self.folder / _RECORDS, error) from None
            raise
        self._size += len(data)
        for record in records:
            self._statuses.setdefault(record.cell_id, {})[record.index] = record.status

    def update_header(self, **changes: object) -> RunHeader:
        """Replace fields of the header, on the disk as a whole.

        Args:
            changes: Field -> value; not ``run_key``.

        Returns:
            The header now in force.

        Raises:
            ResultsError: If it cannot be written; the old one is then still there.
        """
        if self._lock is None:
            raise ValueError("this store is closed")
        header = RunHeader.model_validate({**dict(self._header), **changes})
        if header.run_key != self._header.run_key:
            raise ValueError("another run_key is another run: open a store for it")
        try:
            _write_header(self.folder, header)
        except OSError as error:
            raise _unwritable(self.folder / _HEADER, error) from None
        self._header = header
        return header

    def close(self) -> None:
        """Close the files and release the lock; a second call does nothing."""
        if self._lock is not None:
            os.close(self._file)
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()


def _resumed(path: Path, *, retry: frozenset[Status]) -> dict[str, dict[int | None, Status]]:
    """Return the statuses stored so far, except those to try again, and cut off a torn last line."""
    statuses: dict[str, dict[int | None, Status]] = {}
    end = lines = 0
    for line in read_lines(path):
        record, end = line
        lines += 1
        statuses.setdefault(record.cell_id, {})[record.index] = record.status
    if path.exists() and path.stat().st_size > end:
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        logger.warning(
            "%s line %d: was cut off while being written. It is removed, and its sample computed again.",
            path,
            lines + 1,
        )
    return {
        cell_id: {index: status for index, status in samples.items() if status not in retry}
        for cell_id, samples in statuses.items()
    }


def _set_aside(folder: Path) -> None:
    """Move the former run into ``replaced-N``: copied first, so that a kill at any moment loses nothing."""
    stored = [path for name in (_HEADER, _RECORDS) if (path := folder / name).exists()]
    if not stored:
        return
    number = next(number for number in count(1) if not (folder / f"replaced-{number}").exists())
    aside = folder / f"replaced-{number}"
    aside.mkdir()
    for path in stored:
        copy_file(path, aside / path.name)
    sync_folder(aside)
    sync_folder(folder)
    (folder / _RECORDS).unlink(missing_ok=True)
    logger.warning("%s: the former run was moved to %s; delete it when it is not needed.", folder, aside)


def _write_header(folder: Path, header: RunHeader) -> None:
    # The standard library escapes what UTF-8 cannot hold, such as a file name in another encoding.
    text = json.dumps(header.model_dump(mode="python"), indent=2, allow_nan=False) + "\n"
    replace_text(folder / _HEADER, text, temporary=folder / _NEW_HEADER)


def _unwritable(path: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"{path}: --output must be writable, got {error.strerror or error!s}. "
        "Mend that and run the same command again: finished samples are kept."
    )
