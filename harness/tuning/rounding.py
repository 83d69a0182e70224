"""What rounding tuned weights to the dtype of their model undoes: few steps move most by less than bfloat16 tells apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from longbench_run.harness.models.load import load_model

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel


def change_lost(tuned: Mapping[str, torch.Tensor], inspected: InspectedModel) -> dict[str, float]:
    """Return what of a tuned model's change is lost where it is loaded in the dtype that its base is stored in.

    Args:
        tuned: All weights of the tuned model by name, in float32, each once.
        inspected: Its base, whose weights are read again, into the main memory.

    Returns:
        Dtype -> norm of the rounding over the norm of the change, over all weights, 0 to 1. Empty where the base is
        stored in float32, or does not say in what.
    """
    dtype = getattr(inspected.config, "dtype", None)
    if dtype is None or torch.finfo(dtype).bits >= torch.finfo(torch.float32).bits:
        return {}
    name = str(dtype).removeprefix("torch.")
    base = load_model(replace(inspected.spec, dtype=name, device="cpu")).model
    rounding = change = 0.0
    before = dict(base.named_parameters())
    with torch.no_grad():
        for part, weights in tuned.items():
            after = weights.detach().cpu()
            change += _squares(after - before[part])
            rounding += _squares(after - after.to(dtype))
    # What did not change is stored as it was, and nothing of it is rounded.
    return {name: math.sqrt(rounding / change) if change else 0.0}


def _squares(difference: torch.Tensor) -> float:
    return float(difference.double().square().sum())
