"""Run a configuration: plan, compute what is missing, keep the store consistent whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from longbench_run.harness.choices import Choices, choose
from longbench_run.harness.environment import now, package_versions
from longbench_run.harness.executors.choice import executor_of
from longbench_run.harness.finished import expected_now, plan_key, read_finished, write_expected
from longbench_run.harness.header import run_header
from longbench_run.harness.preparation import PreparedRun, asked_weights, prepare
from longbench_run.harness.progress import Silent
from longbench_run.harness.run_key import could_be_stored, output_folder, run_key
from longbench_run.harness.weights import WeightsSpec, known_identities, weights_specs
from longbench_run.results.store import Store

if TYPE_CHECKING:
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.executors.base import Executor
    from longbench_run.harness.finished import Expected
    from longbench_run.harness.progress import Progress
    from longbench_run.results.store import StoredRun


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
    config = loaded.config
    # Opened before anything is written, closed after: what it cannot reach is an error of the configuration.
    with executor_of(loaded) as executor:
        prepared = prepare(loaded, choices=choices, specs=specs, device=executor.device)
        hardware = executor.hardware(prepared.weights[0].inspected.facts.device)
        header = run_header(loaded, choices, prepared, command, device=hardware)
        with Store.open(prepared.folder, header, overwrite=config.overwrite) as store:
            return _run(prepared, store, executor, progress or Silent(), prefix_reuse=config.prefix_reuse)


def _run(
    prepared: PreparedRun, store: Store, executor: Executor, progress: Progress, *, prefix_reuse: bool
) -> RunSummary:
    """Compute what is missing, and say how the run ended."""
    computed = _compute(prepared, store, executor, progress, prefix_reuse=prefix_reuse)
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


def _finished(loaded: LoadedConfig, choices: Choices, specs: Sequence[WeightsSpec]) -> RunSummary | None:
    """Return the summary of a run that lacks nothing, found without torch; None where that cannot be told."""
    config = loaded.config
    if config.overwrite == "all" or not could_be_stored(config, [entry.model_label for entry in specs]):
        return None
    identities = known_identities(specs)
    if identities is None:
        return None
    asked = asked_weights(specs, identities)
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


def _compute(
    prepared: PreparedRun, store: Store, executor: Executor, progress: Progress, *, prefix_reuse: bool
) -> int:
    """Compute what is missing; the header says how that ended."""
    from longbench_run.harness.computation import Computation
    from longbench_run.harness.sample_cache import SampleCache

    samples = SampleCache()
    work = Computation(
        plan=prepared.plan,
        store=store,
        samples=samples,
        progress=progress,
        first=prepared.first,
        executor=executor,
        prefix_reuse=prefix_reuse,
    )
    try:
        with _quiet_loading():
            computed = work.run()
    except KeyboardInterrupt:
        _end(store, "interrupted")
        raise Interrupted(prepared.folder, work.computed) from None
    except BaseException:
        _end(store, "failed")
        raise
    samples.warn_of_missing()
    return computed


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
