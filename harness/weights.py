"""Which weights a run loads: every model, and every model with the weights that a method brings."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError, ModelError
from longbench_run.harness.models.adapter import find_adapter
from longbench_run.harness.models.hub import Source, find_source
from longbench_run.harness.models.identity import folder_revision
from longbench_run.harness.models.spec import ModelSpec, complaint
from longbench_run.harness.tuning.variant import RECIPE, read_recipe
from longbench_run.results.records import ModelIdentity

if TYPE_CHECKING:
    from longbench_run.harness.choices import Choices
    from longbench_run.harness.config import ModelEntry, RunConfig
    from longbench_run.harness.config_build import LoadedConfig

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_ADAPTER_CONFIG = "adapter_config.json"
_HASH = "sha256:"
"""What the revision of a folder begins with; that of a hub model is a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSpec:
    """Weights as asked for: what is read is still to be found out."""

    model_label: str
    asked: str
    """The model as asked for."""
    method_weights: str | None
    """Weights that methods bring, None for the model's own."""
    spec: ModelSpec


def weights_specs(loaded: LoadedConfig, choices: Choices) -> list[WeightsSpec]:
    """Return what a run loads, each model's own weights first: its window and tokenizer hold for all methods.

    Raises:
        ConfigError: If two models have the same label.
        ModelError: If a folder does not exist or is no model.
    """
    found: list[WeightsSpec] = []
    variants = list(dict.fromkeys(choice.weights for choice in choices.methods if choice.weights is not None))
    for entry in loaded.config.models:
        spec = _spec(entry, loaded.config)
        label = entry.label or _default_label(spec)
        spec = replace(spec, label=label)
        if any(other.model_label == label for other in found):
            raise ConfigError(
                f"{loaded.where('models')} label must be given once, got {label!r} twice. "
                "Give each model its own label in a configuration file."
            )
        found.append(WeightsSpec(model_label=label, asked=entry.name, method_weights=None, spec=spec))
        found += [
            WeightsSpec(
                model_label=label, asked=entry.name, method_weights=weights, spec=_with_weights(spec, weights)
            )
            for weights in variants
        ]
    return found


def _spec(entry: ModelEntry, config: RunConfig) -> ModelSpec:
    return ModelSpec(
        model=entry.name,
        revision=entry.revision,
        adapter=entry.adapter,
        quantization=entry.quantization,
        dtype=entry.dtype or "auto",
        device=config.first_device,
        device_map=entry.device_map,
        original_context_length=entry.original_context_length,
        trust_remote_code=bool(entry.trust_remote_code),
    )


def _with_weights(spec: ModelSpec, weights: str) -> ModelSpec:
    """Return how to load a model with a method's weights: an adapter on it, or a whole model in its place."""
    if _is_adapter(weights):
        return replace(spec, adapter=weights)
    return replace(spec, model=weights, revision=None, adapter=None)


def _is_adapter(weights: str) -> bool:
    """Return whether weights are a PEFT adapter: a folder says so itself, a hub id is looked up."""
    if Path(weights).is_dir():
        return (Path(weights) / _ADAPTER_CONFIG).is_file()
    from huggingface_hub import file_exists, try_to_load_from_cache

    name, _, revision = weights.partition("@")
    cached = try_to_load_from_cache(name, _ADAPTER_CONFIG, revision=revision or None)
    if isinstance(cached, str):
        return True
    try:
        return file_exists(name, _ADAPTER_CONFIG, revision=revision or None)
    except (OSError, ValueError):
        # Not within reach: taken for a whole model, whose own error says what is missing.
        return False


def _default_label(spec: ModelSpec) -> str:
    source = _source(spec)
    adapter = spec.adapter.rstrip("/").rpartition("/")[2] if spec.adapter else None
    return "+".join(part for part in (source.name, adapter, spec.quantization) if part)


def _source(spec: ModelSpec) -> Source:
    return find_source(spec.model, where=f"model {spec.model}")


def check_base(entry: WeightsSpec, base: ModelIdentity) -> None:
    """Refuse weights that `tune` made of another model: where shapes agree they load, and measure nothing.

    Weights without a recipe do not say what they were made of.

    Args:
        entry: Weights that a method brings, an adapter, or a model's own, which pass.
        base: The model that they are measured beside.

    Raises:
        ModelError: If their recipe names another revision.
    """
    brought = entry.spec.adapter or entry.method_weights
    recipe = read_recipe(Path(brought)) if brought is not None else None
    model = (recipe or {}).get("model")
    model = model if isinstance(model, dict) else {}
    tuned = model.get("revision")
    if not isinstance(tuned, str) or tuned == base.revision:
        return
    where = f"model {entry.asked}, weights {brought}"
    if _is_hash(tuned) != _is_hash(base.revision):
        logger.warning(
            "%s: whether they were tuned from this model cannot be told: one is a folder, the other a hub revision.",
            where,
        )
        return
    raise ModelError(
        complaint(
            where,
            "base model",
            f"the one that they were tuned from, {model.get('name')} at {_short(tuned)} by their {RECIPE}",
            f"{base.name} at {_short(base.revision)}",
            "Give that model, or tune this one.",
        )
    )


def _is_hash(revision: str) -> bool:
    return revision.startswith(_HASH)


def _short(revision: str) -> str:
    return revision[: len(_HASH) + 12] if _is_hash(revision) else revision[:12]


def known_identities(specs: Sequence[WeightsSpec]) -> list[ModelIdentity] | None:
    """Return the identities of all weights where files on this machine tell them, else None.

    A branch of a hub model may have moved since: only asking the hub would tell.
    """
    found = list(_known(specs))
    return None if any(identity is None for identity in found) else [i for i in found if i is not None]


def _known(specs: Sequence[WeightsSpec]) -> Iterator[ModelIdentity | None]:
    for entry in specs:
        spec, source = entry.spec, _source(entry.spec)
        if source.is_local:
            revision = folder_revision(source.folder, with_code=spec.trust_remote_code)
        elif spec.revision is not None and _COMMIT.match(spec.revision):
            revision = spec.revision
        else:
            yield None
            return
        adapter = None
        if spec.adapter is not None:
            if not Path(spec.adapter).is_dir():
                yield None
                return
            adapter = find_adapter(spec.adapter, where=f"model {spec.model}").identity
        yield ModelIdentity(
            name=source.name, revision=revision, adapter=adapter, quantization=spec.quantization
        )
