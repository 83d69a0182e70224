"""Samples of a plan, made once for all methods as far as memory allows."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longbench_run.harness.plan import PlannedCell
    from longbench_run.tasks.base import Request, Sample

logger = logging.getLogger(__name__)

MOST_TOKENS = 8_000_000
"""Tokens kept; CPython needs up to 36 bytes for each."""


def request_tokens(request: Request) -> int:
    """Return the tokens that go into the model, special tokens and repeated ones counted."""
    return sum(len(ids) for ids in request.inputs)


class SampleCache:
    """Samples by cell; methods share them, and the ones used longest ago are made again when needed."""

    def __init__(self, most_tokens: int = MOST_TOKENS) -> None:
        """Keep at most so many tokens, and always the samples asked for last."""
        self._most_tokens = most_tokens
        self._kept: OrderedDict[tuple[object, ...], tuple[Mapping[int, Sample], int]] = OrderedDict()
        self._short: dict[tuple[str, int], dict[int, int]] = {}

    def of_cell(self, cell: PlannedCell) -> Mapping[int, Sample]:
        """Return the samples of a cell by index; those that the data does not have are absent.

        Raises:
            TaskError: If the task cannot make them.
        """
        key = (*cell.sample_source, cell.count)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        samples = {
            sample.index: sample
            for sample in cell.choice.task.samples(
                context_length=cell.context_length,
                count=cell.count,
                seed=cell.seed,
                tokenizer=cell.weights.tokenizer,
            )
        }
        if len(samples) < cell.count:
            short = self._short.setdefault((cell.identity.task.name, cell.count), {})
            short[cell.context_length] = len(samples)
        self._kept[key] = samples, sum(request_tokens(sample.request) for sample in samples.values())
        while len(self._kept) > 1 and sum(tokens for _, tokens in self._kept.values()) > self._most_tokens:
            self._kept.popitem(last=False)
        return samples

    def warn_of_missing(self) -> None:
        """Say once for each task how many samples there were, where that was fewer than asked for."""
        for (task, asked), counts in self._short.items():
            fewest, most = min(counts.values()), max(counts.values())
            found = str(most) if fewest == most else f"{fewest} to {most}, depending on the length,"
            logger.warning("%s: the data has %s of the %d samples asked for.", task, found, asked)
