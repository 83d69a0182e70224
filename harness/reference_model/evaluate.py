"""Measure a model folder: `python -m longbench_run.harness.reference_model.evaluate`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from longbench_run.tasks.base import Generated, GenerateRequest, Sample
from longbench_run.tasks.passkey import Passkey

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class PasskeyFigures:
    """Keys found."""

    context_length: int
    by_depth: dict[float, float]
    """Depth -> share of trials in which the key was found."""

    @property
    def accuracy(self) -> float:
        """Mean over depths, which have equally many trials."""
        return sum(self.by_depth.values()) / len(self.by_depth)

    @property
    def worst(self) -> float:
        """Accuracy at the worst depth."""
        return min(self.by_depth.values())


@torch.inference_mode()
def passkey_accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    context_length: int,
    depths: int = 10,
    trials: int = 20,
    seed: int = 0,
    tokens_per_batch: int = 8192,
) -> PasskeyFigures:
    """Ask for keys with the task that users run, greedily.

    Args:
        model: The model, on CPU.
        tokenizer: Its tokenizer.
        context_length: Tokens, prompt plus answer budget.
        depths: Depths from 0 to 1.
        trials: Keys per depth.
        seed: Seed of the keys.
        tokens_per_batch: Prompts of equal length are computed together up to this many tokens.
    """
    task = Passkey(depths=depths)
    samples = task.samples(context_length=context_length, count=depths * trials, seed=seed, tokenizer=tokenizer)
    by_tokens: dict[int, list[tuple[Sample, GenerateRequest]]] = defaultdict(list)
    for sample in samples:
        if isinstance(sample.request, GenerateRequest):
            by_tokens[len(sample.request.prompt_ids)].append((sample, sample.request))
    found: dict[float, list[float]] = defaultdict(list)
    for tokens, equal in by_tokens.items():
        size = max(1, tokens_per_batch // tokens)
        for start in range(0, len(equal), size):
            batch = equal[start : start + size]
            prompts = torch.tensor([request.prompt_ids for _, request in batch])
            answers = _greedy(model, prompts, batch[0][1].max_new_tokens)
            for (sample, _), ids in zip(batch, answers.tolist(), strict=True):
                output = Generated(token_ids=tuple(ids), text=tokenizer.decode(ids, skip_special_tokens=True))
                found[sample.depth or 0.0].append(task.score(sample, output).scores["accuracy"])
    return PasskeyFigures(context_length, {depth: sum(f) / len(f) for depth, f in sorted(found.items())})


def _greedy(model: LlamaForCausalLM, prompts: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``count`` most likely tokens for each prompt, shape ``(prompts, count)``."""
    out = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
    chosen = [out.logits[:, -1].argmax(-1)]
    for _ in range(count - 1):
        out = model(input_ids=chosen[-1][:, None], past_key_values=out.past_key_values, use_cache=True)
        chosen.append(out.logits[:, -1].argmax(-1))
    return torch.stack(chosen, 1)
