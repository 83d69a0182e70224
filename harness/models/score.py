"""Token log-probabilities, streamed over positions so that the (n x vocabulary) logits never exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.utils.generic import ModelOutput

from longbench_run.harness.models.forward import last_logits, token_tensor
from longbench_run.harness.models.limits import logits_rows
from longbench_run.harness.models.load import LoadedModel
from longbench_run.tasks.base import ScoreWindow

Head = Callable[[Float[Tensor, "1 c hidden"]], Float[Tensor, "1 c vocabulary"]]


def score(loaded: LoadedModel, windows: Sequence[ScoreWindow]) -> tuple[Float64[np.ndarray, " scored"], ...]:
    """Score each window in a forward pass of its own.

    Args:
        loaded: The model, with whatever method is applied to it.
        windows: Token ids, and from which of them on they are scored.

    Returns:
        For each window the nll in nats of its tokens ``[first_scored, n)``.

    Raises:
        ValueError: If a window cannot be computed.
        FloatingPointError: If an nll is not a finite number.
    """
    return tuple(token_nll(loaded, window.token_ids, scored_positions(window)) for window in windows)


def scored_positions(window: ScoreWindow) -> Int64[np.ndarray, " scored"]:
    """Return the indices of a window's scored tokens.

    Raises:
        ValueError: If the first of them has no token before it or lies behind the window.
    """
    if not 1 <= window.first_scored < len(window.token_ids):
        raise ValueError(
            f"first_scored must be between 1 and {len(window.token_ids) - 1}, the window's last token, "
            f"got {window.first_scored}."
        )
    return np.arange(window.first_scored, len(window.token_ids), dtype=np.int64)


@torch.inference_mode()
def token_nll(
    loaded: LoadedModel,
    token_ids: Sequence[int],
    scored: Int64[np.ndarray, " scored"],
    *,
    rows: int | None = None,
    chunk: int | None = None,
) -> Float64[np.ndarray, " scored"]:
    """Return the nll of chosen tokens given all tokens before them.

    A forward pass yields the final hidden states and the logits at the last position. The output head then
    runs over pieces of positions. Families that scale or cap their logits are found by comparing the head's
    result at the last position with the model's own, bit by bit; their pieces go through the model's own
    forward instead. Where no hidden states can be had, the input runs in pieces through the KV cache (for a
    method whose prefill differs from decode, that is its decode).

    Args:
        loaded: The model, with whatever method is applied to it.
        token_ids: The whole input, n tokens.
        scored: Indices in [1, n), increasing.
        rows: Positions whose logits exist at a time, at least 1; default: those that fit into
            `longbench_run.harness.models.limits.LOGITS_BYTES`.
        chunk: Tokens per forward pass, at least 1, each going on in the KV cache of those before it; None for one
            pass without a cache.

    Returns:
        nll in nats, fp32 log-softmax of the model's logits, as float64.

    Raises:
        ValueError: If the input cannot be computed.
        FloatingPointError: If an nll is not a finite number.
    """
    ids = token_tensor(loaded, token_ids, name="token_ids")
    positions = torch.from_numpy(scored - 1).to(ids.device)  # the logits at p are those of token p + 1
    rows = logits_rows(loaded) if rows is None else rows
    values = _nll_in_chunks(loaded, ids, positions, rows=rows, chunk=chunk or ids.shape[1])
    if values is None:
        values = _nll_through_cache(loaded, ids, positions, rows)
    nll = values.double().cpu().numpy()
    if not np.isfinite(nll).all():
        worst = int(np.flatnonzero(~np.isfinite(nll))[0])
        raise FloatingPointError(f"nll of token {int(scored[worst])} must be finite, got {nll[worst]}.")
    return nll


def _nll_in_chunks(
    loaded: LoadedModel, ids: Int[Tensor, "1 n"], positions: Int[Tensor, " scored"], *, rows: int, chunk: int
) -> Float[Tensor, " scored"] | None:
    """Run the decoder over chunks and the head over pieces; None where no hidden states can be had."""
    cache = None
    values: list[Tensor] = []
    for start in range(0, ids.shape[1], chunk):
        stop = min(start + chunk, ids.shape[1])
        found = _hidden_states_and_head(loaded, ids[:, start:stop], cache, use_cache=chunk < ids.shape[1])
        if found is None:
            return None
        hidden, head, cache = found
        inside = positions[(positions >= start) & (positions < stop)]
        for piece in inside.split(rows):
            states = hidden[:, (piece - start).to(hidden.device)]
            values.append(_nll(head(states)[0], ids[0, piece + 1]))
    return torch.cat(values)


def _hidden_states_and_head(
    loaded: LoadedModel, ids: Int[Tensor, "1 n"], cache: Cache | None, *, use_cache: bool
) -> tuple[Float[Tensor, "1 n hidden"], Head, Cache | None] | None:
    """Run the model once; return what its decoder hands to the head, a head that was seen to be right, and the cache."""
    decoder = _decoder(loaded.model)
    if decoder is None:
        return None
    seen: list[Tensor] = []

    def keep(_module: torch.nn.Module, _arguments: object, output: ModelOutput | tuple[Tensor, ...]) -> None:
        seen.append(output[0])

    with _hooked(decoder, keep):
        logits, cache = last_logits(loaded, ids, cache=cache, use_cache=use_cache)
    if len(seen) != 1 or seen[0].shape[:2] != ids.shape:
        return None
    hidden = seen[0]
    output_layer: Head | None = loaded.model.get_output_embeddings()
    for head in (output_layer, _replay(loaded.model, decoder, ids[:, :1])):
        if head is not None and _is_same(head(hidden[:, -1:])[0, -1], logits):
            return hidden, head, cache
    return None


def _is_same(logits: Float[Tensor, " vocabulary"], expected: Float[Tensor, " vocabulary"]) -> bool:
    """Compare bit by bit: a soft cap changes small logits by less than any tolerance would notice."""
    return logits.shape == expected.shape and bool((logits.float() == expected.to(logits.device)).all())


def _decoder(model: PreTrainedModel) -> torch.nn.Module | None:
    """Return the module whose output the head reads, or None where the family does not show it."""
    decoder = model.get_decoder()
    for candidate in (model.base_model, decoder):
        if isinstance(candidate, torch.nn.Module) and candidate is not model:
            return candidate
    return None


@contextmanager
def _hooked(module: torch.nn.Module, hook: Callable[..., object]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _replay(model: PreTrainedModel, decoder: torch.nn.Module, token: Int[Tensor, "1 1"]) -> Head:
    """Return the model's own forward with the decoder's output for one token replaced by given states."""

    def head(hidden: Float[Tensor, "1 c hidden"]) -> Float[Tensor, "1 c vocabulary"]:
        def replace(
            _module: torch.nn.Module, _arguments: object, output: ModelOutput | tuple[Tensor, ...]
        ) -> ModelOutput | tuple[Tensor, ...]:
            if isinstance(output, tuple):
                return (hidden, *output[1:])
            output["last_hidden_state"] = hidden
            return output

        with _hooked(decoder, replace):
            logits: Tensor = model(input_ids=token, use_cache=False, return_dict=True).logits
        return logits

    return head


def _nll_through_cache(
    loaded: LoadedModel, ids: Int[Tensor, "1 n"], positions: Int[Tensor, " scored"], rows: int
) -> Float[Tensor, " scored"]:
    """Run the input in pieces through the model's own forward and the KV cache."""
    cache = None
    values: list[Tensor] = []
    for start in range(0, ids.shape[1] - 1, rows):
        piece = ids[:, start : min(start + rows, ids.shape[1] - 1)]
        output = loaded.model(input_ids=piece, use_cache=True, return_dict=True, past_key_values=cache)
        cache = output.past_key_values
        inside = positions[(positions >= start) & (positions < start + piece.shape[1])]
        if len(inside):
            values.append(
                _nll(output.logits[0, (inside - start).to(output.logits.device)], ids[0, inside + 1])
            )
    return torch.cat(values)


def _nll(logits: Float[Tensor, "c vocabulary"], targets: Int[Tensor, " c"]) -> Float[Tensor, " c"]:
    logits = logits.float()
    targets = targets.to(logits.device)
    return logits.logsumexp(dim=-1) - logits.gather(-1, targets[:, None]).squeeze(-1)
