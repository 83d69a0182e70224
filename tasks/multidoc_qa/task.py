"""Multi-document question answering: one document among many answers the question, at every position in turn."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longbench_run.tasks.base import (
    Generated,
    GenerateRequest,
    Metric,
    Output,
    Sample,
    Score,
    TaskError,
    TaskInfo,
    Tokenizer,
)
from longbench_run.tasks.checks import check_at_least, check_protocol
from longbench_run.tasks.haystacks import Filling, fill, place_of, spanning_order
from longbench_run.tasks.multidoc_qa.distractors import Distractors
from longbench_run.tasks.multidoc_qa.prompts import PROTOCOLS, Prompting, qa_prompt
from longbench_run.tasks.multidoc_qa.questions import (
    Document,
    GeneratedQuestions,
    Question,
    Questions,
    read_questions,
)
from longbench_run.tasks.multidoc_qa.scoring import best_subspan_em, first_line

_POSITIONS, _MAX_NEW_TOKENS = 5, 100

_INFO = TaskInfo(
    name="multidoc_qa",
    version=1,
    summary="Answer a question from one document among distractors, at positions from first to last.",
    source=(
        "Lost in the Middle: Liu et al. 2023, arXiv:2307.03172; prompts and metric of "
        "nelson-liu/lost-in-the-middle. Differs: as many documents as fill the context length, unless documents is given."
    ),
    licence="Apache-2.0 for generated text; MIT for the prompts; given files keep theirs",
    metrics=(
        Metric(name="best_subspan_em", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True),
    ),
    protocols=tuple(PROTOCOLS),
    default_count=100,
    uses_chat_template=True,
    references={name: each.reference for name, each in PROTOCOLS.items() if each.reference is not None},
    parameters={
        "protocol": "litm-v1 (default): question after the documents; -query-aware: also before; -random-order: the "
        "prompt says that the order is random; -closed-book: no documents; -oracle: the gold document alone.",
        "positions": "Positions of the gold document, evenly from first to last; at least 2, default 5.",
        "documents": "Documents in every prompt, as the authors' 10, 20 or 30; default: as many as fit the length.",
        "max_new_tokens": "Answer budget in tokens; at least 1, default 100.",
        "data": "File of questions in the authors' format, .jsonl or .jsonl.gz; default: generated questions.",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultidocQa:
    """Questions x positions of the document that answers, among as many documents as fill the context length.

    With P positions, sample i asks question i // P with the gold document at position k of 0, ..., P - 1, in an order
    that spans the range early, behind floor(k (n - 1) / (P - 1)) of n documents: the authors' own places. Every
    position of a question has the same documents in the same order, but for the gold one: compare positions by
    question. A question whose documents do not fill the length, or which does not fit, has no sample there.

    Distractors are the question's own, then documents of other questions in an order drawn from the seed; none of
    them holds an answer as the metric finds one, and none occurs twice. They are shuffled, the same for every length.
    With ``documents`` the question's own distractors are all taken, in their order, as the authors do: 20 of their
    20-document file give their prompts to the byte.

    Protocols with a fixed number of documents (closed book: none; oracle: the gold one) have no position: sample i
    asks question i, among them every question that the others ask. Closed book is the floor of what the documents
    add, oracle the ceiling.

    Args:
        protocol: ``litm-v1``, ``litm-v1-query-aware``, ``litm-v1-random-order``, ``litm-v1-closed-book`` or
            ``litm-v1-oracle``.
        positions: Positions P of the gold document, at least 2; None for 5. Not where the protocol fixes the documents.
        documents: Documents n in every prompt, at least P; None for as many as fit. Not where the protocol fixes them.
        max_new_tokens: Answer budget in tokens, at least 1.
        data: File in the authors' format; None for generated questions.

    Raises:
        TaskError: If a parameter is out of range or of another protocol, or the file cannot be read.
    """

    protocol: str = "litm-v1"
    positions: int | None = None
    documents: int | None = None
    max_new_tokens: int = _MAX_NEW_TOKENS
    data: str | None = None
    _questions: Questions = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every parameter and read the questions."""
        check_protocol(_INFO, self.protocol)
        check_at_least("multidoc_qa", "max_new_tokens", self.max_new_tokens, 1, default=_MAX_NEW_TOKENS)
        for name, value in (("positions", self.positions), ("documents", self.documents)):
            if value is not None and self._prompting.documents is not None:
                raise TaskError(
                    f"multidoc_qa: {name} must be left out with protocol={self.protocol}, got {value!r}. "
                    "It says itself which documents are shown."
                )
        if self.positions is not None:
            check_at_least("multidoc_qa", "positions", self.positions, 2, default=_POSITIONS)
        if self.documents is not None and self.documents < self._depths:
            raise TaskError(
                f"multidoc_qa: documents must be at least positions={self._depths}, got {self.documents!r}. "
                "Raise it, or ask for fewer positions."
            )
        source = GeneratedQuestions() if self.data is None else read_questions(Path(self.data))
        object.__setattr__(self, "_questions", source)

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics, and the source with that of the questions."""
        return dataclasses.replace(_INFO, source=f"{_INFO.source} {self._questions.origin}")

    @property
    def _prompting(self) -> Prompting:
        return PROTOCOLS[self.protocol]

    @property
    def _fixed_documents(self) -> int | None:
        """Documents in every prompt, None for as many as fit."""
        return self.documents if self._prompting.documents is None else self._prompting.documents

    @property
    def _depths(self) -> int:
        """Samples per question: its positions, 1 where it has none."""
        return 1 if self._prompting.documents is not None else self.positions or _POSITIONS

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what the protocol leaves open, and which questions, as a hash where they were given."""
        own = {} if self._depths == 1 else {"positions": self._depths, "documents": self.documents}
        return {"questions": self._questions.fingerprint, "max_new_tokens": self.max_new_tokens, **own}

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return the tokens of the longest prompt with one document per position, or ``documents``, plus the budget."""
        documents = self._fewest_documents
        places = {place_of(step, depths=self._depths, pieces=documents) for step in range(self._depths)}

        def tokens(text: str) -> int:
            return len(tokenizer.encode(text, add_special_tokens=False))

        longest = max(
            len(self._encode(tokenizer, question, shown[1:], shown[:1], place))
            for question, shown in self._questions.longest(documents, tokens)
            for place in places
        )
        return longest + self.max_new_tokens

    @property
    def _fewest_documents(self) -> int:
        return self._depths if self._fixed_documents is None else self._fixed_documents

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to count-1, without those that the data has not.

        Args:
            context_length: Prompt plus answer budget, in model tokens with special tokens. Never exceeded.
            count: Samples wanted; a multiple of the positions asks every question at each of them.
            seed: Seed of generated questions, and of which other documents are drawn.
            tokenizer: The model's tokenizer.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length`.
        """
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"multidoc_qa: context_length must be at least {minimum} with this tokenizer and "
                f"{self._fewest_documents} documents, got {context_length!r}. Ask for a longer one."
            )
        return self._samples(context_length, count, seed, tokenizer)

    def _samples(self, context_length: int, count: int, seed: int, tokenizer: Tokenizer) -> Iterator[Sample]:
        depths, order = self._depths, spanning_order(self._depths)
        for number in range(-(-count // depths)):
            question = self._questions.question(number, seed=seed)
            if question is None:
                return
            filling = self._filling(question, number, seed, context_length - self.max_new_tokens, tokenizer)
            if filling is None:
                continue
            for index, step in enumerate(order[: count - number * depths], start=number * depths):
                yield Sample(
                    index=index,
                    context_length=context_length,
                    request=GenerateRequest(
                        prompt_ids=filling.prompts[step], max_new_tokens=self.max_new_tokens
                    ),
                    target=question.answers[0],
                    answers=question.answers,
                    depth=None if depths == 1 else step / (depths - 1),
                    document=question.name,
                )

    def _filling(
        self, question: Question, number: int, seed: int, budget: int, tokenizer: Tokenizer
    ) -> Filling | None:
        is_shuffled = self.documents is None or self._prompting.is_shuffled
        distractors = Distractors(
            question=question,
            others=self._questions.others(number, seed=seed),
            keeps_own=self.documents is not None,
            order=random.Random(f"{seed}:multidoc_qa:{question.name}:order") if is_shuffled else None,
        )

        def prompt(documents: int, place: int) -> Sequence[int] | None:
            shown = distractors.first(max(0, documents - 1))
            if shown is None:
                return None
            return self._encode(tokenizer, question.text, shown, [question.gold][:documents], place)

        return fill(
            prompt,
            depths=self._depths,
            budget=budget,
            at_least=self._fewest_documents,
            at_most=self._fixed_documents,
        )

    def _encode(
        self,
        tokenizer: Tokenizer,
        question: str,
        distractors: Sequence[Document],
        gold: Sequence[Document],
        place: int,
    ) -> list[int]:
        documents = [*distractors[:place], *gold, *distractors[place:]]
        return tokenizer.encode_chat(qa_prompt(self._prompting.template, question, documents))

    def score(self, sample: Sample, output: Output) -> Score:
        """Look for an answer in the first line of the output."""
        if not isinstance(output, Generated):
            raise TypeError(f"multidoc_qa scores Generated, got {type(output).__name__}")
        prediction = first_line(output.text)
        return Score(
            scores={"best_subspan_em": best_subspan_em(prediction, sample.answers)}, prediction=prediction
        )

    def group_key(self, *, context_length: int, index: int) -> str:
        """One question after the other: its prompts begin alike, each up to where the answer stands."""
        return f"{context_length}:{index // self._depths}"
