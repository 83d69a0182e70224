"""The samples behind a number, to read: what was asked, what the model said, how it was scored."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from longbench_run.reports.text import length_label, score_text, shortened, visible
from longbench_run.results.records import Record, ResultsError, Status
from longbench_run.results.store import read_run

_LONGEST_TEXT = 2000


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


def _sample(record: Record) -> str:
    cell = record.cell
    name = "whole cell" if record.index is None else f"sample {record.index}"
    facts = [
        ("status", record.status),
        ("scores", ", ".join(f"{key} {score_text(value, digits=4)}" for key, value in record.scores.items())),
        ("document", record.document),
        ("depth", None if record.depth is None else f"{record.depth:.2f}"),
        ("prompt tokens", None if record.prompt_tokens is None else str(record.prompt_tokens)),
        ("scored tokens", None if record.scored_tokens is None else str(record.scored_tokens)),
        ("truncated", f"{record.tokens_truncated} tokens" if record.tokens_truncated else None),
        ("evidence", "cut off" if record.evidence_survived is False else None),
        ("target", record.target),
        ("prediction", record.prediction),
        ("failure", f"{record.failure.type}: {record.failure.message}" if record.failure else None),
    ]
    place = f"{cell.task.name} at {length_label(cell.context_length)}, seed {cell.seed}, {name}"
    lines = [visible(f"{record.model_label}, {record.method_label}, {place}")]
    lines += [f"  {key + ':':<15}{_shown(text)}" for key, text in facts if text is not None and text != ""]
    if record.prediction == "":
        lines.append(f"  {'prediction:':<15}(empty)")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Return text on one line, spelled out, and cut where nobody reads on."""
    return shortened(visible(text), _LONGEST_TEXT)


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
