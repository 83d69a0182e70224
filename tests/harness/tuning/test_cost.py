"""What tuning costs: the operations that are told are those that torch counts, and GPUs wait for each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from peft import LoraConfig
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig

from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning.cost import gpu_memory, operations, sample_cost, seconds
from longbench_run.harness.tuning.loss import loss_by_pieces
from longbench_run.harness.tuning.memory import tuning_footprint
from longbench_run.harness.tuning.recipe import papers
from longbench_run.harness.tuning.samples import IGNORED

TOKENS, LEARNT = 256, 100


@pytest.fixture(
    scope="module",
    params=[{}, {"tie_word_embeddings": True, "num_key_value_heads": 1}],
    ids=["llama", "tied"],
)
def folder(request, base, tmp_path_factory):
    """Return a model with Llama-2's proportions and wide enough for products to be all that counts."""
    sizes = {
        "hidden_size": 128,
        "intermediate_size": 344,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "head_dim": 32,
    }
    more = {"num_key_value_heads": 4, "tie_word_embeddings": False, **request.param}
    config = LlamaConfig.from_pretrained(base)
    config.update({**sizes, **more})
    folder = tmp_path_factory.mktemp("cost")
    for file in base.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def counted(folder, *, rank, recomputes):
    """Return what torch counts in a step as `tune` takes it: products of weights, those of attention, and the adapter."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").train()
    if rank is not None:
        model.add_adapter(LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    adapter = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)
    if recomputes:
        model.activation_checkpointing_enable({"use_reentrant": False})
    ids = torch.arange(TOKENS)[None] % 250
    labels = ids.clone()
    labels[:, : TOKENS - LEARNT] = IGNORED
    with (
        loss_by_pieces(model, rows=30),
        sdpa_kernel(SDPBackend.MATH),  # the one whose products are counted on a CPU
        FlopCounterMode(display=False) as counter,
    ):
        model(input_ids=ids, labels=labels)["loss"].backward()
    found = {str(kind): count for kind, count in counter.get_flop_counts()["Global"].items()}
    return found["aten.mm"], found["aten.bmm"], adapter


@pytest.mark.parametrize("recomputes", [True, False], ids=["again", "kept"])
@pytest.mark.parametrize(("rank", "within"), [(None, 0.005), (8, 0.03)], ids=["all", "lora"])
def test_operations_are_those_that_torch_counts(folder, rank, within, recomputes):
    inspected = inspect_model(ModelSpec(model=str(folder), dtype="float32", device="cpu"))
    of_weights, of_attention, adapter = counted(folder, rank=rank, recomputes=recomputes)
    cost = sample_cost(inspected, tokens=TOKENS, learnt=LEARNT, adapter=adapter, recomputes=recomputes)
    # Products of a plain kernel, which computes masked pairs too, and of a fused one, which computes the scores once more.
    plain, fused = (8, 9) if recomputes else (6, 7)

    assert cost.linear + cost.head == pytest.approx(of_weights, rel=within)
    assert cost.attention == pytest.approx(of_attention / 2 / plain * fused, rel=0.01)


@dataclass
class Made:
    """A sample of which only lengths are known."""

    tokens: int
    responses: int

    def __len__(self):
        return self.tokens


@dataclass
class Variant:
    method: object
    inspected: object
    footprint: object
    recipe: object
    samples: list


@pytest.mark.parametrize("rank", [None, 8], ids=["all", "lora"])
def test_gpus_share_batches_and_hold_the_whole_model(base, rank):
    inspected = inspect_model(ModelSpec(model=str(base), dtype="float32", device="cpu"))
    recipe = papers(samples=6, batch_size=6, epochs=2, precision="float32", lora=rank)
    lengths = [10, 20, 30, 40, 50, 60, 1, 2, 3, 4, 5, 100]
    method = parse_method("yarn:factor=4")
    here = tuning_footprint(inspected, recipe, method, longest=100)
    there = tuning_footprint(inspected, replace(recipe, precision="bfloat16"), method, longest=100)
    made = [Made(length, length // 2) for length in lengths]
    variant = Variant(method, inspected, here, recipe, made)
    adapter = here.gradients // 4 if rank else 0
    of = {
        n: sample_cost(inspected, tokens=n, learnt=n // 2, adapter=adapter, recomputes=here.recomputes).total
        for n in lengths
    }

    assert operations(variant) == sum(of.values())
    # A batch of six on four: two of them compute two samples, and the step waits for the longer pair.
    assert operations(variant, gpus=4) == max(of[10] + of[50], of[20] + of[60]) + max(
        of[1] + of[5], of[2] + of[100]
    )
    assert seconds(variant, gpus=4) == pytest.approx(operations(variant, gpus=4) / (0.4 * 312e12))
    found = gpu_memory(variant)
    assert found.alone == there.total < here.total
    assert found.together - found.alone == there.gradients
    bfloat16 = replace(recipe, precision="bfloat16")
    shared = tuning_footprint(inspected, bfloat16, method, longest=100, shares=8)
    assert found.sharded == shared.total
    # Weights, gradients and optimizer are shared out; what computes is gathered beside them.
    assert shared.certain == pytest.approx(there.certain / 8, rel=1e-2)
    assert shared.activations > there.activations
