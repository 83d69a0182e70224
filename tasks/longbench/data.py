"""Where the data files of LongBench are: a folder of the user's, or the authors' archive, downloaded once."""

from __future__ import annotations

import os
from pathlib import Path

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench import archive

_SUFFIXES = (".jsonl", ".jsonl.gz")
_INNER = "data"
"""Folder in the archive that holds the files."""


def data_file(name: str, data_dir: str | None) -> Path:
    """Return the data file of a dataset.

    Args:
        name: The dataset, with LongBench-E's ending where it is one of those.
        data_dir: Folder that holds ``NAME.jsonl`` (or ``.jsonl.gz``), ``data/NAME.jsonl`` or the archive itself,
            ``data.zip``; None for the authors' archive, from the cache or the Hugging Face Hub.

    Raises:
        TaskError: If there is no such file and no way to get it; the message says what to put where.
    """
    folder = Path(data_dir) if data_dir is not None else None
    if folder is not None:
        if not folder.is_dir():
            got = "a file" if folder.exists() else "nothing"
            raise TaskError(
                f"longbench: data_dir must be a folder, got {got} at {data_dir!r}. "
                f"Name one that holds {name}.jsonl or {archive.FILE}."
            )
        found = _file_in(folder, name)
        if found is not None:
            return found
        if not (folder / archive.FILE).is_file():
            raise TaskError(
                f"longbench: data_dir must hold {name}.jsonl, {_INNER}/{name}.jsonl or {archive.FILE}, got none of them in "
                f"{data_dir!r}. Put {archive.URL} there, or name other datasets."
            )
    unpacked = archive.unpacked(cache_folder(), given=folder / archive.FILE if folder is not None else None)
    found = _file_in(unpacked, name)
    if found is None:
        raise TaskError(
            f"{unpacked}: must hold {_INNER}/{name}.jsonl, got no such file. Delete the folder and run again."
        )
    return found


def cache_folder() -> Path:
    """Return where unpacked archives are kept; ``XDG_CACHE_HOME`` moves it."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "longbench-run"


def _file_in(folder: Path, name: str) -> Path | None:
    places = [parent / f"{name}{suffix}" for parent in (folder / _INNER, folder) for suffix in _SUFFIXES]
    return next((place for place in places if place.is_file()), None)
