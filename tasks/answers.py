"""The normalisation of SQuAD, which several benchmarks compare answers under."""

from __future__ import annotations

import re
import string

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalised(text: str) -> str:
    """Return an answer in lower case, without ASCII punctuation and articles, its spaces collapsed.

    The order matters: punctuation goes first, so that "a-b" is one word and keeps its "a".

    Args:
        text: An answer or a prediction.

    Source: Rajpurkar et al. 2016, arXiv:1606.05250, evaluation script v1.1.
    """
    words = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return " ".join(words.split())
