"""What is tuned and measured: the CPU's edition, that of the bundled model, and one of compositions of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longbench_run.harness.tuning.recipe import COMPOSITIONS, Composition

MAIN = ("pi", "ntk_by_parts", "yarn", "abf", "entropy_abf", "entropy_abf:skip_layers=0")
"""The paper's five, and entropy-aware ABF as its released code computes it: with every layer scaled."""
HALVES = ("none", "log_n", "abf", "entropy_abf:skip_layers=0")
"""The two halves of entropy-aware ABF, a larger base and a logit scale: neither, each, both."""
FACTOR = 4
"""Windows that are tuned for."""
WINDOWS = (1, 2, 4, 8)
"""Context lengths measured, in windows."""
LEARNING_RATES = (2e-5, 1e-4, 5e-4)
"""The paper's and larger ones, of which one is chosen for all methods: a model of a million parameters wants another
one than seven billion do. The chosen one has the lowest loss in the last step, the mean over the edition's methods, with
the edition's `rate_samples` of `RATE_SEED`; nothing that is measured takes part."""
RATE_SEED = 1000
"""Not among the seeds of any edition."""
_MOST_RATE_SAMPLES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A model, and how much of it is done."""

    name: str
    trained: str | None
    """What `python -m longbench_run.harness.reference_model train --model` makes for it; None: the bundled model."""
    window: int
    methods: tuple[str, ...] = MAIN
    """Tuned with every number of samples."""
    halves: tuple[str, ...] = HALVES
    """Neither, each and both of two halves, with `halves_samples`; empty: they are not looked at."""
    compositions: tuple[Composition, ...] = ("none",)
    """Which conversations are learnt from, by length."""
    samples: tuple[int, ...] = (32, 100, 300)
    """Numbers of conversations: few, a hundred, many."""
    halves_samples: tuple[int, ...] = (100,)
    """The same, of the halves that are not among the main methods; empty: these are looked at untuned alone."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    conversations: int = 400
    """There are, of which each seed takes others."""
    shortest: float = 0.5
    """Of the conversations, as a part of the context length."""
    tasks: tuple[Mapping[str, Any], ...]
    """With their samples, as in a configuration."""

    @property
    def rate_samples(self) -> int:
        """Conversations with which the learning rate is chosen."""
        return min(_MOST_RATE_SAMPLES, max(self.samples))


def _tasks(*, keys: int, documents: int, rows: int) -> tuple[Mapping[str, Any], ...]:
    return (
        {"name": "passkey", "samples": keys},
        {"name": "perplexity", "samples": documents},
        {
            "name": "longbench_synthetic",
            "samples": rows,
            "parameters": {"dataset": "trec/passage_count/passage_retrieval_en"},
        },
    )


EDITIONS: Mapping[str, Edition] = {
    edition.name: edition
    for edition in (
        Edition(
            name="cpu",
            trained="tiny",
            window=512,
            # Two documents with a question and an answer do not fit into 512 tokens: no multidoc_qa.
            tasks=_tasks(keys=20, documents=10, rows=10),
        ),
        Edition(
            name="bundled",
            trained=None,
            window=2048,
            tasks=(
                *_tasks(keys=20, documents=10, rows=10),
                # Ten questions, each with its document first and last: fewer questions have no interval.
                {"name": "multidoc_qa", "samples": 20, "parameters": {"positions": 2}},
            ),
        ),
        Edition(
            name="composition",
            trained="tiny",
            window=512,
            methods=("entropy_abf",),
            halves=(),
            compositions=COMPOSITIONS,
            samples=(100,),
            # A hundred for each seed that fit into the window, and more than that beyond half the context.
            conversations=1500,
            shortest=0.125,
            tasks=_tasks(keys=20, documents=10, rows=10),
        ),
    )
}
