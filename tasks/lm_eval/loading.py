"""Finding lm-eval's tasks and loading their data; what is wrong with one is one line."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.lm_eval.measures import Measures
from longbench_run.tasks.lm_eval.prompts import not_greedy

_NAME = "lm_eval"
_SEEDS = (0, 1234)
"""Seeds of Python's and numpy's random state while a task is loaded, as lm-eval has them: some tasks make their data."""
_OF_THIS_MACHINE = frozenset({"dataset_path", "dataset_kwargs", "metadata"})
"""Settings of a task that may hold paths; what they lead to is hashed instead."""


@dataclass(frozen=True)
class LoadedTask:
    """One of lm-eval's tasks, its data read."""

    name: str
    task: Any
    docs: Sequence[Any]
    """Its documents, those of the test split or else of the validation split."""

    @property
    def kind(self) -> str:
        """Type of its requests."""
        output: str = self.task.OUTPUT_TYPE
        return "loglikelihood" if output == "multiple_choice" else output

    def fingerprint(self, *, has_examples: bool) -> str:
        """Return the hex sha256 over settings and documents, paths of this machine left out.

        Args:
            has_examples: Whether examples stand before questions, so that what they are drawn from counts too.
        """
        return hashlib.sha256(self._content + (self._examples if has_examples else b"")).hexdigest()

    @cached_property
    def _content(self) -> bytes:
        config = vars(self.task.config)
        return _digest(
            [{key: value for key, value in config.items() if key not in _OF_THIS_MACHINE}, *self.docs]
        )

    @cached_property
    def _examples(self) -> bytes:
        return _digest(self.task.sampler.df) if self.has_sampler else b""

    @property
    def has_sampler(self) -> bool:
        """Whether there is something to draw examples from."""
        return hasattr(self.task, "sampler")


@cache
def load(name: str, include_path: str | None, metadata: str | None) -> Mapping[str, LoadedTask]:
    """Return the tasks that a name stands for, by their own names; loaded once in a process.

    Args:
        name: A task, group or tag.
        include_path: Folder with task files beside lm-eval's own; one of the same name takes its place.
        metadata: JSON object that tasks which make their data are given.

    Raises:
        TaskError: If lm-eval is not installed, has no such task, or its task cannot be used.
    """
    given = _metadata(metadata)
    if include_path is not None and not Path(include_path).is_dir():
        raise TaskError(
            f"{_NAME}: include_path must be a folder, got {include_path!r}. Name one with task files."
        )
    with _as_lm_eval():
        manager = _manager(name, include_path, given)
        loaded = _loaded(name, manager)
    usable = {key: _usable(key, task) for key, task in loaded.items()}
    if not usable:
        raise TaskError(f"{_NAME}/{name}: must stand for at least one task, got none. Name another.")
    return usable


def installed() -> Any:
    """Return lm-eval's module of tasks.

    Raises:
        TaskError: If lm-eval is not installed.
    """
    try:
        return import_module("lm_eval.tasks")
    except ModuleNotFoundError as error:
        raise TaskError(
            f"{_NAME}: tasks of lm-eval must be read by lm_eval, which is not installed ({error}). "
            'Run `pip install "longbench-run[lm-eval]"`.'
        ) from None


def _metadata(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text is not None else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TaskError(
            f"{_NAME}: metadata must be a JSON object, got {text!r}. Write '{{\"max_seq_lengths\": [4096]}}'."
        )
    return found


def _manager(name: str, include_path: str | None, metadata: dict[str, Any]) -> Any:
    """Return what knows the name: reading lm-eval's own 14,000 takes seconds, which a local task need not wait for."""
    tasks = installed()
    if include_path is not None:
        local = tasks.TaskManager(include_path=include_path, include_defaults=False, metadata=metadata)
        # A group may hold tasks of lm-eval's own.
        if name in local.all_tasks and name not in local.all_groups:
            return local
    manager = tasks.TaskManager(include_path=include_path, metadata=metadata)
    if name not in manager.all_tasks:
        nearest = get_close_matches(name, manager.all_tasks, n=1)
        hint = f'Did you mean "{nearest[0]}"?' if nearest else "`longbench-run lm-eval ls tasks` lists them."
        raise TaskError(
            f"{_NAME}: name must be a task, group or tag that lm-eval finds, got {name!r}. {hint}"
        )
    return manager


def _loaded(name: str, manager: Any) -> Mapping[str, Any]:
    _check_settings(name, manager)
    unreachable = (
        ConnectionError,
        FileNotFoundError,
        import_module("datasets").exceptions.DatasetNotFoundError,
    )
    try:
        found: Mapping[str, Any] = manager.load(name)["tasks"]
    except unreachable as error:
        raise TaskError(
            f"{_NAME}/{name}: data must be on this machine or within reach, got: {_reason(error)}. "
            "Run it once where there is a network, or name local files in the task."
        ) from error
    except Exception as error:  # a task is a program that others wrote: it can fail in any way
        raise TaskError(
            f"{_NAME}/{name}: task must be one that lm-eval loads, got {type(error).__name__}: {_reason(error)}. "
            "Mend the task, or name another."
        ) from error
    return found


def _check_settings(name: str, manager: Any) -> None:
    """Refuse what the file alone tells, before any data is read."""
    path = manager.task_index[name].yaml_path
    if path is None or name in manager.all_groups or name in manager.all_tags:
        return
    settings = import_module("lm_eval.tasks._yaml_loader").load_yaml(path, resolve_func=False)
    kinds = import_module("lm_eval.api.task").ALL_OUTPUT_TYPES
    output = settings.get("output_type", "generate_until")
    if "class" not in settings and output not in kinds:
        raise TaskError(
            f"{_NAME}/{name}: output_type must be one of {', '.join(kinds)}, got {output!r}. Mend the task's file."
        )
    if "class" not in settings and not (settings.get("test_split") or settings.get("validation_split")):
        raise TaskError(
            f"{_NAME}/{name}: test_split or validation_split must be named, got neither. Name one in the task's file."
        )


def _usable(name: str, task: Any) -> LoadedTask:
    """Return a task that this package can run.

    Raises:
        TaskError: If it asks for what is not served here, with what that is.
    """
    fault = _fault(task)
    if fault is not None:
        rule, got = fault
        raise TaskError(f"{_NAME}/{name}: task must {rule}, got {got}. Run it with lm-eval itself.")
    return LoadedTask(name=name, task=task, docs=task.eval_docs)


def _fault(task: Any) -> tuple[str, str] | None:
    configurable = import_module("lm_eval.api.task").ConfigurableTask
    if (
        not isinstance(task, configurable)
        or type(task).construct_requests is not configurable.construct_requests
    ):
        return "be described by its settings", f"the class {type(task).__name__}"
    if getattr(task, "MULTIMODAL", False):
        return "ask in text alone", "images or sound"
    if getattr(task, "UNSAFE_CODE", False):
        return "score text without running it", "one that runs what a model writes"
    asks = not_greedy(task.config.generation_kwargs or {}) if task.OUTPUT_TYPE == "generate_until" else None
    if asks is not None:
        return "decode greedily", asks
    if not Measures(task).metrics():
        listed = ", ".join(map(str, task.aggregation()))
        return "have a metric with a value for every document", listed or "none"
    return None


@contextmanager
def _as_lm_eval() -> Iterator[None]:
    """Load as lm-eval does, with its seeds, and leave nothing behind: no message, no bar, no random state."""
    installed()
    logger, datasets = logging.getLogger("lm_eval"), import_module("datasets")
    level, has_bars = logger.level, not datasets.are_progress_bars_disabled()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # the state that tasks draw from
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    random.seed(_SEEDS[0])
    np.random.seed(_SEEDS[1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        logger.setLevel(level)
        if has_bars:
            datasets.enable_progress_bars()


def _digest(values: Iterable[Any]) -> bytes:
    digest = hashlib.sha256()
    for value in values:
        digest.update(_json(value) + b"\n")
    return digest.digest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_described).encode(
        "utf-8", "surrogatepass"
    )


def _described(value: Any) -> Any:
    """Return what stands for a value that JSON has no form for, the same in every process."""
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):
            return getattr(value, "__qualname__", type(value).__qualname__)
    return vars(value) if hasattr(value, "__dict__") else str(value)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]
