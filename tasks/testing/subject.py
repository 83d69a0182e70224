"""What the checks of a contract share: a task as a value, tokenizers, samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from longbench_run.tasks.base import Sample, Task
from longbench_run.tasks.testing.tokenizers import Bytes, KnownTokenizer, Pairs


class Subject:
    """A task under test."""

    task: ClassVar[Task]
    """What is tested, a value."""
    tokenizers: ClassVar[Sequence[KnownTokenizer]] = (Bytes(), Pairs())
    """Those that samples are made with."""
    more_tokens: ClassVar[Sequence[int]] = (0, 1, 250)
    """Context lengths that are tried: so many tokens more than the smallest that the task can fill."""
    count: ClassVar[int] = 6
    """Samples of a length."""

    def samples(
        self,
        tokenizer: KnownTokenizer,
        *,
        more: int | None = None,
        count: int | None = None,
        seed: int = 0,
        task: Task | None = None,
    ) -> list[Sample]:
        """Return samples of a context length ``more`` tokens above the smallest; default: the longest tried."""
        task = self.task if task is None else task
        return list(
            task.samples(
                context_length=self.length(tokenizer, more),
                count=self.count if count is None else count,
                seed=seed,
                tokenizer=tokenizer,
            )
        )

    def length(self, tokenizer: KnownTokenizer, more: int | None = None) -> int:
        """Return a context length ``more`` tokens above the smallest; default: the longest tried."""
        return self.task.minimum_length(tokenizer) + (self.more_tokens[-1] if more is None else more)


def inputs_of(sample: Sample) -> list[tuple[int, ...]]:
    """Return the token ids that a model is given: the prompt, or every window."""
    return list(sample.request.inputs)
