"""Everything that can go wrong before a run, found before anything is written: models, methods, lengths, data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.chat import NONE, find_template
from longbench_run.harness.choices import Choices, choose
from longbench_run.harness.environment import package_versions
from longbench_run.harness.errors import ConfigError, LongbenchError
from longbench_run.harness.finished import plan_key
from longbench_run.harness.footprint import check_memory
from longbench_run.harness.matrix import first_samples, plan_run
from longbench_run.harness.plan import FirstSamples, Plan, Weights
from longbench_run.harness.run_key import AskedWeights, output_folder, run_key
from longbench_run.harness.tuning.variant import lost_in, read_recipe
from longbench_run.harness.weights import WeightsSpec, check_base, weights_specs
from longbench_run.results.store import check_output, read_header

if TYPE_CHECKING:
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.models.facts import ModelFacts
    from longbench_run.results.records import ModelIdentity

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that is known to be possible; nothing is written yet."""

    plan: Plan
    first: FirstSamples
    weights: tuple[Weights, ...]
    folder: Path
    run_key: str
    plan_key: str


def prepare(
    loaded: LoadedConfig,
    *,
    choices: Choices | None = None,
    specs: Sequence[WeightsSpec] | None = None,
    device: str | None = None,
) -> PreparedRun:
    """Read configurations and tokenizers, and plan; weights are not read and nothing is written.

    Args:
        loaded: What is asked for.
        choices: What `choose` returned for it, to save doing it again.
        specs: What `weights_specs` returned for it.
        device: What models will be computed on, where that is another machine's.

    Raises:
        LongbenchError: If a model, a method or a length does not fit.
        TaskError: If a task cannot make samples.
        ResultsError: If the output folder holds something else.
    """
    choices = choices or choose(loaded)
    specs = specs if specs is not None else weights_specs(loaded, choices)
    weights = _inspected(specs, loaded, choices, device)
    asked = asked_weights(specs, [entry.inspected.facts.identity for entry in weights])
    key = run_key(loaded.config, choices, asked)
    folder = output_folder(loaded.config, asked, key)
    check_output(folder, key, overwrite=loaded.config.overwrite)
    weights = _with_stored_dtypes(weights, folder, key)
    for entry in weights:
        if entry.method_weights is None:
            _warn_of_window(entry.model_label, entry.inspected.facts)
    _warn_of_rounding(weights)
    plan = plan_run(loaded, choices, weights)
    first = first_samples(plan)
    if device is None:
        check_memory(plan, first)
    return PreparedRun(
        plan=plan,
        first=first,
        weights=tuple(weights),
        folder=folder,
        run_key=key,
        plan_key=plan_key(key, choices, package=package_versions().get("longbench-run", "")),
    )


def asked_weights(specs: Sequence[WeightsSpec], identities: Sequence[ModelIdentity]) -> list[AskedWeights]:
    """Return what the run key needs of weights and their identities."""
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


def _inspected(
    specs: Sequence[WeightsSpec], loaded: LoadedConfig, choices: Choices, device: str | None
) -> list[Weights]:
    """Read configurations and tokenizers; every model that cannot be used has its line."""
    from longbench_run.harness.models.facts import inspect_model

    found: list[Weights] = []
    errors: list[str] = []
    windows: dict[str, int] = {}
    bases: dict[str, ModelIdentity] = {}
    uses_chat_template = any(choice.task.info.uses_chat_template for choice in choices.tasks)
    for entry in specs:
        try:
            inspected = inspect_model(entry.spec, device=device)
            if entry.method_weights is None:
                bases[entry.model_label] = inspected.facts.identity
            if entry.model_label in bases:
                check_base(entry, bases[entry.model_label])
            chat = find_template(
                loaded.config.chat_template if uses_chat_template else NONE,
                inspected.tokenizer,
                where=f"{loaded.where('chat_template')} model {entry.model_label}",
            )
        except LongbenchError as error:
            errors.append(str(error))
            continue
        # A checkpoint tuned for long inputs names its new window: L stays the one of the model itself, read first.
        window = windows.setdefault(entry.model_label, inspected.facts.original_context_length)
        found.append(
            Weights(
                model_label=entry.model_label,
                inspected=inspected,
                asked=entry.asked,
                method_weights=entry.method_weights,
                original_context_length=window,
                chat=chat,
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


def _warn_of_rounding(weights: Sequence[Weights]) -> None:
    """Say where the dtype of the run undoes what tuning did: scores would be those of a model that learnt less."""
    lost: dict[str, list[float]] = {}
    for entry in weights:
        recipe = read_recipe(Path(entry.method_weights)) if entry.method_weights is not None else None
        dtype = entry.inspected.facts.dtype
        if recipe is not None and (share := lost_in(recipe, dtype)):
            lost.setdefault(dtype, []).append(share)
    for dtype, shares in lost.items():
        logger.warning(
            "tuned weights (%d): computed in %s they lose %.2f to %.2f of what they learnt; "
            "pass --dtype float32 to measure all of it.",
            len(shares),
            dtype,
            min(shares),
            max(shares),
        )


def _warn_of_window(label: str, facts: ModelFacts) -> None:
    if not facts.original_context_length_source.startswith("config"):
        logger.warning(
            "model %s: the original window is taken from %s (%d tokens).",
            label,
            facts.original_context_length_source,
            facts.original_context_length,
        )
