"""What lm-eval calls while it runs an exported task: reading its rows, scoring its answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from longbench_run.tasks.base import Generated, GenerateRequest, Sample, Task
from longbench_run.tasks.registry import create_task
from longbench_run.tasks.rows import read_rows

REQUEST_FIELD = "request"
"""The field of a sample that a row holds as texts instead."""


def row_of(sample: Sample, name: str, task: Task, texts: Mapping[str, str]) -> dict[str, str]:
    """Return a row of an exported task: what lm-eval asks, and what scores the answer.

    Args:
        sample: The sample.
        name: What its task is registered as.
        task: A dataclass whose fields are the task's parameters.
        texts: What lm-eval asks.
    """
    fields = dataclasses.fields(sample)
    held = {field.name: getattr(sample, field.name) for field in fields if field.name != REQUEST_FIELD}
    return {**texts, "task": name, "parameters": json.dumps(parameters_of(task)), "sample": json.dumps(held)}


def parameters_of(task: Any) -> dict[str, Any]:
    """Return what a task was made with."""
    return {field.name: getattr(task, field.name) for field in dataclasses.fields(task) if field.init}


def read(path: Path) -> Mapping[str, Any]:
    """Return the rows of an exported task as lm-eval's test split.

    Args:
        path: JSON Lines.

    Raises:
        TaskError: If the file cannot be read.
    """
    rows = [row.fields for row in read_rows(path)]
    return {"test": import_module("datasets").Dataset.from_list(rows)}


def score_text(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, float]:
    """Score a generated text as the task does in a run of this package."""
    task = _task(doc["task"], doc["parameters"])
    held: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(doc["sample"]).items()
    }
    request = GenerateRequest(prompt_ids=(), max_new_tokens=1)
    score = task.score(Sample(request=request, **held), Generated(token_ids=(), text=results[0]))
    return dict(score.scores)


def score_tokens(
    doc: Mapping[str, str], results: Sequence[tuple[float, bool]]
) -> dict[str, tuple[float, int]]:
    """Return the log-likelihood of a window's scored tokens in nats, and their number."""
    return {"nll": (float(results[0][0]), int(doc["tokens"]))}


def mean_nll(values: Sequence[tuple[float, int]]) -> float:
    """Return the nats per token of all windows together."""
    return -sum(found for found, _ in values) / sum(tokens for _, tokens in values)


@cache
def _task(name: str, parameters: str) -> Task:
    return create_task(name, json.loads(parameters))
