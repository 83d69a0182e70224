"""What the engine is measured against: how evaluations are usually written, in their own plain form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from longbench_run.harness.attention.bands import RotatedBand

if TYPE_CHECKING:
    from longbench_run.harness.attention.kernels import Keys


def full_form(
    bands: Sequence[RotatedBand], value: Keys, *, scaling: float
) -> Float[Tensor, "batch heads n head_dim"]:
    """Return attention in bands through one whole n x n score matrix for each band, merged by a mask.

    Self-Extend's and ReRoPE's released code: scores of near and of far positions, `where`, softmax in fp32.

    Args:
        bands: As `attend_bands` takes them.
        value: Values, as many heads as the queries have.
        scaling: Factor on the logits.
    """
    query = bands[0].query
    keys = np.arange(value.shape[2])
    scores = torch.full((), -torch.inf, dtype=query.dtype, device=query.device)
    for band in bands:
        seen = (keys >= band.start[:, None]) & (keys < band.stop[:, None])
        own = band.query @ band.key.transpose(-1, -2) * scaling
        scores = torch.where(torch.from_numpy(seen).to(query.device), own, scores)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def full_logits_nll(model: Any, ids: Int[Tensor, "1 n"]) -> Float[Tensor, " scored"]:
    """Return every token's nll from the logits of all positions at once, as loglikelihood requests are served."""
    logits = model(ids, use_cache=False).logits.float()
    log_probabilities = torch.log_softmax(logits[0, :-1], dim=-1)
    return -log_probabilities.gather(-1, ids[0, 1:, None])[:, 0]


def windowed_nll(model: Any, ids: Int[Tensor, "1 n"], *, window: int, stride: int) -> list[float]:
    """Return the mean nll of every window: each is computed whole, and all but the first score ``stride`` tokens.

    Args:
        model: Transformers model.
        ids: The document, at least a window long.
        window: Tokens of a forward pass.
        stride: Tokens from one window to the next.
    """
    found = []
    for begin in range(0, ids.shape[1] - window + 1, stride):
        piece = ids[:, begin : begin + window]
        labels = piece.clone()
        if begin:
            labels[:, :-stride] = -100
        found.append(float(model(piece, labels=labels, use_cache=False).loss))
    return found


def generate_each(model: Any, prompts: Sequence[Int[Tensor, "1 n"]], *, tokens: int) -> list[list[int]]:
    """Return what one greedy `generate` call for each prompt, batch 1, continues it with."""
    found = []
    for prompt in prompts:
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
        found.append(output[0, prompt.shape[1] :].tolist())
    return found
