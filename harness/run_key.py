"""What makes two commands the same run, and where it is written; knows no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.chat import AUTO
from longbench_run.results.records import ModelIdentity, sha256_of

if TYPE_CHECKING:
    from longbench_run.harness.choices import Choices
    from longbench_run.harness.config import RunConfig

RUN_KEY_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedWeights:
    """Weights that a run loads, as far as the configuration and their files tell."""

    model_label: str
    method_weights: str | None
    """Weights that methods bring, as asked for; None for the model's own."""
    identity: ModelIdentity
    dtype: str
    original_context_length: int | None
    """Window of pretraining where it was given, in tokens."""


def run_key(config: RunConfig, choices: Choices, weights: Sequence[AskedWeights]) -> str:
    """Return the key of a run.

    Left out is what extends or places it: the number of samples, device, output, overwrite; a run may be
    continued elsewhere and grow.

    Args:
        config: The configuration.
        choices: Its methods and tasks.
        weights: Everything that it loads.
    """
    # By number: a folder's place on this machine is nothing that a run depends on.
    variants = list(dict.fromkeys(entry.method_weights for entry in weights))
    return sha256_of(
        {
            "run_key_version": RUN_KEY_VERSION,
            "weights": [
                {
                    "model": entry.model_label,
                    "of_method": variants.index(entry.method_weights),
                    "identity": entry.identity.model_dump(mode="json"),
                    "dtype": entry.dtype,
                    "original_context_length": entry.original_context_length,
                }
                for entry in weights
            ],
            "methods": [
                {
                    "label": choice.label,
                    "method": choice.method.canonical,
                    "versions": choice.method.versions,
                    "weights": variants.index(choice.weights),
                }
                for choice in choices.methods
            ],
            "tasks": [choice.identity.model_dump(mode="json") for choice in choices.tasks],
            "lengths": sorted(set(config.lengths)),
            "factor": config.factor,
            "seed": sorted(set(config.seed)),
            **({} if config.chat_template == AUTO else {"chat_template": config.chat_template}),
        }
    )


def output_folder(config: RunConfig, weights: Sequence[AskedWeights], key: str) -> Path:
    """Return where a run is written: ``--output``, or a folder in ``runs`` named after its models and key."""
    return Path(config.output) if config.output is not None else Path("runs", f"{_stem(weights)}-{key[:8]}")


def could_be_stored(config: RunConfig, labels: Sequence[str]) -> bool:
    """Return whether a run of these models may be there already, without knowing its key."""
    if config.output is not None:
        return (Path(config.output) / "run.json").is_file()
    return any(Path("runs").glob(f"{_joined(labels)}-????????/run.json"))


def _stem(weights: Sequence[AskedWeights]) -> str:
    return _joined([entry.model_label for entry in weights])


def _joined(labels: Sequence[str]) -> str:
    """Return labels as one folder name that every file system takes and no pattern reads."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(dict.fromkeys(labels))).strip("-.")[:60] or "run"
