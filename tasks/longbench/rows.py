"""The rows of a data file of LongBench, in the authors' format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench.datasets import VARIANTS, Dataset
from longbench_run.tasks.longbench.metrics import ANSWER_FORM
from longbench_run.tasks.rows import Row, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LongbenchRow:
    """What is asked, and what is right."""

    context: str
    question: str
    """Field ``input``; empty where the dataset asks the same of every context."""
    answers: tuple[str, ...]
    classes: tuple[str, ...]
    """Everything that could be answered, where answers are classes."""
    length: int
    """Words of English or code, characters of Chinese; LongBench-E has buckets of it."""
    evidence: tuple[str, ...] | None = None
    """Texts without any of which nobody can answer, where the row says so itself; none where the question does."""


def rows_of(path: Path, name: str) -> tuple[LongbenchRow, ...]:
    """Read a data file.

    Args:
        path: JSON Lines, gzipped if its name ends with ``.gz``.
        name: The dataset, with LongBench-E's ending where it is one of those.

    Raises:
        TaskError: If the file, a line or a field is not what it must be.
    """
    return _rows(path, name, _state(path))


def fingerprint(path: Path) -> str:
    """Return ``sha256:`` and the hex sha256 of a file."""
    return _fingerprint(path, _state(path))


def _state(path: Path) -> tuple[int, int]:
    """Return what changes when a file does; nothing where it cannot be read, whose reading then says so."""
    try:
        state = path.stat()
    except OSError:
        return (0, 0)
    return state.st_mtime_ns, state.st_size


# Texts of one dataset are up to 30 MB: the lengths of a plan come one after the other for each dataset.
@lru_cache(maxsize=2)
def _rows(path: Path, name: str, _state: tuple[int, int]) -> tuple[LongbenchRow, ...]:
    return tuple(_row(row, VARIANTS[name]) for row in read_rows(path))


def _row(row: Row, dataset: Dataset) -> LongbenchRow:
    classes = row.texts_or_none("all_classes")
    if dataset.metric == "classification" and not classes:
        raise TaskError(
            f"{row.path}, line {row.line}: field 'all_classes' must be a list of texts for a dataset of classes, got None. "
            "Take the row from the data as published."
        )
    return LongbenchRow(
        context=row.text("context"),
        question=row.text("input"),
        answers=checked_answers(row, dataset),
        classes=classes,
        length=row.whole_number("length"),
    )


def checked_answers(row: Row, dataset: Dataset) -> tuple[str, ...]:
    """Return the field ``answers``.

    Raises:
        TaskError: If it holds no texts, or none that the dataset's metric can compare with.
    """
    answers = row.texts("answers")
    form = ANSWER_FORM.get(dataset.metric)
    if form is not None and not all(form[0].search(answer) for answer in answers):
        raise TaskError(
            f"{row.path}, line {row.line}: field 'answers' must hold texts like {form[1]!r}, got {list(answers)!r}. "
            "Is this the dataset that the file is named after?"
        )
    return answers


@lru_cache(maxsize=64)
def _fingerprint(path: Path, _state: tuple[int, int]) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}). Name a file of JSON Lines.") from None
