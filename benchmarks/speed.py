"""Times in turn, one method after the other, so that a drifting machine drifts for all of them."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.models import benchmark_model, token_ids
from longbench_run.harness.methods import parse_method

if TYPE_CHECKING:
    from collections.abc import Callable

NEW_TOKENS = 16


def forward_ratios(
    methods: list[str], length: int, *, repeats: int, **setting: Any
) -> dict[str, list[float]]:
    """Return quartiles of each method's forward time over none's in the same round; of none its seconds."""
    ids = token_ids(length, setting["device"])

    def forward(model: Any) -> float:
        started = time.perf_counter()
        model(ids, use_cache=False, logits_to_keep=1)
        _wait(setting["device"])
        return time.perf_counter() - started

    return _ratios(methods, length, forward, repeats=repeats, **setting)


def decode_ratios(methods: list[str], length: int, *, repeats: int, **setting: Any) -> dict[str, list[float]]:
    """Return the same for tokens decoded one by one after a prompt."""
    ids = token_ids(length, setting["device"])

    def decode(model: Any) -> float:
        output = model(ids, use_cache=True, logits_to_keep=1)
        _wait(setting["device"])
        started = time.perf_counter()
        for _ in range(NEW_TOKENS):
            token = output.logits[:, -1:].argmax(-1)
            output = model(token, past_key_values=output.past_key_values, use_cache=True)
        _wait(setting["device"])
        return time.perf_counter() - started

    return _ratios(methods, length, decode, repeats=repeats, **setting)


def _ratios(
    methods: list[str], length: int, measure: Callable[[Any], float], *, repeats: int, **setting: Any
) -> dict[str, list[float]]:
    model = benchmark_model(**setting)
    rounds: dict[str, list[float]] = {name: [] for name in ("none", *methods)}
    with torch.inference_mode():
        for turn in range(repeats + 1):
            seconds = {}
            for name in rounds:
                with parse_method(name).applied_to(model, context_length=length):
                    # None first and last: half of a drift within the round falls on either side.
                    seconds[name] = measure(model)
            with parse_method("none").applied_to(model):
                baseline = (seconds["none"] + measure(model)) / 2
            if turn:  # the first round warms up
                for name, values in rounds.items():
                    values.append(baseline if name == "none" else seconds[name] / baseline)
    return {name: statistics.quantiles(values, n=4) for name, values in rounds.items()}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
