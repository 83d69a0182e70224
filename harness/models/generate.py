"""Greedy generation: prefill with logits at the last position only, then one token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Cache

from longbench_run.harness.attention.room import SideBySide
from longbench_run.harness.models.forward import prefill, rows_logits, token_tensor
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.prefix import SharedPrefix
from longbench_run.tasks.base import Generated, GenerateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGeneration:
    """A generation and what it took."""

    generated: Generated
    seconds_prefill: float
    seconds_decode: float
    """Of the samples that were decoded together, an equal share for each."""
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
    (timed,) = generate_together(loaded, [request], prefill_chunk=prefill_chunk, prefix=prefix)
    return timed


@torch.inference_mode()
def generate_together(
    loaded: LoadedModel,
    requests: Sequence[GenerateRequest],
    *,
    prefill_chunk: int | None = None,
    prefix: SharedPrefix | None = None,
) -> list[TimedGeneration]:
    """Do what `generate_timed` does for prompts of one length: each is prefilled alone, all are decoded together.

    Args:
        loaded: The model, with whatever method is applied to it.
        requests: At least one; of several, prompts and budgets have one length, and the model's cache only grows.
        prefill_chunk: Prompt tokens per forward pass, at least 1; None for one pass.
        prefix: What an earlier prompt left, and this one's leave.

    Raises:
        ValueError: If a request cannot be computed.
        FloatingPointError: If the model's logits are not numbers.
    """
    rows = [_Row(request=request, end_ids=loaded.end_ids.union(request.end_ids)) for request in requests]
    together = SideBySide(
        rows=len(rows), tokens=max(len(row.request.prompt_ids) + row.request.max_new_tokens for row in rows)
    )
    cache: Cache | None = None
    for place, row in enumerate(rows):
        cache = row.prefill(loaded, prefill_chunk, prefix)
        if len(rows) > 1:
            together.put(place, cache)
            if prefix is not None:
                prefix.keep(row.request.prompt_ids, cache)
    if len(rows) > 1:
        cache = together.cache()
    started = perf_counter()
    while not all(row.is_done for row in rows):
        # A row that is done keeps its place: what comes of it is not looked at.
        last = torch.tensor([row.generated[-1:] or [0] for row in rows], device=loaded.input_device)
        logits, cache = rows_logits(loaded, last, cache=cache, use_cache=True)
        for row, its in zip(rows, logits, strict=True):
            if not row.is_done:
                row.take(loaded, its)
    seconds = (perf_counter() - started) / len(rows)
    if prefix is not None and len(rows) == 1:
        prefix.keep((*rows[0].request.prompt_ids, *rows[0].generated)[: _cached(cache)], cache)
    return [row.result(loaded, seconds_decode=seconds) for row in rows]


@dataclass(slots=True, kw_only=True)
class _Row:
    """A sample on its way."""

    request: GenerateRequest
    end_ids: frozenset[int]
    generated: list[int] = field(default_factory=list)
    is_done: bool = False
    seconds_prefill: float = 0.0
    tokens_reused: int = 0

    def prefill(self, loaded: LoadedModel, chunk: int | None, prefix: SharedPrefix | None) -> Cache | None:
        """Compute the prompt and the first token; return the cache."""
        request = self.request
        if request.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}.")
        if not 0 <= request.min_new_tokens <= request.max_new_tokens:
            raise ValueError(
                f"min_new_tokens must be 0 to max_new_tokens={request.max_new_tokens}, got {request.min_new_tokens}."
            )
        started = perf_counter()
        prompt = token_tensor(loaded, request.prompt_ids, name="prompt_ids")
        cache, self.tokens_reused = (None, 0) if prefix is None else prefix.take(request.prompt_ids)
        rest = prompt[:, self.tokens_reused :]
        logits, cache = prefill(loaded, rest, chunk=chunk, cache=cache, room=request.max_new_tokens)
        self.take(loaded, logits)
        self.seconds_prefill = perf_counter() - started
        return cache

    def take(self, loaded: LoadedModel, logits: Float[Tensor, " vocabulary"]) -> None:
        """Take the next token, or see that there is none."""
        token = _next_token(logits, self.request, self.end_ids, generated=len(self.generated))
        if token in self.end_ids:
            self.is_done = True
            return
        self.generated.append(token)
        self.is_done = (
            len(self.generated) == self.request.max_new_tokens
            or _stop_at(loaded, self.generated, self.request) is not None
        )

    def result(self, loaded: LoadedModel, *, seconds_decode: float) -> TimedGeneration:
        """Return what came of it."""
        text = _text(loaded, self.generated)
        return TimedGeneration(
            generated=Generated(
                token_ids=tuple(self.generated), text=text[: _stop_at(loaded, self.generated, self.request)]
            ),
            seconds_prefill=self.seconds_prefill,
            seconds_decode=seconds_decode,
            tokens_reused=self.tokens_reused,
        )


def _cached(cache: Cache | None) -> int:
    return 0 if cache is None else int(cache.get_seq_length())


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
