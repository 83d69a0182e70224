"""Training a planned variant on transformers' Trainer, with its method attached as in evaluation."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback

from longbench_run.harness.attention import Applied
from longbench_run.harness.attention.patched import patched
from longbench_run.harness.errors import ConfigError, LongbenchError
from longbench_run.harness.models.load import load_model
from longbench_run.harness.tuning.denormals import denormals_are_zero
from longbench_run.harness.tuning.loss import logits_rows, loss_by_pieces
from longbench_run.harness.tuning.plan import PlannedVariant
from longbench_run.harness.tuning.processes import ALONE, Processes
from longbench_run.harness.tuning.recipe import Recipe
from longbench_run.harness.tuning.rounding import change_lost
from longbench_run.harness.tuning.sharding import mesh_of, shard, whole_state
from longbench_run.harness.tuning.trainer import SHARES, WHOLE, Samples, SampleTrainer, arguments_of, tensors
from longbench_run.harness.tuning.variant import (
    LOST,
    RECIPE,
    is_planned,
    read_recipe,
    room_on_disk,
    write_json,
    write_variant,
)

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel


def make_variant(
    planned: PlannedVariant,
    *,
    save_every: int | None = None,
    overwrite: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    processes: Processes = ALONE,
) -> bool:
    """Train a variant, or go on where an earlier process stopped, and write it.

    Args:
        planned: What to train.
        save_every: Steps between checkpoints, at least 1; default: a third of the steps.
        overwrite: Whether a variant or checkpoints of another recipe are replaced.
        callbacks: Told of every step.
        processes: Those that train it together, joined; the first one writes.

    Returns:
        Whether there was something to train: a variant that is there is left as it is.

    Raises:
        LongbenchError: With one line, whatever the user can mend; there is no half-written variant then.
    """
    folder = planned.folder
    if not overwrite and processes.agree(lambda: _is_there(folder, planned)):
        return False
    work = folder.with_name(f".{folder.name}.work")
    processes.first(lambda: _begin(work, planned, overwrite=overwrite))
    with room_on_disk(folder.parent):
        _train_and_write(planned, work, save_every, callbacks, processes)
    processes.first(lambda: shutil.rmtree(work))
    return True


def _begin(work: Path, planned: PlannedVariant, *, overwrite: bool) -> None:
    """Make the folder of checkpoints, or leave the one that is there of the same recipe."""
    if read_recipe(work) is not None and not _is_there(work, planned, overwrite=overwrite):
        shutil.rmtree(work)
    folder = planned.folder.parent
    with room_on_disk(folder):
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--output: folder must be one that can be written, got {str(folder)!r} ({error.strerror}). "
                "Name another."
            ) from error
        write_json(work / RECIPE, planned.description)


def _is_there(folder: Path, planned: PlannedVariant, *, overwrite: bool = False) -> bool:
    """Return whether a folder has the planned recipe; raise where it has another and may not be replaced."""
    if not folder.exists():
        return False
    found = read_recipe(folder)
    is_same = found is not None and is_planned(found, planned.description)
    if not is_same and not overwrite:
        different = [key for key, value in planned.description.items() if (found or {}).get(key) != value]
        raise ConfigError(
            f"--output: folder must be new or of this recipe, got {str(folder)!r} with another "
            f"{', '.join(different) if found else 'content'}. Name another folder, or pass --overwrite."
        )
    return is_same


def _train_and_write(
    planned: PlannedVariant,
    work: Path,
    save_every: int | None,
    callbacks: Sequence[TrainerCallback],
    processes: Processes,
) -> None:
    checkpoint = processes.agree(lambda: _last_checkpoint(work, sharded=processes.sharded))
    model = _loaded(planned, processes)
    with ExitStack() as stack:
        applied = processes.agree(lambda: _attach(stack, model, planned, processes))
        trainer = SampleTrainer(
            model=model,
            args=arguments_of(
                planned.recipe,
                work,
                save_every,
                device=planned.inspected.facts.device,
                processes=processes,
            ),
            train_dataset=Samples(planned.samples),
            data_collator=tensors,
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)  # stdout is for results
        trainer.train(resume_from_checkpoint=checkpoint)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    del trainer  # and the optimizer's states, before other weights are read
    model.zero_grad(set_to_none=True)
    state = whole_state(model) if processes.sharded else model.state_dict()
    result = {"losses": losses, "applied_hash": applied.hash}
    processes.first(lambda: _write(planned, model, state, result))


def _loaded(planned: PlannedVariant, processes: Processes) -> Any:
    """Return the model to be trained, or this process's share of it."""
    inspected, recipe = planned.inspected, planned.recipe

    def load(inspected: InspectedModel) -> Any:
        model: Any = load_model(inspected.spec, inspected).model
        if recipe.lora is not None:
            _add_adapter(model, recipe, name=inspected.source.name)
        if planned.footprint.recomputes:
            model.activation_checkpointing_enable({"use_reentrant": False})
        return model

    if not processes.sharded:
        return processes.agree(lambda: load(inspected))
    mesh = mesh_of(processes, device=inspected.facts.device)
    in_main_memory = replace(inspected, facts=replace(inspected.facts, device="cpu"))

    def load_share() -> Any:
        model = load(in_main_memory)
        shard(model, mesh)
        return model

    return processes.in_turn(load_share)


def _write(
    planned: PlannedVariant, model: Any, state: Mapping[str, torch.Tensor], result: dict[str, Any]
) -> None:
    inspected, is_whole = planned.inspected, planned.recipe.lora is None
    model.eval()
    if is_whole:
        result[LOST] = change_lost({name: state[name] for name, _ in model.named_parameters()}, inspected)
        for dtype, share in result[LOST].items():
            sys.stderr.write(
                f"{planned.folder.name}: in {dtype}, that of its model, it loses {share:.2f} of what was learnt; "
                "measured with --dtype float32 it keeps all.\n"
            )
    with room_on_disk(planned.folder.parent):
        write_variant(
            planned.folder,
            model=model,
            state=state,
            tokenizer=inspected.tokenizer if is_whole else None,
            dtype=getattr(inspected.config, "dtype", None) if is_whole else None,
            recipe={**planned.description, "result": result},
            exported=_exported(planned),
        )


def _attach(stack: ExitStack, model: Any, planned: PlannedVariant, processes: Processes) -> Applied:
    """Have a model compute with its method, and its own loss, until the stack is left."""
    facts = planned.inspected.facts
    stack.enter_context(
        patched(model.config, "use_cache", model.config.use_cache)  # which the Trainer changes
    )
    applied = stack.enter_context(
        planned.method.applied_to(
            model,
            original_context_length=facts.original_context_length,
            context_length=planned.recipe.context_length,
        )
    )
    stack.enter_context(loss_by_pieces(model, rows=logits_rows(facts.vocabulary)))
    stack.enter_context(denormals_are_zero())
    if processes.sharded:
        # A method that looks at what the model computes leaves weights gathered, which the optimizer must not hold.
        model.reshard()
    return applied


class StepsSaid(TrainerCallback):
    """Says each step's loss on stderr.

    Args:
        name: What is trained.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_keywords: Any) -> None:
        """Say the loss of a step."""
        if logs and "loss" in logs and state.is_world_process_zero:
            loss = float(logs["loss"])
            sys.stderr.write(
                f"{self._name}: step {state.global_step} of {state.max_steps}, loss {loss:.4f}\n"
            )


def _last_checkpoint(work: Path, *, sharded: bool) -> str | None:
    """Return the last whole checkpoint; raise where its model is not held as this one."""
    found = list(work.glob(f"checkpoint-*/{WHOLE}"))
    if not found:
        return None
    last = max(found, key=lambda path: int(path.parent.name.rpartition("-")[2]))
    if (last.read_text(encoding="utf-8") == SHARES) != sharded:
        ways = ("that every process holds", "that they share by FSDP")
        raise ConfigError(
            f"--output: checkpoint must be of a model {ways[sharded]}, got one of a model {ways[not sharded]} in "
            f"{str(last.parent)!r}. Start it as it was started, or remove {str(work)!r}."
        )
    return str(last.parent)


def _add_adapter(model: Any, recipe: Recipe, *, name: str) -> None:
    from peft import LoraConfig

    # The adapter's first weights are drawn.
    torch.manual_seed(recipe.seed)
    rank = recipe.lora or 0
    model.add_adapter(
        LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            base_model_name_or_path=name,
        )
    )


def _exported(planned: PlannedVariant) -> Any | None:
    """Return the config with which transformers alone computes the variant; None where it cannot."""
    try:
        return planned.method.export(
            planned.inspected.config,
            original_context_length=planned.inspected.facts.original_context_length,
            context_length=planned.recipe.context_length,
        )
    except LongbenchError:
        return None
