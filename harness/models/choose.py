"""How probable given continuations are: each read behind its context, which those of one context share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

import torch
from jaxtyping import Float, Int
from torch import Tensor

from longbench_run.harness.models.forward import prefill, token_tensor
from longbench_run.harness.models.limits import logits_rows
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.prefix import SharedPrefix, sharing_order
from longbench_run.harness.models.score import scored_positions
from longbench_run.tasks.base import ChooseRequest, Chosen, ScoreWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedChoice:
    """The probabilities of a request's continuations, and what they took."""

    chosen: Chosen
    seconds: float
    tokens_reused: int
    """Tokens whose keys and values were there already, of all windows."""


@torch.inference_mode()
def choose_timed(
    loaded: LoadedModel,
    request: ChooseRequest,
    *,
    announce: Callable[[int], AbstractContextManager[None]],
    prefix: SharedPrefix | None = None,
    prefill_chunk: int | None = None,
) -> TimedChoice:
    """Score every window of a request, those that begin alike one after the other.

    Args:
        loaded: The model, with whatever method is applied to it.
        request: Its windows.
        announce: Block in which a window that reads so many tokens is computed.
        prefix: What an earlier window left: what the next one shares with it is not computed again. None where nothing
            may be shared.
        prefill_chunk: Tokens of a context per forward pass; None for one pass.

    Raises:
        ValueError: If a window cannot be computed.
        FloatingPointError: If an nll is not a finite number.
    """
    started = perf_counter()
    scores: dict[int, tuple[tuple[float, ...], bool]] = {}
    reused = 0
    for place in sharing_order([window.token_ids for window in request.windows]):
        window = request.windows[place]
        with announce(len(window.token_ids) - 1):
            nll, greedy, shared = _window(loaded, window, prefix, prefill_chunk)
        scores[place] = nll, greedy
        reused += shared
    ordered = [scores[place] for place in range(len(request.windows))]
    return TimedChoice(
        chosen=Chosen(nll=tuple(nll for nll, _ in ordered), greedy=tuple(greedy for _, greedy in ordered)),
        seconds=perf_counter() - started,
        tokens_reused=reused,
    )


def _window(
    loaded: LoadedModel, window: ScoreWindow, prefix: SharedPrefix | None, prefill_chunk: int | None
) -> tuple[tuple[float, ...], bool, int]:
    """Return the nll of a window's scored tokens, whether each is the most probable, and the tokens reused."""
    scored_positions(window)  # refuses a window without anything to score
    ids = token_tensor(loaded, window.token_ids, name="token_ids")
    first, last = window.first_scored, len(window.token_ids) - 1
    cache, reused = (None, 0) if prefix is None else prefix.take(window.token_ids[:first])
    logits, cache = prefill(loaded, ids[:, reused:first], chunk=prefill_chunk, cache=cache)
    pieces = [_scored(logits[None], ids[0, first : first + 1])]
    rows = logits_rows(loaded)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        output = loaded.model(
            input_ids=ids[:, start:stop], past_key_values=cache, use_cache=True, return_dict=True
        )
        cache = output.past_key_values
        pieces.append(_scored(output.logits[0], ids[0, start + 1 : stop + 1]))
    if prefix is not None:
        prefix.keep(window.token_ids[:last], cache)
    nll = tuple(value for values, _ in pieces for value in values)
    return nll, all(greedy for _, greedy in pieces), reused


def _scored(logits: Float[Tensor, "c vocabulary"], targets: Int[Tensor, " c"]) -> tuple[list[float], bool]:
    """Return the nll of each target, and whether all of them are the most probable tokens."""
    logits = logits.float()
    targets = targets.to(logits.device)
    nll = logits.logsumexp(dim=-1) - logits.gather(-1, targets[:, None]).squeeze(-1)
    if not bool(nll.isfinite().all()):
        raise FloatingPointError(f"nll must be finite, got {nll[~nll.isfinite()][0].item()}.")
    return nll.double().tolist(), bool((logits.argmax(dim=-1) == targets).all())
