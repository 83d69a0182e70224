"""A task: recall the amount on one line of a long ledger."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
from longbench_run.tasks.haystacks import largest

_INFO = TaskInfo(
    name="ledger",
    version=1,
    summary="Recall the amount on one line of a ledger.",
    source="this package",
    licence="Apache-2.0",
    metrics=(Metric(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True),),
    protocols=("ledger-v1",),
    default_count=20,
    parameters={
        "protocol": "ledger-v1 (default).",
        "max_new_tokens": "Answer budget in tokens; at least 1, default 8.",
    },
)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """As many lines as fit, and a question for one of them."""

    protocol: str = "ledger-v1"
    max_new_tokens: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_protocol(_INFO, self.protocol)
        check_at_least("ledger", "max_new_tokens", self.max_new_tokens, 1, default=8)

    @property
    def info(self) -> TaskInfo:
        """What the task is."""
        return _INFO

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what can change a score beside the protocol."""
        return {"max_new_tokens": self.max_new_tokens}

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return the tokens of a ledger of ten lines, with some to spare, plus the budget."""
        return len(tokenizer.encode(_prompt([0] * 10, 9))) + 20 + self.max_new_tokens

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to count-1."""
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"ledger: context_length must be at least {minimum} with this tokenizer, got {context_length!r}. "
                "Ask for a longer one."
            )

        def sample(index: int) -> Sample:
            # Seeded by all that a sample may depend on, so that it is the same whatever came before.
            amounts = random.Random(f"{seed}:ledger:{context_length}:{index}").choices(
                range(1000, 10_000), k=context_length
            )
            share = random.Random(f"{seed}:ledger:share:{index}").random()

            def encoded(lines: int) -> list[int]:
                return tokenizer.encode(_prompt(amounts[:lines], int(share * lines)))

            budget = context_length - self.max_new_tokens
            lines = largest(lambda n: len(encoded(n)) <= budget, at_least=1, guess=context_length // 10)
            asked = int(share * lines)
            return Sample(
                index=index,
                context_length=context_length,
                request=GenerateRequest(prompt_ids=tuple(encoded(lines)), max_new_tokens=self.max_new_tokens),
                target=str(amounts[asked]),
                depth=asked / max(1, lines - 1),
            )

        return map(sample, range(count))

    def score(self, sample: Sample, output: Output) -> Score:
        """Compare the first word of the answer with the amount."""
        if not isinstance(output, Generated):
            raise TypeError(f"ledger scores Generated, got {type(output).__name__}")
        prediction = (output.text.split() or [""])[0].rstrip(".")
        return Score(scores={"accuracy": float(prediction == sample.target)}, prediction=prediction)

    def group_key(self, *, context_length: int, index: int) -> str:
        """Every sample is computed on its own."""
        return f"{context_length}:{index}"


def _prompt(amounts: list[int], asked: int) -> str:
    lines = "\n".join(f"Line {number}: {amount}" for number, amount in enumerate(amounts))
    return f"{lines}\n\nThe amount on line {asked} is"
