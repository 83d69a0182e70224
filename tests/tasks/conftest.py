"""Tokenizers of different kinds, small enough to make or already at hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TRAINING_TEXT = (
    "There is an important info hidden inside a lot of irrelevant text. The grass is green. The sky is blue."
    "\nThe pass key is 10203. What is the pass key? Here we go. There and back again.\n\n"
)


class Encoder:
    """A tokenizer as tasks see it, over one of the `tokenizers` package."""

    def __init__(self, raw: Tokenizer, *, bos_token_id: int | None) -> None:
        self.raw = raw
        self.bos_token_id = bos_token_id
        self.encoded_characters = 0

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        self.encoded_characters += len(text)
        ids = self.raw.encode(text, add_special_tokens=False).ids
        return [self.bos_token_id, *ids] if add_special_tokens and self.bos_token_id is not None else ids

    def encode_chat(self, text: str) -> list[int]:
        return self.encode(text)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return self.raw.decode(list(token_ids), skip_special_tokens=skip_special_tokens)


class Bytes:
    """One token per byte of UTF-8, and one before every text."""

    bos_token_id = 256

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [self.bos_token_id] * add_special_tokens + list(text.encode())

    def encode_chat(self, text: str) -> list[int]:
        return self.encode(text)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return bytes(token for token in token_ids if token < 256).decode()


def train_byte_bpe() -> Tokenizer:
    """Train a byte-level BPE in which some numbers are one token and others are many."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    numbers = " ".join(str(number) for number in range(10_000, 100_000, 37))
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>"],
        show_progress=False,
    )
    raw.train_from_iterator([TRAINING_TEXT * 100, numbers], trainer)
    return raw


@pytest.fixture(scope="session")
def byte_bpe() -> Encoder:
    """Return a byte-level BPE tokenizer without special tokens."""
    return Encoder(train_byte_bpe(), bos_token_id=None)


@pytest.fixture(scope="session")
def byte_bpe_with_bos(byte_bpe) -> Encoder:
    """Return the same tokenizer with a token that begins every text."""
    return Encoder(byte_bpe.raw, bos_token_id=0)


@pytest.fixture(scope="session")
def sentencepiece(shared):
    """Return a real 32k SentencePiece tokenizer."""
    from transformers import LlamaTokenizer

    tokenizer = LlamaTokenizer.from_pretrained(
        shared / "data/models/openllama_v1_tokenizer", add_bos_token=True
    )
    tokenizer.encode_chat = tokenizer.encode
    return tokenizer


@pytest.fixture(scope="session")
def bundled(root):
    """Return the tokenizer of the bundled model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(root / "harness/reference_model/weights")
    tokenizer.encode_chat = tokenizer.encode
    return tokenizer


@pytest.fixture(scope="session")
def byte_tokens() -> Bytes:
    """Return a tokenizer without any merges: many times as many tokens as others."""
    return Bytes()


@pytest.fixture(params=["bundled", "byte_tokens", pytest.param("sentencepiece", marks=pytest.mark.shared)])
def usual_tokenizer(request):
    """Return in turn the tokenizers that token budgets are tried with."""
    return request.getfixturevalue(request.param)


@pytest.fixture(
    params=["byte_bpe", "byte_bpe_with_bos", pytest.param("sentencepiece", marks=pytest.mark.shared)]
)
def tokenizer(request):
    """Return each kind of tokenizer in turn."""
    return request.getfixturevalue(request.param)
