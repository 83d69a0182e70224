"""ROUGE-L as the `rouge` package 1.0.1 computes it, which LongBench is scored with, without its recursion.

That is not the ROUGE-L of the package `rouge-score`: sentences end at every full stop, words are compared as they
stand, and each word counts once, however often it occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_RECURSION_LIMIT = 980
"""Steps back through one table that the package survives: Python's 1000 frames, less about 20 below it."""
_EPSILON = 1e-8  # rouge 1.0.1, rouge_score.py, rouge_l_summary_level


@dataclass(frozen=True, slots=True, kw_only=True)
class RougeL:
    """F of one prediction and one answer."""

    value: float
    past_recursion_limit: bool
    """Whether the package would probably have run out of recursion, which LongBench's scorer turns into 0."""


def rouge_l(prediction: str, answer: str) -> RougeL:
    """Return the F of summary-level ROUGE-L.

    Args:
        prediction: What a model wrote.
        answer: The reference.

    Source: pltrdy/rouge 1.0.1, ``Rouge.get_scores`` with its defaults; LongBench turns its exceptions, raised where
    a text has no sentence, into 0. Differs: texts that are too long for its recursion get their value.
    """
    # One and the same sentence has one and the same subsequence, and all of them go into one set of words.
    predicted = {sentence: _Sentence(sentence) for sentence in _sentences(prediction)}
    expected = dict.fromkeys(_sentences(answer))
    if not predicted or not expected:
        return RougeL(value=0.0, past_recursion_limit=False)
    union: set[str] = set()
    longest = 0
    for reference in expected:
        words = reference.split(" ")
        for sentence in predicted.values():
            common, steps = sentence.longest_common_subsequence(words)
            union |= common
            longest = max(longest, steps)
    recall = len(union) / len({word for sentence in expected for word in sentence.split(" ")})
    precision = len(union) / len({word for sentence in predicted for word in sentence.split(" ")})
    # The package's own order of operations: the last bit of F depends on it.
    value = 2.0 * ((precision * recall) / (precision + recall + _EPSILON))
    return RougeL(value=value, past_recursion_limit=longest > _RECURSION_LIMIT)


def _sentences(text: str) -> list[str]:
    """Split at full stops; a stretch of nothing but spaces is a sentence with one word, the empty one."""
    return [" ".join(part.split()) for part in text.split(".") if part]


class _Sentence:
    """A sentence of a prediction, indexed once for every sentence of the answer."""

    def __init__(self, text: str) -> None:
        self._words = text.split(" ")
        self._places: dict[str, int] = {}
        for index, word in enumerate(self._words):
            self._places[word] = self._places.get(word, 0) | 1 << index

    def longest_common_subsequence(self, words: Sequence[str]) -> tuple[set[str], int]:
        """Return the words of the subsequence that the package picks among the longest, and its steps back.

        The table of lengths is kept as one row of bits per word of the answer, one where the length does not grow
        (Hyyrö 2004, bit-parallel LCS): time and memory that a hundred thousand characters do not exhaust.
        """
        places = self._places
        if places.keys().isdisjoint(words):
            return set(), len(self._words)  # every step goes left
        full = (1 << len(self._words)) - 1
        row, rows = full, []
        for word in words:
            matches = row & places.get(word, 0)
            row = ((row + matches) | (row - matches)) & full
            rows.append(row)
        found: set[str] = set()
        i, j, steps = len(words), len(self._words), 0
        while i and j:
            steps += 1
            if words[i - 1] == self._words[j - 1]:
                found.add(words[i - 1])
                i, j = i - 1, j - 1
            elif rows[i - 1] >> (j - 1) & 1:
                j -= 1  # the length is the same one to the left: the package prefers that
            else:
                i -= 1
        return found, steps
