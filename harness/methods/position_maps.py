"""Intervals of keys that the two-band methods are made of."""

from __future__ import annotations

import numpy as np

from longbench_run.harness.methods.base import Interval, PositionMap


def near(window: int) -> Interval:
    """Return the keys at distance p - j < window."""
    return Interval(start=lambda p: p - window + 1, stop=lambda p: p + 1)


def far(window: int) -> Interval:
    """Return the keys at distance p - j >= window."""
    return Interval(start=np.zeros_like, stop=lambda p: p - window + 1)


def every_key() -> Interval:
    """Return all keys up to the query."""
    return Interval(start=np.zeros_like, stop=lambda p: p + 1)


def constant(value: float) -> PositionMap:
    """Return a map that gives every position the same value."""
    return lambda p: np.full(p.shape, value)
