"""How long the reference model takes to load and to read a prompt, on the machine at hand."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from longbench_run.harness.models.forward import last_logits
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REPEATS = 3
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Medians of `REPEATS` measurements, in seconds."""

    threads: int
    load: float
    """Weights and tokenizer, libraries imported."""
    prefill: dict[tuple[str, int], float]
    """(dtype, tokens of the prompt) -> seconds to the logits of its last token."""


def measure_speed(model: Path, *, lengths: Sequence[int]) -> Speed:
    """Measure loading and the prefill of prompts of some lengths, in tokens."""
    loads: list[float] = []
    prefill: dict[tuple[str, int], float] = {}
    for dtype in DTYPES:
        spec = ModelSpec(model=str(model), dtype=dtype, device="cpu")
        for _ in range(REPEATS):
            started = time.perf_counter()
            load_model(spec)
            loads.append(time.perf_counter() - started)
        loaded = load_model(spec)
        for length in lengths:
            ids = torch.arange(length)[None] % len(loaded.tokenizer)
            times = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                with torch.inference_mode():
                    last_logits(loaded, ids, use_cache=True)
                times.append(time.perf_counter() - started)
            prefill[dtype, length] = statistics.median(times)
    return Speed(threads=torch.get_num_threads(), load=statistics.median(loads), prefill=prefill)
