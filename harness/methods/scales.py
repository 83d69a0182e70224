"""Logit scales tau that grow with the query's position."""

from __future__ import annotations

import math

import numpy as np

from longbench_run.harness.methods.base import LogitScale, Positions


def log_n_scale(original_context_length: int, *, skip_layers: int = 0) -> LogitScale:
    """Return tau(p) = max(1, ln(p + 1) / ln L): 1 inside the window, log_L of the keys visible beyond it.

    Args:
        original_context_length: Window of pretraining L in tokens, at least 2.
        skip_layers: How many first layers keep scale 1.

    Source:
        Chiang and Cholak 2022, arXiv:2202.12172; the floor at 1 as in bojone/rerope@acfe788, ``ntk_patch.py``.
        Differs: computed in float64, where released codes round to the dtype of q.
    """

    def values(positions: Positions, _tokens: int) -> np.ndarray:
        return np.maximum(np.log(positions + 1.0) / math.log(original_context_length), 1.0)

    return LogitScale(values=values, skip_layers=skip_layers)


def yarn_temperature(factor: float) -> float:
    """Return YaRN's attention factor 0.1 ln s + 1; the logits get its square.

    Source:
        Peng et al. 2023, arXiv:2309.00071, equation 22.
    """
    return 0.1 * math.log(factor) + 1.0


def yarn_scale_per_query(original_context_length: int) -> LogitScale:
    """Return tau(p) = max(1, 0.1 ln((p + 1) / L) + 1)^2: YaRN's temperature at the length each query sees.

    Source:
        datamllab/LongLM@cdbbb06, the alternative left as a comment beside ``scale_base``.
    """

    def values(positions: Positions, _tokens: int) -> np.ndarray:
        return np.maximum(0.1 * np.log((positions + 1.0) / original_context_length) + 1.0, 1.0) ** 2

    return LogitScale(values=values)
