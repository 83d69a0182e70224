"""The model card, written from measured runs and from the record of the training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from longbench_run.results.positions import position_curves
from longbench_run.results.table import cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from longbench_run.harness.reference_model.plain_text import BookFigures
    from longbench_run.harness.reference_model.speed import Speed
    from longbench_run.results.positions import PositionCurve
    from longbench_run.results.table import CellSummary

RECORD = "training.json"
"""What the training writes about itself, beside the weights."""

_HEAD = """\
# Reference model

The model that longbench-run carries. It is small on purpose: it exists so that a run needs no network, no GPU
and no minutes of prefill, and still shows what long-context evaluation shows. It retrieves what its context holds
and knows next to nothing else; its text is no text to read.

| | |
|---|---|
| architecture | {architecture}, {layers} layers, {heads} heads of {head_dim}, hidden {hidden}, {parameters:,} parameters |
| native window | {window} tokens |
| RoPE | base {base:g}, all {head_dim} dimensions rotated |
| tokenizer | byte-level BPE, {vocabulary} tokens, digits one by one, `<s>` put first |
| weights | bf16 safetensors, sha256 `{weights}` |
| licence | Apache-2.0 |

Measured in {dtype} from the shipped bf16 weights, with 95 % intervals in brackets. What a figure stands on is said by n.

## What it can do inside its window

{inside}

## What it shows beyond its window, untuned

Each method has its default parameters and is set once, for the longest length, as in a default run.

{beyond}

{speed}## Training

`python -m longbench_run.harness.reference_model train --output runs/reference_model{books_flag} --seed {seed}`, on
{threads} CPU thread(s) with bf16 autocast: {tokens:.1f} M tokens in {minutes:.0f} minutes. It starts from weights in
which a copying circuit is written down roughly (`circuit.py`); everything is trained from there, on generated problems
and samples{and_books}. The last rows are longer than the window, so that its far end lies inside what was trained.

What tasks ask was never trained on, whatever their seed: keys of the passkey task have five digits and begin with 1 to 9,
keys trained on do not; every invented name belongs to the tasks or to the training for good; the training's haystacks
never have the task's order. A filter refuses any sample that breaks this (`row.py`), and a test holds it against the
tasks' seeds 0 to 9,999.

{stages}
{books}
## How to measure it again

`python -m longbench_run.harness.reference_model evaluate --books DIR --training-books DIR --speed --card MODEL_CARD.md`

A killed measurement goes on where it was. What a killed training leaves also goes on, with the same command.
"""

_INSIDE = (
    ("inside", "Passkey, the task's own prompt, at ten depths"),
    ("skills", "Other tasks, all samples generated"),
)
_NOT_MEASURED = "not measured with these weights yet; `evaluate` without `--parts` does that."
_BEYOND = (
    (("main-near", "main-far"), "The methods of the main command"),
    (("others-near", "others-far"), "Every other method"),
)


def render_card(
    folder: Path,
    *,
    weights: str,
    dtype: str,
    frames: Mapping[str, pd.DataFrame],
    books: BookFigures | None,
    speed: Speed | None,
) -> str:
    """Return the model card.

    Args:
        folder: The model, with the record of its training.
        weights: sha256 of its weights.
        dtype: What was computed in.
        frames: Name of a part of `evaluate.parts` -> its samples; of a part that is missing the card says so, or nothing.
        books: What was measured on books, None for nothing.
        speed: How long it takes, None where that was not measured.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    last = record["stages"][-1]
    return _HEAD.format(
        architecture=config["model_type"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        head_dim=config["head_dim"],
        hidden=config["hidden_size"],
        parameters=record["parameters"],
        window=config["max_position_embeddings"],
        base=config["rope_parameters"]["rope_theta"],
        vocabulary=config["vocab_size"],
        weights=weights,
        dtype=dtype,
        inside="\n\n".join([*_inside(frames), *_plain_english(books)]),
        speed=_speed(speed),
        beyond="\n\n".join(_beyond(frames)),
        books_flag=" --books DIR" if record["books"] else "",
        and_books=", and on the books below" if record["books"] else "",
        seed=record["seed"],
        threads=record["threads"],
        tokens=last["tokens"] / 1e6,
        minutes=last["seconds"] / 60,
        stages=_stages(record["stages"]),
        books=_books(record["books"]),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value(cell: CellSummary) -> str:
    if cell.value is None:
        return "not applicable" if cell.not_applicable else "failed"
    interval = "" if cell.low is None else f" [{cell.low:.2f}, {cell.high:.2f}]"
    return f"{cell.value:.2f}{interval}"


def _inside(frames: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    for name, title in _INSIDE:
        if name not in frames:
            continue
        curves = {curve.key: curve for curve in position_curves(frames[name])}
        rows = []
        for cell in cells(frames[name]):
            rows.append(
                [
                    f"`{cell.task}`",
                    cell.metric,
                    str(cell.context_length),
                    f"{_value(cell)}, n = {cell.n}",
                    _worst(curves[cell.key]) if cell.key in curves else "",
                ]
            )
        head = ("task", "metric", "context length", "score", "at the worst position")
        yield f"{title}:\n\n{_table(head, rows)}"


def _worst(curve: PositionCurve) -> str:
    worst = min((point.mean for point in curve.points), key=lambda mean: mean.value or 0.0)
    return f"{worst.value or 0.0:.2f}, n = {worst.samples}"


def _plain_english(books: BookFigures | None) -> Iterable[str]:
    if books is None:
        return
    unigram = books.bits_per_byte_unigram
    rows = [[f"context of {length} tokens", f"{bits:.3f}"] for length, bits in books.bits_per_byte.items()]
    if unigram is not None:
        rows.append(["unigram model of the books trained on, same tokens", f"{unigram:.3f}"])
    names = ", ".join(f"`{name}`" for name in books.books)
    yield f"Plain English it was not trained on ({names}), sliding windows:\n\n{_table(('', 'bits per byte'), rows)}"


def _beyond(frames: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    for names, title in _BEYOND:
        found = [cell for name in names if name in frames for cell in cells(frames[name])]
        for task, what in (
            ("passkey", "passkey, share of keys found"),
            ("perplexity", "generated documents, nll in nats per token"),
        ):
            of_task = {(cell.method_label, cell.context_length): cell for cell in found if cell.task == task}
            if not of_task:
                yield f"{title}: {what}: {_NOT_MEASURED}"
                continue
            lengths = sorted({length for _, length in of_task})
            methods = list(dict.fromkeys(method for method, _ in of_task))
            counts = ", ".join(str(of_task[methods[0], length].n) for length in lengths)
            rows = [
                [f"`{method}`"]
                + [
                    _value(of_task[method, length]) if (method, length) in of_task else ""
                    for length in lengths
                ]
                for method in methods
            ]
            yield f"{title}: {what}, n = {counts}:\n\n{_table(['method', *map(str, lengths)], rows)}"


def _speed(speed: Speed | None) -> str:
    if speed is None:
        return ""
    rows = [[dtype, str(length), f"{seconds:.2f}"] for (dtype, length), seconds in speed.prefill.items()]
    return (
        f"## How long it takes\n\nOn {speed.threads} CPU threads it loads in {speed.load:.2f} s, "
        "libraries imported, and reads a prompt in (medians of three):\n\n"
        f"{_table(('dtype', 'tokens', 'seconds'), rows)}\n\n"
    )


def _stages(stages: list[dict[str, Any]]) -> str:
    rows = [
        [
            stage["stage"],
            str(stage["steps"]),
            f"{stage['tokens'] / 1e6:.1f} M",
            f"{stage['seconds'] / 60:.0f}",
            f"{stage['copying']:.2f}",
            "" if stage["passkey"] is None else f"{stage['passkey']:.2f}",
        ]
        for stage in stages
    ]
    head = (
        "stage",
        "steps",
        "tokens so far",
        "minutes so far",
        "copied tokens right",
        "passkey at its length or the window, n = 40",
    )
    return _table(head, rows)


def _books(books: list[dict[str, str]]) -> str:
    if not books:
        return ""
    rows = [[f"`{book['name']}`", book["source"], f"`{book['sha256']}`"] for book in books]
    return f"\nBooks, all in the public domain:\n\n{_table(('file', 'source', 'sha256'), rows)}\n"
