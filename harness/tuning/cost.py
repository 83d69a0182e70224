"""What tuning computes, told from the configuration and the samples' lengths: before weights are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from longbench_run.harness.tuning.memory import tuning_footprint

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel
    from longbench_run.harness.tuning.plan import PlannedVariant

GPU = "A100"
GPU_BYTES = 80 * 2**30
GPUS = 8
PEAK = 312e12
"""Operations per second of `GPU` in bfloat16, without sparsity: NVIDIA's data sheet. The paper tuned on it."""
UTILISATION = 0.4
"""Share of the peak that a training step reaches, what is computed again counted too; assumed, not measured here."""

_WEIGHT_BYTES = 4
_FORWARD, _STATES, _WEIGHTS = 2, 2, 2
"""Operations of a weight for a token: forward, and in the backward pass the gradients of states and of weights."""
_ATTENTION, _ATTENTION_BACKWARD = 4, 10
"""Operations of a head's dimension for a pair of positions: two products forward, and five backward in a fused kernel,
which computes the scores once more; two operations each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCost:
    """Operations of training, what is computed again in the backward pass too; a product and its sum are two."""

    linear: int
    """In the linear layers; of a mixture of experts, as if every token met all of them."""
    head: int
    """In the output layer, which only what is learnt passes."""
    attention: int
    """Between queries and the keys before them, in every layer, of a method with one band."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.linear + self.head + self.attention


def sample_cost(
    inspected: InspectedModel, *, tokens: int, learnt: int, adapter: int, recomputes: bool
) -> TuningCost:
    """Return what one sample computes, forward and backward.

    Norms, activations and the optimizer are left out: they take time, but few operations.

    Args:
        inspected: The model.
        tokens: Length of the sample.
        learnt: Tokens of its responses.
        adapter: Weights of the adapter that is trained in place of the model's; 0 without one.
        recomputes: Whether layers are computed again in the backward pass.
    """
    config, facts = inspected.config.get_text_config(), inspected.facts
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or hidden // heads)
    output = facts.vocabulary * hidden
    weights = facts.parameters - (output if getattr(config, "tie_word_embeddings", False) else 2 * output)
    backward = _STATES if adapter else _STATES + _WEIGHTS
    again = _FORWARD if recomputes else 0
    # The last product of a layer is not computed again: the backward pass needs its inputs alone, which adapters add to.
    spared = 0 if adapter else again * layers * hidden * inner
    of_adapter = adapter * (_FORWARD + again + _STATES + _WEIGHTS)
    pairs = tokens * (tokens + 1) // 2
    return TuningCost(
        linear=tokens * ((_FORWARD + again + backward) * weights - spared + of_adapter),
        # In pieces, each computed again.
        head=learnt * (2 * _FORWARD + backward) * output,
        attention=((2 if recomputes else 1) * _ATTENTION + _ATTENTION_BACKWARD)
        * layers
        * heads
        * head_dim
        * pairs,
    )


def operations(variant: PlannedVariant, *, gpus: int = 1) -> int:
    """Return the operations that training a variant does one after the other.

    Args:
        variant: What is trained.
        gpus: How many share every batch, one sample after the other to each; a step waits for the last of them.
    """
    inspected, needed = variant.inspected, variant.footprint
    adapter = 0 if variant.recipe.lora is None else needed.variant // _WEIGHT_BYTES

    @cache
    def of_sample(tokens: int, learnt: int) -> int:
        return sample_cost(
            inspected, tokens=tokens, learnt=learnt, adapter=adapter, recomputes=needed.recomputes
        ).total

    found = [of_sample(len(sample), sample.responses) for sample in variant.samples]
    size = variant.recipe.batch_size
    batches = [found[start : start + size] for start in range(0, len(found), size)]
    return sum(max(sum(batch[gpu::gpus]) for gpu in range(gpus)) for batch in batches)


def seconds(variant: PlannedVariant, *, gpus: int) -> float:
    """Return roughly how long training a variant takes on some of `GPU`."""
    return operations(variant, gpus=gpus) / (PEAK * UTILISATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Bytes that training a variant takes on a GPU, in bfloat16."""

    alone: int
    together: int
    """On each of several that hold the whole model, as `tune` does: gradients that are averaged are there twice."""
    sharded: int
    """On each of `GPUS` that share the model by FSDP."""


def gpu_memory(variant: PlannedVariant) -> GpuMemory:
    """Return what a variant takes on a GPU, with layers computed again or not as here."""
    recipe = replace(variant.recipe, precision="bfloat16")
    longest = max(map(len, variant.samples))
    needed, share = (
        tuning_footprint(variant.inspected, recipe, variant.method, longest=longest, shares=shares)
        for shares in (1, GPUS)
    )
    return GpuMemory(alone=needed.total, together=needed.total + needed.gradients, sharded=share.total)
