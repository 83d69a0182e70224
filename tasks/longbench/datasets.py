"""The 21 datasets of LongBench v1 and the 13 of LongBench-E: one table of values, which no code asks for a name.

Source: Bai et al. 2023, arXiv:2308.14508; THUDM/LongBench, ``eval.py``, ``config/dataset2maxlen.json``, ``task.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh", "code"]
MetricName = Literal[
    "qa_f1", "qa_f1_zh", "rouge_l", "rouge_l_zh", "classification", "retrieval", "retrieval_zh", "count", "code_sim"
]  # fmt: skip

PROTOCOL = "longbench-v1"
_SINGLE, _MULTI, _SUMMARIES = "single-doc QA", "multi-doc QA", "summarization"
_FEW_SHOT, _SYNTHETIC, _CODE = "few-shot", "synthetic", "code"
CATEGORIES = (_SINGLE, _MULTI, _SUMMARIES, _FEW_SHOT, _SYNTHETIC, _CODE)
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


def bucket_of(length: int) -> str:
    """Return the LongBench-E bucket of a row.

    Args:
        length: The row's ``length``, in words.
    """
    return next(name for name, end in BUCKETS.items() if length < end)


_TABLE: tuple[tuple[str, str, Language, MetricName, int, int, int | None, bool], ...] = (
    # name, category, language, metric, max_new_tokens, size, size_e, first_line
    ("narrativeqa", _SINGLE, "en", "qa_f1", 128, 200, None, False),
    ("qasper", _SINGLE, "en", "qa_f1", 128, 200, 224, False),
    ("multifieldqa_en", _SINGLE, "en", "qa_f1", 64, 150, 150, False),
    ("multifieldqa_zh", _SINGLE, "zh", "qa_f1_zh", 64, 200, None, False),
    ("hotpotqa", _MULTI, "en", "qa_f1", 32, 200, 300, False),
    ("2wikimqa", _MULTI, "en", "qa_f1", 32, 200, 300, False),
    ("musique", _MULTI, "en", "qa_f1", 32, 200, None, False),
    ("dureader", _MULTI, "zh", "rouge_l_zh", 128, 200, None, False),
    ("gov_report", _SUMMARIES, "en", "rouge_l", 512, 200, 300, False),
    ("qmsum", _SUMMARIES, "en", "rouge_l", 512, 200, None, False),
    ("multi_news", _SUMMARIES, "en", "rouge_l", 512, 200, 294, False),
    ("vcsum", _SUMMARIES, "zh", "rouge_l_zh", 512, 200, None, False),
    ("trec", _FEW_SHOT, "en", "classification", 64, 200, 300, True),
    ("triviaqa", _FEW_SHOT, "en", "qa_f1", 32, 200, 300, True),
    ("samsum", _FEW_SHOT, "en", "rouge_l", 128, 200, 300, True),
    ("lsht", _FEW_SHOT, "zh", "classification", 64, 200, None, True),
    ("passage_count", _SYNTHETIC, "en", "count", 32, 200, 300, False),
    ("passage_retrieval_en", _SYNTHETIC, "en", "retrieval", 32, 200, 300, False),
    ("passage_retrieval_zh", _SYNTHETIC, "zh", "retrieval_zh", 32, 200, None, False),
    ("lcc", _CODE, "code", "code_sim", 64, 500, 300, False),
    ("repobench-p", _CODE, "code", "code_sim", 64, 500, 300, False),
)

DATASETS: Mapping[str, Dataset] = {row[0]: Dataset(*row) for row in _TABLE}
"""Name -> dataset, in the order of the paper's table."""
DATASETS_E: Mapping[str, Dataset] = {n: row for n, row in DATASETS.items() if row.size_e is not None}
"""The 13 that LongBench-E has."""
