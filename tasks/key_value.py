"""Key-value retrieval: the value of one key of a JSON object, which stands at every position in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast, get_args

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
from longbench_run.tasks.checks import check_at_least, check_protocol, unknown
from longbench_run.tasks.generated.pairs import PairKind, pairs
from longbench_run.tasks.haystacks import Filling, fill, spanning_order

Pair = tuple[str, str]

_INSTRUCTION = "Extract the value corresponding to the specified key in the JSON object below."
_DATA = "JSON data:\n{formatted_kv_records}"
_KEY = 'Key: "{key}"'
_ENDING = "Corresponding value:"

PROTOCOLS: Mapping[str, str] = {
    "litm-v1": f"{_INSTRUCTION}\n\n{_DATA}\n\n{_KEY}\n{_ENDING}",
    "litm-v1-query-aware": f"{_INSTRUCTION}\n\n{_KEY}\n\n{_DATA}\n\n{_KEY}\n{_ENDING}",
}
"""Protocol -> prompt, to the byte.

Source: Liu et al. 2023, arXiv:2307.03172; nelson-liu/lost-in-the-middle@29b8a6d (MIT),
``src/lost_in_the_middle/prompts/kv_retrieval*.prompt``, without the newline that ends a file.
"""

PAIRS_VERSION = 1
"""Raised whenever a generated pair changes: numbers on other pairs are other numbers."""

_POSITIONS, _MAX_NEW_TOKENS = 5, 100
_PROBED_PAIRS = 256

_INFO = TaskInfo(
    name="key_value",
    version=1,
    summary="Return the value of one key of a JSON object, at positions from first to last.",
    source=(
        "Lost in the Middle: Liu et al. 2023, arXiv:2307.03172; prompts and metric of nelson-liu/lost-in-the-middle. "
        "Differs: as many pairs as fill the context length, unless pairs is given, and invented words unless kind=uuid. "
        "Keys and values: generated."
    ),
    licence="Apache-2.0 for generated pairs; MIT for the prompts",
    metrics=(Metric(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True),),
    protocols=tuple(PROTOCOLS),
    default_count=100,
    uses_chat_template=True,
    parameters={
        "protocol": "litm-v1 (default): key after the object; litm-v1-query-aware: also before it.",
        "kind": "What keys and values are: words (default), two invented ones each; uuid, as the authors.",
        "positions": "Positions of the pair asked for, evenly from first to last; at least 2, default 5.",
        "pairs": "Pairs in every prompt, as the authors' 75, 140 or 300; default: as many as fit the length.",
        "max_new_tokens": "Answer budget in tokens; at least 1, default 100.",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """Keys x positions of the pair asked for, among as many pairs as fill the context length.

    With P positions, sample i asks key i // P at position k of 0, ..., P - 1, in an order that spans the range early,
    behind floor(k (n - 1) / (P - 1)) of n pairs. Every position of a key has the same other pairs in the same order:
    compare positions by key.

    Args:
        protocol: ``litm-v1`` or ``litm-v1-query-aware``.
        kind: ``words`` or ``uuid``.
        positions: Positions P, at least 2.
        pairs: Pairs n in every prompt, at least P; None for as many as fit.
        max_new_tokens: Answer budget in tokens, at least 1.

    Raises:
        TaskError: If a parameter is out of range.
    """

    protocol: str = "litm-v1"
    kind: str = "words"
    positions: int = _POSITIONS
    pairs: int | None = None
    max_new_tokens: int = _MAX_NEW_TOKENS

    def __post_init__(self) -> None:
        """Check every parameter."""
        check_protocol(_INFO, self.protocol)
        if self.kind not in get_args(PairKind):
            raise unknown("key_value", "kind", self.kind, get_args(PairKind))
        check_at_least("key_value", "positions", self.positions, 2, default=_POSITIONS)
        check_at_least("key_value", "max_new_tokens", self.max_new_tokens, 1, default=_MAX_NEW_TOKENS)
        if self.pairs is not None and self.pairs < self.positions:
            raise TaskError(
                f"key_value: pairs must be at least positions={self.positions}, got {self.pairs!r}. "
                "Raise it, or ask for fewer positions."
            )

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source."""
        return _INFO

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return every parameter beside the protocol, and the version of the pairs."""
        return {
            "data": f"generated-{PAIRS_VERSION}",
            "kind": self.kind,
            "positions": self.positions,
            "pairs": self.pairs,
            "max_new_tokens": self.max_new_tokens,
        }

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return the tokens of a prompt with the longest of many pairs at every position, plus the budget."""
        count = self._fewest_pairs
        probed = islice(self._drawn(0, 0), _PROBED_PAIRS)
        longest = max(probed, key=lambda pair: len(tokenizer.encode("".join(pair), add_special_tokens=False)))
        prompt = kv_prompt(PROTOCOLS[self.protocol], [longest] * count, longest[0])
        return len(tokenizer.encode_chat(prompt)) + self.max_new_tokens

    @property
    def _fewest_pairs(self) -> int:
        return self.positions if self.pairs is None else self.pairs

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to count-1, without those that do not fit.

        Args:
            context_length: Prompt plus answer budget, in model tokens with special tokens. Never exceeded.
            count: Samples wanted; a multiple of the positions asks every key at each of them.
            seed: Seed of the pairs.
            tokenizer: The model's tokenizer.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length`.
        """
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"key_value: context_length must be at least {minimum} with this tokenizer and "
                f"{self._fewest_pairs} pairs, got {context_length!r}. Ask for a longer one."
            )
        return self._samples(context_length, count, seed, tokenizer)

    def _samples(self, context_length: int, count: int, seed: int, tokenizer: Tokenizer) -> Iterator[Sample]:
        depths, order = self.positions, spanning_order(self.positions)
        for number in range(-(-count // depths)):
            gold, filling = self._filling(seed, number, context_length - self.max_new_tokens, tokenizer)
            if filling is None:
                continue
            for index, step in enumerate(order[: count - number * depths], start=number * depths):
                yield Sample(
                    index=index,
                    context_length=context_length,
                    request=GenerateRequest(
                        prompt_ids=filling.prompts[step], max_new_tokens=self.max_new_tokens
                    ),
                    target=gold[1],
                    depth=step / (depths - 1),
                    document=f"generated-{seed}-{number}",
                )

    def _filling(
        self, seed: int, number: int, budget: int, tokenizer: Tokenizer
    ) -> tuple[Pair, Filling | None]:
        drawn = self._drawn(seed, number)
        gold = next(drawn)
        others: list[Pair] = []

        def prompt(count: int, place: int) -> Sequence[int]:
            others.extend(islice(drawn, max(0, count - 1 - len(others))))
            shown = [*others[:place], gold, *others[place : count - 1]]
            return tokenizer.encode_chat(kv_prompt(PROTOCOLS[self.protocol], shown, gold[0]))

        filling = fill(
            prompt, depths=self.positions, budget=budget, at_least=self._fewest_pairs, at_most=self.pairs
        )
        return gold, filling

    def _drawn(self, seed: int, number: int) -> Iterator[Pair]:
        """Yield the pair asked for, then others without end: a right answer is in none of them."""
        drawn = pairs(seed, number, kind=cast("PairKind", self.kind))
        gold = next(drawn)
        yield gold
        yield from (pair for pair in drawn if not any(gold[1].lower() in text.lower() for text in pair))

    def score(self, sample: Sample, output: Output) -> Score:
        """Look for the value in the output, in any case.

        Source: nelson-liu/lost-in-the-middle@29b8a6d, ``scripts/evaluate_kv_responses.py``.
        """
        if not isinstance(output, Generated):
            raise TypeError(f"key_value scores Generated, got {type(output).__name__}")
        right = sample.target is not None and sample.target.lower() in output.text.lower()
        return Score(scores={"accuracy": float(right)}, prediction=output.text)

    def group_key(self, *, context_length: int, index: int) -> str:
        """One key after the other: its prompts begin alike, each up to where the key stands."""
        return f"{context_length}:{index // self.positions}"


def kv_prompt(template: str, shown: Sequence[Pair], key: str) -> str:
    """Return a prompt's text.

    Args:
        template: One of `PROTOCOLS`.
        shown: Pairs in the order shown, at least one.
        key: The key asked for.
    """
    records = ",\n ".join(f'"{name}": "{value}"' for name, value in shown)
    return template.format(formatted_kv_records=f"{{{records}}}", key=key)
