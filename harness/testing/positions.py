"""Reading the position map back from a model: at which distance does a query really see a key?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float

    from longbench_run.harness.testing.formula import Axes

_LARGEST_LOGIT = 8.0
"""Of the logits that carry the distances: weights down to e^-16 keep six digits in fp32."""
_LARGEST_ANGLE = 1.2
"""Radians: below a quarter turn a sine tells the distance."""


def recovered_distances(model: Any, found: Axes) -> Float[np.ndarray, "layers n n"]:
    """Return the distances rho(p, j) that a Llama computes with, read from its attention weights.

    Hooks hand every layer queries along the first axis of one pair and keys along the second, so that the logit of
    a query at p and a key at j is proportional to sin(theta rho(p, j)); values are unit vectors, so that what
    attention returns are its weights. Keys are taken by turns: half of them are zero, whose logit is 0 wherever
    they stand, and against which the others are measured.

    Args:
        model: A Llama, with a method applied to it.
        found: The method's axes for as many tokens as are looked at; its frequencies and logit scales are used, its
            bands only to know which keys count exactly once: elsewhere the result is NaN.

    Returns:
        Distances in tokens; 1e9 where a key that should be seen has no weight, -1e9 where one has that should not.
    """
    config = model.config
    width, kv_heads, heads = config.head_dim, config.num_key_value_heads, config.num_attention_heads
    layers, n = found.tau.shape
    seen = found.times_seen
    pair, theta = _pair(found)
    scale = _LARGEST_LOGIT / np.sin(theta * max(1.0, float(np.abs(found.rho[seen == 1]).max())))
    per_row = kv_heads * width  # each row of the batch shows the weights of so many keys
    blocks = -(-n // per_row)
    query, key = torch.zeros(2 * blocks, n, heads, width), torch.zeros(2 * blocks, n, kv_heads, width)
    value = torch.zeros(2 * blocks, n, per_row)
    query[..., pair] = 1.0
    for row in range(2 * blocks):
        turn, block = divmod(row, blocks)
        key[row, turn::2, :, pair + len(found.inv_freq)] = float(scale) * width**0.5
        shown = torch.arange(block * per_row, min((block + 1) * per_row, n))
        value[row, shown, shown - block * per_row] = 1.0
    outputs = _attention_outputs(model, query.flatten(2), key.flatten(2), value)
    rho = np.full((layers, n, n), np.nan)
    for layer, output in enumerate(outputs):
        # One head for each of the keys' heads: together they hold the weights of a row's keys.
        by_head = output.view(2, blocks, n, heads, width)[:, :, :, :: heads // kv_heads]
        weights = by_head.reshape(2, blocks, n, per_row).permute(0, 2, 1, 3).reshape(2, n, -1)[..., :n]
        rho[layer] = _distances(weights.double().numpy(), seen, found.tau[layer] * scale, theta)
    return rho


def _pair(found: Axes) -> tuple[int, float]:
    """Return the fastest pair whose angle stays below a quarter turn, and its frequency."""
    largest = max(1.0, float(np.abs(found.rho[found.times_seen == 1]).max()))
    fitting = [i for i, theta in enumerate(found.inv_freq) if theta * largest <= _LARGEST_ANGLE]
    pair = fitting[0] if fitting else len(found.inv_freq) - 1
    return pair, float(found.inv_freq[pair])


def _attention_outputs(
    model: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> list[torch.Tensor]:
    outputs: list[torch.Tensor] = []
    with ExitStack() as stack:
        for layer in model.model.layers:
            attention = layer.self_attn
            for projection, states in (
                (attention.q_proj, query),
                (attention.k_proj, key),
                (attention.v_proj, value),
            ):
                hook = projection.register_forward_hook(lambda *_, states=states: states)
                stack.callback(hook.remove)
            hook = attention.o_proj.register_forward_pre_hook(
                lambda _module, arguments: outputs.append(arguments[0].clone())
            )
            stack.callback(hook.remove)
        ids = torch.ones(query.shape[:2], dtype=torch.long)
        with torch.no_grad():
            model(ids, use_cache=False)
    return outputs


def _distances(
    weights: Float[np.ndarray, "2 n n"], seen: np.ndarray, scale: Float[np.ndarray, " n"], theta: float
) -> Float[np.ndarray, "n n"]:
    n = len(seen)
    rho = np.full((n, n), np.nan)
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    for p in range(1, n):
        for turn in (0, 1):
            active = np.arange(turn, p + 1, 2)
            passive = np.arange(1 - turn, p + 1, 2)
            passive = passive[(seen[p, passive] == 1) & (weights[turn, p, passive] > 0)]
            counted = active[seen[p, active] == 1]
            if len(passive):
                sine = (logs[turn, p, counted] - logs[turn, p, passive].mean()) / scale[p]
                rho[p, counted] = np.where(np.isfinite(sine), np.arcsin(np.clip(sine, -1, 1)) / theta, 1e9)
            hidden = active[seen[p, active] == 0]
            rho[p, hidden] = np.where(weights[turn, p, hidden] > 0, -1e9, np.nan)
        rho[p, p + 1 :] = np.where(weights[0, p, p + 1 :] > 0, -1e9, np.nan)
    return rho
