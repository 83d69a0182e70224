"""Reading a folder of LongBench predictions: one JSON Lines file per dataset, as `pred.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench.datasets import DATASETS, DATASETS_E, OF_E, Dataset
from longbench_run.tasks.longbench.rows import checked_answers
from longbench_run.tasks.rows import Row, read_rows

_SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row: what a model wrote, and what is right."""

    line: int
    text: str
    answers: tuple[str, ...]
    length: int | None
    """Length of the row in words, which LongBench-E has buckets of; None where LongBench needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The predictions for one dataset."""

    path: Path
    dataset: Dataset
    rows: tuple[Prediction, ...]
    classes: tuple[str, ...]
    """Of the last row, as the authors take them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFolder:
    """All predictions of one model, in the order of the table of datasets."""

    files: tuple[Predictions, ...]
    is_e: bool
    """Whether they are predictions for LongBench-E."""
    why: str
    """What that follows from."""


def read_folder(folder: Path, *, is_e: bool | None = None) -> PredictionFolder:
    """Read every file of a folder, and decide which of the two benchmarks it holds.

    Args:
        folder: Holds ``DATASET.jsonl``; what follows the first point of a name says nothing, as in ``eval.py``.
        is_e: Whether it holds LongBench-E; None to decide by the names and the numbers of rows.

    Raises:
        TaskError: If there is nothing to score, or a file, a row or a field is not what it must be.
    """
    paths = _paths(folder)
    rows = {path: tuple(read_rows(path)) for path in paths.values()}
    counts = {name: len(rows[path]) for name, path in paths.items()}
    marked = [name for name, path in paths.items() if _stem(path).endswith(OF_E)]
    if marked and len(marked) < len(paths):
        raise TaskError(
            f"{folder}: files must all be LongBench-E or none of them, got {paths[marked[0]].name!r} beside "
            f"{next(p.name for n, p in paths.items() if n not in marked)!r}. Put them into two folders."
        )
    if is_e is None:
        is_e, why = _decide(folder, counts, marked=bool(marked))
    else:
        why = "as asked for"
    if is_e:
        for name in counts.keys() - DATASETS_E.keys():
            raise TaskError(
                f"{paths[name]}: dataset must be one of LongBench-E's 13, got {name!r}. Move the file away, or pass "
                "--no-e."
            )
    files = tuple(
        _predictions(paths[n], DATASETS[n], rows[paths[n]], is_e=is_e) for n in DATASETS if n in paths
    )
    return PredictionFolder(files=files, is_e=is_e, why=why)


def check_against_data(folder: PredictionFolder, data: Path) -> None:
    """Refuse predictions that are not those of the data, row by row.

    Args:
        folder: Predictions.
        data: Holds the benchmark's ``DATASET.jsonl``, for LongBench-E ``DATASET_e.jsonl``.

    Raises:
        TaskError: If a file is missing, or rows differ in number or in their answers.
    """
    for file in folder.files:
        path = data / f"{file.dataset.name}{OF_E if folder.is_e else ''}.jsonl"
        if not path.is_file():
            raise TaskError(f"{path}: must be there for {file.path}, got no such file. Leave --data-dir out.")
        rows = list(read_rows(path))
        if len(rows) != len(file.rows):
            raise TaskError(
                f"{file.path}: predictions must be as many as {path} has rows, {len(rows)}, got {len(file.rows)}. "
                "Predict the rest, or leave --data-dir out to score what is there."
            )
        for prediction, row in zip(file.rows, rows, strict=True):
            if prediction.answers != row.texts("answers"):
                raise TaskError(
                    f"{file.path}, line {prediction.line}: answers must be those of {path}, line {row.line}, got others. "
                    "Are the predictions in the order of the data?"
                )


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _paths(folder: Path) -> Mapping[str, Path]:
    """Return dataset -> file."""
    remedy = "Name a folder of DATASET.jsonl."
    if not folder.is_dir():
        raise TaskError(
            f"{folder}: must be a folder, got {'a file' if folder.exists() else 'nothing'}. {remedy}"
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(_SUFFIXES) or not path.is_file():
            continue
        stem = _stem(path)
        name = stem if stem in DATASETS else stem.removesuffix(OF_E)
        if name not in DATASETS:
            nearest = get_close_matches(name, DATASETS, n=1)
            hint = f'Did you mean "{nearest[0]}"? ' if nearest else ""
            raise TaskError(
                f"{path}: dataset must be one of LongBench's {len(DATASETS)}, got {name!r}. {hint}"
                "Rename the file, or move it away."
            )
        if name in found:
            got = f"{found[name].name!r} and {path.name!r}"
            raise TaskError(f"{folder}: dataset {name!r} must be in one file, got {got}. Move one away.")
        found[name] = path
    if not found:
        raise TaskError(f"{folder}: must hold predictions as DATASET.jsonl, got none. Name another folder.")
    return found


def _decide(folder: Path, counts: Mapping[str, int], *, marked: bool) -> tuple[bool, str]:
    """Tell LongBench-E from LongBench: files and folders are mostly named alike, the numbers of rows are not."""
    if marked:
        return True, "the files' names end with _e"
    if counts.keys() - DATASETS_E.keys():
        return False, "it holds datasets that LongBench-E does not have"
    off = sum(abs(count - DATASETS[name].size) for name, count in counts.items())
    off_e = sum(abs(count - (DATASETS[name].size_e or 0)) for name, count in counts.items())
    if off != off_e:
        return off_e < off, "the numbers of rows"
    full = folder.resolve()
    is_named = full.parent.name == "pred_e" or full.name.endswith(("_e", "-e"))
    return is_named, "the folder's name" if is_named else "nothing says otherwise"


def _predictions(path: Path, dataset: Dataset, rows: Sequence[Row], *, is_e: bool) -> Predictions:
    read: list[Prediction] = []
    classes: tuple[str, ...] = ()
    for row in rows:
        answers = checked_answers(row, dataset)
        classes = row.texts_or_none("all_classes")
        length = row.whole_number("length") if is_e else None
        read.append(Prediction(line=row.line, text=row.text("pred"), answers=answers, length=length))
    if dataset.metric == "classification" and not classes:
        raise TaskError(
            f"{path}, line {read[-1].line}: field 'all_classes' must be a list of texts for a dataset of classes, got "
            "None. Take it from the data."
        )
    return Predictions(path=path, dataset=dataset, rows=tuple(read), classes=classes)
