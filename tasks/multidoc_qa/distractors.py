"""The documents around a gold one: enough of them, none that answers, none twice."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from longbench_run.tasks.multidoc_qa.questions import Document, Question


@dataclass(slots=True, kw_only=True)
class Distractors:
    """Distractors of one question, drawn as far as they are needed.

    Args:
        question: The question; its own distractors come first.
        others: Further documents; some may answer the question.
        keeps_own: Whether the question's own distractors are all taken, without a look at what they hold.
        order: Shuffles what is shown: two documents stand in the same order however many others there are. None
            leaves them as they were drawn.
    """

    question: Question
    others: Iterable[Document]
    keeps_own: bool
    order: random.Random | None
    _drawn: list[Document] = field(default_factory=list, init=False)
    _priorities: list[float] = field(default_factory=list, init=False)
    _rest: Iterator[Document] = field(init=False)

    def __post_init__(self) -> None:
        """Begin to draw."""
        self._rest = self._usable()

    def first(self, count: int) -> list[Document] | None:
        """Return the first documents in the order shown, None where there are not so many.

        Args:
            count: Documents wanted, at least 0.
        """
        for document in islice(self._rest, max(0, count - len(self._drawn))):
            self._drawn.append(document)
            self._priorities.append(self.order.random() if self.order else 0.0)
        if len(self._drawn) < count:
            return None
        return [self._drawn[place] for place in sorted(range(count), key=self._priorities.__getitem__)]

    def _usable(self) -> Iterator[Document]:
        own = self.question.distractors
        checked = chain(() if self.keeps_own else own, self.others)
        answered = self.question.is_answered_in
        seen = {self.question.gold.text}
        for document in chain(
            own if self.keeps_own else (), (document for document in checked if not answered(document))
        ):
            if document.text not in seen:
                seen.add(document.text)
                yield document
