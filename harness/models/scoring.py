"""Score a group's requests: one forward pass serves every window that begins a longer one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from jaxtyping import Float64

from longbench_run.harness.models.attempt import Failed, attempt, failed
from longbench_run.harness.models.groups import Cut, SharedForward
from longbench_run.harness.models.limits import Learning, Pieces
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.outcome import EngineResult, token_sha256
from longbench_run.harness.models.score import scored_positions, token_nll
from longbench_run.tasks.base import Request, Scored, ScoreRequest

Announce = Callable[[int], AbstractContextManager[None]]
Nll = Float64[np.ndarray, " scored"]


@dataclass(slots=True)
class _Progress:
    """What is known of a request to score so far."""

    request: ScoreRequest
    nll: dict[int, Nll] = field(default_factory=dict)
    failed: Failed | None = None
    seconds: float | None = None
    chunk: int | None = None
    peak_bytes: int | None = None

    @property
    def is_finished(self) -> bool:
        return self.failed is not None or len(self.nll) == len(self.request.windows)

    def result(self) -> EngineResult:
        output = (
            Scored(nll=tuple(self.nll[place].tolist() for place in range(len(self.request.windows))))
            if self.failed is None
            else None
        )
        return EngineResult(
            output=output,
            status="ok" if self.failed is None else self.failed.status,
            failure=None if self.failed is None else self.failed.failure,
            seconds_prefill=self.seconds,
            prefill_chunk=self.chunk,
            peak_bytes=self.peak_bytes,
            prompt_sha256=token_sha256(self.request),
        )


class Scoring:
    """Runs the forward passes of a group's requests to score and gathers what each of them gets."""

    def __init__(
        self, loaded: LoadedModel, requests: Sequence[Request], announce: Announce, learning: Learning
    ) -> None:
        """Open the requests to score; those that cannot be scored are finished at once.

        Args:
            loaded: The model, with whatever method is applied to it.
            requests: The whole group; requests of other kinds are left out.
            announce: Block in which an input of so many tokens is computed.
            learning: What inputs are cut into.
        """
        self._loaded = loaded
        self._announce = announce
        self._learning = learning
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
                progress.failed = failed(error)

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
        """Score the last cut, the longest, in one forward pass or several; return whether that served all cuts."""
        longest = self._open[cuts[-1].request]
        per_cut = [scored_positions(cut.content) for cut in cuts]
        scored = np.unique(np.concatenate(per_cut))
        token_ids = cuts[-1].content.token_ids

        def work(pieces: Pieces) -> tuple[Nll, float]:
            started = perf_counter()
            with self._announce(len(token_ids)):
                nll = token_nll(self._loaded, token_ids, scored, rows=pieces.rows, chunk=pieces.chunk)
            return nll, perf_counter() - started

        done = attempt(self._loaded, self._learning, len(token_ids), work)
        longest.peak_bytes = max(_known(longest.peak_bytes, done.peak_bytes), default=None)
        if isinstance(done.found, Failed):
            longest.failed = done.found
            return False
        nll, seconds = done.found
        longest.seconds = (longest.seconds or 0.0) + seconds
        chunk = done.pieces.chunk_of(len(token_ids))
        for cut, positions in zip(cuts, per_cut, strict=True):
            progress = self._open[cut.request]
            progress.nll[cut.window] = nll[np.searchsorted(scored, positions)]
            progress.chunk = min(_known(progress.chunk, chunk), default=None)
        return True


def _known(*values: int | None) -> list[int]:
    return [value for value in values if value is not None]
