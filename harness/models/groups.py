"""Which forward passes a group needs: windows that begin a longer window are computed with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longbench_run.tasks.base import Request, ScoreRequest, ScoreWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One window of one request."""

    request: int
    """Index of the request in the group."""
    window: int
    """Index of the window in the request."""
    content: ScoreWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedForward:
    """Windows that one forward pass over the last of them serves."""

    cuts: tuple[Cut, ...]
    """Each is a prefix of the next; never empty."""


def plan_forwards(requests: Sequence[Request], *, prefix_causal: bool) -> list[SharedForward]:
    """Return the forward passes over the windows of a group, a function of the group alone.

    Args:
        requests: The whole group; requests to generate are left out.
        prefix_causal: Whether the logits at a position depend on nothing behind it. Otherwise nothing is
            shared.
    """
    cuts = [
        Cut(request=i, window=j, content=window)
        for i, request in enumerate(requests)
        if isinstance(request, ScoreRequest)
        for j, window in enumerate(request.windows)
    ]
    if not prefix_causal:
        return [SharedForward(cuts=(cut,)) for cut in cuts]
    # Fixed-width bytes make "begins with" one comparison; sorted, a prefix stands right before what it begins.
    keyed = sorted(
        ((_bytes(cut.content), order, cut) for order, cut in enumerate(cuts)), key=lambda entry: entry[:2]
    )
    chains: list[list[Cut]] = []
    previous: bytes | None = None
    for key, _, cut in keyed:
        if previous is not None and key.startswith(previous):
            chains[-1].append(cut)
        else:
            chains.append([cut])
        previous = key
    chains.sort(key=lambda chain: min((cut.request, cut.window) for cut in chain))
    return [SharedForward(cuts=tuple(chain)) for chain in chains]


def _bytes(window: ScoreWindow) -> bytes:
    return np.asarray(window.token_ids, dtype=np.int64).tobytes()
