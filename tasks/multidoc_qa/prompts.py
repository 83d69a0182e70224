"""The prompts of Lost in the Middle, to the byte, and the protocols that are made of them.

Source: Liu et al. 2023, arXiv:2307.03172; nelson-liu/lost-in-the-middle@29b8a6d (MIT),
``src/lost_in_the_middle/prompts/*.prompt``, without the newline that ends a file, as its ``prompting.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longbench_run.tasks.base import Reference
from longbench_run.tasks.multidoc_qa.questions import Document

_INSTRUCTION = (
    "Write a high-quality answer for the given question using only the provided search results "
    "(some of which might be irrelevant)."
)
_ENDING = "{search_results}\n\nQuestion: {question}\nAnswer:"

QA = f"{_INSTRUCTION}\n\n{_ENDING}"
QUERY_AWARE = f"{_INSTRUCTION}\n\nQuestion: {{question}}\n\n{_ENDING}"
RANDOM_ORDER = f"{_INSTRUCTION} The search results are ordered randomly.\n\n{_ENDING}"
CLOSED_BOOK = "Question: {question}\nAnswer:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompting:
    """How one protocol asks."""

    template: str
    documents: int | None = None
    """Documents in the prompt, where the protocol fixes them; None where the length or the user does."""
    is_shuffled: bool = False
    """Whether distractors are always in random order."""
    reference: Reference | None = None
    """What it is to the other protocols."""


PROTOCOLS: Mapping[str, Prompting] = {
    "litm-v1": Prompting(template=QA),
    "litm-v1-query-aware": Prompting(template=QUERY_AWARE),
    "litm-v1-random-order": Prompting(template=RANDOM_ORDER, is_shuffled=True),
    "litm-v1-closed-book": Prompting(template=CLOSED_BOOK, documents=0, reference="floor"),
    "litm-v1-oracle": Prompting(template=QA, documents=1, reference="ceiling"),
}
"""Protocol -> how it asks; all decode greedily and score the first line of the answer."""


def qa_prompt(template: str, question: str, documents: Sequence[Document]) -> str:
    """Return a prompt's text.

    Args:
        template: One of this module.
        question: What is asked.
        documents: Search results in the order shown; numbered from 1.
    """
    results = "\n".join(
        f"Document [{number}](Title: {document.title}) {document.text}"
        for number, document in enumerate(documents, start=1)
    )
    return template.format(question=question, search_results=results)
