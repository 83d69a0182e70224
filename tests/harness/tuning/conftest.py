"""A model of two layers and conversations that it can learn by heart, made in code."""

from __future__ import annotations

import copy
import json

import pytest
from transformers import LlamaConfig

from longbench_run.harness.testing.models import VOCABULARY, WINDOW, randomised

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% if m['role'] == 'assistant' %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
ANSWERS = ["ababababababababab", "cdcdcdcdcdcdcdcdcd", "xyxyxyxyxyxyxyxyxy", "mnmnmnmnmnmnmnmnmn"]


@pytest.fixture(scope="session")
def write_chats():
    """Write eight exchanges, of about 100 tokens each where nothing else is said: a token is a byte."""

    def write(path, *, filler=60):
        turns = [(f"{i} " + "." * filler, ANSWERS[i % len(ANSWERS)]) for i in range(8)]
        rows = [
            {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in turns
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture(scope="session")
def chat_tokenizer(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def base(chat_tokenizer, tmp_path_factory):
    """Folder of a Llama of two layers of width 32 with a window of 64 tokens."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=WINDOW,
        bos_token_id=256,
        eos_token_id=257,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("tuning") / "base"
    randomised(config, spread=0.1).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chats(write_chats, tmp_path_factory):
    return write_chats(tmp_path_factory.mktemp("data") / "chats.jsonl")
