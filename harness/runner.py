"""Run a configuration: plan, compute what is missing, keep the store consistent whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longbench_run.harness.environment import device_name, git_revision, now, package_versions
from longbench_run.harness.errors import ConfigError, LongbenchError
from longbench_run.harness.finished import expected_now, plan_key, read_finished, write_expected
from longbench_run.harness.matrix import Choices, FirstSamples, Plan, Weights, choose, first_samples, plan_run
from longbench_run.harness.progress import Silent
from longbench_run.harness.run_key import AskedWeights, could_be_stored, output_folder, run_key
from longbench_run.harness.weights import WeightsSpec, known_identities, weights_specs
from longbench_run.results.records import MetricInfo, ModelSummary, RunHeader, TaskSummary
from longbench_run.results.store import Store, check_output, read_header

if TYPE_CHECKING:
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.finished import Expected
    from longbench_run.harness.models.facts import ModelFacts
    from longbench_run.harness.progress import Progress
    from longbench_run.results.store import StoredRun
    from longbench_run.tasks.base import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended."""

    folder: Path
    run_key: str
    computed: int
    """Records written now; 0 where nothing was missing."""
    samples: int
    """Records the run holds for what was asked."""
    failed_samples: int
    """Samples with the status ``error`` or ``out_of_memory``."""
    failed_cells: int
    """Cells that have any."""
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that is known to be possible; nothing is written yet."""

    plan: Plan
    first: FirstSamples
    weights: tuple[Weights, ...]
    folder: Path
    run_key: str
    plan_key: str


class Interrupted(KeyboardInterrupt):
    """The user stopped a run; what was computed is stored."""

    def __init__(self, folder: Path, computed: int) -> None:
        """Keep where the run is and how many samples were computed before it stopped."""
        super().__init__(
            f"Interrupted after {computed} samples: they are in {folder}, and the same command goes on there."
        )
        self.folder = folder
        self.computed = computed


def execute(loaded: LoadedConfig, *, command: Sequence[str], progress: Progress | None = None) -> RunSummary:
    """Run a configuration and return how it ended.

    Args:
        loaded: What is asked for.
        command: How it was asked, for the header.
        progress: Where to tell how far it is; nowhere by default.

    Raises:
        LongbenchError: If a model, a method or a length does not fit; nothing is written then.
        TaskError: If a task cannot make samples; nothing is written then.
        ResultsError: If the output folder holds something else, or cannot be written.
        Interrupted: On Ctrl-C; what was computed is stored.
    """
    choices = choose(loaded)
    specs = weights_specs(loaded, choices)
    finished = _finished(loaded, choices, specs)
    if finished is not None:
        return finished
    prepared = prepare(loaded, choices=choices, specs=specs)
    header = _header(loaded, choices, prepared, command)
    overwrite = loaded.config.overwrite
    with Store.open(prepared.folder, header, overwrite=overwrite) as store:
        computed = _compute(prepared, store, progress or Silent())
        expected = expected_now(prepared.plan, store)
        write_expected(prepared.folder, prepared.plan_key, expected)
        store.update_header(status="complete", finished=now())
        failed = {
            cell.cell_id: sum(
                status in ("error", "out_of_memory")
                for index, status in store.statuses(cell.cell_id).items()
                if index in expected.cells[cell.cell_id]
            )
            for cell in prepared.plan.cells
        }
    return RunSummary(
        folder=prepared.folder,
        run_key=prepared.run_key,
        computed=computed,
        samples=sum(len(indices) for indices in expected.cells.values()),
        failed_samples=sum(failed.values()),
        failed_cells=sum(count > 0 for count in failed.values()),
        cells=len(expected.cells),
    )


def prepare(
    loaded: LoadedConfig, *, choices: Choices | None = None, specs: Sequence[WeightsSpec] | None = None
) -> PreparedRun:
    """Read configurations and tokenizers, and plan; weights are not read and nothing is written.

    Args:
        loaded: What is asked for.
        choices: What `choose` returned for it, to save doing it again.
        specs: What `weights_specs` returned for it.

    Raises:
        LongbenchError: If a model, a method or a length does not fit.
        TaskError: If a task cannot make samples.
        ResultsError: If the output folder holds something else.
    """
    choices = choices or choose(loaded)
    specs = specs if specs is not None else weights_specs(loaded, choices)
    weights = _inspected(specs)
    asked = _asked(specs, [entry.inspected.facts.identity for entry in weights])
    key = run_key(loaded.config, choices, asked)
    folder = output_folder(loaded.config, asked, key)
    check_output(folder, key, overwrite=loaded.config.overwrite)
    weights = _with_stored_dtypes(weights, folder, key)
    for entry in weights:
        _warn_of_window(entry.model_label, entry.inspected.facts)
    plan = plan_run(loaded, choices, weights)
    return PreparedRun(
        plan=plan,
        first=first_samples(plan),
        weights=tuple(weights),
        folder=folder,
        run_key=key,
        plan_key=plan_key(key, choices, package=package_versions().get("longbench-run", "")),
    )


def _finished(loaded: LoadedConfig, choices: Choices, specs: Sequence[WeightsSpec]) -> RunSummary | None:
    """Return the summary of a run that lacks nothing, found without torch; None where that cannot be told."""
    config = loaded.config
    if config.overwrite == "all" or not could_be_stored(config, [entry.model_label for entry in specs]):
        return None
    identities = known_identities(specs)
    if identities is None:
        return None
    asked = _asked(specs, identities)
    key = run_key(config, choices, asked)
    folder = output_folder(config, asked, key)
    package = package_versions().get("longbench-run", "")
    found = read_finished(
        folder, plan_key(key, choices, package=package), retry_failed=config.overwrite == "failed"
    )
    return _summary(folder, key, *found) if found is not None else None


def _summary(folder: Path, key: str, expected: Expected, stored: StoredRun) -> RunSummary:
    failed_samples, failed_cells = expected.count_failed(stored)
    return RunSummary(
        folder=folder,
        run_key=key,
        computed=0,
        samples=sum(len(indices) for indices in expected.cells.values()),
        failed_samples=failed_samples,
        failed_cells=failed_cells,
        cells=len(expected.cells),
    )


def _asked(specs: Sequence[WeightsSpec], identities: Sequence[Any]) -> list[AskedWeights]:
    return [
        AskedWeights(
            model_label=entry.model_label,
            method_weights=entry.method_weights,
            identity=identity,
            dtype=entry.spec.dtype,
            original_context_length=entry.spec.original_context_length,
        )
        for entry, identity in zip(specs, identities, strict=True)
    ]


def _inspected(specs: Sequence[WeightsSpec]) -> list[Weights]:
    """Read configurations and tokenizers; every model that cannot be used has its line."""
    from longbench_run.harness.models.facts import inspect_model

    found: list[Weights] = []
    errors: list[str] = []
    windows: dict[str, int] = {}
    for entry in specs:
        try:
            # A checkpoint tuned for long inputs names its new window: L stays the one of the model itself.
            own = windows.get(entry.model_label)
            spec = entry.spec if own is None else replace(entry.spec, original_context_length=own)
            inspected = inspect_model(spec)
        except LongbenchError as error:
            errors.append(str(error))
            continue
        window = windows.setdefault(entry.model_label, inspected.facts.original_context_length)
        found.append(
            Weights(
                model_label=entry.model_label,
                inspected=inspected,
                asked=entry.asked,
                method_weights=entry.method_weights,
                original_context_length=window,
            )
        )
    if errors:
        raise ConfigError("\n".join(dict.fromkeys(errors)))
    return found


def _with_stored_dtypes(weights: list[Weights], folder: Path, key: str) -> list[Weights]:
    """Go on with the dtypes that a stored run began with: on another device ``auto`` may mean another one."""
    if not (folder / "run.json").is_file():
        return weights
    header = read_header(folder)
    if header.run_key != key:
        return weights
    stored = {(row["model"], row["weights"]): row["dtype"] for row in header.config.get("resolved", ())}
    return [_with_dtype(entry, stored.get((entry.model_label, entry.method_weights))) for entry in weights]


def _with_dtype(weights: Weights, dtype: str | None) -> Weights:
    inspected = weights.inspected
    if dtype is None or inspected.spec.dtype != "auto" or dtype == inspected.facts.dtype:
        return weights
    return replace(weights, inspected=replace(inspected, facts=replace(inspected.facts, dtype=dtype)))


def _warn_of_window(label: str, facts: ModelFacts) -> None:
    if not facts.original_context_length_source.startswith("config"):
        logger.warning(
            "model %s: the original window is taken from %s (%d tokens).",
            label,
            facts.original_context_length_source,
            facts.original_context_length,
        )


def _compute(prepared: PreparedRun, store: Store, progress: Progress) -> int:
    """Compute what is missing; the header says how that ended."""
    from longbench_run.harness.compute import Computation
    from longbench_run.harness.sample_cache import SampleCache

    work = Computation(
        plan=prepared.plan, store=store, samples=SampleCache(), progress=progress, first=prepared.first
    )
    try:
        with _quiet_loading():
            return work.run()
    except KeyboardInterrupt:
        _end(store, "interrupted")
        raise Interrupted(prepared.folder, work.computed) from None
    except BaseException:
        _end(store, "failed")
        raise


def _end(store: Store, status: Literal["interrupted", "failed"]) -> None:
    store.update_header(status=status, finished=now())


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep transformers' own bars from standing between this program's."""
    from transformers.utils import logging as transformers_logging

    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()


def _header(
    loaded: LoadedConfig, choices: Choices, prepared: PreparedRun, command: Sequence[str]
) -> RunHeader:
    models = {entry.model_label: entry.inspected.facts for entry in reversed(prepared.weights)}
    resolved = [
        {
            "model": entry.model_label,
            "weights": entry.method_weights,
            "identity": entry.inspected.facts.identity.model_dump(mode="json"),
            "dtype": entry.inspected.facts.dtype,
            "attention": entry.inspected.facts.attention,
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
            )
            for label, facts in reversed(models.items())
        ),
        methods=tuple(choice.label for choice in choices.methods),
        tasks=tuple(_task_summary(choice.task) for choice in choices.tasks),
        lengths=prepared.plan.lengths,
        versions=package_versions(),
        git_revision=git_revision(),
        device=device_name(prepared.weights[0].inspected.facts.device),
        started=now(),
    )


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
    )
