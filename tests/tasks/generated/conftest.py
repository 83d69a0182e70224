"""Every generator of this package as an endless stream of texts, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from longbench_run.tasks.documents import paragraphs
from longbench_run.tasks.generated.code import Definition, classes, functions
from longbench_run.tasks.generated.few_shot import FewShot, dialogues, labelled_items, trivia, typed_questions
from longbench_run.tasks.generated.pairs import pairs
from longbench_run.tasks.generated.paragraphs import repeating_paragraphs
from longbench_run.tasks.generated.passages import Passage, passages, two_hop
from longbench_run.tasks.generated.reports import meeting, report


def told(passage: Passage) -> str:
    asked = [f"{q.question} {' '.join(q.answers)} {q.statement}" for q in passage.questions]
    return "\n".join([passage.title, passage.text, *asked])


def written(each: Definition) -> str:
    return "\n".join([each.path, each.imported, each.source, each.caller, each.call])


def shown(shots: FewShot) -> Iterator[str]:
    return (f"{example.text}\n{example.label}" for example in chain([shots.asked], shots.examples))


def hops(seed, index, split, wording):
    question, stream = two_hop(seed, index, split=split, wording=wording)
    return chain([f"{question.question} {question.statement}"], map(told, stream))


def sections(seed, index, split):
    whole = report(seed, index, split=split)
    return (section.text for section in chain(whole.findings, whole.background))


GENERATORS: dict[str, Callable[[int, int, str], Iterator[str]]] = {
    "regular passages": lambda s, i, split: map(told, passages(s, i, split=split)),
    "varied passages": lambda s, i, split: map(told, passages(s, i, split=split, wording="varied")),
    "regular two hops": lambda s, i, split: hops(s, i, split, "regular"),
    "varied two hops": lambda s, i, split: hops(s, i, split, "varied"),
    "pairs of words": lambda s, i, split: map(" ".join, pairs(s, i, split=split)),
    "pairs of uuids": lambda s, i, split: map(" ".join, pairs(s, i, split=split, kind="uuid")),
    "typed questions": lambda s, i, split: shown(typed_questions(s, i, split=split)),
    "labelled items": lambda s, i, split: shown(labelled_items(s, i, split=split)),
    "dialogues": lambda s, i, split: shown(dialogues(s, i, split=split)),
    "trivia": lambda s, i, split: shown(trivia(s, i, split=split)),
    "repeating paragraphs": lambda s, i, split: repeating_paragraphs(s, i, split=split),
    "reports": sections,
    "meetings": lambda s, i, split: (f"{m.text}\n{m.question.question}" for m in meeting(s, i, split=split)),
    "functions": lambda s, i, split: map(written, functions(s, i, split=split)),
    "classes": lambda s, i, split: map(written, classes(s, i, split=split)),
    "documents": lambda s, i, split: paragraphs(s, i, split=split),
}
"""What it makes -> (seed, index, split) -> its texts, without end, questions and answers included."""


@pytest.fixture(params=GENERATORS)
def generator(request) -> Callable[[int, int, str], Iterator[str]]:
    """Return each generator in turn."""
    return GENERATORS[request.param]


@pytest.fixture(scope="session")
def generators() -> dict[str, Callable[[int, int, str], Iterator[str]]]:
    """Return all of them."""
    return GENERATORS
