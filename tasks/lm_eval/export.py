"""Tasks of this package as task files of lm-eval: settings as YAML, samples as JSON Lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from longbench_run.tasks.base import (
    ChooseRequest,
    GenerateRequest,
    Metric,
    Request,
    Sample,
    ScoreRequest,
    ScoreWindow,
    Task,
    TaskError,
)
from longbench_run.tasks.lm_eval.exported import row_of
from longbench_run.tasks.lm_eval.prompts import UNCUT, PromptTokenizer, prompt_of

MODULE = "longbench_run_tasks"
"""Name of the Python file beside exported tasks; its functions are those that their settings name."""
MODULE_TEXT = '''"""Written by `longbench-run export-tasks`: samples lie beside it, longbench-run scores answers."""

from pathlib import Path

from longbench_run.tasks.lm_eval.exported import mean_nll, read, score_text, score_tokens

__all__ = ["mean_nll", "score_text", "score_tokens", "samples"]


def samples(**settings):
    return read(Path(__file__).parent / settings["file"])
'''
_TAG = "longbench_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedTask:
    """One task at one context length, as lm-eval reads it."""

    name: str
    settings: str
    """YAML, of the file ``NAME.yaml``."""
    rows: str
    """JSON Lines, of the file ``NAME.jsonl``."""
    samples: int
    read_differently: int
    """Samples whose text the tokenizer does not read as the tokens that it was made of."""


def exported(
    name: str, task: Task, samples: Sequence[Sample], *, context_length: int, tokenizer: PromptTokenizer
) -> ExportedTask:
    """Return a task of lm-eval with the samples of one cell.

    Args:
        name: What the task is registered as.
        task: A task that is none of lm-eval's own.
        samples: Its samples, at least one.
        context_length: Of the samples, in tokens.
        tokenizer: That they were made with.

    Raises:
        TaskError: If lm-eval has no request for what the task asks.
    """
    info = task.info
    request = samples[0].request
    if isinstance(request, GenerateRequest):
        settings, texts = _generated(info.name, request, info.metrics), _prompts
    elif isinstance(request, ScoreRequest):
        settings, texts = _scored(info.metrics), _windows
    else:
        raise TaskError(
            f"{info.name}: task must be none of lm-eval's, got one. Run it with lm-eval as it is."
        )
    rows: list[str] = []
    different = 0
    for sample in samples:
        found, alike = texts(sample.request, tokenizer)
        different += not alike
        rows += [json.dumps(row_of(sample, name, task, text)) for text in found]
    label = re.sub(r"\W", "_", f"{_TAG}_{info.name}_{task.protocol}_{context_length}")
    head = yaml.safe_dump(
        {
            "task": label,
            "tag": [_TAG],
            "test_split": "test",
            "dataset_kwargs": {"file": f"{label}.jsonl"},
            "target_delimiter": "",
            "num_fewshot": 0,
            "metadata": {"version": info.version},
        },
        sort_keys=False,
    )
    return ExportedTask(
        name=label,
        settings=f"{head}custom_dataset: !function {MODULE}.samples\n{settings}",
        rows="".join(f"{row}\n" for row in rows),
        samples=len(samples),
        read_differently=different,
    )


def _generated(name: str, request: GenerateRequest, metrics: Sequence[Metric]) -> str:
    if request.end_ids or request.min_new_tokens:
        raise TaskError(
            f"{name}: answers must end at texts alone to be asked by lm-eval, got tokens that end them, or must not. "
            "Export another task."
        )
    plain = {
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "target",
        "generation_kwargs": {
            "until": list(request.stop),
            "max_gen_toks": request.max_new_tokens,
            "do_sample": False,
        },
        "metric_list": [
            {"metric": metric.name, "aggregation": "mean", "higher_is_better": metric.higher_is_better}
            for metric in metrics
        ],
    }
    return f"{yaml.safe_dump(plain, sort_keys=False)}process_results: !function {MODULE}.score_text\n"


def _scored(metrics: Sequence[Metric]) -> str:
    plain = {"output_type": "loglikelihood", "doc_to_text": "context", "doc_to_target": "continuation"}
    (metric,) = metrics
    return (
        f"{yaml.safe_dump(plain, sort_keys=False)}process_results: !function {MODULE}.score_tokens\n"
        f"metric_list:\n- metric: {metric.name}\n  aggregation: !function {MODULE}.mean_nll\n"
        f"  higher_is_better: {str(metric.higher_is_better).lower()}\n"
    )


def _prompts(request: Any, tokenizer: PromptTokenizer) -> tuple[list[Mapping[str, str]], bool]:
    """Return the text of a prompt, and whether it is read as the tokens that it has."""
    ids, budget = request.prompt_ids, request.max_new_tokens

    def is_read(text: str) -> bool:
        again = _asked("generate_until", (text, {"max_gen_toks": budget}), tokenizer)
        return isinstance(again, GenerateRequest) and again.prompt_ids == ids

    text, alike = _text(ids, tokenizer, is_read)
    return [{"prompt": text}], alike


def _windows(request: Any, tokenizer: PromptTokenizer) -> tuple[list[Mapping[str, str]], bool]:
    """Return the texts of each window, and whether all are read as the tokens that they have."""
    found = [_window(window, tokenizer) for window in request.windows]
    return [row for row, _ in found], all(alike for _, alike in found)


def _window(window: ScoreWindow, tokenizer: PromptTokenizer) -> tuple[Mapping[str, str], bool]:
    continuation = tokenizer.decode(window.token_ids[window.first_scored :])

    def is_read(context: str) -> bool:
        again = _asked("loglikelihood", (context, continuation), tokenizer)
        return isinstance(again, ChooseRequest) and again.windows == (window,)

    context, alike = _text(window.token_ids[: window.first_scored], tokenizer, is_read)
    tokens = len(window.token_ids) - window.first_scored
    return {"context": context, "continuation": continuation, "tokens": str(tokens)}, alike


def _text(ids: Sequence[int], tokenizer: PromptTokenizer, is_read: Callable[[str], bool]) -> tuple[str, bool]:
    """Return a text that is read as these tokens, and whether there is one.

    The token that begins a text is left out, unless the tokenizer does not put it there.
    """
    begins = bool(ids) and ids[0] == tokenizer.bos_token_id
    forms = [tokenizer.decode(ids[begins:]), tokenizer.decode(ids)]
    found = next((text for text in forms if is_read(text)), None)
    return (forms[0], False) if found is None else (found, True)


def _asked(kind: str, arguments: tuple[Any, ...], tokenizer: PromptTokenizer) -> Request:
    """Return what lm-eval's models would be asked, nothing cut."""
    return prompt_of(kind, [arguments], tokenizer=tokenizer, context_length=UNCUT, cut="lm-eval").request
