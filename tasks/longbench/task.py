"""LongBench v1 and LongBench-E as tasks, one for each dataset, on the authors' data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from longbench_run.tasks.base import Output, Sample, Score, TaskError, TaskInfo, Tokenizer
from longbench_run.tasks.checks import check_protocol, unknown
from longbench_run.tasks.longbench.asking import (
    cut_for,
    encoding,
    metrics_of,
    parts_of,
    sample_of,
    score_of,
    suite_of,
)
from longbench_run.tasks.longbench.data import data_file
from longbench_run.tasks.longbench.datasets import (
    BUCKETS,
    DATASETS,
    DATASETS_E,
    LANGUAGES,
    OF_E,
    PROTOCOL,
    SELECTIONS,
    VARIANTS,
    Dataset,
)
from longbench_run.tasks.longbench.rows import LongbenchRow, fingerprint, rows_of
from longbench_run.tasks.longbench.truncation import REFERENCES, TRUNCATIONS, Truncation, protocols_of

_NAME = "longbench"
_INFO = TaskInfo(
    name=_NAME,
    version=1,
    summary="Answer, summarize, classify and complete over long real texts: 21 datasets in six categories.",
    source=(
        "Bai et al. 2023, arXiv:2308.14508; prompts, answer budgets, truncation, decoding and metrics of "
        "THUDM/LongBench, pred.py, eval.py and metrics.py; protocol exact differs in what is cut."
    ),
    licence="MIT (prompts and code of the authors); each dataset keeps its own",
    metrics=metrics_of(tuple(DATASETS.values())),
    protocols=tuple(TRUNCATIONS),
    default_count=200,
    references=REFERENCES,
    parameters={
        "protocol": "longbench-v1 (default): the middle of the prompt is cut at 1000 tokens per 1024 less 500, before "
        "the chat template; exact: the middle of the context alone, so that prompt and answer fill the context length; "
        "closed-book: the question without any context, the floor of question answering.",
        "dataset": "Names joined by /, those of LongBench-E with _e; all (the 21, default), en (16), zh (5), e (the 13 "
        "of LongBench-E).",
        "max_length": "longbench-v1: tokens of the prompt before the chat template; default: as the authors, 3500 for 4k.",
        "data_dir": "Folder with NAME.jsonl, data/NAME.jsonl or data.zip; default: the authors' archive from the hub.",
    },
)
_SUITE = suite_of("LongBench", DATASETS, tasks=f"{_NAME}_{{}}", languages=LANGUAGES)
_SUITE_E = suite_of(
    "LongBench-E", DATASETS_E, tasks=f"{_NAME}_{{}}{OF_E}", languages=LANGUAGES[:1], buckets=BUCKETS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Longbench:
    """Questions over the authors' texts, cut to the context length.

    One dataset is one task: `parts` makes them of several names. Sample i is row i of the data file, at every length
    and seed. Prompts are the authors' templates, byte for byte where nothing had to be cut.

    Args:
        protocol: ``longbench-v1``: what is too long loses its middle, instruction and question included where the
            middle reaches them, and what a chat template adds comes on top: here alone a prompt and its answer may
            exceed the context length, by what the 500 tokens of slack do not hold. ``exact``: only the context is
            cut, so that prompt and answer budget fill the context length as exactly as encoding anew allows, and
            never exceed it. ``closed-book``: the authors' prompt with an empty context, for the datasets of questions:
            the floor of what the texts add.
        dataset: Names of datasets joined by ``/``, or ``all``, ``en``, ``zh``, ``e``.
        max_length: Tokens of a prompt before the chat template, at least 2; None for 1000 (n // 1024) - 500 at a
            context length of n tokens. Only for ``longbench-v1``.
        data_dir: Folder with the data files; None for the authors' archive.

    Raises:
        TaskError: If a parameter is out of range, or a dataset unknown. Data is read when samples are asked for.
    """

    protocol: str = PROTOCOL
    dataset: str = "all"
    max_length: int | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        """Check every parameter."""
        check_protocol(_INFO, self.protocol)
        self._names()
        takes_max_length = self._truncation().takes_max_length
        if self.max_length is not None and (self.max_length < 2 or not takes_max_length):
            rule = "at least 2" if takes_max_length else f"left out with protocol {self.protocol}"
            raise TaskError(
                f"{_NAME}: max_length must be {rule}, got {self.max_length!r}. Leave it out for what the context length "
                "gives."
            )

    def parts(self) -> Sequence[Self]:
        """Return one task for each dataset."""
        names = self._names()
        return (
            [self] if self.dataset in names else [dataclasses.replace(self, dataset=name) for name in names]
        )

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source; those of the dataset where it is one."""
        dataset = VARIANTS.get(self.dataset)
        if dataset is None:
            return _INFO
        is_e = self.dataset in SELECTIONS["e"]
        return dataclasses.replace(
            _INFO,
            name=f"{_NAME}_{self.dataset}",
            metrics=metrics_of([dataset]),
            protocols=protocols_of(dataset),
            suite=_SUITE_E if is_e else _SUITE,
            default_count=(dataset.size_e if is_e else None) or dataset.size,
            uses_chat_template=dataset.uses_chat_template,
        )

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the dataset, the content of its file as a hash, and ``max_length``."""
        self._one()
        data = fingerprint(data_file(self.dataset, self.data_dir))
        return {"dataset": self.dataset, "data": data, "max_length": self.max_length}

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return 1024 or ``max_length``; for ``exact``, what the longest question needs without any context."""
        dataset, truncation = self._one(), self._truncation()
        if self.max_length is not None:
            return self.max_length
        encode = encoding(dataset, tokenizer)
        needed = max(truncation.never_cut(parts_of(dataset, row), encode) for row in self._rows())
        return max(truncation.shortest, needed + dataset.max_new_tokens)

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over the first ``count`` rows, fewer where the file has fewer.

        Args:
            context_length: Tokens; what that means for the prompt is the protocol's.
            count: Samples wanted.
            seed: Changes nothing: rows are what they are.
            tokenizer: The model's.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length` or none of the protocol's, the data cannot be
                read, or what its metric needs is not installed.
        """
        dataset, truncation = self._one(), self._truncation()
        cut_for(dataset, task=self.info.name)
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"{self.info.name}: context_length must be at least {minimum} with protocol {self.protocol} and this "
                f"tokenizer, got {context_length!r}. Ask for a longer one."
            )
        limit = truncation.limit(self.info.name, context_length, dataset.max_new_tokens, self.max_length)
        rows = self._rows()

        def sample(index: int) -> Sample:
            return sample_of(
                dataset,
                rows[index],
                index=index,
                context_length=context_length,
                truncation=truncation,
                limit=limit,
                tokenizer=tokenizer,
                document=f"row-{index}",
            )

        return map(sample, range(min(count, len(rows))))

    def score(self, sample: Sample, output: Output) -> Score:
        """Compare the output with every right answer, as the authors do; the best counts."""
        return score_of(self._one(), sample, output, task=self.info.name)

    def group_key(self, *, context_length: int, index: int) -> str:
        """Every sample is computed on its own: cut prompts share little."""
        return f"{context_length}:{index}"

    def _one(self) -> Dataset:
        if self.dataset not in VARIANTS:
            raise TaskError(
                f"{_NAME}: dataset must be one where samples are made, got {self.dataset!r}. Take its parts()."
            )
        return VARIANTS[self.dataset]

    def _names(self) -> tuple[str, ...]:
        return names_of(_NAME, self.dataset, known=VARIANTS, selections=SELECTIONS, protocol=self.protocol)

    def _truncation(self) -> Truncation:
        return TRUNCATIONS[self.protocol]

    def _rows(self) -> tuple[LongbenchRow, ...]:
        return rows_of(data_file(self.dataset, self.data_dir), self.dataset)


def names_of(
    task: str,
    text: str,
    *,
    known: Mapping[str, Dataset],
    selections: Mapping[str, Sequence[str]],
    protocol: str,
) -> tuple[str, ...]:
    """Return the datasets that a text names, each once; of a selection, those that the protocol can ask.

    Args:
        task: Name of the task, for the message.
        text: Names joined by ``/``.
        known: The datasets.
        selections: Name of several -> theirs.
        protocol: How they are asked.

    Raises:
        TaskError: If a name is unknown, and the message names the nearest, or the protocol cannot ask it.
    """
    askable = [name for name, dataset in known.items() if protocol in protocols_of(dataset)]
    found: list[str] = []
    for name in text.split("/"):
        if name not in known and name not in selections:
            raise unknown(task, "dataset", name, [*selections, *known])
        if name in known and name not in askable:
            raise TaskError(
                f"{task}: dataset must be one of questions with protocol {protocol}, got {name!r}. Take one of: "
                f"{', '.join(askable)}."
            )
        found += [each for each in selections.get(name, [name]) if each in askable]
    return tuple(dict.fromkeys(found))
