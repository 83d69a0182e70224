"""The 21 datasets of LongBench v1 and the 13 of LongBench-E: one table of values, which no code asks for a name.

Source: Bai et al. 2023, arXiv:2308.14508; THUDM/LongBench, ``eval.py``, ``pred.py``, ``config/dataset2maxlen.json``,
``task.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh", "code"]
MetricName = Literal[
    "qa_f1", "qa_f1_zh", "rouge_l", "rouge_l_zh", "classification", "retrieval", "retrieval_zh", "count", "code_sim",
    "rouge_score_l",
]  # fmt: skip
"""The last one is no metric of LongBench: it is for summaries of other sources."""
EvidenceKind = Literal["answer", "paragraph", "everything"]
"""What an answer rests on: a place that says it, the paragraph it names, or the whole context."""

PROTOCOL = "longbench-v1"
_SINGLE, _MULTI, _SUMMARIES = "single-doc QA", "multi-doc QA", "summarization"
_FEW_SHOT, _SYNTHETIC, _CODE = "few-shot", "synthetic", "code"
CATEGORIES = (_SINGLE, _MULTI, _SUMMARIES, _FEW_SHOT, _SYNTHETIC, _CODE)
LANGUAGES = ("en", "zh")
"""What the authors average over; code counts for both."""
BUCKETS: Mapping[str, float] = {"0-4k": 4000, "4-8k": 8000, "8k+": float("inf")}
"""Name of a LongBench-E bucket -> the ``length`` (in words) that it ends before, as in ``eval.py``."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of LongBench; its fields are the columns of the table below."""

    name: str
    category: str
    language: Language
    """The authors average code with the English and with the Chinese datasets."""
    metric: MetricName
    max_new_tokens: int
    """Answer budget in tokens, ``config/dataset2maxlen.json``."""
    size: int
    """Rows of the published data."""
    size_e: int | None
    """Rows of its LongBench-E variant, None where there is none."""
    first_line: bool
    """Whether only the first line of a prediction is scored, leading newlines left out."""
    uses_chat_template: bool
    """Whether prompts are wrapped as a turn of a chat: not where examples or code are to be continued."""
    ends_at_newline: bool
    """Whether a newline ends an answer, which then has at least one token before it."""
    evidence: EvidenceKind | None
    """What must have survived truncation, None where that cannot be told."""

    @property
    def is_question_answering(self) -> bool:
        """Whether its rows are questions, which somebody could answer who has never seen the text."""
        return self.category in (_SINGLE, _MULTI)


def categories_of(known: Mapping[str, Dataset], language: str) -> Mapping[str, tuple[str, ...]]:
    """Return category -> names of the datasets that the authors average for a language.

    Args:
        known: Name -> dataset.
        language: One of `LANGUAGES`.

    Source: THUDM/LongBench, README, the leaderboard's columns.
    """
    return {
        category: tuple(
            name
            for name, row in known.items()
            if row.category == category and row.language in (language, "code")
        )
        for category in CATEGORIES
    }


def bucket_of(length: int) -> str:
    """Return the LongBench-E bucket of a row.

    Args:
        length: The row's ``length``, in words.
    """
    return next(name for name, end in BUCKETS.items() if length < end)


_Columns = tuple[str, str, Language, MetricName, int, int, int | None, bool, bool, bool, EvidenceKind | None]
_TABLE: tuple[_Columns, ...] = (
    # name, category, language, metric, max_new_tokens, size, size_e, first_line, uses_chat_template, ends_at_newline,
    # evidence
    ("narrativeqa", _SINGLE, "en", "qa_f1", 128, 200, None, False, True, False, "answer"),
    ("qasper", _SINGLE, "en", "qa_f1", 128, 200, 224, False, True, False, "answer"),
    ("multifieldqa_en", _SINGLE, "en", "qa_f1", 64, 150, 150, False, True, False, "answer"),
    ("multifieldqa_zh", _SINGLE, "zh", "qa_f1_zh", 64, 200, None, False, True, False, "answer"),
    ("hotpotqa", _MULTI, "en", "qa_f1", 32, 200, 300, False, True, False, "answer"),
    ("2wikimqa", _MULTI, "en", "qa_f1", 32, 200, 300, False, True, False, "answer"),
    ("musique", _MULTI, "en", "qa_f1", 32, 200, None, False, True, False, "answer"),
    ("dureader", _MULTI, "zh", "rouge_l_zh", 128, 200, None, False, True, False, "answer"),
    ("gov_report", _SUMMARIES, "en", "rouge_l", 512, 200, 300, False, True, False, None),
    ("qmsum", _SUMMARIES, "en", "rouge_l", 512, 200, None, False, True, False, None),
    ("multi_news", _SUMMARIES, "en", "rouge_l", 512, 200, 294, False, True, False, None),
    ("vcsum", _SUMMARIES, "zh", "rouge_l_zh", 512, 200, None, False, True, False, None),
    ("trec", _FEW_SHOT, "en", "classification", 64, 200, 300, True, False, False, None),
    ("triviaqa", _FEW_SHOT, "en", "qa_f1", 32, 200, 300, True, False, False, "answer"),
    ("samsum", _FEW_SHOT, "en", "rouge_l", 128, 200, 300, True, False, True, None),
    ("lsht", _FEW_SHOT, "zh", "classification", 64, 200, None, True, False, False, None),
    ("passage_count", _SYNTHETIC, "en", "count", 32, 200, 300, False, True, False, "everything"),
    ("passage_retrieval_en", _SYNTHETIC, "en", "retrieval", 32, 200, 300, False, True, False, "paragraph"),
    (
        "passage_retrieval_zh",
        _SYNTHETIC,
        "zh",
        "retrieval_zh",
        32,
        200,
        None,
        False,
        True,
        False,
        "paragraph",
    ),
    ("lcc", _CODE, "code", "code_sim", 64, 500, 300, False, False, False, None),
    ("repobench-p", _CODE, "code", "code_sim", 64, 500, 300, False, False, False, None),
)

DATASETS: Mapping[str, Dataset] = {row[0]: Dataset(*row) for row in _TABLE}
"""Name -> dataset, in the order of the paper's table."""
DATASETS_E: Mapping[str, Dataset] = {n: row for n, row in DATASETS.items() if row.size_e is not None}
"""The 13 that LongBench-E has."""
OF_E = "_e"
"""What LongBench-E appends to the names of its datasets."""
VARIANTS: Mapping[str, Dataset] = {**DATASETS, **{f"{n}{OF_E}": row for n, row in DATASETS_E.items()}}
"""Name of a data file -> dataset, LongBench-E's among them."""
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "all": tuple(DATASETS),
    "en": tuple(n for n, row in DATASETS.items() if row.language != "zh"),
    "zh": tuple(n for n, row in DATASETS.items() if row.language == "zh"),
    "e": tuple(f"{n}{OF_E}" for n in DATASETS_E),
}
"""Name of several data files -> theirs; ``en`` has code too."""
