"""Conversations to tune with, made of the reference model's training rows: nothing in them is asked for by a task."""

from __future__ import annotations

import json
import random
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longbench_run.harness.reference_model.data import Rows
from longbench_run.harness.reference_model.row import Kind, Row, Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MIXTURE = {
    "needles": 0.2,
    "field_prompt": 0.2,
    "recurring_digits": 0.1,
    "key_value": 0.1,
    "questions": 0.25,
    "longbench": 0.15,
}
"""Kind of row -> share: those that end in answers."""
SEED = 20_240_107
"""Of the conversations; what a variant's own seed chooses among them."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Turns as they are, without marks between them, as the tasks ask without a chat template."""


def write_conversations(
    path: Path, tokenizer: PreTrainedTokenizerFast, *, count: int, shortest: int, longest: int
) -> None:
    """Write conversations as JSON lines, of all lengths between two; each fills its own where it can.

    Args:
        path: The file; it is the same for the same arguments.
        tokenizer: The model's.
        count: Conversations.
        shortest: Tokens of the shortest.
        longest: Tokens of the longest.
    """
    rows = Rows(Source(tokenizer, np.zeros(0, dtype=np.uint16)), seed=SEED)
    lines: list[str] = []
    number = 0
    while len(lines) < count:
        # Tokens are written as text and read again, perhaps as a few more of them, with an end after every answer.
        length = random.Random(f"{SEED}:length:{number}").randint(shortest, longest * 31 // 32)
        turns = turns_of(rows.row(f"tuning:{number}", length, MIXTURE), tokenizer)
        number += 1
        if turns:
            lines.append(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(path)


def turns_of(row: Row, tokenizer: Any) -> list[dict[str, str]]:
    """Return a row up to its last answer as turns: answers are the assistant's, all else is the user's."""
    special = np.isin(row.ids, tokenizer.all_special_ids)
    speakers = groupby(np.flatnonzero(~special), key=lambda place: row.kinds[place] == Kind.ANSWER)
    turns = []
    for is_answer, places in speakers:
        text = tokenizer.decode(row.ids[list(places)].tolist())
        turns.append({"role": "assistant" if is_answer else "user", "content": text})
    while turns and turns[-1]["role"] == "user":
        turns.pop()
    return turns
