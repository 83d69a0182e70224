"""From a row to a sample, and from an answer to a score: what rows of any source have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from longbench_run.tasks.base import (
    Generated,
    GenerateRequest,
    Metric,
    Output,
    Sample,
    Score,
    Suite,
    SuiteAverage,
    Tokenizer,
)
from longbench_run.tasks.longbench.chinese import load_cut
from longbench_run.tasks.longbench.datasets import Dataset, categories_of
from longbench_run.tasks.longbench.evidence import evidence_survived, parts_of_evidence
from longbench_run.tasks.longbench.metrics import CUTS_CHINESE, Cut, Given, first_line
from longbench_run.tasks.longbench.prompts import PromptParts, filled
from longbench_run.tasks.longbench.rows import LongbenchRow
from longbench_run.tasks.longbench.scoring import score_sample
from longbench_run.tasks.longbench.truncation import Encode, Truncation


def metrics_of(datasets: Sequence[Dataset]) -> tuple[Metric, ...]:
    """Return the metrics of datasets, each once."""
    return tuple(
        Metric(name=name, higher_is_better=True, minimum=0.0, maximum=1.0)
        for name in dict.fromkeys(dataset.metric for dataset in datasets)
    )


def suite_of(
    name: str,
    known: Mapping[str, Dataset],
    *,
    tasks: str,
    languages: Sequence[str],
    buckets: Mapping[str, float] = MappingProxyType({}),
) -> Suite:
    """Return what datasets are averaged to: categories by language, as the authors do.

    Args:
        name: What it is called.
        known: Name -> dataset.
        tasks: Name of a dataset's task, with ``{}`` for that of the dataset.
        languages: Languages that there is an average of.
        buckets: Of rows by length, see `Suite.buckets`.
    """
    return Suite(
        name=name,
        averages=tuple(
            SuiteAverage(
                name=language,
                groups={
                    category: tuple(map(tasks.format, names))
                    for category, names in categories_of(known, language).items()
                },
            )
            for language in languages
        ),
        buckets=buckets,
    )


def parts_of(dataset: Dataset, row: LongbenchRow) -> PromptParts:
    """Return the filled template of a row."""
    return filled(dataset.name, context=row.context, question=row.question)


def encoding(dataset: Dataset, tokenizer: Tokenizer) -> Encode:
    """Return how the prompts of a dataset are encoded: as a turn of a chat, or as they are."""
    return tokenizer.encode_chat if dataset.uses_chat_template else tokenizer.encode


def sample_of(
    dataset: Dataset,
    row: LongbenchRow,
    *,
    index: int,
    context_length: int,
    truncation: Truncation,
    limit: int,
    tokenizer: Tokenizer,
    document: str,
    depth: float | None = None,
) -> Sample:
    """Return the sample of a row.

    Args:
        dataset: Template, answer budget and rules.
        row: What is asked.
        index: Number of the sample.
        context_length: Tokens asked for.
        truncation: How the prompt is cut.
        limit: Tokens that this leaves the prompt, see `Truncation.limit`.
        tokenizer: The model's.
        document: Name of the row.
        depth: Place of the evidence in the context, where it is known.
    """
    parts = parts_of(dataset, row)
    fitted = truncation.fit(parts, tokenizer, encoding(dataset, tokenizer), limit)
    return Sample(
        index=index,
        context_length=context_length,
        request=GenerateRequest(
            prompt_ids=fitted.prompt_ids,
            max_new_tokens=dataset.max_new_tokens,
            # The authors keep models from answering nothing where the first newline ends an answer.
            end_ids=(tokenizer.encode("\n", add_special_tokens=False)[-1],)
            if dataset.ends_at_newline
            else (),
            min_new_tokens=int(dataset.ends_at_newline),
        ),
        target=row.answers[0],
        answers=row.answers if len(row.answers) > 1 else (),
        classes=row.classes,
        source_length=row.length,
        depth=None if truncation.drops_context else depth,
        document=document,
        tokens_truncated=fitted.tokens_truncated,
        truncated_at=fitted.truncated_at,
        evidence_survived=None
        if truncation.drops_context
        else _survived(dataset, row, parts.text, fitted.text, tokenizer),
    )


def _survived(
    dataset: Dataset, row: LongbenchRow, before: str, after: str, tokenizer: Tokenizer
) -> bool | None:
    def as_read(text: str) -> str:
        return tokenizer.decode(tokenizer.encode(text, add_special_tokens=False), skip_special_tokens=True)

    parts = parts_of_evidence(row, dataset.evidence)
    return None if parts is None else evidence_survived(parts, before=before, after=after, as_read=as_read)


def score_of(dataset: Dataset, sample: Sample, output: Output, *, task: str) -> Score:
    """Return the score of one output: the best over all answers, 0 to 1.

    Args:
        dataset: Decides the metric, and whether only the first line counts.
        sample: What was asked.
        output: What the model generated.
        task: Name of the task, for messages.

    Raises:
        TaskError: If Chinese words are to be compared and jieba is not installed.
    """
    if not isinstance(output, Generated):
        raise TypeError(f"{task} scores Generated, got {type(output).__name__}")
    answers = sample.answers or (sample.target or "",)
    given = Given(classes=sample.classes, cut=cut_for(dataset, task=task))
    return Score(
        scores={dataset.metric: score_sample(dataset, output.text, answers, given).value},
        prediction=first_line(output.text) if dataset.first_line else output.text,
    )


def cut_for(dataset: Dataset, *, task: str) -> Cut | None:
    """Return what cuts Chinese words where the dataset's metric needs it.

    Raises:
        TaskError: If it needs jieba and that is not installed.
    """
    return _cut(task) if dataset.metric in CUTS_CHINESE else None


@cache
def _cut(task: str) -> Cut:
    return load_cut(where=task, otherwise="name datasets without Chinese: dataset=en")
