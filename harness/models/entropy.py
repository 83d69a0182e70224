"""Attention entropies of a group's texts: those that begin a longer one are computed with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from longbench_run.harness.attention.entropy import entropy_taken
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models.attempt import Failed, attempt
from longbench_run.harness.models.forward import last_logits, token_tensor
from longbench_run.harness.models.limits import Learning, Pieces
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.outcome import EngineResult, token_sha256
from longbench_run.harness.models.scoring import Announce
from longbench_run.tasks.base import Entropies, EntropyBucket, EntropyRequest, Request

_DIGITS = 6
"""Of an entropy in nats: it is computed to about 1e-5."""

Layers = dict[int, Float[Tensor, "heads n"]]


def iterate_entropies(
    loaded: LoadedModel,
    requests: Sequence[Request],
    *,
    prefix_causal: bool,
    announce: Announce,
    learning: Learning,
) -> Iterator[tuple[int, EngineResult]]:
    """Yield (index, result) once for each request for attention entropy.

    Args:
        loaded: The model, with whatever method is applied to it.
        requests: The whole group; requests of other kinds are left out.
        prefix_causal: Whether attention at a position depends on nothing behind it. Otherwise nothing is shared.
        announce: Block in which an input of so many tokens is computed.
        learning: What was learnt about memory; entropy takes one pass, whatever it takes.

    Raises:
        MethodNotApplicable: If entropy cannot be taken of the model.
    """
    waiting = {
        index: request for index, request in enumerate(requests) if isinstance(request, EntropyRequest)
    }
    while waiting:
        longest = max(waiting, key=lambda index: (len(waiting[index].token_ids), -index))
        ids = waiting[longest].token_ids

        def work(_pieces: Pieces, ids: tuple[int, ...] = ids) -> tuple[Layers, float]:
            started = perf_counter()
            with announce(len(ids)):
                return _entropies(loaded, ids), perf_counter() - started

        done = attempt(loaded, learning, len(ids), work)
        if isinstance(done.found, Failed):
            request = waiting.pop(longest)
            yield (
                longest,
                EngineResult(
                    output=None,
                    status=done.found.status,
                    failure=done.found.failure,
                    peak_bytes=done.peak_bytes,
                    prompt_sha256=token_sha256(request),
                ),
            )
            continue
        layers, seconds = done.found
        served = [
            index
            for index, request in waiting.items()
            if index == longest or (prefix_causal and request.token_ids == ids[: len(request.token_ids)])
        ]
        for index in served:
            request = waiting.pop(index)
            is_own = index == longest
            yield (
                index,
                EngineResult(
                    output=Entropies(buckets=tuple(_buckets(layers, request))),
                    status="ok",
                    seconds_prefill=seconds if is_own else None,
                    peak_bytes=done.peak_bytes if is_own else None,
                    prompt_sha256=token_sha256(request),
                ),
            )


@torch.inference_mode()
def _entropies(loaded: LoadedModel, token_ids: Sequence[int]) -> Layers:
    layers: Layers = {}
    with entropy_taken(loaded.model, lambda layer, entropy: layers.__setitem__(layer, entropy.cpu())):
        last_logits(loaded, token_tensor(loaded, token_ids, name="token_ids"), use_cache=False)
    if not layers:
        raise MethodNotApplicable(
            f"attention entropy must be taken in layers that see all keys, got none in the family "
            f"{loaded.model.config.model_type!r}. Use another model."
        )
    for layer, entropy in layers.items():
        if not bool(entropy.isfinite().all()):
            head, position = (int(place) for place in torch.nonzero(~entropy.isfinite())[0])
            raise FloatingPointError(
                f"attention entropy must be finite, got {entropy[head, position]} in layer {layer}, head {head}, at "
                f"position {position}."
            )
    return layers


def _buckets(layers: Layers, request: EntropyRequest) -> Iterator[EntropyBucket]:
    stops = (*request.edges[1:], len(request.token_ids))
    for layer, entropy in sorted(layers.items()):
        for start, stop in zip(request.edges, stops, strict=True):
            means = entropy[:, start:stop].double().mean(dim=1).tolist()
            yield EntropyBucket(
                layer=layer, start=start, stop=stop, heads=tuple(round(mean, _DIGITS) for mean in means)
            )
