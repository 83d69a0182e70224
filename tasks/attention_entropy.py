"""Attention entropy over the length of a text: does a method keep it where pretraining left it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from longbench_run.tasks.base import (
    Entropies,
    EntropyBucket,
    EntropyRequest,
    Metric,
    Output,
    Sample,
    Score,
    TaskError,
    TaskInfo,
    Tokenizer,
)
from longbench_run.tasks.checks import check_protocol
from longbench_run.tasks.reading import DOCUMENT_PARAMETERS, ReadsDocuments

_SHORTEST = 64
"""Smallest context length, in tokens: below it there is no length to follow entropy over."""
_FIRST_EDGE = 16
"""Positions before it share a bucket; after it, there are two buckets to an octave."""
_PER_OCTAVE = 2

_INFO = TaskInfo(
    name="attention_entropy",
    version=1,
    summary="Entropy of attention, layer by layer and head by head, over the positions of long documents.",
    source=(
        "Zhang et al. 2024, arXiv:2401.07004, section 3: attention entropy by position, and the claim that a method "
        "extends well where it stays stable. Here of true probabilities, at every position up to the context length, "
        "where their released script takes a log-softmax for probabilities. Text: generated, unless given."
    ),
    licence="Apache-2.0 for generated text; given documents keep theirs",
    metrics=(Metric(name="entropy_drift", higher_is_better=False, minimum=0.0),),
    protocols=("plain",),
    default_count=20,
    parameters={"protocol": "plain (default): one window per document.", **DOCUMENT_PARAMETERS},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionEntropy(ReadsDocuments):
    """Take the entropy of the attention that the tokens of documents pay to those up to themselves.

    The query at position p sees p + 1 keys with probabilities a(j), as the method computes them; its entropy is
    - sum_j a(j) ln a(j) nats, at most ln(p + 1). It is averaged over the queries of a bucket, of which there are two to
    an octave, for each layer and head.

    The score of a sample, ``entropy_drift``, is how far its layers are from stable: the mean over them of the absolute
    slope of entropy (of all heads) against ln(p + 1), by least squares through the buckets from position 16 on. It is 1
    where attention is even, 0 where its entropy stays what it is. Whether less of it means less loss is what a report
    answers.

    Args:
        protocol: ``plain``.
        text, dataset, field, subset, split, revision: Which documents, see `ReadsDocuments`.

    Raises:
        TaskError: If a parameter is out of range, or the documents cannot be read.
    """

    protocol: str = "plain"

    def __post_init__(self) -> None:
        """Check every parameter and read what the documents are."""
        check_protocol(_INFO, self.protocol)
        self.read_documents(_INFO.name)

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source."""
        return _INFO

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return which documents, as a hash where they were given."""
        return {"documents": self._documents.source.fingerprint}

    def minimum_length(self, tokenizer: Tokenizer) -> int:  # the same for every tokenizer: all tokens count
        """Return 64."""
        return _SHORTEST

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Yield the samples of documents 0 to count-1 that are long enough.

        Args:
            context_length: Tokens of a sample, n, special tokens counted.
            count: Documents wanted.
            seed: Seed of generated documents; given ones are what they are.
            tokenizer: The model's tokenizer.

        Raises:
            TaskError: If the length is below `minimum_length`, or no document is long enough.
        """
        if context_length < _SHORTEST:
            raise TaskError(
                f"attention_entropy: context_length must be at least {_SHORTEST} with protocol={self.protocol}, got "
                f"{context_length!r}. Ask for a longer one."
            )
        return self._samples(context_length, count, seed, tokenizer)

    def _samples(self, context_length: int, count: int, seed: int, tokenizer: Tokenizer) -> Iterator[Sample]:
        start = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
        wanted = context_length - len(start)
        longest = 0
        for index in range(count):
            ids = self._documents.first(wanted, index=index, seed=seed, tokenizer=tokenizer)
            document = self._documents.source.document(index=index, seed=seed)
            if ids is None or document is None:
                break
            longest = max(longest, len(ids))
            if len(ids) == wanted:
                yield Sample(
                    index=index,
                    context_length=context_length,
                    request=EntropyRequest(token_ids=start + tuple(ids), edges=tuple(edges(context_length))),
                    document=document.name,
                )
        if 0 < longest < wanted:
            parameter = self._documents.source.parameter
            raise TaskError(
                f"attention_entropy: {parameter} must hold a document of at least {wanted} tokens for context length "
                f"{context_length}, got at most {longest}. Ask for shorter lengths or give longer documents."
            )

    def score(self, sample: Sample, output: Output) -> Score:
        """Follow each layer over the context."""
        if not isinstance(output, Entropies):
            raise TypeError(f"attention_entropy scores Entropies, got {type(output).__name__}")
        layers: dict[int, list[EntropyBucket]] = {}
        for bucket in output.buckets:
            layers.setdefault(bucket.layer, []).append(bucket)
        drift = _mean([abs(slope(buckets)) for buckets in layers.values()])
        return Score(scores={"entropy_drift": drift}, entropy_buckets=output.buckets)

    def group_key(self, *, context_length: int, index: int) -> str:
        """Return one group per document: shorter lengths begin longer ones."""
        return str(index)


def edges(context_length: int) -> Iterator[int]:
    """Yield the positions at which buckets begin: 0, 16, and then two to an octave, n / 2 among them.

    They are counted from the end of the context in octaves, so that the last one is whole at any length.
    """
    found = {0}
    step = 0
    while (edge := round(context_length * 2 ** (-step / _PER_OCTAVE))) >= _FIRST_EDGE:
        found.add(edge)
        step += 1
    yield from sorted(found - {context_length})


def slope(buckets: Sequence[EntropyBucket]) -> float:
    """Return the slope of a layer's entropy against ln(p + 1), by least squares over its buckets but the first.

    Buckets count alike, as octaves do in ln(p + 1), not by their tokens, most of which are at the end.
    """
    points = [(_most(bucket), _mean(bucket.heads)) for bucket in buckets if bucket.start > 0]
    x0, y0 = _mean([x for x, _ in points]), _mean([y for _, y in points])
    return math.fsum((x - x0) * (y - y0) for x, y in points) / math.fsum((x - x0) ** 2 for x, _ in points)


def _most(bucket: EntropyBucket) -> float:
    """Return the mean of ln(p + 1) over a bucket: the entropy of even attention."""
    total = math.lgamma(bucket.stop + 1) - math.lgamma(bucket.start + 1)
    return total / (bucket.stop - bucket.start)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
