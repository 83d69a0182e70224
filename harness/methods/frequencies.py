"""Transforms of the inverse frequencies: pure float64 formulas, no models."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from longbench_run.harness.methods.base import Frequencies

Ramp = Literal["code", "paper"]


def rebased(inv_freq: Frequencies, *, base: float, new_base: float) -> Frequencies:
    """Return the frequencies under another RoPE base: theta_i (b'/b)^(-2i/d).

    Args:
        inv_freq: Inverse frequencies theta_i in radians per token, shape ``(d/2,)``, fastest first.
        base: Base b that they belong to.
        new_base: Base b' wanted.

    Returns:
        Inverse frequencies in radians per token, shape ``(d/2,)``.

    Source:
        Xiong et al. 2023, arXiv:2309.16039 (adjusted base frequency).
    """
    exponent = np.arange(len(inv_freq)) / len(inv_freq)
    return inv_freq * (new_base / base) ** -exponent


def ntk_base(base: float, *, factor: float, rotary_dim: int) -> float:
    """Return the NTK-aware base b s^(d/(d-2)): the fastest pair is kept, the slowest divided by s.

    Source:
        bloc97 2023; Peng et al. 2023, arXiv:2309.00071, equation 16.
    """
    return float(base * factor ** (rotary_dim / (rotary_dim - 2)))


def correction_range(
    *, rotary_dim: int, base: float, original_context_length: int, beta_fast: float, beta_slow: float
) -> tuple[int, int]:
    """Return the first and last pair index of YaRN's ramp as released.

    Returns:
        ``(low, high)``: pairs up to low are kept, pairs from high on are divided by the factor.

    Source:
        jquesnelle/yarn@995db5b, ``find_correction_range``: floor and ceil, clamped to [0, d - 1].
    """

    def index_of(turns: float) -> float:
        return rotary_dim * math.log(original_context_length / (2 * math.pi * turns)) / (2 * math.log(base))

    low = max(math.floor(index_of(beta_fast)), 0)
    high = min(math.ceil(index_of(beta_slow)), rotary_dim - 1)
    return low, high


def by_parts(
    inv_freq: Frequencies,
    *,
    base: float,
    factor: float,
    original_context_length: int,
    beta_fast: float,
    beta_slow: float,
    ramp: Ramp,
) -> Frequencies:
    """Return NTK-by-parts frequencies: fast pairs kept, slow pairs divided by s, a ramp between.

    Args:
        inv_freq: Inverse frequencies theta_i in radians per token, shape ``(d/2,)``, fastest first.
        base: RoPE base b they belong to.
        factor: Extension factor s, at least 1.
        original_context_length: Window of pretraining L, tokens.
        beta_fast: Pairs with at least this many turns in L are kept.
        beta_slow: Pairs with at most this many turns in L are divided by s.
        ramp: ``code``: linear in the pair index, as released and as every checkpoint uses it; ``paper``: linear
            in the number of turns r = L theta / 2 pi.

    Returns:
        Inverse frequencies in radians per token, shape ``(d/2,)``.

    Source:
        Peng et al. 2023, arXiv:2309.00071, section 3.2; ``code``: jquesnelle/yarn@995db5b,
        ``linear_ramp_mask``. The two differ by up to a factor of 3 in the middle pairs.
    """
    if ramp == "code":
        low, high = correction_range(
            rotary_dim=2 * len(inv_freq),
            base=base,
            original_context_length=original_context_length,
            beta_fast=beta_fast,
            beta_slow=beta_slow,
        )
        width = high - low if high != low else 0.001  # the released code widens an empty ramp
        kept = 1 - np.clip((np.arange(len(inv_freq)) - low) / width, 0, 1)
    else:
        turns = original_context_length * inv_freq / (2 * math.pi)
        kept = np.clip((turns - beta_slow) / (beta_fast - beta_slow), 0, 1)
    return inv_freq * kept + inv_freq / factor * (1 - kept)
