"""The model that is measured: random weights, a shape whose attention and matrices both count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WINDOW = 2048


def benchmark_model(device: str, dtype: str, threads: int | None) -> PreTrainedModel:
    """Return a Llama of 2 layers, 4 heads of 64 dimensions with 2 key-value heads, window 2048."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=WINDOW,
    )
    return LlamaForCausalLM(config).to(device=device, dtype=getattr(torch, dtype)).eval()


def token_ids(length: int, device: str) -> torch.Tensor:
    """Return random token ids, shape ``(1, length)``."""
    generator = torch.Generator().manual_seed(length)
    return torch.randint(3, 2048, (1, length), generator=generator).to(device)
