"""The header of a run: what was asked, with what, on what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.environment import git_revision, now, package_versions
from longbench_run.harness.methods.registry import METHODS
from longbench_run.harness.task_texts import name_of
from longbench_run.harness.tuning.variant import read_recipe
from longbench_run.harness.unscaled import unscaled_methods
from longbench_run.results.records import (
    MetricInfo,
    ModelSummary,
    RunHeader,
    SuiteAverageInfo,
    SuiteInfo,
    TaskSummary,
    TuningSummary,
)
from longbench_run.tasks.registry import TASKS

if TYPE_CHECKING:
    from longbench_run.harness.choices import Choices, MethodChoice
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.preparation import PreparedRun
    from longbench_run.tasks.base import Task


def run_header(
    loaded: LoadedConfig, choices: Choices, prepared: PreparedRun, command: Sequence[str], *, device: str
) -> RunHeader:
    """Return the header of a run that begins now.

    Args:
        loaded: What is asked for.
        choices: Its methods and tasks.
        prepared: Its plan.
        command: How it was asked.
        device: What computes it, with the name of its hardware.
    """
    models = {entry.model_label: entry.inspected.facts for entry in reversed(prepared.weights)}
    unscaled = unscaled_methods(prepared.plan.cells)
    resolved = [
        {
            "model": entry.model_label,
            "weights": entry.method_weights,
            "identity": entry.inspected.facts.identity.model_dump(mode="json"),
            "dtype": entry.inspected.facts.dtype,
            "attention": entry.inspected.facts.attention,
            "chat_template": entry.chat.name if entry.chat is not None else None,
        }
        for entry in prepared.weights
    ]
    config: Mapping[str, Any] = {**loaded.config.model_dump(mode="json"), "resolved": resolved}
    return RunHeader(
        run_key=prepared.run_key,
        command=tuple(command),
        config=config,
        models=tuple(
            ModelSummary(
                label=label,
                original_context_length=facts.original_context_length,
                original_context_length_source=facts.original_context_length_source,
                unscaled=unscaled.get(label, {}),
            )
            for label, facts in reversed(models.items())
        ),
        methods=tuple(choice.label for choice in choices.methods),
        tasks=tuple(_task_summary(choice.task) for choice in choices.tasks),
        suites=_suites(choice.task for choice in choices.tasks),
        tuned=tuple(tunings_of(choices.methods)),
        lengths=prepared.plan.lengths,
        versions=package_versions() | _plugins(loaded, choices),
        git_revision=git_revision(),
        device=device,
        started=now(),
    )


def _plugins(loaded: LoadedConfig, choices: Choices) -> dict[str, str]:
    """Return the versions of the distributions that methods and tasks in use come from, beside this one."""
    components = (component for choice in choices.methods for component in choice.method.components)
    found = [METHODS.distribution(component.name) for component in components]
    # Tasks as asked for: one that stands for several has parts of other names.
    found += [TASKS.distribution(name_of(entry.name)) for entry in loaded.config.tasks]
    return dict(distribution for distribution in found if distribution is not None)


def _task_summary(task: Task) -> TaskSummary:
    info = task.info
    return TaskSummary(
        name=info.name,
        protocol=task.protocol,
        metrics=tuple(
            MetricInfo(
                name=metric.name,
                higher_is_better=metric.higher_is_better,
                minimum=metric.minimum,
                maximum=metric.maximum,
                chance=metric.chance,
                is_binary=metric.is_binary,
            )
            for metric in info.metrics
        ),
        source=info.source,
        licence=info.licence,
        reference=info.references.get(task.protocol),
    )


def tunings_of(methods: Iterable[MethodChoice]) -> Iterator[TuningSummary]:
    """Yield how weights were tuned that `tune` wrote; others do not say it, whatever lies beside them.

    Args:
        methods: Those of a run.
    """
    for choice in methods:
        recipe = read_recipe(Path(choice.weights)) if choice.weights is not None else None
        try:
            found = _tuning_summary(choice.label, recipe) if recipe is not None else None
        except (KeyError, TypeError, ValueError):
            continue
        if found is not None:
            yield found


def _tuning_summary(label: str, recipe: Mapping[str, Any]) -> TuningSummary:
    method, settings, data = recipe["method"], recipe["recipe"], recipe["data"]
    return TuningSummary(
        method_label=label,
        asked=method["asked"],
        canonical=method["canonical"],
        steps=recipe["steps"],
        data_sha256=data["sha256"],
        samples_sha256=data["samples_sha256"],
        losses=tuple(loss if math.isfinite(loss) else None for loss in recipe["result"]["losses"]),
        **{
            name: settings[name]
            for name in ("samples", "seed", "context_length", "learning_rate", "composition")
        },
    )


def _suites(tasks: Iterable[Task]) -> tuple[SuiteInfo, ...]:
    """Return every suite that tasks are parts of, once."""
    suites = {suite.name: suite for task in tasks if (suite := task.info.suite) is not None}
    return tuple(
        SuiteInfo(
            name=suite.name,
            averages=tuple(
                SuiteAverageInfo(name=average.name, groups=average.groups) for average in suite.averages
            ),
            buckets={name: end if math.isfinite(end) else None for name, end in suite.buckets.items()},
        )
        for suite in suites.values()
    )
