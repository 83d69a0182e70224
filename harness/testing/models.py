"""Tiny random models, made in code: sharp enough that one wrong position shows in the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor
    from transformers import PreTrainedConfig

VOCABULARY = 258
WINDOW = 64
"""Window of pretraining L of every model here, tokens."""


def randomised(config: PreTrainedConfig, *, seed: int = 0, spread: float = 0.3) -> Any:
    """Build a model in fp32, for inference, with random weights.

    Args:
        config: Any configuration of a causal language model.
        seed: Two models with one seed are equal; the global random state stays as it is.
        spread: Standard deviation of the matrices. The usual 0.02 makes attention so even that a wrong position
            hardly shows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=spread)
    return model


def tiny_llama(*, tied: bool = False, seed: int = 0) -> Any:
    """Build a Llama of three layers, four heads of 16 dimensions on two for keys, and a window of 64 tokens.

    Args:
        tied: Whether the embedding is also the output matrix.
        seed: Of its weights.
    """
    return randomised(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=WINDOW,
            bos_token_id=256,
            eos_token_id=257,
            tie_word_embeddings=tied,
        ),
        seed=seed,
    )


def draw_tokens(count: int, *, rows: int = 1, seed: int = 0) -> Int[Tensor, "rows count"]:
    """Return random token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY - 8, (rows, count), generator=generator)
