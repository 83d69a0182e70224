"""Greedy generation: prefill with logits at the last position only, then one token at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

from longbench_run.harness.models.forward import last_logits, token_tensor
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.prefix import SharedPrefix
from longbench_run.tasks.base import Generated, GenerateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGeneration:
    """A generation and what it took."""

    generated: Generated
    seconds_prefill: float
    seconds_decode: float
    tokens_reused: int
    """Prompt tokens whose keys and values were there already."""


def generate(loaded: LoadedModel, request: GenerateRequest, *, prefill_chunk: int | None = None) -> Generated:
    """Continue a prompt greedily.

    The token ids are those of ``model.generate(do_sample=False)``, except that penalties which some
    checkpoints' generation_config carries do not apply: greedy means the most probable token.

    Args:
        loaded: The model, with whatever method is applied to it.
        request: Prompt, budget, and what ends the continuation.
        prefill_chunk: Prompt tokens per forward pass, at least 1; None for one pass. Bounds activations,
            not the cache.

    Returns:
        Ids without the end token, and their text cut before the first stop text.

    Raises:
        ValueError: If the request cannot be computed.
        FloatingPointError: If the model's logits are not numbers.
    """
    return generate_timed(loaded, request, prefill_chunk=prefill_chunk).generated


@torch.inference_mode()
def generate_timed(
    loaded: LoadedModel,
    request: GenerateRequest,
    *,
    prefill_chunk: int | None = None,
    prefix: SharedPrefix | None = None,
) -> TimedGeneration:
    """Do what `generate` does and measure it; the first token belongs to the prefill.

    With a ``prefix``, what the prompt shares with the one before it is not computed again.
    """
    if request.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}.")
    if not 0 <= request.min_new_tokens <= request.max_new_tokens:
        raise ValueError(
            f"min_new_tokens must be 0 to max_new_tokens={request.max_new_tokens}, got {request.min_new_tokens}."
        )
    started = perf_counter()
    prompt = token_tensor(loaded, request.prompt_ids, name="prompt_ids")
    end_ids = loaded.end_ids.union(request.end_ids)
    cache, reused = (None, 0) if prefix is None else prefix.take(request.prompt_ids)
    logits, cache = _prefill(loaded, prompt[:, reused:], prefill_chunk, cache)
    token = _next_token(logits, request, end_ids, generated=0)
    prefilled = perf_counter()
    generated: list[int] = []
    while token not in end_ids:
        generated.append(token)
        if len(generated) == request.max_new_tokens or _stop_at(loaded, generated, request) is not None:
            break
        step = torch.tensor([[token]], dtype=torch.int64, device=prompt.device)
        logits, cache = last_logits(loaded, step, cache=cache, use_cache=True)
        token = _next_token(logits, request, end_ids, generated=len(generated))
    decoded = perf_counter()
    if prefix is not None:
        prefix.keep((*request.prompt_ids, *generated)[: _cached(cache)], cache)
    text = _text(loaded, generated)
    return TimedGeneration(
        generated=Generated(token_ids=tuple(generated), text=text[: _stop_at(loaded, generated, request)]),
        seconds_prefill=prefilled - started,
        seconds_decode=decoded - prefilled,
        tokens_reused=reused,
    )


def _cached(cache: Cache | None) -> int:
    return 0 if cache is None else int(cache.get_seq_length())


def _prefill(
    loaded: LoadedModel, prompt: Int[Tensor, "1 n"], chunk: int | None, cache: Cache | None
) -> tuple[Float[Tensor, " vocabulary"], Cache | None]:
    if chunk is not None and chunk < 1:
        raise ValueError(f"prefill_chunk must be at least 1, got {chunk}.")
    step = chunk or prompt.shape[1]
    logits, cache = last_logits(loaded, prompt[:, :step], cache=cache, use_cache=True)
    for start in range(step, prompt.shape[1], step):
        logits, cache = last_logits(loaded, prompt[:, start : start + step], cache=cache, use_cache=True)
    return logits, cache


def _next_token(
    logits: Float[Tensor, " vocabulary"], request: GenerateRequest, end_ids: frozenset[int], *, generated: int
) -> int:
    """Return the most probable token, of those that end nothing while the continuation is too short to end."""
    position = len(request.prompt_ids) + generated
    token = _most_probable(logits, position=position)
    if token in end_ids and generated < request.min_new_tokens:
        logits = logits.clone()
        logits[[end for end in end_ids if end < logits.shape[0]]] = -math.inf
        token = _most_probable(logits, position=position)
    return token


def _most_probable(logits: Float[Tensor, " vocabulary"], *, position: int) -> int:
    """Return the argmax; torch's treats NaN as the largest value, so one look at it finds every NaN."""
    token = int(logits.argmax())
    value = float(logits[token])
    if not math.isfinite(value):
        raise FloatingPointError(f"logits for position {position} must be finite, got {value}.")
    return token


def _text(loaded: LoadedModel, token_ids: list[int]) -> str:
    # Cleaning up would remove blanks before punctuation, which a comparison of code counts.
    return str(
        loaded.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )


def _stop_at(loaded: LoadedModel, token_ids: list[int], request: GenerateRequest) -> int | None:
    """Return where the first stop text begins in the decoded text, or None."""
    if not request.stop:
        return None
    text = _text(loaded, token_ids)
    found = [at for stop in request.stop if (at := text.find(stop)) >= 0]
    return min(found) if found else None
