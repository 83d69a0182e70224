"""How much memory a cell takes, told from the configuration: before weights are read and hours are spent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.lengths import short_length
from longbench_run.tasks.base import ScoreRequest

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel
    from longbench_run.harness.plan import FirstSamples, Plan, PlannedCell

_FULL, _SLIDING = "full_attention", "sliding_attention"
"""Kinds of layers, as transformers names them."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_QUANTIZED_BYTES = {"4bit": 0.5, "8bit": 1.0}
"""Bytes of a weight; matrices alone are quantised, so this is a lower bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes that one sample needs."""

    weights: int
    cache: int
    """Keys and values of the whole context; 0 where a task only scores."""
    turned: int = 0
    """Keys that a method with bands keeps turned while it decodes; it does without where they do not fit."""
    activations: int
    """Of one layer over the whole input, roughly: the largest that exists at a time."""

    @property
    def certain(self) -> int:
        """What no chunk and no kernel saves: weights and cache."""
        return self.weights + self.cache

    @property
    def total(self) -> int:
        """All of it."""
        return self.certain + self.turned + self.activations


def footprint(
    inspected: InspectedModel, *, context_length: int, generates: bool, key_maps: int = 0
) -> Footprint:
    """Return what a sample of a context length needs, batch 1.

    Args:
        inspected: The model.
        context_length: Prompt and answer, in tokens.
        generates: Whether tokens are generated, or continuations read behind a context, which takes a cache.
        key_maps: Position maps of keys, other than their own, that the method's bands have.
    """
    config, facts = inspected.config.get_text_config(), inspected.facts
    width = _BYTES[facts.dtype]
    weight = _QUANTIZED_BYTES.get(facts.identity.quantization or "", width)
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    cached = sum(_cached_tokens(inspected, context_length))
    hidden, inner = int(config.hidden_size), int(getattr(config, "intermediate_size", None) or 0)
    return Footprint(
        weights=int(facts.parameters * weight),
        cache=2 * cached * kv_heads * head_dim * width if generates else 0,
        turned=key_maps * cached * kv_heads * head_dim * width if generates else 0,
        # The residual, its norm, queries, keys, values and their output; gate and up of the MLP.
        activations=context_length * (6 * hidden + 2 * inner) * width,
    )


def _cached_tokens(inspected: InspectedModel, context_length: int) -> list[int]:
    """Return for each layer how many tokens its cache holds at least: layers of a kind unknown here may hold none."""
    config = inspected.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or [_FULL] * int(config.num_hidden_layers)
    held = {
        _FULL: context_length,
        _SLIDING: min(context_length, getattr(config, "sliding_window", None) or context_length),
    }
    return [held.get(kind, 0) for kind in kinds]


def cell_footprint(cell: PlannedCell, first: FirstSamples) -> Footprint:
    """Return what a sample of a cell needs, judged by its first one."""
    return footprint(
        cell.weights.inspected,
        context_length=cell.context_length,
        generates=not isinstance(first[cell.sample_source].request, ScoreRequest),
        key_maps=len({band.key_map for band in cell.method.bands() or ()} - {None}),
    )


def check_memory(plan: Plan, first: FirstSamples) -> None:
    """Refuse what cannot fit, whatever is done about activations.

    Raises:
        ConfigError: If weights and cache of a cell are larger than the memory that its model may use; one line for
            each model and length.
    """
    lines = {}
    for cell in plan.cells:
        if cell.not_applicable is not None:
            continue
        device = cell.weights.inspected.facts.device
        there = memory_of(device)
        needed = cell_footprint(cell, first)
        if there is not None and needed.certain > there:
            name = f"{cell.weights.model_label} at {short_length(cell.context_length)}"
            lines[name] = (
                f"--lengths: {name} must fit into the {gibibytes(there)} of {device}, needs {gibibytes(needed.certain)} "
                f"(weights {gibibytes(needed.weights)}, cache {gibibytes(needed.cache)}). Ask for shorter lengths, or "
                "pass --dtype bfloat16, --quantization or --device-map."
            )
    if lines:
        raise ConfigError("\n".join(lines.values()))


def memory_of(device: str) -> int | None:
    """Return the bytes of memory that a device has; None where nobody tells.

    Args:
        device: ``cpu``, ``cuda:0``, ..., or ``cuda`` for a device map, which may spread over all GPUs and the CPU.
    """
    gpus = 0
    if device.startswith("cuda"):
        import torch

        places = range(torch.cuda.device_count()) if device == "cuda" else [int(device.partition(":")[2])]
        gpus = sum(torch.cuda.get_device_properties(place).total_memory for place in places)
        if device != "cuda":
            return gpus
    try:
        return gpus + os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def gibibytes(size: float) -> str:
    """Return a size in GiB with one decimal, or in MiB where that says nothing."""
    return f"{size / 2**30:.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:.1f} MiB"
