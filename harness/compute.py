"""Compute jobs: a model is loaded once, a method attached once, and every request's result told as it comes."""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.errors import LongbenchError, MethodNotApplicable, ModelError
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import iterate_group
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.limits import Limits
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.memory import is_out_of_memory, release_memory
from longbench_run.harness.models.spec import complaint
from longbench_run.harness.recording import failure_of
from longbench_run.results.records import MethodIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.attention import Applied
    from longbench_run.harness.models.engine import EngineResult
    from longbench_run.harness.models.facts import InspectedModel, ModelFacts
    from longbench_run.harness.models.load import LoadedModel
    from longbench_run.harness.models.spec import ModelSpec
    from longbench_run.results.records import Failure, Status
    from longbench_run.tasks.base import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Weights that a job computes with."""

    spec: ModelSpec
    """Folders as whole paths and no ``auto`` dtype: it means the same in another process."""
    facts: ModelFacts
    """What the plan was made of."""
    inspected: InspectedModel | None = field(default=None, compare=False, repr=False)
    """What was read for the plan, to save reading it again; in the plan's own process alone."""

    def __reduce__(self) -> tuple[partial[Load], tuple[()]]:
        """Leave at home what was read: a tokenizer may be of code that another process does not have."""
        return partial(Load, spec=self.spec, facts=self.facts), ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A model with a method on it."""

    load: Load
    method: MethodIdentity
    original_context_length: int
    """Window of pretraining, L, in tokens."""
    target_length: int
    """Length that the method is configured for, in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that computing a group takes; it may travel to another process or machine."""

    setup: Setup
    requests: tuple[Request, ...]
    """Of the whole group: its shapes do not depend on what is stored."""
    prefix_reuse: bool
    """Whether prompts that begin alike share what they share."""


@dataclass(frozen=True, slots=True)
class Attached:
    """The model is loaded and the method on it: a job's first event."""

    applied_hash: str


@dataclass(frozen=True, slots=True)
class Computed:
    """A request of the job is finished."""

    place: int
    """Index of the request."""
    result: EngineResult


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is done."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The job ended: its method cannot serve its model."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unattached:
    """The job ended: its method could not be attached, which is a bug of the method's."""

    status: Status
    failure: Failure


@dataclass(frozen=True, slots=True)
class Broken:
    """The job ended, and the run with it."""

    error: Exception


Event = Attached | Computed | Finished | NotApplicable | Unattached | Broken


class WorkerBug(RuntimeError):
    """A bug came to light in another process; the message is its traceback."""


class Worker:
    """Computes jobs one after the other; the model and the method of the last one stay for the next.

    Args:
        device: Where it computes, as torch spells it; None for what each job's model says.
    """

    def __init__(self, device: str | None = None) -> None:
        """Load nothing yet."""
        self._device = device
        self._loaded: tuple[Load, LoadedModel] | None = None
        self._attached: tuple[Setup, Applied, Limits] | None = None
        self._stack = ExitStack()

    def compute(self, job: Job) -> Iterator[Event]:
        """Yield what becomes of a job, as it becomes known: each of its requests once, then how it ended.

        Args:
            job: What is to be computed.

        Raises:
            ModelError: If weights cannot be loaded, or are not those of the plan.
        """
        loaded = self._load(job.setup.load)
        try:
            applied, limits = self._attach(loaded, job.setup)
        except MethodNotApplicable as error:
            yield NotApplicable(str(error))
            return
        except Exception as error:  # a method's bug must not stop the others: it is in the records
            yield Unattached("out_of_memory" if is_out_of_memory(error) else "error", failure_of(error))
            return
        yield Attached(applied.hash)
        results = iterate_group(
            loaded,
            job.requests,
            prefix_causal=applied.method.prefix_causal,
            announce=applied.sample,
            prefix_reuse=job.prefix_reuse,
            limits=limits,
        )
        try:
            for place, result in results:
                yield Computed(place, result)
        except MethodNotApplicable as error:
            yield NotApplicable(str(error))
            return
        yield Finished()

    def close(self) -> None:
        """Take the method off and let the model go."""
        self._detach()
        self._loaded = None
        release_memory()

    def _load(self, load: Load) -> LoadedModel:
        if self._loaded is None or self._loaded[0] != load:
            # First, so that memory never holds two models.
            self.close()
            self._loaded = load, _loaded(load, self._device)
        return self._loaded[1]

    def _attach(self, loaded: LoadedModel, setup: Setup) -> tuple[Applied, Limits]:
        if self._attached is None or self._attached[0] != setup:
            self._detach()
            with ExitStack() as stack:
                stack.enter_context(continued(loaded.model))
                applied = stack.enter_context(
                    parse_method(setup.method.resolved).applied_to(
                        loaded.model,
                        original_context_length=setup.original_context_length,
                        context_length=setup.target_length,
                    )
                )
                _check_applied(applied, setup)
                limits = Limits.of(loaded, prefill_equals_decode=applied.method.prefill_equals_decode)
                self._attached, self._stack = (setup, applied, limits), stack.pop_all()
        return self._attached[1:]

    def _detach(self) -> None:
        self._attached = None
        self._stack.close()


def reported(events: Iterator[Event]) -> Iterator[Event]:
    """Turn what a job raises into its last event: an exception's frames cannot leave their process."""
    try:
        yield from events
    except LongbenchError as error:
        yield Broken(error)
    except Exception as error:  # told where somebody reads it
        yield Broken(WorkerBug("".join(traceback.format_exception(error))))


def _loaded(load: Load, device: str | None) -> LoadedModel:
    if load.inspected is not None:
        return load_model(load.inspected.spec, load.inspected)
    # A device map places the model itself.
    fixed = device is not None and load.spec.device_map is None
    spec = replace(load.spec, device=device if fixed and device is not None else "auto")
    inspected = inspect_model(spec)
    found = replace(inspected.facts, label=load.facts.label, device=load.facts.device)
    if found != load.facts:
        raise ModelError(
            complaint(
                f"model {spec.model}",
                "files of a worker",
                f"those of the plan ({load.facts.identity.revision}, {load.facts.dtype}, {load.facts.attention})",
                f"{found.identity.revision}, {found.dtype}, {found.attention}",
                "Give every machine the same files and packages.",
            )
        )
    return load_model(spec, inspected)


def _check_applied(applied: Applied, setup: Setup) -> None:
    """Refuse to compute under a name what is not computed under it.

    Raises:
        RuntimeError: If the loaded model resolves a method differently than its configuration did.
    """
    found = MethodIdentity(resolved=applied.method.canonical, versions=applied.method.versions)
    if found != setup.method:
        raise RuntimeError(
            f"the plan resolved {setup.method.resolved}, the model got {found.resolved} (versions {found.versions})"
        )
