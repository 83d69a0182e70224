"""What a task is: samples that carry a request, outputs of the matching type, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


class TaskError(ValueError):
    """A task was asked for something it cannot do; the message is one line for the user."""


class Tokenizer(Protocol):
    """What tasks need of a tokenizer: that of a Hugging Face tokenizer, and the turn of a chat."""

    @property
    def bos_token_id(self) -> int | None:
        """Id of the beginning-of-sequence token, or None."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of ``text``."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of ``token_ids``."""
        ...

    def encode_chat(self, text: str) -> list[int]:
        """Return the token ids of a user's turn, ready for the answer; of ``text`` alone where no chat template applies."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """Ask for a greedy continuation of a prompt."""

    prompt_ids: tuple[int, ...]
    """Token ids of the prompt, special tokens included."""
    max_new_tokens: int
    """Answer budget in tokens, at least 1."""
    stop: tuple[str, ...] = ()
    """Texts that end the continuation; the prediction is cut before the first of them."""
    end_ids: tuple[int, ...] = ()
    """Tokens that end the continuation beside the model's own."""
    min_new_tokens: int = 0
    """Tokens before which no end token is chosen, 0 to ``max_new_tokens``."""

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Token ids that go into the model: the prompt."""
        return (self.prompt_ids,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWindow:
    """One forward pass whose tokens ``[first_scored, len(token_ids))`` are scored."""

    token_ids: tuple[int, ...]
    first_scored: int
    """Index of the first token that is scored, at least 1: a token needs one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """Ask for the log-probabilities of given tokens.

    A window that is a prefix of another window in the same group is a cut point: where the method is
    ``prefix_causal`` the engine computes the longest once and slices.
    """

    windows: tuple[ScoreWindow, ...]

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of every window, in order."""
        return tuple(window.token_ids for window in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseRequest:
    """Ask how probable each of several continuations is, and whether it is the most probable text there.

    The last token of a window is predicted, not read: a window of n + 1 tokens fits into a context length of n.
    Windows that begin alike, a context before its continuations, share what they begin with.
    """

    windows: tuple[ScoreWindow, ...]
    """A continuation each, behind its context: the continuation is what is scored."""

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of every window, in order."""
        return tuple(window.token_ids for window in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyRequest:
    """Ask for the entropy of the attention that the tokens of a text pay to those up to themselves.

    A text that begins a longer one of the same group is computed with it where the method is ``prefix_causal``.
    """

    token_ids: tuple[int, ...]
    edges: tuple[int, ...]
    """Positions at which buckets begin, ascending from 0; the last bucket ends with the text."""

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Token ids that go into the model: the text."""
        return (self.token_ids,)


Request = GenerateRequest | ScoreRequest | ChooseRequest | EntropyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Output of a `GenerateRequest`."""

    token_ids: tuple[int, ...]
    """Generated ids, sliced by position (never by removing the prompt's text), no end token."""
    text: str
    """Decoded continuation, cut before the first stop text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Output of a `ScoreRequest`: per window the nll (nats) of each of its scored tokens."""

    nll: tuple[Sequence[float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Output of a `ChooseRequest`: one entry per window."""

    nll: tuple[Sequence[float], ...]
    """The nll (nats) of each token of the continuation."""
    greedy: tuple[bool, ...]
    """Whether every token of the continuation is the most probable one at its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyBucket:
    """Mean entropy of the attention of one layer, of the queries at positions ``[start, stop)``."""

    layer: int
    start: int
    stop: int
    heads: tuple[float, ...]
    """Nats, of each head: between 0 and the mean of ln(p + 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropies:
    """Output of an `EntropyRequest`: layer by layer, and bucket by bucket in each."""

    buckets: tuple[EntropyBucket, ...]


Output = Generated | Scored | Chosen | Entropies


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question: a function of (seed, task, parameters, context_length, index), never of the count."""

    index: int
    """Position in the endless sequence of samples of this cell, from 0."""
    context_length: int
    """Tokens asked for: prompt plus answer budget, unless the protocol says otherwise."""
    request: Request
    target: str | None = None
    """The right answer, where there is one; the first of them where there are several."""
    answers: tuple[str, ...] = ()
    """Every right answer, where there are several."""
    classes: tuple[str, ...] = ()
    """Everything that could be answered, where answers are classes."""
    source_length: int | None = None
    """Length of the source in the unit that its data counts in, where it says one."""
    depth: float | None = None
    """Position of the needle in the haystack, 0 (start) to 1 (end), measured in model tokens."""
    document: str | None = None
    """Name of the document, where samples share or come from one: the unit of resampling."""
    tokens_truncated: int | None = None
    """Tokens that were cut to fit; None where a sample is a part of a longer text by design."""
    truncated_at: int | None = None
    """Tokens of the uncut prompt before those that were cut; None where nothing was."""
    evidence_survived: bool | None = None
    """Whether what is asked for is still in the prompt, where that can be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NllBucket:
    """Sum of nll and count of tokens over scored positions in ``[start, stop)`` of the window."""

    start: int
    stop: int
    nll_sum: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a task makes of one output."""

    scores: Mapping[str, float]
    """Metric name -> value per sample; for perplexity ``{"nll": mean nats per scored token}``."""
    prediction: str | None = None
    """What was compared with the target, where something was."""
    weight: float | None = None
    """Scored tokens, or other units of text, where the metric is a mean over them."""
    nll_buckets: tuple[NllBucket, ...] = ()
    entropy_buckets: tuple[EntropyBucket, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A per-sample score that can be aggregated."""

    name: str
    higher_is_better: bool
    minimum: float | None = None
    """Smallest possible value, None where unbounded."""
    maximum: float | None = None
    chance: float | None = None
    """Expected value of guessing, None where it has no meaning."""
    is_binary: bool = False
    """True where every value is 0 or 1 (Wilson intervals apply)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteAverage:
    """A mean over groups of tasks, each of which is the mean over its tasks."""

    name: str
    """What its tasks have in common, e.g. their language."""
    groups: Mapping[str, tuple[str, ...]]
    """Group -> names of its tasks, all of them: a mean over some would be another quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tasks whose scores are read together, in one table of their means and means of means.

    Scores are 100 x the mean, rounded to two decimals before they are averaged.
    """

    name: str
    averages: tuple[SuiteAverage, ...]
    """A task may count for several."""
    buckets: Mapping[str, float] = field(default_factory=dict)
    """Name of a bucket of samples -> the `Sample.source_length` that it ends before, ascending; none for one table
    of all samples."""


Reference = Literal["floor", "ceiling"]
"""What a protocol says of the others: what is reached without what they add, or with nothing in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """What can be said of a task without loading anything."""

    name: str
    version: int
    """Raised whenever prompts, data or scoring change: old and new numbers never mix."""
    summary: str
    source: str
    licence: str
    metrics: tuple[Metric, ...]
    protocols: tuple[str, ...]
    """Names of its protocols, the default first."""
    default_count: int
    """Samples per cell where the user names none."""
    uses_chat_template: bool = False
    """Whether its prompts are turns of a chat where the model has a template for them."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameter name -> one line of help with its default."""
    references: Mapping[str, Reference] = field(default_factory=dict)
    """Protocol -> what it is to the others, for those that ask the same questions to compare with."""
    suite: Suite | None = None
    """What the task is a part of."""


class Task(Protocol):
    """A frozen dataclass whose fields are the task's parameters (``protocol`` among them)."""

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source."""
        ...

    @property
    def protocol(self) -> str:
        """The protocol in force."""
        ...

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Every parameter that can change a score, beside the protocol: defaults filled in, JSON-ready.

        No paths of this machine: a content hash instead.
        """
        ...

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Smallest context length, in tokens, that the task can fill."""
        ...

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to count-1, without those that the data has not.

        Raises:
            TaskError: If the length is one that the task cannot fill; at the call, before any sample is asked
                for.
        """
        ...

    def score(self, sample: Sample, output: Output) -> Score:
        """Score one output."""
        ...

    def group_key(self, *, context_length: int, index: int) -> str:
        """Name the group that a sample is computed in, from the plan alone.

        Samples of one resolved method with equal keys go through the engine together: all lengths of one
        document share a forward pass, for instance.
        """
        ...


@runtime_checkable
class Composite(Protocol):
    """A task that stands for several, each of which is measured apart and has a name of its own."""

    def parts(self) -> Sequence[Task]:
        """Return them; the task itself where it is one already."""
        ...
