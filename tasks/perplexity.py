"""Perplexity of long documents under growing context: three protocols that answer different questions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from longbench_run.tasks.base import (
    Metric,
    NllBucket,
    Output,
    Sample,
    Score,
    Scored,
    ScoreRequest,
    ScoreWindow,
    TaskError,
    TaskInfo,
    Tokenizer,
)
from longbench_run.tasks.checks import check_at_least, check_protocol
from longbench_run.tasks.reading import DOCUMENT_PARAMETERS, ReadsDocuments

_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "plain": {},
    "sliding": {"stride": 256, "tokens": 32768},
    "same_tokens": {"last": 256, "tokens": 32768},
}
"""Protocol -> its own parameters with their defaults."""

_FIRST_BUCKET = 128
"""Positions before this one share a bucket; after it, each bucket is twice as long as the one before."""

_INFO = TaskInfo(
    name="perplexity",
    version=1,
    summary="Negative log-likelihood per token of long documents, overall and by position.",
    source=(
        "sliding: Press et al. 2022, arXiv:2108.12409, in the form of the transformers guide on perplexity "
        "of fixed-length models; plain: what jquesnelle/yarn eval/perplexity.py does with --truncate; "
        "same_tokens: as in Su's ReRoPE post (kexue.fm/archives/9708), with a fixed block of targets. Text: "
        "generated, unless given."
    ),
    licence="Apache-2.0 for generated text; given documents keep theirs",
    metrics=(Metric(name="nll", higher_is_better=False, minimum=0.0),),
    protocols=tuple(_DEFAULTS),
    default_count=30,
    parameters={
        "protocol": "plain (default): one window per document; sliding: stride, new tokens only; "
        "same_tokens: one block of tokens under growing context.",
        "stride": "sliding: tokens between windows; at least 1, default 256.",
        "last": "same_tokens: tokens in the block that is scored; at least 1, default 256.",
        "tokens": "sliding, same_tokens: tokens used of each document; at least the longest context length, "
        "default 32768.",
        **DOCUMENT_PARAMETERS,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity(ReadsDocuments):
    """Score the tokens of documents, each given the tokens before it in a window.

    Below, n is the context length and t_0, t_1, ... are a document's tokens. Every window begins with the
    tokenizer's beginning-of-sequence token, where it has one, and then holds m = n - 1 text tokens (m = n
    where it has none). The first token of a window is never scored: nothing stands before it. The same
    documents are used at every length, document i for sample i; one with fewer than m tokens has no sample at
    that length.

    ``plain``
        One window, t_0 ... t_{m-1}; all its tokens are scored. The window of a shorter length begins that of
        a longer one. Longer lengths score more tokens, so its mean moves also because later tokens differ
        from earlier ones.
    ``sliding``
        The first ``tokens`` tokens of the document are all scored, once each, at every length. Windows of m
        text tokens begin at 0, stride, 2 stride, ...; each scores what no earlier one did, so that every
        token but those of the first window has at least m - stride text tokens before it. The last window
        ends with the document and is shorter where the stride does not divide. The mean is over tokens, not
        over windows.
    ``same_tokens``
        Of the first ``tokens`` tokens of the document, the ``last`` ones are scored, at every length, given
        the m - last tokens before them: one window that ends where they end. Nothing but the amount of
        context changes with n: this one answers whether more context helps.

    For ``sliding`` and ``same_tokens`` a document with fewer than ``tokens`` tokens is used as far as it
    goes, the same at every length that it can fill. Lengths measured later remain comparable as long as
    ``tokens`` is the same.

    Args:
        protocol: ``plain``, ``sliding`` or ``same_tokens``.
        stride: Tokens between the beginnings of windows, at least 1, below n and ``tokens``. Only for
        ``sliding``.
        last: Tokens in the block that is scored, at least 1, below n and ``tokens``. Only for
        ``same_tokens``.
        tokens: Text tokens used of each document, at least n. Not for ``plain``.
        text, dataset, field, subset, split, revision: Which documents, see `ReadsDocuments`.

    Raises:
        TaskError: If a parameter is out of range or of another protocol, or the documents cannot be read.
    """

    protocol: str = "plain"
    stride: int | None = None
    last: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        """Check every parameter and read what the documents are."""
        check_protocol(_INFO, self.protocol)
        for name in ("stride", "last", "tokens"):
            self._check_own(name)
        own = self._own_parameters()
        for name, value in own.items():
            if name != "tokens" and value >= own["tokens"]:
                raise TaskError(
                    f"perplexity: {name} must be below tokens={own['tokens']}, got {value!r}. Raise tokens "
                    "or lower it."
                )
        self.read_documents(_INFO.name)

    def _check_own(self, name: str) -> None:
        """Refuse a parameter of another protocol, and a number that is too small."""
        value = getattr(self, name)
        if value is None:
            return
        owners = [protocol for protocol, parameters in _DEFAULTS.items() if name in parameters]
        if self.protocol not in owners:
            raise TaskError(
                f"perplexity: {name} must be left out with protocol={self.protocol}, got {value!r}. "
                f"It belongs to protocol={' or protocol='.join(owners)}."
            )
        check_at_least("perplexity", name, value, 1, default=_DEFAULTS[self.protocol][name])

    def _own_parameters(self) -> dict[str, int]:
        """Return the protocol's own parameters, defaults filled in."""
        own = {}
        for name, default in _DEFAULTS[self.protocol].items():
            value: int | None = getattr(self, name)
            own[name] = default if value is None else value
        return own

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source."""
        return _INFO

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the protocol's own parameters and which documents, as a hash where they were given."""
        return {"documents": self._documents.source.fingerprint, **self._own_parameters()}

    def minimum_length(
        self, tokenizer: Tokenizer
    ) -> int:  # the same for every tokenizer: windows count all tokens
        """Return 2 for ``plain``, stride + 1 for ``sliding``, last + 1 for ``same_tokens``."""
        own = self._own_parameters()
        return own.get("stride", own.get("last", 1)) + 1

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Yield the samples of documents 0 to count-1 that are long enough.

        Args:
            context_length: Tokens in a window, n, special tokens counted.
            count: Documents wanted.
            seed: Seed of generated documents; given ones are what they are.
            tokenizer: The model's tokenizer.

        Raises:
            TaskError: If the length is below `minimum_length` or above ``tokens``, or no document is long
                enough.
        """
        minimum = self.minimum_length(tokenizer)
        own = self._own_parameters()
        if context_length < minimum:
            bound = "".join(f":{name}={value}" for name, value in own.items() if name != "tokens")
            raise TaskError(
                f"perplexity: context_length must be at least {minimum} with "
                f"protocol={self.protocol}{bound}, got {context_length!r}. Ask for a longer one."
            )
        if context_length > own.get("tokens", context_length):
            raise TaskError(
                f"perplexity: tokens must be at least the context length, {context_length}, got "
                f"{own['tokens']!r}. Write perplexity:protocol={self.protocol}:tokens={context_length}."
            )
        return self._samples(context_length, count, seed, tokenizer)

    def _samples(self, context_length: int, count: int, seed: int, tokenizer: Tokenizer) -> Iterator[Sample]:
        start = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
        text_tokens = context_length - len(start)
        wanted = self._own_parameters().get("tokens", text_tokens)
        lengths = []
        for index in range(count):
            ids = self._documents.first(wanted, index=index, seed=seed, tokenizer=tokenizer)
            document = self._documents.source.document(index=index, seed=seed)
            if ids is None or document is None:
                break
            lengths.append(len(ids))
            if len(ids) >= text_tokens:
                yield Sample(
                    index=index,
                    context_length=context_length,
                    request=ScoreRequest(windows=self._windows(tuple(ids), text_tokens, start)),
                    document=document.name,
                )
        if lengths and max(lengths) < text_tokens:
            parameter = self._documents.source.parameter
            raise TaskError(
                f"perplexity: {parameter} must hold a document of at least {text_tokens} tokens for context "
                f"length {context_length}, got at most {max(lengths)} in the first {len(lengths)}. "
                "Ask for shorter lengths or give longer documents."
            )

    def _windows(
        self, ids: tuple[int, ...], text_tokens: int, start: tuple[int, ...]
    ) -> tuple[ScoreWindow, ...]:
        """Cut the windows of one document.

        Args:
            ids: Its tokens, at least ``text_tokens``.
            text_tokens: Text tokens in a window, m.
            start: The special tokens that begin each window.
        """
        own = self._own_parameters()
        if self.protocol == "same_tokens":
            token_ids = start + ids[-text_tokens:]
            return (ScoreWindow(token_ids=token_ids, first_scored=len(token_ids) - own["last"]),)
        windows = []
        scored = 0  # tokens of the document, from its beginning
        for begin in range(0, len(ids), own.get("stride", len(ids))):
            end = min(begin + text_tokens, len(ids))
            windows.append(
                ScoreWindow(
                    token_ids=start + ids[begin:end], first_scored=max(1, len(start) + scored - begin)
                )
            )
            scored = end
            if end == len(ids):
                break
        return tuple(windows)

    def score(self, sample: Sample, output: Output) -> Score:
        """Average over all scored tokens; sum by position in the window, [1, 128), [128, 256), ..."""
        if not isinstance(output, Scored) or not isinstance(sample.request, ScoreRequest):
            raise TypeError(f"perplexity scores Scored, got {type(output).__name__}")
        sums: dict[tuple[int, int], tuple[float, int]] = {}
        for window, nll in zip(sample.request.windows, output.nll, strict=True):
            if len(nll) != len(window.token_ids) - window.first_scored:
                raise ValueError(
                    f"nll must hold {len(window.token_ids) - window.first_scored} values, got {len(nll)}"
                )
            for begin, end in _buckets(window.first_scored, len(window.token_ids)):
                low = max(begin, window.first_scored) - window.first_scored
                values: Sequence[float] = nll[low : end - window.first_scored]
                nll_sum, tokens = sums.get((begin, end), (0.0, 0))
                sums[begin, end] = (nll_sum + math.fsum(values), tokens + len(values))
        tokens = sum(count for _, count in sums.values())
        mean = math.fsum(nll_sum for nll_sum, _ in sums.values()) / tokens
        return Score(
            scores={"nll": mean},
            weight=float(tokens),
            nll_buckets=tuple(
                NllBucket(start=begin, stop=end, nll_sum=nll_sum, tokens=count)
                for (begin, end), (nll_sum, count) in sorted(sums.items())
            ),
        )

    def group_key(self, *, context_length: int, index: int) -> str:
        """Return one group per document with ``plain`` (windows share a beginning), else one per sample."""
        return str(index) if self.protocol == "plain" else f"{context_length}:{index}"


def _buckets(first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the buckets that hold any of the positions ``[first, stop)``."""
    begin, end = 1, _FIRST_BUCKET
    while begin < stop:
        if end > first:
            yield begin, end
        begin, end = end, 2 * end
