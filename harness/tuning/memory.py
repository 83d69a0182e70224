"""What tuning takes, told from the configuration: before weights are read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.footprint import gibibytes, memory_of
from longbench_run.harness.tuning.loss import logits_rows
from longbench_run.harness.tuning.processes import ALONE

if TYPE_CHECKING:
    from longbench_run.harness.methods import Method
    from longbench_run.harness.models.facts import InspectedModel, ModelFacts
    from longbench_run.harness.tuning.processes import Processes
    from longbench_run.harness.tuning.recipe import Recipe

_WEIGHT = 4
"""Bytes of a weight, a gradient, and each of AdamW's two states: all float32."""
_ACTIVATION = {"float32": 4, "bfloat16": 2}
_STATE = 4
"""Bytes of a number in what norms and residuals keep, and in attention in bands: float32 in either precision."""
_HOLES = 1.3
"""What an allocator takes over what lives, measured on a CPU: 1.0 to 1.5."""
_SCORES = 5
"""Numbers kept for each query, key and head of attention in bands, whose kernel has no gradient: measured, 4.7 to 5.2."""
_ROOM = 1 / 4
"""Share of the memory up to which no layer is computed again: processes side by side fit."""
CHECKPOINTS_KEPT = 2
"""The last one may be torn by a kill; the one before it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFootprint:
    """Bytes that a step needs in a process, one sample at a time."""

    weights: int
    """Its share, as of gradients and optimizer."""
    gradients: int
    optimizer: int
    activations: int
    """What layers keep for the backward pass, one layer's gradients, a piece of the logits, and what of a model that is
    shared is gathered at a time; roughly."""
    recomputes: bool
    """Whether a layer keeps its input alone and is computed again in the backward pass: a quarter more time."""
    checkpoint: int
    """One on the disk, of all processes."""
    variant: int
    """Weights of what is made, on the disk."""

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
        return (CHECKPOINTS_KEPT + 1) * self.checkpoint + self.variant

    def __str__(self) -> str:
        """Return the parts in one line."""
        parts = ("weights", "gradients", "optimizer", "activations")
        kept = "layers are computed again" if self.recomputes else "all kept"
        return ", ".join(f"{name} {gibibytes(getattr(self, name))}" for name in parts) + f" ({kept})"


def tuning_footprint(
    inspected: InspectedModel, recipe: Recipe, method: Method, *, longest: int, shares: int = 1
) -> TuningFootprint:
    """Return what tuning a model takes.

    Args:
        inspected: The model.
        recipe: How it is tuned.
        method: What is attached, resolved.
        longest: Tokens of the longest sample.
        shares: Processes that share the model; 1: each holds all of it.
    """
    config, facts = inspected.config.get_text_config(), inspected.facts
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    adapter = 0 if recipe.lora is None else recipe.lora * _lora_sides(config, hidden, inner)
    trained = adapter or facts.parameters
    layer, bands = _of_layer(config, recipe, inner=inner, longest=longest), _of_bands(config, method, longest)
    width = _ACTIVATION[recipe.precision]
    gathered = 0 if shares == 1 else _gathered(config, facts, hidden=hidden)
    # Copies in what products are computed in: of all weights, or of those that are there whole.
    cast = (gathered or facts.parameters) * width if width < _WEIGHT else 0
    states = longest * hidden * _STATE
    piece = 3 * 4 * min(longest, logits_rows(facts.vocabulary)) * facts.vocabulary
    # Gradients of a layer are as large as what it keeps, but for those of scores, which go block by block.
    all_layers, one_layer = layers * (layer + bands), layers * states + layer + bands
    optimizer = 2 * trained * _WEIGHT
    # What is gathered has its gradients beside it.
    always = piece + cast + (1 if adapter else 2) * gathered * _WEIGHT
    kept = TuningFootprint(
        weights=-(-(facts.parameters + adapter) * _WEIGHT // shares),
        gradients=-(-trained * _WEIGHT // shares),
        optimizer=-(-optimizer // shares),
        activations=int(_HOLES * (all_layers + layer + always)),
        recomputes=False,
        # Of a model that is shared, all is written.
        checkpoint=(trained if shares == 1 else facts.parameters + adapter) * _WEIGHT + optimizer,
        variant=trained * _WEIGHT,
    )
    there = memory_of(facts.device)
    if there is not None and kept.total <= _ROOM * there:
        return kept
    return replace(kept, activations=int(_HOLES * (one_layer + layer + always)), recomputes=True)


def _gathered(config: Any, facts: ModelFacts, *, hidden: int) -> int:
    """Return the weights of a shared model that are whole at a time: embeddings and head, a layer and the next one."""
    around = facts.vocabulary * hidden * (1 if getattr(config, "tie_word_embeddings", False) else 2)
    return around + 2 * (facts.parameters - around) // int(config.num_hidden_layers)


def _of_layer(config: Any, recipe: Recipe, *, inner: int, longest: int) -> int:
    """Return the bytes that a layer keeps for its backward pass.

    Two norms keep their input, the scaled input and their output, and its copy where products are narrower; attention
    keeps queries, keys, values and its output, which fused kernels need alone; the MLP its gate before and after the
    activation, what is gated, and the product.
    """
    hidden, width = int(config.hidden_size), _ACTIVATION[recipe.precision]
    queries, keys = _attention_widths(config)
    inner *= int(getattr(config, "num_experts_per_tok", None) or 1)
    products = 2 * hidden + 4 * inner + 2 * (queries + keys)
    if recipe.lora is not None:
        # An adapter's outputs and their sums with the layer's go again, and leave holes of their size.
        products += 2 * (2 * hidden + 2 * inner + queries + 2 * keys)
    return longest * (6 * hidden * _STATE + products * width)


def _of_bands(config: Any, method: Method, longest: int) -> int:
    """Return the bytes that attention in bands keeps for a layer's backward pass: it grows with pairs of tokens."""
    positions = np.arange(longest)
    pairs = 0
    for band in method.bands() or ():
        start, stop = (end(positions).clip(0, positions + 1) for end in (band.keys.start, band.keys.stop))
        pairs += int((stop - start).clip(0).sum())
    return _SCORES * _STATE * int(config.num_attention_heads) * pairs


def _attention_widths(config: Any) -> tuple[int, int]:
    """Return how many numbers all heads' queries have for a token, and their keys."""
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or int(config.hidden_size) // heads)
    return heads * head_dim, int(getattr(config, "num_key_value_heads", None) or heads) * head_dim


def _lora_sides(config: Any, hidden: int, inner: int) -> int:
    """Return inputs plus outputs of all linear layers: a rank has a weight for each."""
    queries, keys = _attention_widths(config)
    attention = 2 * (hidden + queries) + 2 * (hidden + keys)
    return int(config.num_hidden_layers) * (attention + 3 * (hidden + inner))


def check_room(needed: TuningFootprint, *, device: str, folder: Path, processes: Processes = ALONE) -> None:
    """Refuse what fits neither memory nor disk.

    Args:
        needed: What it takes.
        device: Where it is computed: ``cpu``, ``cuda:0``, ...
        folder: Where it is written; it need not exist.
        processes: Those that train together: on a CPU, those of a machine have its memory together.

    Raises:
        ConfigError: If something does not fit.
    """
    there = memory_of(device)
    sharing = processes.local_count if device == "cpu" else 1
    # Gradients that are averaged over processes are there twice, but for those of a shared model.
    twice = processes.count > 1 and not processes.sharded
    certain = sharing * (needed.certain + (needed.gradients if twice else 0))
    if there is not None and certain > there:
        each = f"{sharing} processes of which each needs {needed}" if sharing > 1 else str(needed)
        raise ConfigError(
            f"tune: memory of {device} must be at least {gibibytes(certain)} ({each}), got {gibibytes(there)}. "
            "Pass --lora 8, share the model by FSDP, or take a smaller one."
        )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed.disk > free:
        raise ConfigError(
            f"--output: folder must have {gibibytes(needed.disk)} free for checkpoints and the variant, got "
            f"{gibibytes(free)}. Make room, or name another folder."
        )
