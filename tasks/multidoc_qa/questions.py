"""Questions with one document that answers them and others that do not: generated, or read from a file."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, Protocol

from longbench_run.tasks.answers import normalised
from longbench_run.tasks.base import TaskError
from longbench_run.tasks.generated.passages import Passage, passages
from longbench_run.tasks.rows import Row, read_rows

PASSAGES_VERSION = 1
"""Raised whenever a generated question or document changes: numbers on other texts are other numbers."""

_PROBED_SEEDS = 256
_MOST_ENCODED = 64
_MOST_LONGEST = 4

Tokens = Callable[[str], int]
"""From a text to its number of tokens."""


@dataclass(frozen=True)
class Document:
    """A search result. No slots: what is cached needs a place."""

    title: str
    text: str

    @cached_property
    def normalised(self) -> str:
        """Title and text as the metric compares them."""
        return normalised(self.whole)

    @property
    def whole(self) -> str:
        """Title and text."""
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and the documents that came with it."""

    name: str
    """The unit of resampling; no path."""
    text: str
    answers: tuple[str, ...]
    gold: Document
    """The document that holds an answer."""
    distractors: tuple[Document, ...] = ()
    """Documents retrieved for this question that do not answer it, the most relevant first."""

    def is_answered_in(self, document: Document) -> bool:
        """Say whether a document holds an answer, as the metric finds one: anywhere, even inside a word.

        An answer of nothing but punctuation or articles is left out: it would be everywhere.
        """
        return any(answer and answer in document.normalised for answer in map(normalised, self.answers))


class Longest(NamedTuple):
    """What makes a prompt that is longer than hardly any."""

    question: str
    documents: Sequence[Document]

    def size(self, measure: Callable[[str], int]) -> int:
        """Return the sum of the sizes of question and documents."""
        return measure(self.question) + sum(measure(document.whole) for document in self.documents)


class Questions(Protocol):
    """Questions in a fixed order, and further documents."""

    @property
    def fingerprint(self) -> str:
        """Text that changes when any question or document does."""
        ...

    @property
    def origin(self) -> str:
        """What a report says of where they come from."""
        ...

    def question(self, index: int, *, seed: int) -> Question | None:
        """Return question ``index``, None behind the last."""
        ...

    def others(self, index: int, *, seed: int) -> Iterator[Document]:
        """Yield further documents for question ``index``, in an order drawn from the seed; some may answer it."""
        ...

    def longest(self, documents: int, tokens: Tokens) -> Sequence[Longest]:
        """Return questions with as many documents as are asked for, such that hardly any sample is longer."""
        ...


@dataclass(frozen=True, slots=True)
class GeneratedQuestions:
    """Endlessly many generated questions about things that do not exist."""

    fingerprint: str = f"generated-{PASSAGES_VERSION}"
    origin: str = "Questions and documents: generated."

    def question(self, index: int, *, seed: int) -> Question:
        """Return question ``index`` of a seed."""
        passage = next(passages(seed, index))
        asked = passage.questions[0]
        return Question(
            name=f"generated-{seed}-{index}",
            text=asked.question,
            answers=asked.answers,
            gold=_document(passage),
        )

    def others(self, index: int, *, seed: int) -> Iterator[Document]:
        """Yield documents about other things, without end."""
        return map(_document, islice(passages(seed, index), 1, None))

    def longest(self, documents: int, tokens: Tokens) -> Sequence[Longest]:
        """Return the longest of many questions, a sentence longer, with the longest of many documents, repeated."""
        probed = _probed_passages()
        asked = max((fact.question for passage in probed for fact in passage.questions), key=tokens)
        sentence = max((fact.statement for passage in probed for fact in passage.questions), key=tokens)
        document = max(map(_document, probed), key=lambda document: tokens(document.whole))
        return [Longest(f"{asked} {sentence}", [document] * documents)]


@cache
def _probed_passages() -> tuple[Passage, ...]:
    return tuple(next(passages(seed, 0)) for seed in range(_PROBED_SEEDS))


def _document(passage: Passage) -> Document:
    return Document(passage.title, passage.text)


@dataclass(frozen=True)
class FileQuestions:
    """The questions of a file, whatever the seed, in its order. No slots: what is cached needs a place."""

    questions: tuple[Question, ...]
    fingerprint: str

    @property
    def origin(self) -> str:
        """Say which file by its content."""
        return f"Questions and documents: a file of {len(self.questions)} rows ({self.fingerprint[:19]})."

    def question(self, index: int, *, seed: int) -> Question | None:
        """Return question ``index``, None behind the last."""
        return self.questions[index] if index < len(self.questions) else None

    def others(self, index: int, *, seed: int) -> Iterator[Document]:
        """Yield the documents of other questions, each once."""
        own = self.questions[index]
        draw = random.Random(f"{seed}:multidoc_qa:{own.name}:others")
        for document in draw.sample(self._pool, len(self._pool)):
            if document != own.gold and document not in own.distractors:
                yield document

    def longest(self, documents: int, tokens: Tokens) -> Sequence[Longest]:
        """Return the questions whose first documents are the longest, filled up with the longest of all."""
        filler = sorted(self._pool, key=lambda document: len(_bytes(document.whole)), reverse=True)[
            :documents
        ]
        shown = [
            Longest(question.text, [question.gold, *question.distractors, *filler][:documents])
            for question in self.questions
        ]
        # Bytes first: tokens are nearly proportional to them, and encoding a whole file takes long.
        by_bytes = sorted(shown, key=lambda entry: entry.size(lambda text: len(_bytes(text))), reverse=True)
        by_tokens = sorted(by_bytes[:_MOST_ENCODED], key=lambda entry: entry.size(tokens), reverse=True)
        return by_tokens[:_MOST_LONGEST]

    @cached_property
    def _pool(self) -> Sequence[Document]:
        """Every document of the file once, in the file's order."""
        every = chain.from_iterable((question.gold, *question.distractors) for question in self.questions)
        return tuple(dict.fromkeys(every))


def read_questions(path: Path) -> FileQuestions:
    """Read a file in the format of Lost in the Middle.

    A row has ``question``, ``answers`` and ``ctxs``, a list of documents with ``title``, ``text`` and ``isgold``, true
    for one of them. Where the gold document stands in the file does not matter: files that differ in nothing else give
    the same samples.

    Args:
        path: JSON Lines; gzipped if its name ends with ``.gz``.

    Raises:
        TaskError: If the file, a row or a field cannot be read, or a row has not one gold document.
    """
    questions = tuple(_question(number, row) for number, row in enumerate(read_rows(path)))
    return FileQuestions(questions, _fingerprint(questions))


def _question(number: int, row: Row) -> Question:
    gold: list[Document] = []
    distractors: list[Document] = []
    for entry in row.rows("ctxs"):
        document = Document(entry.text("title"), entry.text("text"))
        (gold if entry.truth("isgold") else distractors).append(document)
    if len(gold) != 1:
        raise TaskError(
            f"{row.path}, line {row.line}: field 'ctxs' must hold one document with isgold true, got {len(gold)}. "
            "Mend the line."
        )
    return Question(
        name=f"question-{number}",
        text=row.text("question"),
        answers=row.texts("answers"),
        gold=gold[0],
        distractors=tuple(distractors),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _fingerprint(questions: Iterable[Question]) -> str:
    digest = hashlib.sha256()
    for question in questions:
        documents = [(document.title, document.text) for document in (question.gold, *question.distractors)]
        digest.update(json.dumps([question.text, question.answers, documents]).encode())
    return f"sha256:{digest.hexdigest()}"
