"""LongBench's datasets as tasks of any length without the authors' data: every row is made up, and says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from longbench_run.tasks.base import Output, Sample, Score, TaskError, TaskInfo, Tokenizer
from longbench_run.tasks.checks import check_protocol
from longbench_run.tasks.haystacks import largest
from longbench_run.tasks.longbench.asking import encoding, metrics_of, parts_of, sample_of, score_of, suite_of
from longbench_run.tasks.longbench.datasets import DATASETS, LANGUAGES, Dataset, MetricName
from longbench_run.tasks.longbench.rows import LongbenchRow
from longbench_run.tasks.longbench.synthetic import (
    SYNTHETIC_VERSION,
    SyntheticRow,
    fewest_units,
    synthetic_row,
)
from longbench_run.tasks.longbench.synthetic_contexts import BUILDERS
from longbench_run.tasks.longbench.task import names_of
from longbench_run.tasks.longbench.truncation import CLOSED_BOOK, EXACT, REFERENCES, TRUNCATIONS, protocols_of

_NAME = "longbench_synthetic"
_OTHER_METRIC: Mapping[MetricName, MetricName] = {"rouge_l": "rouge_score_l"}
"""What is not comparable with the authors' numbers anyway is scored as summaries are elsewhere."""
_DATASETS: Mapping[str, Dataset] = {
    name: dataclasses.replace(row, metric=_OTHER_METRIC.get(row.metric, row.metric))
    for name, row in DATASETS.items()
    if name in BUILDERS
}
_SELECTIONS: Mapping[str, tuple[str, ...]] = {"all": tuple(_DATASETS)}
_PROTOCOLS = (EXACT, CLOSED_BOOK)
_SUITE = suite_of(_NAME, _DATASETS, tasks=f"{_NAME}_{{}}", languages=LANGUAGES[:1])
_PROBES = 16
_PROBE_SEED = -1

_INFO = TaskInfo(
    name=_NAME,
    version=SYNTHETIC_VERSION,
    summary="Made-up rows in the form of LongBench's datasets, as long as asked for; not LongBench's data.",
    source=(
        "Form and prompts of LongBench (Bai et al. 2023, arXiv:2308.14508); all texts are generated. Differs: summaries "
        "are scored with rouge-score, and no number compares with a published one."
    ),
    licence="Apache-2.0; prompts: MIT, of LongBench's authors",
    metrics=metrics_of(tuple(_DATASETS.values())),
    protocols=_PROTOCOLS,
    default_count=20,
    references=REFERENCES,
    parameters={
        "protocol": "exact (default): as many units of context as fit, so that prompt and answer stay within the "
        "context length; closed-book: the question without any context, the floor of question answering.",
        "dataset": f"Names joined by /, or all ({len(_DATASETS)}, default).",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongbenchSynthetic:
    """Made-up questions over made-up texts, in the form of LongBench's English datasets.

    One dataset is one task: `parts` makes them of several names. A context has as many passages, examples, sections
    or definitions as fit; question and evidence of sample i are the same at every length.

    Args:
        protocol: ``exact``: a context that fills the length. ``closed-book``: the prompt with an empty context, for the
            datasets of questions: the floor of what the texts add.
        dataset: Names of datasets joined by ``/``, or ``all``.

    Raises:
        TaskError: If a parameter is out of range, or a dataset unknown.
    """

    protocol: str = EXACT
    dataset: str = "all"

    def __post_init__(self) -> None:
        """Check every parameter."""
        check_protocol(_INFO, self.protocol)
        self._names()

    def parts(self) -> Sequence[Self]:
        """Return one task for each dataset."""
        names = self._names()
        return (
            [self] if self.dataset in names else [dataclasses.replace(self, dataset=name) for name in names]
        )

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source; those of the dataset where it is one."""
        dataset = _DATASETS.get(self.dataset)
        if dataset is None:
            return _INFO
        return dataclasses.replace(
            _INFO,
            name=f"{_NAME}_{self.dataset}",
            metrics=metrics_of([dataset]),
            protocols=protocols_of(dataset, _PROTOCOLS),
            suite=_SUITE,
            uses_chat_template=dataset.uses_chat_template,
        )

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the dataset."""
        return {"dataset": self.dataset}

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return what the longest of some rows needs with as few units as there can be.

        The same for both protocols: the floor is where the curve is.
        """
        dataset = self._one()
        fewest = fewest_units(self.dataset)
        needed = (
            self._tokens(_read(synthetic_row(self.dataset, _PROBE_SEED, index, units=fewest)), tokenizer)
            for index in range(_PROBES)
        )
        return max(needed) + dataset.max_new_tokens

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over samples 0 to ``count`` - 1.

        Args:
            context_length: Prompt plus answer budget, in model tokens with special tokens. Never exceeded: where one
                unit more would not fit there is none, and where the fewest do not fit the context loses its middle.
            count: Samples wanted.
            seed: Seed of everything invented.
            tokenizer: The model's.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length`.
        """
        dataset, truncation = self._one(), TRUNCATIONS[self.protocol]
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"{self.info.name}: context_length must be at least {minimum} with this tokenizer, got "
                f"{context_length!r}. Ask for a longer one."
            )
        limit = truncation.limit(self.info.name, context_length, dataset.max_new_tokens, None)

        def sample(index: int) -> Sample:
            made = self._fitting_row(seed, index, limit, tokenizer)
            return sample_of(
                dataset,
                _read(made),
                index=index,
                context_length=context_length,
                truncation=truncation,
                limit=limit,
                tokenizer=tokenizer,
                document=f"generated-{seed}-{index}",
                depth=made.depths[0] if len(made.depths) == 1 else None,
            )

        return map(sample, range(count))

    def score(self, sample: Sample, output: Output) -> Score:
        """Compare the output with the right answer."""
        return score_of(self._one(), sample, output, task=self.info.name)

    def group_key(self, *, context_length: int, index: int) -> str:
        """Every sample is computed on its own: lengths share little."""
        return f"{context_length}:{index}"

    def _one(self) -> Dataset:
        if self.dataset not in _DATASETS:
            raise TaskError(
                f"{_NAME}: dataset must be one where samples are made, got {self.dataset!r}. Take its parts()."
            )
        return _DATASETS[self.dataset]

    def _names(self) -> tuple[str, ...]:
        return names_of(_NAME, self.dataset, known=_DATASETS, selections=_SELECTIONS, protocol=self.protocol)

    def _fitting_row(self, seed: int, index: int, limit: int, tokenizer: Tokenizer) -> SyntheticRow:
        """Return the row with as many units as fit; with the fewest where not even they do, or none is shown."""
        fewest = fewest_units(self.dataset)
        if TRUNCATIONS[self.protocol].drops_context:
            return synthetic_row(self.dataset, seed, index, units=fewest)

        def tokens(units: int) -> int:
            return self._tokens(_read(synthetic_row(self.dataset, seed, index, units=units)), tokenizer)

        short, longer = tokens(fewest), tokens(fewest + _PROBES)
        guess = fewest + int((limit - short) * _PROBES / max(1, longer - short))
        units = largest(
            lambda units: units == fewest or tokens(units) <= limit,
            at_least=fewest,
            guess=max(fewest, guess),
        )
        return synthetic_row(self.dataset, seed, index, units=units)

    def _tokens(self, row: LongbenchRow, tokenizer: Tokenizer) -> int:
        dataset = self._one()
        return len(encoding(dataset, tokenizer)(parts_of(dataset, row).text))


def _read(made: SyntheticRow) -> LongbenchRow:
    row = made.row
    return LongbenchRow(
        context=row["context"],
        question=row["input"],
        answers=tuple(row["answers"]),
        classes=tuple(row["all_classes"] or ()),
        length=row["length"],
        evidence=made.evidence,
    )
