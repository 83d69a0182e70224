"""Promises about what a task says of itself and of its parameters."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import PurePath
from typing import Any

from longbench_run.tasks.base import Task, TaskError
from longbench_run.tasks.registry import task_from
from longbench_run.tasks.testing.promises import require
from longbench_run.tasks.testing.subject import Subject

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class WordPromises(Subject):
    """A task is a value whose parameters can be written, and says what a report needs."""

    def test_it_says_what_it_is(self) -> None:
        """Name, version, summary, source, licence, metrics and protocols are there and can be used."""
        info = self.task.info
        require(
            bool(_NAME.match(info.name)), "A name is lower-case letters, digits and _.", f"{info.name!r}."
        )
        require(
            isinstance(info.version, int) and info.version >= 1,
            "The version is a whole number from 1.",
            f"{info.version!r}.",
        )
        for what in ("summary", "source", "licence"):
            text = getattr(info, what)
            require(bool(text.strip()) and "\n" not in text, f"The {what} is one line of text.", f"{text!r}.")
        require(info.default_count >= 1, "default_count is at least 1.", f"{info.default_count}.")

    def test_its_metrics_can_be_aggregated(self) -> None:
        """There is a metric, names are there once, and bounds enclose something."""
        metrics = self.task.info.metrics
        names = [metric.name for metric in metrics]
        require(
            bool(names) and len(set(names)) == len(names), "Metrics have names of their own.", f"{names}."
        )
        for metric in metrics:
            low, high = metric.minimum, metric.maximum
            require(
                low is None or high is None or low < high,
                f"{metric.name} has a minimum below its maximum.",
                f"{low} and {high}.",
            )
            require(
                not metric.is_binary or (low, high) == (0, 1),
                f"{metric.name} is declared binary: its bounds are 0 and 1.",
                f"{low} and {high}.",
            )

    def test_its_protocols_are_named(self) -> None:
        """The protocol in force is one of the task's, its default is the first of them, and others are refused."""
        info, names = self.task.info, self.task.info.protocols
        require(
            bool(names) and self.task.protocol in names,
            "The protocol in force is one of the task's.",
            f"{self.task.protocol!r} and {names}.",
        )
        default = next((f.default for f in dataclasses.fields(_any(self.task)) if f.name == "protocol"), None)
        require(
            default == names[0], "The default protocol is the first of them.", f"{default!r} and {names}."
        )
        # One part of a task may lack a protocol of the whole.
        unknown = set(info.references) - set(_any(type(self.task))().info.protocols)
        require(not unknown, "References are protocols of the task.", f"{sorted(unknown)}.")
        self._require_refused("protocol", "no-such-protocol")

    def test_it_is_a_value(self) -> None:
        """A frozen dataclass, equal to its copy."""
        params = getattr(self.task, "__dataclass_params__", None)
        require(params is not None and params.frozen, "A task is a frozen dataclass.", f"{params}.")
        twin = copy.deepcopy(self.task)
        require(
            twin == self.task and hash(twin) == hash(self.task), "A task equals its copy.", "another value."
        )

    def test_its_parameters_can_be_written(self) -> None:
        """Every parameter has a default and a line of help, and its text gives the same value back."""
        fields = [field for field in dataclasses.fields(_any(self.task)) if field.init]
        required = [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        require(not required, "Every parameter has a default.", f"none for {', '.join(required)}.")
        explained = set(self.task.info.parameters)
        require(
            explained == {field.name for field in fields},
            "info.parameters has a line for every parameter, and for nothing else.",
            f"{sorted(explained ^ {field.name for field in fields})} on one side only.",
        )
        values = {field.name: getattr(self.task, field.name) for field in fields}
        texts = {name: _text(value) for name, value in values.items() if value is not None}
        again = task_from(type(self.task), self.task.info.name, texts)
        require(again == self.task, "Parameters written as text are read back.", f"{again}, not {self.task}.")
        self._require_refused("no_such_parameter", "1")

    def test_its_parameters_are_ready_for_records(self) -> None:
        """`parameters` survives JSON, leaves the protocol to its own field, and names no path of this machine."""
        found = dict(self.task.parameters())
        require(json.loads(json.dumps(found)) == found, "parameters() survives JSON.", f"{found}.")
        require("protocol" not in found, "parameters() leaves out the protocol.", f"{found}.")
        paths = [
            value for value in found.values() if isinstance(value, str) and PurePath(value).is_absolute()
        ]
        require(not paths, "parameters() names no path of this machine.", f"{paths}.")

    def test_tasks_of_equal_parameters_have_equal_samples(self) -> None:
        """A parameter that changes samples is in `parameters`: records of two settings are never mixed."""
        mine = self.samples(self.tokenizers[0], count=2)
        for field in dataclasses.fields(_any(self.task)):
            value = getattr(self.task, field.name)
            for other in _others(value):
                try:
                    changed: Task = dataclasses.replace(_any(self.task), **{field.name: other})
                    if changed.parameters() != self.task.parameters():
                        continue
                    samples = self.samples(self.tokenizers[0], count=2, task=changed)
                except TaskError:
                    continue  # a value that the task refuses
                require(
                    samples == mine,
                    "What changes samples is in parameters().",
                    f"other samples with {field.name}={other!r}, and the same parameters().",
                )

    def _require_refused(self, name: str, value: str) -> None:
        promise = f"An unknown {name.replace('no_such_', '')} is refused by one line in a TaskError."
        try:
            task_from(type(self.task), self.task.info.name, {name: value})
        except TaskError as error:
            require("\n" not in str(error), promise, f"{str(error)!r}.")
        else:
            require(False, promise, "nothing was raised.")


def _any(task: Task | type[Task]) -> Any:
    """Return a task as what `dataclasses` and a constructor take."""
    return task


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _others(value: object) -> tuple[float | bool, ...]:
    """Return other values of a parameter that can be thought of without knowing it."""
    if isinstance(value, bool):
        return (not value,)
    return (value + 1, value * 2) if isinstance(value, int | float) else ()
