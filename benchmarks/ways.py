"""Runs that several rows share: the engine with a method, and transformers as anybody calls it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from benchmarks.models import token_ids
from benchmarks.speed import seconds_of
from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import EngineResult, run_group
from longbench_run.harness.models.limits import Limits
from longbench_run.tasks.attention_entropy import edges
from longbench_run.tasks.base import EntropyRequest, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.models.load import LoadedModel


@contextmanager
def applied(loaded: LoadedModel, method: str, length: int) -> Iterator[None]:
    """Compute as a run does: a method, resolved for the length, on a model that goes on behind its cache."""
    with ExitStack() as stack:
        stack.enter_context(continued(loaded.model))
        stack.enter_context(parse_method(method).applied_to(loaded.model, context_length=length))
        yield


def results(
    loaded: LoadedModel, requests: Sequence[Request], *, prefix_reuse: bool = True
) -> list[EngineResult]:
    """Return the engine's results; a row whose samples fail is no figure."""
    found = run_group(
        loaded, requests, prefix_causal=True, prefix_reuse=prefix_reuse, limits=Limits.of(loaded)
    )
    for result in found:
        if result.failure is not None:
            raise RuntimeError(f"{result.status}: {result.failure.message}")
    return found


def entropy_request(length: int) -> EntropyRequest:
    """Return a sample of so many tokens as `attention_entropy` asks for it."""
    return EntropyRequest(token_ids=token_ids(length), edges=tuple(edges(length)))


@torch.inference_mode()
def plain_prefill(loaded: LoadedModel, length: int) -> float:
    """Time the forward pass of a prompt that fills the cache and gives the last token's logits."""
    ids = tensor(loaded, token_ids(length))
    return seconds_of(lambda: loaded.model(ids, use_cache=True, logits_to_keep=1), str(ids.device))


@torch.inference_mode()
def whole_forward(loaded: LoadedModel, tokens: Sequence[int]) -> float:
    """Time one forward pass as anybody calls it: logits at all positions."""
    ids = tensor(loaded, tokens)
    return seconds_of(lambda: loaded.model(ids, use_cache=False), str(ids.device))


def tensor(loaded: LoadedModel, tokens: Sequence[int]) -> torch.Tensor:
    """Return token ids as a batch of one."""
    return torch.tensor([tokens], device=loaded.input_device)
