"""Compute a sample, and compute it again in smaller pieces where memory ran out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models.limits import Learning, Pieces
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.models.memory import PeakMemory, is_out_of_memory, release_memory
from longbench_run.harness.models.outcome import EngineStatus
from longbench_run.results.records import Failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a sample could not be computed."""

    status: EngineStatus
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Generic[T]):
    """The last attempt at a sample: one that succeeded, or after which nothing was left to try."""

    found: T | Failed
    pieces: Pieces
    peak_bytes: int | None
    """Of this attempt alone."""

    @property
    def ran_out(self) -> bool:
        """Whether it failed for want of memory."""
        return isinstance(self.found, Failed) and self.found.status == "out_of_memory"


def attempt(
    loaded: LoadedModel,
    learning: Learning,
    tokens: int,
    work: Callable[[Pieces], T],
    *,
    has_prefix: Callable[[], bool] = lambda: False,
) -> Attempt[T]:
    """Do some work, and do it again in smaller pieces for as long as memory runs out and smaller ones are there.

    Args:
        loaded: The model that it is done with.
        learning: What lengths were seen to need; it learns from this one.
        tokens: Length of the input.
        work: Computes the sample in the pieces given.
        has_prefix: Tells whether what another sample left is in memory.

    Raises:
        MethodNotApplicable: If the method cannot serve the model; that is no failure of a sample.
    """
    pieces = learning.of(tokens)
    while True:
        had_prefix = has_prefix()
        done = attempt_once(loaded, pieces, work)
        if not done.ran_out:
            return done
        smaller = learning.smaller(tokens, pieces, has_prefix=had_prefix)
        if smaller is None:
            return done
        pieces = smaller


def attempt_once(loaded: LoadedModel, pieces: Pieces, work: Callable[[Pieces], T]) -> Attempt[T]:
    """Do some work in the pieces given, whatever becomes of it; see `attempt`."""
    memory = PeakMemory(loaded.devices)
    memory.start()
    done = Attempt(found=_tried(work, pieces), pieces=pieces, peak_bytes=memory.read())
    if done.ran_out:
        # Here, and not where the error was caught: until then its frames keep their tensors.
        release_memory()
    return done


def _tried(work: Callable[[Pieces], T], pieces: Pieces) -> T | Failed:
    try:
        return work(pieces)
    except MethodNotApplicable:
        raise
    except Exception as error:
        return failed(error)


def failed(error: Exception) -> Failed:
    """Keep an error's text; the error itself would keep its frames' tensors alive."""
    text = "".join(traceback.format_exception(error))
    return Failed(
        status="out_of_memory" if is_out_of_memory(error) else "error",
        failure=Failure(type=type(error).__name__, message=str(error), traceback=text),
    )
