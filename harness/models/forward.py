"""Calls of a model's own forward that generation and scoring share."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

from longbench_run.harness.attention.room import with_room
from longbench_run.harness.models.load import LoadedModel


def token_tensor(loaded: LoadedModel, token_ids: Sequence[int], *, name: str) -> Int[Tensor, "1 n"]:
    """Return token ids as a batch of one on the model's input device.

    Raises:
        ValueError: If there are none, or one is outside the embedding (on a GPU that would end the process).
    """
    if not token_ids:
        raise ValueError(f"{name} must hold at least one token, got none.")
    low, high = min(token_ids), max(token_ids)
    if low < 0 or high >= loaded.facts.vocabulary:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} must hold ids in [0, {loaded.facts.vocabulary}), the rows of the embedding, got {wrong}."
        )
    return torch.tensor([token_ids], dtype=torch.int64, device=loaded.input_device)


def last_logits(
    loaded: LoadedModel, ids: Int[Tensor, "1 n"], *, cache: Cache | None = None, use_cache: bool
) -> tuple[Float[Tensor, " vocabulary"], Cache | None]:
    """Run the model; return the logits at the last position (fp32) and the cache that it made or grew."""
    logits, cache = rows_logits(loaded, ids, cache=cache, use_cache=use_cache)
    return logits[0], cache


def rows_logits(
    loaded: LoadedModel, ids: Int[Tensor, "rows n"], *, cache: Cache | None = None, use_cache: bool
) -> tuple[Float[Tensor, "rows vocabulary"], Cache | None]:
    """Do what `last_logits` does for several samples of one length."""
    arguments: dict[str, bool | int | Cache] = {"use_cache": use_cache}
    if cache is not None:
        arguments["past_key_values"] = cache
    if keeps_logits(loaded.model):
        arguments["logits_to_keep"] = 1
    output = loaded.model(input_ids=ids, return_dict=True, **arguments)
    return output.logits[:, -1].float(), getattr(output, "past_key_values", None)


def prefill(
    loaded: LoadedModel,
    ids: Int[Tensor, "1 n"],
    *,
    chunk: int | None = None,
    cache: Cache | None = None,
    room: int = 0,
) -> tuple[Float[Tensor, " vocabulary"], Cache | None]:
    """Run given tokens into a cache; return the logits at the last position (fp32) and the cache.

    Args:
        loaded: The model, with whatever method is applied to it.
        ids: At least one token.
        chunk: Tokens per forward pass, at least 1; None for one pass. Bounds activations, not the cache.
        cache: Where they go on; None to begin.
        room: Tokens that are expected behind them.

    Raises:
        ValueError: If the chunk is of no token.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"prefill_chunk must be at least 1, got {chunk}.")
    tokens = ids.shape[1]
    step = min(chunk or tokens, tokens)
    logits, cache = last_logits(loaded, ids[:, :step], cache=with_room(cache, tokens + room), use_cache=True)
    cache = with_room(cache, tokens - step + room)
    for start in range(step, tokens, step):
        logits, cache = last_logits(loaded, ids[:, start : start + step], cache=cache, use_cache=True)
    return logits, cache


def keeps_logits(model: torch.nn.Module) -> bool:
    """Return whether the family can compute logits at the last positions only."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters
