"""One step of tuning the bundled model, and the memory that it takes beyond what every step keeps."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.models import Column, bundled, token_ids
from benchmarks.peaks import Above
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning.plan import PlannedVariant, plan_tuning
from longbench_run.harness.tuning.recipe import Recipe
from longbench_run.harness.tuning.run import make_variant

METHOD = "entropy_abf"
_BESIDE = 32
"""Tokens left for what a chat template writes around a response."""


def step_mib(column: Column) -> float:
    """Return the MiB of a step above weights, gradients and optimizer states, all layers computed again.

    It is the second step of a variant that is tuned as any other, in float32 and of all weights: the first one makes the
    optimizer's states.

    Args:
        column: Device, and the tokens of the sample.
    """
    with tempfile.TemporaryDirectory() as folder:
        watched = _SecondStep(column.device)
        make_variant(_planned(column, Path(folder)), callbacks=[watched])
    return watched.mib


def _planned(column: Column, folder: Path) -> PlannedVariant:
    length = column.sizes.scoring
    data = folder / "data.json"
    # Random tokens do not stay as many when their text is read again: a longer text is cut where the tokens end.
    tokenizer: Any = bundled().tokenizer
    text = tokenizer.decode(token_ids(2 * length))
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    response = text[: ends[length - _BESIDE][0]]
    turns = [{"role": "user", "content": "Write."}, {"role": "assistant", "content": response}]
    data.write_text(json.dumps([{"messages": turns}]), encoding="utf-8")
    (planned,) = plan_tuning(
        ModelSpec(device=column.device, dtype="float32"),
        [parse_method(METHOD)],
        [Recipe(context_length=length, samples=1, batch_size=1, epochs=2, precision="float32")],
        data=str(data),
        output=folder / "variants",
    )
    return planned


class _SecondStep(TrainerCallback):
    """Counts the memory of the second step, from gradients that are there to the optimizer's."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._above: Above | None = None
        self.mib = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_rest: Any) -> None:
        """Have all layers computed again, whatever tuning would choose for this much memory."""
        model.activation_checkpointing_enable({"use_reentrant": False})

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_rest: Any) -> None:
        """Begin to count once the optimizer has its states."""
        if state.global_step == 1:
            for weight in model.parameters():
                weight.grad = torch.zeros_like(weight)
            self._above = Above(self._device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
        """Stop before a checkpoint is written."""
        if self._above is not None:
            self.mib = self._above.mib()
