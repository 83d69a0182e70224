"""What tuning takes, told from the configuration: before weights are read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.footprint import gibibytes, memory_of
from longbench_run.harness.tuning.loss import logits_rows

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel
    from longbench_run.harness.tuning.recipe import Recipe

_WEIGHT = 4
"""Bytes of a weight, a gradient, and each of AdamW's two states: all float32."""
_ACTIVATION = {"float32": 4, "bfloat16": 2}
CHECKPOINTS_KEPT = 2
"""The last one may be torn by a kill; the one before it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFootprint:
    """Bytes that a step needs, one sample at a time."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """The states between layers, one layer computed again with its gradient, and a piece of the logits; roughly."""
    checkpoint: int
    """One on the disk."""

    @property
    def certain(self) -> int:
        """What no shorter sample saves."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        """All of the memory."""
        return self.certain + self.activations

    @property
    def disk(self) -> int:
        """Checkpoints, with the one being written, and the variant."""
        return (CHECKPOINTS_KEPT + 1) * self.checkpoint + self.checkpoint - self.optimizer

    def __str__(self) -> str:
        """Return the parts in one line."""
        parts = ("weights", "gradients", "optimizer", "activations")
        return ", ".join(f"{name} {gibibytes(getattr(self, name))}" for name in parts)


def tuning_footprint(inspected: InspectedModel, recipe: Recipe, *, longest: int) -> TuningFootprint:
    """Return what tuning a model takes.

    Args:
        inspected: The model.
        recipe: How it is tuned.
        longest: Tokens of the longest sample.
    """
    config, facts = inspected.config.get_text_config(), inspected.facts
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    trained = facts.parameters if recipe.lora is None else recipe.lora * _lora_sides(config, hidden, inner)
    width = _ACTIVATION[recipe.precision]
    layer = 2 * longest * (6 * hidden + 3 * inner)  # with the gradient
    piece = 3 * 4 * min(longest, logits_rows(facts.vocabulary)) * facts.vocabulary
    optimizer = 2 * trained * _WEIGHT
    return TuningFootprint(
        weights=facts.parameters * _WEIGHT + (0 if recipe.lora is None else trained * _WEIGHT),
        gradients=trained * _WEIGHT,
        optimizer=optimizer,
        activations=(layers * longest * hidden + layer) * width + piece,
        checkpoint=trained * _WEIGHT + optimizer,
    )


def _lora_sides(config: Any, hidden: int, inner: int) -> int:
    """Return inputs plus outputs of all linear layers: a rank has a weight for each."""
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or hidden // heads)
    queries, keys = heads * head_dim, int(getattr(config, "num_key_value_heads", None) or heads) * head_dim
    attention = 2 * (hidden + queries) + 2 * (hidden + keys)
    return int(config.num_hidden_layers) * (attention + 3 * (hidden + inner))


def check_room(needed: TuningFootprint, *, device: str, folder: Path) -> None:
    """Refuse what fits neither memory nor disk.

    Args:
        needed: What it takes.
        device: Where it is computed: ``cpu``, ``cuda:0``, ...
        folder: Where it is written; it need not exist.

    Raises:
        ConfigError: If something does not fit.
    """
    there = memory_of(device)
    if there is not None and needed.certain > there:
        raise ConfigError(
            f"tune: memory of {device} must be at least {gibibytes(needed.certain)} ({needed}), got {gibibytes(there)}. "
            "Pass --lora 8, or take a smaller model."
        )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed.disk > free:
        raise ConfigError(
            f"--output: folder must have {gibibytes(needed.disk)} free for checkpoints and the variant, got "
            f"{gibibytes(free)}. Make room, or name another folder."
        )
