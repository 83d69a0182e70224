"""best_subspan_em, and the score of a file of predictions in the public format of Lost in the Middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longbench_run.tasks.answers import normalised
from longbench_run.tasks.rows import read_rows

PROTOCOL = "best_subspan_em"
"""The metric alone, of the whole answer."""
FIRST_LINE_PROTOCOL = "best_subspan_em_first_line"
"""The metric of the answer's first line, as the authors' script and paper have it: a copied context scores 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScore:
    """Score of one file of predictions."""

    path: Path
    scores: Mapping[str, float]
    """Protocol -> mean over the rows, 0 to 1."""
    samples: int
    empty: int
    """Rows whose prediction has nothing but spaces: scored as the authors do, almost always 0."""


def best_subspan_em(prediction: str, answers: Sequence[str]) -> float:
    """Return 1 if a normalised answer stands anywhere in a normalised prediction, else 0.

    Args:
        prediction: What a model wrote.
        answers: Every right answer.

    Source: Liu et al. 2023, arXiv:2307.03172; nelson-liu/lost-in-the-middle, ``metrics.py``.
    """
    text = normalised(prediction)
    return float(any(normalised(answer) in text for answer in answers))


def first_line(prediction: str) -> str:
    r"""Return what the authors' ``evaluate_qa_responses.py`` scores: everything before the first newline.

    A prediction that begins with a newline has an empty one, and scores 0.
    """
    return prediction.split("\n", maxsplit=1)[0].strip()


def score_file(path: Path) -> FileScore:
    """Score a file of predictions: one row per question, with ``model_answer`` and ``answers``.

    Args:
        path: JSON Lines, gzipped or not.

    Raises:
        TaskError: If the file, a line or a field cannot be read.
    """
    whole, first, empty = [], [], 0
    for row in read_rows(path):
        prediction, answers = row.text("model_answer"), row.texts("answers")
        whole.append(best_subspan_em(prediction, answers))
        first.append(best_subspan_em(first_line(prediction), answers))
        empty += not prediction.strip()
    samples = len(whole)
    scores = {PROTOCOL: sum(whole) / samples, FIRST_LINE_PROTOCOL: sum(first) / samples}
    return FileScore(path=path, scores=scores, samples=samples, empty=empty)
