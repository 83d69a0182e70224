"""Which weights, without a path of this machine: a hub commit, or a hash over a folder's files; and which tokenizer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NAMES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "tekken.json",
        "model.safetensors.index.json",
    }
)
_PATTERNS = ("model*.safetensors", "adapter_model*.safetensors", "*.model", "*.tiktoken", "chat_template*")


def folder_revision(folder: Path, *, with_code: bool = False) -> str:
    """Return ``sha256:...`` over a folder's configuration, weights and tokenizer files.

    Names and contents count; the folder's place, file times and other files (a README, a log) do not.

    Args:
        folder: What ``save_pretrained`` wrote.
        with_code: Whether Python files count too, because they will be run.
    """
    patterns = (*_PATTERNS, "*.py") if with_code else _PATTERNS
    files = {path for path in folder.iterdir() if path.name in _NAMES}
    for pattern in patterns:
        files.update(folder.glob(pattern))
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda file: file.name):
        if path.is_file():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return ``sha256:...``, the same for two tokenizers only where both make the same tokens of any text, and text of them.

    Variants of one model bring a copy of its tokenizer each: prompts that are made with one of them serve all.

    Args:
        tokenizer: As it was read, before anything was tokenized.

    Returns:
        None where part of it is code that nothing is known of.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kind = type(tokenizer)
    if backend is None or not kind.__module__.startswith("transformers."):
        return None
    decisive = {
        "class": kind.__qualname__,
        "backend": backend.to_str(),
        # By name too: templates write them.
        "special_tokens": [tokenizer.special_tokens_map, sorted(tokenizer.all_special_ids)],
        "split_special_tokens": tokenizer.split_special_tokens,
        "chat_template": tokenizer.chat_template,
    }
    return f"sha256:{hashlib.sha256(json.dumps(decisive, default=str).encode()).hexdigest()}"
