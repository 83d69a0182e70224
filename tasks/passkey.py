"""Passkey retrieval: one five-digit key hidden in a haystack of filler sentences."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

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
from longbench_run.tasks.haystacks import largest, spanning_order

INSTRUCTION = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there."
)
FILLER = (
    "The grass is green.",
    "The sky is blue.",
    "The sun is yellow.",
    "Here we go.",
    "There and back again.",
)
NEEDLE = "The pass key is {key}. Remember it. {key} is the pass key."
QUESTION = "What is the pass key? The pass key is"

_SMALLEST_KEY, _LARGEST_KEY = 10_000, 99_999
_PROBED_KEYS = tuple(random.Random("passkey probes").sample(range(_SMALLEST_KEY, _LARGEST_KEY + 1), 64))
_MOST_DRAWS = 100

_INFO = TaskInfo(
    name="passkey",
    version=1,
    summary="Recall a five-digit key hidden at a given depth of repeated filler sentences.",
    source=(
        "Mohtashami and Jaggi 2023, arXiv:2305.16300; prompt of epfml/landmark-attention, llama/run_test.py. "
        "Differs: whole sentences, exactly five digits, depth on a grid and measured in model tokens."
    ),
    licence="Apache-2.0",
    metrics=(
        Metric(
            name="accuracy",
            higher_is_better=True,
            minimum=0.0,
            maximum=1.0,
            chance=1 / (_LARGEST_KEY - _SMALLEST_KEY + 1),
            is_binary=True,
        ),
    ),
    protocols=("passkey-v1",),
    default_count=20,
    parameters={
        "protocol": "Prompt, placement and scoring; passkey-v1 (default).",
        "depths": "Depths asked, evenly from 0 to 1, both included; at least 2, default 10.",
        "max_new_tokens": "Answer budget in tokens; at least 1, default 10.",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """Grid of depths x trials over one haystack per context length.

    The prompt is five parts joined by newlines: instruction, filler, needle, filler, question (no empty part
    where the needle stands at an end). Every sample of a length has the same filler sentences, as many as
    fit; only the key and the place of the needle differ.

    Args:
        protocol: ``passkey-v1``, the only one.
        depths: Size D of the depth grid 0, 1/(D-1), ..., 1. At least 2. Sample i asks for the same depth at
            every context length, in an order that spans the range after a few samples and repeats after D.
        max_new_tokens: Answer budget in tokens. At least 1. The default of 10 is the field's (Landmark,
            YaRN): a tokenizer of single digits or bytes needs 6 for " 12345", and what follows shows where
            the number ends.

    Raises:
        TaskError: If a parameter is out of range.
    """

    protocol: str = "passkey-v1"
    depths: int = 10
    max_new_tokens: int = 10

    def __post_init__(self) -> None:
        """Check every parameter."""
        check_protocol(_INFO, self.protocol)
        check_at_least("passkey", "depths", self.depths, 2, default=10)
        check_at_least("passkey", "max_new_tokens", self.max_new_tokens, 1, default=10)

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source."""
        return _INFO

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return depths and max_new_tokens."""
        return {"depths": self.depths, "max_new_tokens": self.max_new_tokens}

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return the tokens of a prompt with one sentence per step of the depth grid, plus the budget."""
        return _most_prompt_tokens(tokenizer)(self.depths - 1) + self.max_new_tokens

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to count-1.

        Args:
            context_length: Prompt plus answer budget, in model tokens with special tokens. Never exceeded.
            count: Samples wanted.
            seed: Seed of the keys.
            tokenizer: The model's tokenizer.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length`.
        """
        budget = context_length - self.max_new_tokens
        most_prompt_tokens = _most_prompt_tokens(tokenizer)
        minimum = most_prompt_tokens(self.depths - 1)
        if budget < minimum:
            raise TaskError(
                f"passkey: context_length must be at least {minimum + self.max_new_tokens} with this "
                f"tokenizer, got {context_length!r}. Ask for a longer one."
            )
        costs = _sentence_costs(tokenizer)
        guess = self.depths - 1 + round((budget - minimum) * len(costs) / max(1, sum(costs)))
        sentences = largest(lambda n: most_prompt_tokens(n) <= budget, at_least=self.depths - 1, guess=guess)
        places = [
            (step, _nearest_boundary(costs, sentences, step / (self.depths - 1)))
            for step in spanning_order(self.depths)
        ]

        def sample(index: int) -> Sample:
            step, boundary = places[index % self.depths]
            random_state = random.Random(f"{seed}:passkey:{context_length}:{index}")
            key, prompt_ids = _fitting_prompt(random_state, sentences, boundary, budget, tokenizer)
            return Sample(
                index=index,
                context_length=context_length,
                request=GenerateRequest(prompt_ids=tuple(prompt_ids), max_new_tokens=self.max_new_tokens),
                target=str(key),
                depth=step / (self.depths - 1),
                tokens_truncated=0,
                evidence_survived=True,
            )

        return map(sample, range(count))

    def score(self, sample: Sample, output: Output) -> Score:
        """Compare the first integer of the output with the key."""
        if not isinstance(output, Generated):
            raise TypeError(f"passkey scores Generated, got {type(output).__name__}")
        found = re.search(r"[0-9]+", output.text)
        prediction = found.group() if found else None
        right = prediction is not None and prediction.lstrip("0") == sample.target
        return Score(scores={"accuracy": float(right)}, prediction=prediction)

    def group_key(self, *, context_length: int, index: int) -> str:
        """One depth grid after the other: its prompts begin alike, each up to where its needle stands."""
        return f"{context_length}:{index // self.depths}"


def passkey_prompt(*, key: int, sentences: int, boundary: int) -> str:
    """Return the prompt's text.

    Args:
        key: The five-digit key.
        sentences: Filler sentences in the haystack, n, at least 0.
        boundary: Filler sentences before the needle, 0 to n.
    """
    parts = (
        INSTRUCTION,
        _filler(0, boundary),
        NEEDLE.format(key=key),
        _filler(boundary, sentences),
        QUESTION,
    )
    return "\n".join(part for part in parts if part)


def _filler(start: int, stop: int) -> str:
    """Return sentences ``[start, stop)`` of the endless cycle, joined by spaces."""
    return " ".join(FILLER[i % len(FILLER)] for i in range(start, stop))


def _sentence_costs(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that each sentence of the cycle adds in the middle of the haystack."""
    cycle = len(FILLER)
    totals = [
        len(tokenizer.encode(_filler(0, n), add_special_tokens=False)) for n in range(cycle, 2 * cycle + 1)
    ]
    return [after - before for before, after in pairwise(totals)]


def _nearest_boundary(costs: list[int], sentences: int, depth: float) -> int:
    """Return the sentence boundary whose share of the haystack's tokens is nearest to ``depth``."""
    before = list(accumulate((costs[i % len(costs)] for i in range(sentences)), initial=0))
    wanted = depth * before[-1]
    return min(range(sentences + 1), key=lambda boundary: abs(before[boundary] - wanted))


def _most_prompt_tokens(tokenizer: Tokenizer) -> Callable[[int], int]:
    """Return a function from the number of filler sentences to the tokens of the longest prompt with them.

    Longest over the place of the needle and over keys: both change how text around them is merged into
    tokens. The places are compared in a short haystack of the same phase, so that a long one is encoded once.
    """

    def tokens(key: int, sentences: int, boundary: int) -> int:
        return len(tokenizer.encode(passkey_prompt(key=key, sentences=sentences, boundary=boundary)))

    key = max(_PROBED_KEYS, key=lambda key: len(tokenizer.encode(NEEDLE.format(key=key))))
    extra_of_phase: dict[int, int] = {}

    def most(sentences: int) -> int:
        cycle = len(FILLER)
        short = sentences if sentences < 2 * cycle else 2 * cycle + sentences % cycle
        if short not in extra_of_phase:
            places = [tokens(key, short, boundary) for boundary in range(short + 1)]
            extra_of_phase[short] = max(places) - places[-1]
        return tokens(key, sentences, sentences) + extra_of_phase[short]

    return most


def _fitting_prompt(
    random_state: random.Random, sentences: int, boundary: int, budget: int, tokenizer: Tokenizer
) -> tuple[int, list[int]]:
    """Draw a key and encode its prompt.

    Draw again where the prompt is too long, because the tokenizer spells the key longer than all probed ones:
    the haystack stays the one of its length.
    """
    for _ in range(_MOST_DRAWS):
        key = random_state.randint(_SMALLEST_KEY, _LARGEST_KEY)
        prompt_ids = tokenizer.encode(passkey_prompt(key=key, sentences=sentences, boundary=boundary))
        if len(prompt_ids) <= budget:
            return key, prompt_ids
    raise TaskError(
        f"passkey: prompt must be at most {budget} tokens, got more for each of {_MOST_DRAWS} keys. "
        "The tokenizer counts text in a way that cannot be planned for; use another one."
    )
