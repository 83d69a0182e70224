"""Which variants a tuning command makes, everything checked before weights are read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longbench_run.harness.errors import ConfigError, MethodNotApplicable
from longbench_run.harness.methods import Method
from longbench_run.harness.models.facts import InspectedModel, inspect_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning.conversations import DataFile, read_conversations
from longbench_run.harness.tuning.memory import TuningFootprint, tuning_footprint
from longbench_run.harness.tuning.recipe import Recipe
from longbench_run.harness.tuning.samples import Encoded, Sample, choose_samples, encode_all

_NAME = re.compile(r"[^A-Za-z0-9_.=+-]+")
_EXTRAS = ("accelerate", "peft")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVariant:
    """A variant that is still to be made."""

    method: Method
    """With every parameter resolved for the context length."""
    recipe: Recipe
    samples: tuple[Sample, ...]
    """Those of every step, one after the other."""
    folder: Path
    inspected: InspectedModel
    footprint: TuningFootprint
    description: dict[str, Any]
    """All that decides the weights, as the variant's recipe says it."""


def plan_tuning(
    spec: ModelSpec,
    methods: Sequence[Method],
    recipes: Sequence[Recipe],
    *,
    data: str,
    output: Path,
    shares: int = 1,
) -> list[PlannedVariant]:
    """Return a variant for each recipe and method.

    Args:
        spec: The model; its weights are read as float32.
        methods: What is attached while training.
        recipes: One for each composition, number of samples and seed, all with one context length.
        data: File of conversations.
        output: Folder that variants are written into.
        shares: Processes that share the model; 1: each holds all of it.

    Raises:
        LongbenchError: With one line, whatever the user can mend.
    """
    _check_installed(spec)
    _check_names(methods)
    for method in methods:
        _check_trainable(method)
    for recipe in recipes:
        _check_shares(recipe, shares)
    inspected = inspect_model(spec)
    facts = inspected.facts
    length = recipes[0].context_length
    resolved = [method.resolve(facts.rope, context_length=length) for method in methods]
    file = read_conversations(data)
    encoded = encode_all(file, inspected.tokenizer, context_length=length)
    planned = []
    for recipe in recipes:
        samples = choose_samples(encoded, recipe, window=facts.original_context_length, where=file.name)
        longest = max(map(len, samples))
        planned += [
            PlannedVariant(
                method=method,
                recipe=recipe,
                samples=samples,
                folder=output / _folder_name(method, recipe),
                inspected=inspected,
                footprint=tuning_footprint(inspected, recipe, method, longest=longest, shares=shares),
                description=_describe(method, recipe, samples, inspected, (file, encoded)),
            )
            for method in resolved
        ]
    return planned


def _folder_name(method: Method, recipe: Recipe) -> str:
    # Any sample, the paper's default, is not said.
    composition = [] if recipe.composition == Recipe.composition else [recipe.composition]
    return "-".join([_name(method), *composition, str(recipe.samples), f"seed{recipe.seed}"])


def _name(method: Method) -> str:
    return _NAME.sub("-", method.text)


def _check_installed(spec: ModelSpec) -> None:
    missing = [package for package in _EXTRAS if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"tune: {missing[0]} must be installed, got no such package. "
            'Run pip install "longbench-run[tune]".'
        )


def _check_names(methods: Sequence[Method]) -> None:
    names = [_name(method) for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--methods: method must stand once, got {twice!r} twice. Keep one.")


def _check_trainable(method: Method) -> None:
    if not method.order_independent:
        raise MethodNotApplicable(
            f"--methods: method must give a sample one loss whatever came before it, got {method.text!r}, whose "
            "frequencies stay from an earlier, longer sample. Tune with another method or variant."
        )


def _check_shares(recipe: Recipe, shares: int) -> None:
    if recipe.lora is not None and recipe.lora < shares:
        raise ConfigError(
            f"--lora: rank must be at least the {shares} processes that share the model by FSDP, got {recipe.lora}. "
            "Pass a larger one, or start fewer processes."
        )


def _describe(
    method: Method,
    recipe: Recipe,
    samples: Sequence[Sample],
    inspected: InspectedModel,
    data: tuple[DataFile, Encoded],
) -> dict[str, Any]:
    facts = inspected.facts
    file, encoded = data
    order = hashlib.sha256(json.dumps([sample.labels for sample in samples]).encode())
    order.update(json.dumps([sample.token_ids for sample in samples]).encode())
    return {
        "model": {
            "name": facts.identity.name,
            "revision": facts.identity.revision,
            "family": facts.family,
            "parameters": facts.parameters,
            "original_context_length": facts.original_context_length,
        },
        "method": {"asked": method.text, "canonical": method.canonical, "versions": method.versions},
        "recipe": asdict(recipe),
        "steps": recipe.steps,
        "loss": "mean nll of a batch's response tokens",
        "deviations_from_paper": recipe.deviations(),
        "data": {
            "file": file.name,
            "sha256": file.sha256,
            "conversations": len(file.conversations),
            "without_response": file.without_response,
            "dropped": dict(encoded.dropped),
            "samples": len(encoded.samples),
            "template": encoded.template,
            "longest_tokens": max(map(len, samples)),
            "tokens": sum(map(len, samples)),
            "response_tokens": sum(sample.responses for sample in samples),
            "samples_sha256": order.hexdigest(),
        },
        "software": {
            name: version(name) for name in ("longbench-run", "torch", "transformers", "accelerate", "peft")
        },
    }
