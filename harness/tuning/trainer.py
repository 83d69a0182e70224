"""Transformers' Trainer as tuning uses it: samples in their order, one weight for every token, whole checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from longbench_run.harness.tuning.memory import CHECKPOINTS_KEPT
from longbench_run.harness.tuning.processes import Processes
from longbench_run.harness.tuning.recipe import Recipe
from longbench_run.harness.tuning.samples import Sample
from longbench_run.harness.tuning.sharding import PLUGIN

WHOLE = "whole"
"""File in a checkpoint that is written last."""
SHARES = "shares"
"""What it says where every process wrote its share of the model; else it is empty."""
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft writes before the names of weights, and a model that it does not wrap has not."""


class Samples(Dataset[Sample]):
    """Samples in the order in which they are learnt."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def tensors(batch: Sequence[Sample]) -> dict[str, Tensor]:
    """Return one sample as a batch: nothing is padded, a batch of the recipe is accumulated."""
    (sample,) = batch
    return {"input_ids": torch.tensor([sample.token_ids]), "labels": torch.tensor([sample.labels])}


class SampleTrainer(Trainer):
    """Learns samples in their order, each response token with the same weight, and marks whole checkpoints."""

    loss_is_scaled_for_ga = True

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        # So that the response tokens of a whole batch are counted.
        self.model_accepts_loss_kwargs = True

    def create_accelerator_and_postprocess(self) -> None:
        """Have accelerate know of a shared model on CPUs too, where it does not look for one."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is None or self.is_fsdp_enabled:
            return
        from accelerate import PartialState
        from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

        # Whatever makes another state takes its type from the partial one.
        state = self.accelerator.state
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
        self.is_fsdp_enabled = True

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        samples: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(samples)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return a sample's part of the batch's mean nll, times the processes, over whom gradients are averaged."""
        with self._autocast() if self.is_fsdp_enabled and self.args.bf16 else nullcontext():
            outputs = model(**inputs)
        loss = outputs["loss"] / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _autocast(self) -> torch.autocast:
        """Return what a model computes in that comes to accelerate in shares, which leaves it as it is.

        As for a whole model, but copies of weights are not kept for all of a step: no process has room for those of
        all layers.
        """
        return torch.autocast(self.args.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            marker = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}" / WHOLE
            marker.write_text(SHARES if self.is_fsdp_enabled else "", encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        adapter = Path(resume_from_checkpoint) / _ADAPTER_WEIGHTS
        if self.is_fsdp_enabled or not adapter.exists():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        from peft import set_peft_model_state_dict
        from peft.utils import load_peft_weights

        state = load_peft_weights(resume_from_checkpoint, device="cpu")
        set_peft_model_state_dict(self.model, {key.removeprefix(_PREFIX): state[key] for key in state})


def arguments_of(
    recipe: Recipe, work: Path, save_every: int | None, *, device: str, processes: Processes
) -> TrainingArguments:
    """Return what transformers is told of a recipe.

    Args:
        recipe: How it is tuned.
        work: Folder of checkpoints.
        save_every: Steps between them; None: a third of all.
        device: What this process computes on.
        processes: Those that train together.

    Raises:
        ConfigError: If they cannot share a batch.
    """
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=recipe.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=processes.share(recipe.batch_size),
        average_tokens_across_devices=True,  # a batch's response tokens are counted over all processes
        ddp_find_unused_parameters=False,
        fsdp=True if processes.sharded else None,  # type: ignore[arg-type]  # words are the older way
        fsdp_config=dict(PLUGIN),
        # Gradients of a shared model are shared out after every sample: whole ones of all weights would not fit.
        accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": processes.sharded}},
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        optim="adamw_torch",
        adam_beta1=recipe.beta1,
        adam_beta2=recipe.beta2,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.precision == "bfloat16",
        use_cpu=device == "cpu",
        save_strategy="steps",
        save_steps=save_every or max(1, recipe.steps // 3),
        save_total_limit=CHECKPOINTS_KEPT,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    arguments.mixed_precision = "bf16" if arguments.bf16 else "no"  # whatever accelerate's configuration says
    # One device in a process: the samples of a batch come one after the other, and methods see one model.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
