"""What became of a request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from longbench_run.results.records import Failure
from longbench_run.tasks.base import Output, Request

EngineStatus = Literal["ok", "out_of_memory", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """What became of one request."""

    output: Output | None
    """None unless the status is ``ok``."""
    status: EngineStatus
    failure: Failure | None = None
    """Set unless the status is ``ok``."""
    seconds_prefill: float | None = None
    """Forward passes over given tokens; None where everything was sliced from other requests' passes."""
    seconds_decode: float | None = None
    """Token by token, an equal share for each of those decoded together; None where nothing was generated."""
    tokens_reused: int | None = None
    """Prompt tokens that another request of the group had computed; None where windows were scored as a whole."""
    prefill_chunk: int | None = None
    """Given tokens per forward pass where it took several; None where one did it."""
    peak_bytes: int | None = None
    """See `longbench_run.harness.models.memory.PeakMemory`; None where ``seconds_prefill`` is."""
    prompt_sha256: str
    """Hex sha256 of the token ids that went in, see `token_sha256`."""


def token_sha256(request: Request) -> str:
    """Return the hex sha256 of a request's token ids.

    Hashed are, for the prompt or for each window in order, its length and its ids as little-endian 64-bit
    integers: the same whatever was shared with other requests.
    """
    digest = hashlib.sha256()
    for ids in token_inputs(request):
        digest.update(np.asarray([len(ids), *ids], dtype="<i8").tobytes())
    return digest.hexdigest()


def token_inputs(request: Request) -> list[tuple[int, ...]]:
    """Return the token ids of the prompt, or of each window in order."""
    return list(request.inputs)
