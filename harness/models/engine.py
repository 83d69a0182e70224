"""Compute a group of requests: shared forward passes, and a result for each, whatever happens to others."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

import numpy as np
from jaxtyping import Float64

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models.generate import generate_timed
from longbench_run.harness.models.groups import Cut, SharedForward, plan_forwards
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.memory import PeakMemory, is_out_of_memory, release_memory
from longbench_run.harness.models.prefix import SharedPrefix, sharing_order
from longbench_run.harness.models.score import scored_positions, token_nll
from longbench_run.results.records import Failure
from longbench_run.tasks.base import GenerateRequest, Output, Request, Scored, ScoreRequest

Announce = Callable[[int], AbstractContextManager[None]]
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
    """Token by token; None where nothing was generated."""
    tokens_reused: int | None = None
    """Prompt tokens that another request of the group had computed; None where nothing was generated."""
    peak_bytes: int | None = None
    """See `longbench_run.harness.models.memory.PeakMemory`; None where ``seconds_prefill`` is."""
    prompt_sha256: str
    """Hex sha256 of the token ids that went in, see `token_sha256`."""


def token_sha256(request: Request) -> str:
    """Return the hex sha256 of a request's token ids.

    Hashed are, for the prompt or for each window in order, its length and its ids as little-endian 64-bit
    integers: the same whatever was shared with other requests.
    """
    sequences = (
        [request.prompt_ids]
        if isinstance(request, GenerateRequest)
        else [w.token_ids for w in request.windows]
    )
    digest = hashlib.sha256()
    for ids in sequences:
        digest.update(np.asarray([len(ids), *ids], dtype="<i8").tobytes())
    return digest.hexdigest()


def nothing_announced(_tokens: int) -> AbstractContextManager[None]:
    """Announce a sample's length to nobody: for models with no method, or one that follows no length."""
    return nullcontext()


def run_group(
    loaded: LoadedModel,
    requests: Sequence[Request],
    *,
    prefix_causal: bool,
    announce: Announce = nothing_announced,
    prefill_chunk: int | None = None,
    prefix_reuse: bool = True,
) -> list[EngineResult]:
    """Compute all requests of one group and return their results in order.

    Args:
        loaded: The model, with whatever method is applied to it.
        requests: The whole group: which forward passes are shared follows from it alone.
        prefix_causal: What the method declares: the logits at a position do not depend on the input's length.
        announce: Block in which a sample of so many tokens is computed, prompt plus answer budget: what was applied
            may follow its length, see `longbench_run.harness.attention.Applied.sample`.
        prefill_chunk: Prompt tokens per forward pass when generating; None for one pass.
        prefix_reuse: Whether prompts that begin alike are computed once up to where they part. Only where the
            method is ``prefix_causal``; results are the same within float tolerance.

    Raises:
        MethodNotApplicable: If the method cannot serve the model; that is no failure of a sample.
    """
    results = dict(
        iterate_group(
            loaded,
            requests,
            prefix_causal=prefix_causal,
            announce=announce,
            prefill_chunk=prefill_chunk,
            prefix_reuse=prefix_reuse,
        )
    )
    return [results[index] for index in range(len(requests))]


def iterate_group(
    loaded: LoadedModel,
    requests: Sequence[Request],
    *,
    prefix_causal: bool,
    announce: Announce = nothing_announced,
    prefill_chunk: int | None = None,
    prefix_reuse: bool = True,
) -> Iterator[tuple[int, EngineResult]]:
    """Do what `run_group` does, yielding (index, result) once for each request, as soon as it is finished."""
    to_generate = [
        (index, request) for index, request in enumerate(requests) if isinstance(request, GenerateRequest)
    ]
    prefix = SharedPrefix() if prefix_causal and prefix_reuse and len(to_generate) > 1 else None
    for place in sharing_order([request.prompt_ids for _, request in to_generate]):
        index, request = to_generate[place]
        yield index, _generated(loaded, request, announce, prefill_chunk, prefix)
    del prefix
    scoring = _Scoring(loaded, requests, announce)
    yield from scoring.finished()
    for forward in plan_forwards(requests, prefix_causal=prefix_causal):
        scoring.run(forward)
        yield from scoring.finished()


def _generated(
    loaded: LoadedModel,
    request: GenerateRequest,
    announce: Announce,
    prefill_chunk: int | None,
    prefix: SharedPrefix | None,
) -> EngineResult:
    memory = PeakMemory(loaded.devices)
    memory.start()
    try:
        with announce(len(request.prompt_ids) + request.max_new_tokens):
            timed = generate_timed(loaded, request, prefill_chunk=prefill_chunk, prefix=prefix)
    except MethodNotApplicable:
        raise
    except Exception as error:
        status, failure = _describe(error)
    else:
        return EngineResult(
            output=timed.generated,
            status="ok",
            seconds_prefill=timed.seconds_prefill,
            seconds_decode=timed.seconds_decode,
            tokens_reused=timed.tokens_reused,
            peak_bytes=memory.read(),
            prompt_sha256=token_sha256(request),
        )
    if status == "out_of_memory":
        release_memory()
    return EngineResult(
        output=None,
        status=status,
        failure=failure,
        peak_bytes=memory.read(),
        prompt_sha256=token_sha256(request),
    )


def _describe(error: Exception) -> tuple[EngineStatus, Failure]:
    """Keep an error's text; the error itself would keep its frames' tensors alive."""
    status: EngineStatus = "out_of_memory" if is_out_of_memory(error) else "error"
    text = "".join(traceback.format_exception(error))
    return status, Failure(type=type(error).__name__, message=str(error), traceback=text)


@dataclass(slots=True)
class _Progress:
    """What is known of a request to score so far."""

    request: ScoreRequest
    nll: dict[int, Float64[np.ndarray, " scored"]] = field(default_factory=dict)
    failed: tuple[EngineStatus, Failure] | None = None
    seconds: float | None = None
    peak_bytes: int | None = None

    @property
    def is_finished(self) -> bool:
        return self.failed is not None or len(self.nll) == len(self.request.windows)

    def result(self) -> EngineResult:
        status, failure = self.failed or ("ok", None)
        nll = tuple(self.nll[j].tolist() for j in range(len(self.request.windows))) if failure is None else ()
        return EngineResult(
            output=Scored(nll=nll) if failure is None else None,
            status=status,
            failure=failure,
            seconds_prefill=self.seconds,
            peak_bytes=self.peak_bytes,
            prompt_sha256=token_sha256(self.request),
        )


class _Scoring:
    """Runs the forward passes of a group's requests to score and gathers what each of them gets."""

    def __init__(self, loaded: LoadedModel, requests: Sequence[Request], announce: Announce) -> None:
        self._loaded = loaded
        self._announce = announce
        self._memory = PeakMemory(loaded.devices)
        self._open = {
            index: _Progress(request=request)
            for index, request in enumerate(requests)
            if isinstance(request, ScoreRequest)
        }
        for progress in self._open.values():
            try:
                for window in progress.request.windows:
                    scored_positions(window)
            except ValueError as error:
                progress.failed = _describe(error)

    def finished(self) -> Iterator[tuple[int, EngineResult]]:
        """Yield and forget the requests that need nothing more."""
        for index in [index for index, progress in self._open.items() if progress.is_finished]:
            yield index, self._open.pop(index).result()

    def run(self, forward: SharedForward) -> None:
        """Compute the longest window and slice; if that fails, so does its request, and the next is tried."""
        waiting = list(forward.cuts)
        while waiting:
            wanted = [
                cut
                for cut in waiting
                if cut.request in self._open and not self._open[cut.request].is_finished
            ]
            if not wanted or self._compute(wanted):
                return
            waiting = wanted[:-1]

    def _compute(self, cuts: Sequence[Cut]) -> bool:
        """Run one forward pass over the last cut, the longest; return whether it served all of them."""
        longest = self._open[cuts[-1].request]
        self._memory.start()
        started = perf_counter()
        try:
            per_cut = [scored_positions(cut.content) for cut in cuts]
            scored = np.unique(np.concatenate(per_cut))
            token_ids = cuts[-1].content.token_ids
            with self._announce(len(token_ids)):
                nll = token_nll(self._loaded, token_ids, scored)
        except MethodNotApplicable:
            raise
        except Exception as error:
            longest.failed = _describe(error)
        else:
            for cut, positions in zip(cuts, per_cut, strict=True):
                self._open[cut.request].nll[cut.window] = nll[np.searchsorted(scored, positions)]
        longest.seconds = (longest.seconds or 0.0) + perf_counter() - started
        peak = self._memory.read()
        longest.peak_bytes = max(
            (bytes_ for bytes_ in (longest.peak_bytes, peak) if bytes_ is not None), default=None
        )
        if longest.failed is None:
            return True
        if longest.failed[0] == "out_of_memory":
            release_memory()
        return False
