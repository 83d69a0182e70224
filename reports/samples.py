"""The samples behind a number, to read: what was asked, what the model said, how it was scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from longbench_run.reports.text import length_label, score_text, shortened, visible
from longbench_run.results.records import Record, ResultsError, Status
from longbench_run.results.store import read_run

LONGEST_TEXT = 2000
"""Characters of what a model wrote that are shown."""


def show_samples(
    run: Path | str,
    *,
    task: str | None = None,
    method: str | None = None,
    model: str | None = None,
    context_length: int | None = None,
    status: Status | None = None,
    limit: int = 10,
) -> str:
    """Return the samples of a run that match, in the order of the run, as text for a terminal.

    Control characters in what a model wrote are spelled out: nothing it wrote can act on the terminal.

    Args:
        run: Run folder.
        task: Task name; None for all.
        method: Method label; None for all.
        model: Model label; None for all.
        context_length: Tokens; None for all.
        status: Status; None for all.
        limit: Most samples shown, at least 1.

    Raises:
        ResultsError: If the folder is no run, a name is not one of the run's, or ``limit`` is below 1.
    """
    if limit < 1:
        raise ResultsError(f"show: --limit must be at least 1, got {limit!r}. Leave it out for 10.")
    header, records = read_run(run)
    models = [entry.label for entry in header.models]
    tasks = [entry.name for entry in header.tasks]
    lengths = sorted({*header.lengths, *(record.cell.context_length for record in records)})
    _check(run, "task", task, tasks)
    _check(run, "method", method, header.methods)
    _check(run, "model", model, models)
    if context_length is not None and context_length not in lengths:
        raise ResultsError(
            f"{run}: context_length must be one of {', '.join(map(length_label, lengths))}, "
            f"got {length_label(context_length)!r}. Ask for one of these."
        )
    found = [
        record
        for record in records
        if (task is None or record.cell.task.name == task)
        and (method is None or record.method_label == method)
        and (model is None or record.model_label == model)
        and (context_length is None or record.cell.context_length == context_length)
        and (status is None or record.status == status)
    ]
    found.sort(
        key=lambda record: (
            _place(models, record.model_label),
            _place(tasks, record.cell.task.name),
            _place(header.methods, record.method_label),
            record.cell.context_length,
            record.cell.seed,
            -1 if record.index is None else record.index,
        )
    )
    blocks = [_sample(record) for record in found[:limit]]
    rest = len(found) - len(blocks)
    if not found:
        blocks.append("No sample matches.")
    elif rest:
        blocks.append(f"{rest} more; see them with --limit {len(found)}.")
    return "\n\n".join(blocks) + "\n"


class DescribedSample(NamedTuple):
    """What is known of a sample, in words; what it does not have is left out."""

    name: str
    facts: tuple[tuple[str, str], ...]
    """Pairs of a name and a short value."""
    texts: tuple[tuple[str, str], ...]
    """Pairs of a name and what a source or a model wrote: untrusted, of any length."""


def described(
    values: Mapping[str, Any], *, seed: int, scores: Mapping[str, float], failure: str | None
) -> DescribedSample:
    """Return a sample in words.

    Args:
        values: Fields of a `Record` by name; None is what it does not have.
        seed: Of the samples.
        scores: Metric -> value.
        failure: Type and message of what went wrong.
    """
    depth, truncated = values["depth"], values["tokens_truncated"]
    at = "" if values["truncated_at"] is None else f" after token {values['truncated_at']}"
    facts = (
        ("status", values["status"]),
        ("scores", ", ".join(f"{key} {score_text(value, digits=4)}" for key, value in scores.items())),
        ("document", values["document"]),
        ("depth", None if depth is None else f"{depth:.2f}"),
        ("prompt tokens", values["prompt_tokens"]),
        ("scored tokens", values["scored_tokens"]),
        ("truncated", f"{truncated} tokens{at}" if truncated else None),
        ("evidence", "cut off" if values["evidence_survived"] is False else None),
    )
    others = [answer for answer in values["answers"] or () if answer != values["target"]]
    texts = (
        ("prompt begins" if values["prompt_tail"] else "prompt", values["prompt_head"]),
        ("prompt ends", values["prompt_tail"]),
        ("target", values["target"]),
        ("also right", " | ".join(others)),
        ("prediction", "(empty)" if values["prediction"] == "" else values["prediction"]),
        ("failure", failure),
    )
    name = "whole cell" if values["index"] is None else f"sample {values['index']}"
    return DescribedSample(
        name=f"seed {seed}, {name}",
        facts=tuple((name, str(value)) for name, value in facts if value is not None and value != ""),
        texts=tuple((name, str(value)) for name, value in texts if value is not None and value != ""),
    )


def _sample(record: Record) -> str:
    cell, failure = record.cell, record.failure
    found = described(
        dict(record),
        seed=cell.seed,
        scores=record.scores,
        failure=f"{failure.type}: {failure.message}" if failure else None,
    )
    place = f"{cell.task.name} at {length_label(cell.context_length)}, {found.name}"
    lines = [visible(f"{record.model_label}, {record.method_label}, {place}")]
    lines += [f"  {name + ':':<15}{_shown(value)}" for name, value in (*found.facts, *found.texts)]
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Return text on one line, spelled out, and cut where nobody reads on."""
    return shortened(visible(text), LONGEST_TEXT)


def _check(run: Path | str, name: str, value: str | None, known: Iterable[str]) -> None:
    known = list(known)
    if value is None or value in known:
        return
    near = get_close_matches(value, known, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else "Ask for one of these."
    raise ResultsError(f"{run}: {name} must be one of {', '.join(known)}, got {value!r}. {hint}")


def _place(order: Iterable[str], value: str) -> int:
    order = list(order)
    return order.index(value) if value in order else len(order)
