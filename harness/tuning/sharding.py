"""One model over the processes that tune it: each holds a share of its weights, gradients and optimizer's states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from longbench_run.harness.tuning.processes import Processes

PLUGIN = {
    "auto_wrap_policy": "NO_WRAP",
    "state_dict_type": "SHARDED_STATE_DICT",
    "activation_checkpointing": False,
}
"""What accelerate is told: the model comes to it in shares, and every process writes its own into a checkpoint."""


def mesh_of(processes: Processes, *, device: str) -> DeviceMesh:
    """Return all processes as those that share a model; all make it at the same time.

    Args:
        processes: Those that share it, joined.
        device: Where this one computes.
    """
    from torch.distributed.device_mesh import init_device_mesh

    if device != "cpu":
        torch.cuda.set_device(device)
    return init_device_mesh(torch.device(device).type, (processes.count,))


def shard(model: Any, mesh: DeviceMesh) -> None:
    """Leave this process its share of a model, on its device (FSDP2, torch's ``fully_shard``).

    A layer is gathered while it computes. Embeddings, last norm and head are one more unit, gathered for a whole step:
    the loss runs the head over many pieces, forward and backward, and would gather it for each. Nothing is told to
    other processes: they may come one after the other.

    Args:
        model: Whole and the same in all processes, in main memory.
        mesh: Those that share it.
    """
    from torch.distributed.fsdp import fully_shard

    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole_state(model: Any) -> dict[str, torch.Tensor]:
    """Return all weights and buffers of a shared model, in main memory; the first process has them, others none."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: Any = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    # Gathered, what two names mean is two tensors.
    again = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    again -= {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in state.items() if name not in again}
