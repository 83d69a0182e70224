"""Random inputs of one attention call, rotated to the positions of each band of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.models import Column, rope
from longbench_run.harness.attention.bands import RotatedBand
from longbench_run.harness.methods import parse_method

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCall:
    """What both forms of a band method's attention take."""

    bands: list[RotatedBand]
    value: Tensor
    scaling: float


def draw_call(column: Column, method: str, length: int) -> BandCall:
    """Return a call with the heads of a column's model, resolved for the length.

    Args:
        column: Whose model, device and dtype.
        method: A method with bands.
        length: Queries and keys, tokens.
    """
    facts = rope(column.shape)
    resolved = parse_method(method).resolve(facts, context_length=length)
    heads, dim = column.shape.num_attention_heads, facts.rotary_dim
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, length, dim, generator=generator).to(
            device=column.device, dtype=getattr(torch, column.dtype)
        )
        for _ in range(3)
    )
    positions = np.arange(length)
    bands = []
    for band in resolved.bands() or ():
        start, stop = (end(positions).clip(0, positions + 1) for end in (band.keys.start, band.keys.stop))
        turned = [
            _rotated(states, positions if new is None else new(positions), facts.inv_freq)
            for states, new in ((query, band.query_map), (key, band.key_map))
        ]
        bands.append(
            RotatedBand(query=turned[0], key=turned[1], start=start.astype(int), stop=stop.astype(int))
        )
    return BandCall(bands=bands, value=value, scaling=dim**-0.5)


def _rotated(states: Tensor, positions: np.ndarray, inv_freq: tuple[float, ...]) -> Tensor:
    angles = torch.from_numpy(np.outer(positions.astype(float), inv_freq)).to(states.device)
    cos, sin = angles.cos().to(states.dtype), angles.sin().to(states.dtype)
    left, right = states.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
