"""The model card, written from measured figures and from the record of the training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from longbench_run.harness.reference_model.figures import Figure

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

## What it can do inside its window

Measured in {dtype} from the shipped bf16 weights. Passkey: the task `passkey`, ten depths. Documents: nll in nats
per token of the last 256 tokens of the first {longest} tokens of generated documents (`perplexity`, protocol
`same_tokens`). 95 % intervals in brackets.

{inside}

## What it shows beyond its window, untuned

Methods have the parameters of their defaults. Under `fixed`, the policy of a default run, each is set once, for
the longest length; under `per-length`, for each length.

{beyond}

## Training

`python -m longbench_run.harness.reference_model.train --output runs/reference_model{text_flag} --seed {seed}`, on
one CPU core with bf16 autocast: {tokens:.1f} M tokens in {minutes:.0f} minutes. Generated copying problems, planted keys,
passkey prompts, generated documents{and_books}. Keys come from the same five-digit numbers that the task
draws from; the documents are of a seed that no run reaches by counting from 0.

{stages}
{books}
## How to measure it again

`python -m longbench_run.harness.reference_model.evaluate --card MODEL_CARD.md`

A killed measurement goes on where it was. What a killed training leaves also goes on, with the same command.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Figures by method as written, task and context length."""

    policy: str
    """Of the methods' factors."""
    rows: dict[tuple[str, str, int], Figure]

    @property
    def lengths(self) -> list[int]:
        """Context lengths, ascending."""
        return sorted({length for _, _, length in self.rows})

    @property
    def methods(self) -> list[str]:
        """Methods in the order measured."""
        return list(dict.fromkeys(method for method, _, _ in self.rows))


def render_card(folder: Path, inside: Table, beyond: list[Table]) -> str:
    """Return the model card.

    Args:
        folder: The model, with the record of its training.
        inside: The unmodified model up to its window.
        beyond: Methods beyond it, a table per policy.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    point = next(iter(inside.rows.values())).point
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
        weights=point.weights,
        dtype=point.dtype,
        longest=max(table.lengths[-1] for table in beyond),
        inside=_inside(inside),
        beyond="\n\n".join(_beyond(table, task) for task in ("passkey", "documents") for table in beyond),
        text_flag=" --text DIR" if record["books"] else "",
        and_books=", and the books below" if record["books"] else "",
        seed=record["seed"],
        tokens=last["tokens"] / 1e6,
        minutes=last["seconds"] / 60,
        stages=_stages(record["stages"]),
        books=_books(record["books"]),
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value(figure: Figure) -> str:
    estimate = figure.estimate
    interval = f" [{estimate.interval.low:.2f}, {estimate.interval.high:.2f}]" if estimate.interval else ""
    return f"{estimate.value:.2f}{interval}"


def _inside(table: Table) -> str:
    rows = []
    for length in table.lengths:
        passkey, documents = (table.rows["none", task, length] for task in ("passkey", "documents"))
        rows.append(
            [
                str(length),
                f"{_value(passkey)}, n = {passkey.point.count}",
                f"{passkey.worst_depth:.2f}, n = {passkey.point.count // len(set(passkey.depths))}",
                f"{_value(documents)}, n = {documents.point.count}",
            ]
        )
    return _table(["context length", "passkey", "at the worst depth", "documents, nll"], rows)


def _beyond(table: Table, task: str) -> str:
    what = "Passkey, share of keys found" if task == "passkey" else "Documents, nll in nats per token"
    counts = ", ".join(
        str(table.rows[table.methods[0], task, length].point.count) for length in table.lengths
    )
    rows = [
        [f"`{method}`", *(_value(table.rows[method, task, length]) for length in table.lengths)]
        for method in table.methods
    ]
    head = ["method", *(str(length) for length in table.lengths)]
    return f"{what}, policy `{table.policy}`, n = {counts}:\n\n{_table(head, rows)}"


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
    head = [
        "stage",
        "steps",
        "tokens so far",
        "minutes so far",
        "copied tokens right",
        "passkey at its length, n = 40",
    ]
    return _table(head, rows)


def _books(books: list[dict[str, str]]) -> str:
    if not books:
        return ""
    rows = [[f"`{book['name']}`", f"`{book['sha256']}`"] for book in books]
    return f"\nBooks, all in the public domain:\n\n{_table(['file', 'sha256'], rows)}\n"
