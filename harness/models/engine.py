"""Compute a group of requests: shared forward passes, and a result for each, whatever happens to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from longbench_run.harness.models.attempt import Failed, attempt, attempt_once
from longbench_run.harness.models.choose import choose_timed
from longbench_run.harness.models.entropy import iterate_entropies
from longbench_run.harness.models.generate import TimedGeneration, generate_timed, generate_together
from longbench_run.harness.models.groups import plan_forwards
from longbench_run.harness.models.limits import Limits, Pieces, follows_length
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.outcome import EngineResult, token_inputs, token_sha256
from longbench_run.harness.models.prefix import SharedPrefix, sharing_order
from longbench_run.harness.models.scoring import Announce, Scoring
from longbench_run.tasks.base import ChooseRequest, GenerateRequest, Request

__all__ = ["Announce", "EngineResult", "iterate_group", "nothing_announced", "run_group", "token_sha256"]


Prompted = tuple[int, GenerateRequest | ChooseRequest]
"""A request that begins with a prompt, and its place in the group."""


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
    limits: Limits | None = None,
) -> list[EngineResult]:
    """Compute all requests of one group and return their results in order.

    Args:
        loaded: The model, with whatever method is applied to it.
        requests: The whole group: which forward passes are shared follows from it alone.
        prefix_causal: What the method declares: the logits at a position do not depend on the input's length.
        announce: Block in which a sample of so many tokens is computed, prompt plus answer budget: what was applied
            may follow its length, see `longbench_run.harness.attention.Applied.sample`.
        prefill_chunk: Prompt tokens per forward pass when generating, where no limits are given; None for one pass.
        prefix_reuse: Whether prompts that begin alike are computed once up to where they part. Only where the
            method is ``prefix_causal`` and goes on behind a cache; results are the same within float tolerance.
        limits: What samples are cut into, and what other groups taught about memory; default: whole samples, as if the
            method could be cut anywhere.

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
            limits=limits,
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
    limits: Limits | None = None,
) -> Iterator[tuple[int, EngineResult]]:
    """Do what `run_group` does, yielding (index, result) once for each request, as soon as it is finished."""
    limits = limits or Limits.fixed(loaded, prefill_chunk=prefill_chunk)
    # A model may ship with frequencies that follow the length, whatever the method declares: `none` leaves them on.
    prefix_causal = prefix_causal and not follows_length(loaded)
    prompted: list[Prompted] = [
        (index, request)
        for index, request in enumerate(requests)
        if isinstance(request, GenerateRequest | ChooseRequest)
    ]
    shares = (
        prefix_causal
        and limits.splits
        and prefix_reuse
        and sum(len(token_inputs(request)) for _, request in prompted) > 1
    )
    prefix = SharedPrefix() if shares else None
    ordered = [prompted[place] for place in sharing_order([token_inputs(r)[0] for _, r in prompted])]
    while ordered:
        members = ordered[: _alike(ordered, limits)]
        together = _together(loaded, members, announce, limits, prefix) if len(members) > 1 else []
        if together is None:  # memory ran out: fewer are tried
            continue
        yield from together
        for index, request in members[len(together) :]:
            yield index, _prompted(loaded, request, announce, limits, prefix)
        del ordered[: len(members)]
    del prefix
    scoring = Scoring(loaded, requests, announce, limits.scoring)
    yield from scoring.finished()
    for forward in plan_forwards(requests, prefix_causal=prefix_causal):
        scoring.run(forward)
        yield from scoring.finished()
    yield from iterate_entropies(
        loaded, requests, prefix_causal=prefix_causal, announce=announce, learning=limits.scoring
    )


def _alike(ordered: Sequence[Prompted], limits: Limits) -> int:
    """Return how many requests, from the first on, may be decoded together: those that are of one length."""
    lengths = [_lengths(request) for _, request in ordered]
    if lengths[0] is None:
        return 1
    count = next((n for n, its in enumerate(lengths) if its != lengths[0]), len(lengths))
    return min(count, limits.together.of(sum(lengths[0])))


def _lengths(request: Request) -> tuple[int, int] | None:
    """Return the tokens of a prompt and of its answer; None where nothing is generated."""
    if isinstance(request, GenerateRequest):
        return len(request.prompt_ids), request.max_new_tokens
    return None


def _together(
    loaded: LoadedModel,
    members: Sequence[Prompted],
    announce: Announce,
    limits: Limits,
    prefix: SharedPrefix | None,
) -> list[tuple[int, EngineResult]] | None:
    """Decode requests together; return no results where one of them fails, and None where memory ran out."""
    requests = [request for _, request in members if isinstance(request, GenerateRequest)]
    prompt, answer = len(requests[0].prompt_ids), requests[0].max_new_tokens

    def work(pieces: Pieces) -> list[TimedGeneration]:
        with announce(prompt + answer):
            return generate_together(
                loaded, requests, prefill_chunk=pieces.chunk, prefix=_shared(prefix, pieces)
            )

    done = attempt_once(loaded, limits.generating.of(prompt), work)
    if done.ran_out:
        limits.together.halve(prompt + answer, len(members))
        return None
    if isinstance(done.found, Failed):
        return []
    return [
        (index, replace(_generated_result(request, timed, done.pieces), peak_bytes=done.peak_bytes))
        for (index, _), request, timed in zip(members, requests, done.found, strict=True)
    ]


def _shared(prefix: SharedPrefix | None, pieces: Pieces) -> SharedPrefix | None:
    """Return what is shared; what may not be is dropped."""
    if prefix is None or pieces.shares_prefix:
        return prefix
    prefix.forget()
    return None


def _prompted(
    loaded: LoadedModel,
    request: GenerateRequest | ChooseRequest,
    announce: Announce,
    limits: Limits,
    prefix: SharedPrefix | None,
) -> EngineResult:
    tokens = max((len(ids) for ids in token_inputs(request)), default=0)

    def work(pieces: Pieces) -> EngineResult:
        shared = _shared(prefix, pieces)
        if isinstance(request, ChooseRequest):
            return _chosen(loaded, request, announce, pieces, shared)
        return _generated(loaded, request, announce, pieces, shared)

    done = attempt(
        loaded,
        limits.generating,
        tokens,
        work,
        has_prefix=lambda: prefix is not None and prefix.is_held,
    )
    if isinstance(done.found, Failed):
        return EngineResult(
            output=None,
            status=done.found.status,
            failure=done.found.failure,
            peak_bytes=done.peak_bytes,
            prompt_sha256=token_sha256(request),
        )
    return replace(done.found, peak_bytes=done.peak_bytes)


def _generated(
    loaded: LoadedModel,
    request: GenerateRequest,
    announce: Announce,
    pieces: Pieces,
    prefix: SharedPrefix | None,
) -> EngineResult:
    with announce(len(request.prompt_ids) + request.max_new_tokens):
        timed = generate_timed(loaded, request, prefill_chunk=pieces.chunk, prefix=prefix)
    return _generated_result(request, timed, pieces)


def _generated_result(request: GenerateRequest, timed: TimedGeneration, pieces: Pieces) -> EngineResult:
    return EngineResult(
        output=timed.generated,
        status="ok",
        seconds_prefill=timed.seconds_prefill,
        seconds_decode=timed.seconds_decode,
        tokens_reused=timed.tokens_reused,
        prefill_chunk=pieces.chunk_of(len(request.prompt_ids) - timed.tokens_reused),
        prompt_sha256=token_sha256(request),
    )


def _chosen(
    loaded: LoadedModel,
    request: ChooseRequest,
    announce: Announce,
    pieces: Pieces,
    prefix: SharedPrefix | None,
) -> EngineResult:
    timed = choose_timed(loaded, request, announce=announce, prefix=prefix, prefill_chunk=pieces.chunk)
    return EngineResult(
        output=timed.chosen,
        status="ok",
        seconds_prefill=timed.seconds,
        tokens_reused=timed.tokens_reused,
        prefill_chunk=pieces.chunk_of(max((window.first_scored for window in request.windows), default=0)),
        prompt_sha256=token_sha256(request),
    )
