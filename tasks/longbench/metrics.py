"""The metrics of LongBench v1 and one more, each a function of a prediction and one answer: 0 to 1, higher is better.

Source: THUDM/LongBench, ``metrics.py``; written from a description of what it computes, its quirks included, and
compared with its score of every prediction in tests/tasks/longbench.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from importlib import import_module
from typing import Any

from longbench_run.tasks.answers import normalised
from longbench_run.tasks.longbench.datasets import MetricName
from longbench_run.tasks.longbench.rouge import rouge_l

Cut = Callable[[str], Sequence[str]]
"""Cuts Chinese text into words."""

# No left double angle bracket: `metrics.py` has only the right one, and scores follow it.
_CHINESE_PUNCTUATION = (
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】"  # noqa: RUF001
    "〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."  # noqa: RUF001
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + _CHINESE_PUNCTUATION)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What some metrics need beside the two texts."""

    classes: Sequence[str] = ()
    """Every class of the dataset, where it has classes."""
    cut: Cut | None = None
    """Cuts Chinese text into words; None where no dataset needs it."""

    def words(self, text: str) -> Sequence[str]:
        """Cut Chinese text into words."""
        if self.cut is None:
            raise RuntimeError("a metric of Chinese words was called without what cuts them")
        return self.cut(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Metric of one prediction against one answer."""

    value: float
    past_recursion_limit: bool = False
    """Whether the authors' scorer would probably have failed on it, and given 0 instead."""


def first_line(prediction: str) -> str:
    r"""Return the first line of a prediction, leading newlines (and nothing else) left out."""
    return prediction.lstrip("\n").split("\n")[0]


def qa_f1(prediction: str, answer: str, given: Given) -> Value:
    """Return the F1 of the words of two normalised texts, each counted as often as it occurs."""
    return Value(value=_f1(normalised(prediction).split(), normalised(answer).split()))


def qa_f1_zh(prediction: str, answer: str, given: Given) -> Value:
    """Return the F1 of Chinese words: cut first, then normalised one by one, empty ones dropped."""
    return Value(value=_f1(_chinese_words(prediction, given), _chinese_words(answer, given)))


def rouge(prediction: str, answer: str, given: Given) -> Value:
    """Return ROUGE-L as the `rouge` package computes it."""
    found = rouge_l(prediction, answer)
    return Value(value=found.value, past_recursion_limit=found.past_recursion_limit)


def rouge_zh(prediction: str, answer: str, given: Given) -> Value:
    """Return ROUGE-L of Chinese words; without ASCII full stops a whole text is one sentence."""
    return rouge(" ".join(given.words(prediction)), " ".join(given.words(answer)), given)


def classification(prediction: str, answer: str, given: Given) -> Value:
    """Return 1 over the number of classes that a prediction names, if the right one is among them.

    Classes that are a part of the right one's name are to be left out, but the authors remove from the list that
    they walk through: after each removal the next class is not looked at, and may stay.
    """
    named = [name for name in given.classes if name in prediction]
    index = 0
    while index < len(named):
        name = named[index]
        if name in answer and name != answer:
            named.remove(name)  # the first of that name, which is not always the one at `index`
        index += 1
    return Value(value=1 / len(named) if answer in named else 0.0)


def retrieval(prediction: str, answer: str, given: Given) -> Value:
    """Return the share of the numbers in a prediction that are the paragraph's."""
    return _share_of_numbers(prediction, re.findall(r"Paragraph (\d+)", answer)[0])


def retrieval_zh(prediction: str, answer: str, given: Given) -> Value:
    """Return the share of the numbers in a prediction that are the Chinese paragraph's."""
    return _share_of_numbers(prediction, re.findall(r"段落(\d+)", answer)[0])


def count(prediction: str, answer: str, given: Given) -> Value:
    """Return the share of the numbers in a prediction that are the right count."""
    return _share_of_numbers(prediction, answer)


def code_sim(prediction: str, answer: str, given: Given) -> Value:
    """Return how similar the first line of code is to the right one, in whole percent.

    The line is the first without a backquote, ``#`` or ``//``, leading newlines left out: an empty one between counts.

    Source: fuzzywuzzy 0.18, ``fuzz.ratio`` over difflib, which is what LongBench's requirements install; with
    python-Levenshtein beside it, a third of the lines get another value.
    """
    lines = prediction.lstrip("\n").split("\n")
    code = next((line for line in lines if not any(mark in line for mark in ("`", "#", "//"))), "")
    return Value(value=round(100 * SequenceMatcher(None, code, answer).ratio()) / 100)


def rouge_score_l(prediction: str, answer: str, given: Given) -> Value:
    """Return the F of ROUGE-L as the package `rouge-score` computes it by default, as for summaries elsewhere."""
    return Value(value=float(_rouge_scorer().score(answer, prediction)["rougeL"].fmeasure))


@cache
def _rouge_scorer() -> Any:
    # The package takes a second to import.
    return import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"])


METRICS: Mapping[MetricName, Callable[[str, str, Given], Value]] = {
    "qa_f1": qa_f1,
    "qa_f1_zh": qa_f1_zh,
    "rouge_l": rouge,
    "rouge_l_zh": rouge_zh,
    "classification": classification,
    "retrieval": retrieval,
    "retrieval_zh": retrieval_zh,
    "count": count,
    "code_sim": code_sim,
    "rouge_score_l": rouge_score_l,
}
CUTS_CHINESE: frozenset[MetricName] = frozenset({"qa_f1_zh", "rouge_l_zh"})
"""Metrics that need `Given.cut`."""
ANSWER_FORM: Mapping[MetricName, tuple[re.Pattern[str], str]] = {
    "retrieval": (re.compile(r"Paragraph \d+"), "Paragraph 7"),
    "retrieval_zh": (re.compile(r"段落\d+"), "段落7"),
}
"""Metric -> what its answers must contain, and an example: without it there is nothing to compare with."""


def _f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    same = (Counter(predicted) & Counter(expected)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(expected)
    return (2 * precision * recall) / (precision + recall)


def _chinese_words(text: str, given: Given) -> list[str]:
    words = ("".join(word.lower().translate(_NO_PUNCTUATION).split()) for word in given.words(text))
    return [word for word in words if word]


def _share_of_numbers(prediction: str, right: str) -> Value:
    """Compare numbers as they are written: 07 is not 7."""
    numbers = _NUMBER.findall(prediction)
    return Value(value=numbers.count(right) / len(numbers) if numbers else 0.0)
