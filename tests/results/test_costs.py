"""Costs of cells: tokens over seconds, and the largest peak."""

import math

import pandas as pd
import pytest

from longbench_run.results.costs import cell_costs
from longbench_run.results.table import CELL_KEYS


def frame(**columns):
    count = len(next(iter(columns.values())))
    shared = {name: ["x"] * count for name in CELL_KEYS} | {
        "seed": [0] * count,
        "index": list(range(count)),
        "context_length": [1024] * count,
        "task_version": [1] * count,
    }
    columns = {"tokens_reused": [None] * count} | columns
    whole = ("prompt_tokens", "tokens_reused", "generated_tokens", "peak_bytes")
    return pd.DataFrame(shared | columns).astype(dict.fromkeys(whole, "Int64"))


def test_tokens_and_seconds_are_summed_over_samples_that_were_timed():
    (cost,) = cell_costs(
        frame(
            prompt_tokens=[100, 200, 400],
            generated_tokens=[10, None, 50],
            seconds_prefill=[1.0, 2.0, math.nan],
            seconds_decode=[0.5, math.nan, math.nan],
            peak_bytes=[7, 9, 8],
        )
    ).values()
    assert cost.tokens_per_second == pytest.approx((100 + 10 + 200) / (1.0 + 0.5 + 2.0))
    assert (cost.samples, cost.peak_bytes) == (2, 9)


def test_what_was_not_measured_is_none_and_never_zero():
    (cost,) = cell_costs(
        frame(
            prompt_tokens=[100],
            generated_tokens=[None],
            seconds_prefill=[1.0],
            seconds_decode=[math.nan],
            peak_bytes=[None],
        )
    ).values()
    assert (cost.tokens_per_second, cost.peak_bytes) == (100.0, None)
    nothing = frame(
        prompt_tokens=[100],
        generated_tokens=[None],
        seconds_prefill=[math.nan],
        seconds_decode=[math.nan],
        peak_bytes=[None],
    )
    assert cell_costs(nothing) == {}


def test_tokens_that_another_sample_had_computed_are_not_counted_again():
    (cost,) = cell_costs(
        frame(
            prompt_tokens=[100, 100, 100],
            tokens_reused=[0, 60, None],
            generated_tokens=[5, 5, 5],
            seconds_prefill=[1.0, 0.4, 1.0],
            seconds_decode=[0.1, 0.1, 0.1],
            peak_bytes=[1, 1, 1],
        )
    ).values()

    assert cost.tokens_per_second == pytest.approx((105 + 45 + 105) / 2.7)
