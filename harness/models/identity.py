"""Which weights, without a path of this machine: a hub commit, or a hash over a folder's files."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
