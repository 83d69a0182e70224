"""Tokenizers whose budgets must hold, and data files that are small enough to write."""

from __future__ import annotations

import json

import pytest
from transformers import AutoTokenizer

from longbench_run.harness import reference_model

WRAPPED = "[INST]{}[/INST]"


class Bytes:
    """One token per byte and one before every text; nothing is lost on the way back."""

    bos_token_id = 256

    def encode(self, text, *, add_special_tokens=True):
        return [*([self.bos_token_id] if add_special_tokens else []), *text.encode()]

    def decode(self, token_ids, *, skip_special_tokens=False):
        return bytes(token for token in token_ids if token < 256).decode(errors="replace")

    def encode_chat(self, text):
        return self.encode(WRAPPED.format(text))


class Wrapping:
    """A tokenizer whose chat template is Llama 2's as the authors write it."""

    def __init__(self, tokenizer):
        self.bos_token_id = tokenizer.bos_token_id
        self.encode, self.decode = tokenizer.encode, tokenizer.decode

    def encode_chat(self, text):
        return self.encode(WRAPPED.format(text))


@pytest.fixture(scope="session")
def one_byte():
    return Bytes()


@pytest.fixture(scope="session")
def bundled():
    return Wrapping(AutoTokenizer.from_pretrained(reference_model.path()))


@pytest.fixture(scope="session")
def open_llama(sentencepiece):
    return Wrapping(sentencepiece)


@pytest.fixture(
    params=[
        "one_byte",
        "byte_bpe",
        "byte_bpe_with_bos",
        "bundled",
        pytest.param("open_llama", marks=pytest.mark.shared),
    ]
)
def budgeted(request):
    """Return each tokenizer in turn."""
    return request.getfixturevalue(request.param)


def row(**changes):
    return {
        "input": "Who wrote it?",
        "context": "A long story. " * 20,
        "answers": ["Ada"],
        "length": 60,
        "dataset": "hotpotqa",
        "language": "en",
        "all_classes": None,
        "_id": "1",
        **changes,
    }


@pytest.fixture
def write_rows(tmp_path):
    """Give `write_rows(name, *changes)`: a data file with one row per mapping of changes; returns the folder."""

    def write(name, *changes, folder="data"):
        path = tmp_path / folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row(**change), ensure_ascii=False) for change in changes]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path.parent

    return write
