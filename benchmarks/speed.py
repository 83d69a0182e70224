"""Times in turn, one way after the other, so that a drifting machine drifts for both of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules import module as every_module
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from benchmarks.models import Column
from longbench_run.harness.attention.functions import registered

if TYPE_CHECKING:
    from collections.abc import Iterator

Timed = Callable[[], float]
"""Runs something and returns the seconds of the part that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How a row is measured."""

    column: Column
    repeats: int
    """Rounds that count at most, at least 1."""
    seconds: float
    """No round begins after so many; the fewest that count always run."""
    threads: int | None = None
    """CPU threads; None for torch's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a row came to."""

    values: tuple[float, ...]
    """One for each round."""
    note: str
    """Absolute figures and what was cut."""


_FEWEST = 2
"""Rounds that count at least."""


def in_turn(bench: Bench, candidate: Timed, baseline: Timed, *, note: str = "") -> Figure:
    """Return the ratios of candidate to baseline, one a round; every other round begins with the baseline.

    The first round warms up and does not count. Two that count run however long they take, one in each order: a single
    one would hold whatever going first is worth.
    """
    rounds = []
    started = time.perf_counter()
    for turn in range(bench.repeats + 1):
        if turn > _FEWEST and time.perf_counter() - started > bench.seconds:
            break
        if turn % 2:
            below, above = baseline(), candidate()
        else:
            above, below = candidate(), baseline()
        rounds.append((above, below))
    counted = rounds[1:]
    seconds = f"{median(a for a, _ in counted):.3g} s / {median(b for _, b in counted):.3g} s"
    return Figure(
        values=tuple(above / below for above, below in counted), note=f"{seconds}{note and '; ' + note}"
    )


def wait(device: str | torch.device) -> None:
    """Return when the device has done what it was told."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes until the device is done."""
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - started


@dataclass(slots=True)
class ForwardClock:
    """Adds up the time inside modules: of one model, or of the outermost ones of whatever is loaded meanwhile."""

    device: str
    seconds: float = 0.0
    prompts: float = 0.0
    """Seconds of the passes over more than one token a row."""
    steps: int = 0
    """Passes over one token a row."""
    _depth: int = 0
    _started: float = 0.0
    _hooks: ExitStack = field(default_factory=ExitStack)

    def of(self, model: torch.nn.Module | None) -> ForwardClock:
        """Watch a model; None watches every module."""
        before, after = (
            (every_module.register_module_forward_pre_hook, every_module.register_module_forward_hook)
            if model is None
            else (model.register_forward_pre_hook, model.register_forward_hook)
        )
        self._hooks.callback(before(self._enter).remove)
        self._hooks.callback(after(self._leave, with_kwargs=True, always_call=True).remove)
        return self

    def __enter__(self) -> ForwardClock:
        """Count until the block ends."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Watch no more."""
        self._hooks.close()

    def _enter(self, _module: torch.nn.Module, _arguments: object) -> None:
        if self._depth == 0:
            wait(self.device)
            self._started = time.perf_counter()
        self._depth += 1

    def _leave(
        self, _module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], _output: object
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        wait(self.device)
        passed = time.perf_counter() - self._started
        self.seconds += passed
        given = named.get("input_ids", arguments[0] if arguments else None)
        if given is not None and given.shape[1] > 1:
            self.prompts += passed
        else:
            self.steps += 1


@contextmanager
def attention_clock(model: Any, device: str) -> Iterator[list[float]]:
    """Yield the seconds of every attention call that a model makes in the block, whatever method is applied."""
    name = model.config._attn_implementation
    own = ALL_ATTENTION_FUNCTIONS[name]
    seconds: list[float] = []

    def timed(*arguments: Any, **named: Any) -> Any:
        wait(device)
        started = time.perf_counter()
        result = own(*arguments, **named)
        wait(device)
        seconds.append(time.perf_counter() - started)
        return result

    with registered(model, "longbench_run_timed", timed, ALL_MASK_ATTENTION_FUNCTIONS[name]):
        yield seconds
