"""`longbench-run score`: predictions that are there already, scored as the task's authors do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from longbench_run.tasks.longbench.predictions import PredictionFolder
    from longbench_run.tasks.longbench.scoring import Average, DatasetScore


def score(found: argparse.Namespace) -> int:
    """Score prediction files: the scores on stdout, what must be known about them on stderr.

    Args:
        found: The parsed command line.

    Raises:
        ConfigError: If a flag is not one of the task's.
        TaskError: With one line, whatever is wrong with the files; nothing was printed then.
    """
    scored, notes = {"longbench": _longbench, "multidoc_qa": _multidoc_qa}[found.task](found)
    sys.stdout.write(scored)
    sys.stderr.write("".join(f"{note}\n" for note in notes))
    return 0


def _longbench(found: argparse.Namespace) -> tuple[str, list[str]]:
    from longbench_run.tasks.longbench.predictions import check_against_data, read_folder
    from longbench_run.tasks.longbench.scoring import averages, score_folder

    if len(found.predictions) > 1:
        raise ConfigError(
            f"PATH: must be one folder for longbench, got {len(found.predictions)} paths. Score each by itself."
        )
    folder = read_folder(Path(found.predictions[0]), is_e=found.e)
    if found.data_dir is not None:
        check_against_data(folder, Path(found.data_dir))
    scores = list(score_folder(folder))
    means = averages(scores, is_e=folder.is_e)
    text = _longbench_json(folder, scores, means) if found.json else _longbench_text(folder, scores, means)
    return text, _longbench_notes(folder, scores, checked=found.data_dir is not None)


def _longbench_json(
    folder: PredictionFolder, scores: Sequence[DatasetScore], means: Sequence[Average]
) -> str:
    """Return ``result.json``, the keys of whose datasets stand first, and what it leaves out."""
    from longbench_run.tasks.longbench.datasets import PROTOCOL

    categories: dict[str, dict[str, Any]] = {}
    overall: dict[str, Any] = {}
    for mean in means:
        if mean.category is None:
            overall[mean.language] = _rounded(mean.score)
        else:
            categories.setdefault(mean.language, {})[mean.category] = _rounded(mean.score)
    document = {score.dataset.name: score.score for score in scores} | {
        "protocol": PROTOCOL,
        "benchmark": _benchmark(folder),
        "categories": categories,
        "average": overall,
        "samples": {score.dataset.name: len(score.values) for score in scores},
        "empty_predictions": {score.dataset.name: score.empty for score in scores},
        "past_recursion_limit": {score.dataset.name: score.past_recursion_limit for score in scores},
    }
    return json.dumps(document, indent=4) + "\n"


def _longbench_text(
    folder: PredictionFolder, scores: Sequence[DatasetScore], means: Sequence[Average]
) -> str:
    from longbench_run.tasks.longbench.datasets import BUCKETS, PROTOCOL

    columns = tuple(BUCKETS) if folder.is_e else ("score",)
    lines = [f"{_benchmark(folder)} ({folder.why}), protocol {PROTOCOL}, 0 to 100, higher is better\n\n"]
    lines += _table(
        ("dataset", "metric", "n", *columns),
        [(s.dataset.name, s.dataset.metric, str(len(s.values)), *_cells(s.score, columns)) for s in scores],
    )
    rows = []
    for mean in means:
        if not mean.present:
            continue
        name = "average of the categories" if mean.category is None else mean.category
        of = f"{mean.present} of {mean.expected}"
        rows.append((name, mean.language, of, *_cells(_rounded(mean.score), columns)))
    lines += ["\n", *_table(("category", "language", "parts", *columns), rows)]
    return "".join(lines)


def _longbench_notes(folder: PredictionFolder, scores: Sequence[DatasetScore], *, checked: bool) -> list[str]:
    notes = []
    for file in folder.files:
        size = file.dataset.size_e if folder.is_e else file.dataset.size
        if len(file.rows) != size and not checked:
            notes.append(
                f"{file.path}: {len(file.rows)} predictions, {_benchmark(folder)} has {size}: "
                "the score is of what is there, and no published one compares with it."
            )
    empty = {score.dataset.name: score.empty for score in scores if score.empty}
    if empty:
        notes.append(f"Empty predictions, scored as the authors do: {_counts(empty)}.")
    deep = {s.dataset.name: s.past_recursion_limit for s in scores if s.past_recursion_limit}
    if deep:
        notes.append(
            "Predictions so long that the authors' scorer would probably have run out of recursion and counted 0; "
            f"here they have their score: {_counts(deep)}."
        )
    return notes


def _multidoc_qa(found: argparse.Namespace) -> tuple[str, list[str]]:
    from longbench_run.tasks.multidoc_qa.scoring import FIRST_LINE_PROTOCOL, PROTOCOL, score_file

    for flag, value in (("--e", found.e), ("--data-dir", found.data_dir)):
        if value is not None:
            raise ConfigError(f"{flag}: must be left out for multidoc_qa, got {value!r}. It is longbench's.")
    scores = [score_file(Path(path)) for path in found.predictions]
    protocols = (PROTOCOL, FIRST_LINE_PROTOCOL)
    if found.json:
        files = [
            {"file": str(s.path), **s.scores, "samples": s.samples, "empty_predictions": s.empty}
            for s in scores
        ]
        text = json.dumps({"protocols": protocols, "files": files}, indent=4) + "\n"
    else:
        rows = [(str(s.path), str(s.samples), *(repr(s.scores[name]) for name in protocols)) for s in scores]
        text = (
            f"multidoc_qa, protocols {PROTOCOL} (whole answer) and {FIRST_LINE_PROTOCOL} (the authors' script and "
            "paper), 0 to 1, higher is better\n\n"
        ) + "".join(_table(("file", "n", *protocols), rows, left=1))
    empty = {s.path.name: s.empty for s in scores if s.empty}
    return text, [f"Empty predictions, scored as the authors do: {_counts(empty)}."] if empty else []


def _benchmark(folder: PredictionFolder) -> str:
    return "LongBench-E" if folder.is_e else "LongBench"


def _rounded(score: float | Mapping[str, float | None] | None) -> Any:
    """Round to the two decimals of everything printed; a part that is missing stays missing."""
    if isinstance(score, Mapping):
        return {name: _rounded(value) for name, value in score.items()}
    return None if score is None else round(score, 2)


def _cells(score: float | Mapping[str, float | None] | None, columns: Sequence[str]) -> list[str]:
    values = [score.get(name) for name in columns] if isinstance(score, Mapping) else [score] * len(columns)
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 2) -> list[str]:
    """Return lines in columns, the first ``left`` of them flush left."""
    cells = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in cells
    ]
