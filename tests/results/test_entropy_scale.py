"""The effect of a logit scale on the slope of entropy: over the same samples, layer by layer and together."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from longbench_run.results.entropy import EntropyCell
from longbench_run.results.entropy_scale import scale_effects
from longbench_run.results.table import CellKey

SPANS = ((0, 16), (16, 32), (32, 64), (64, 128))
EVENS = [float(np.mean(np.log(np.arange(*span) + 1))) for span in SPANS]
KEY = CellKey(**dict.fromkeys(CellKey._fields))


def cell_of(slopes, *, keys=None, documents=None):
    """Return a cell of slopes, shape (samples, layers); the first bucket is far from the line."""
    samples, layers = np.shape(slopes)
    return EntropyCell(
        key=KEY,
        samples=pd.DataFrame(
            [
                {
                    "sample": sample,
                    "key": keys[sample] if keys else f"key-{sample}",
                    "cluster": documents[sample] if documents else f"document-{sample}",
                    "layer": layer,
                    "start": start,
                    "stop": stop,
                    "even": even,
                    "entropy": 9.0 if start == 0 else 1.0 + slopes[sample][layer] * even,
                }
                for sample in range(samples)
                for layer in range(layers)
                for (start, stop), even in zip(SPANS, EVENS, strict=True)
            ]
        ),
    )


def random_slopes(samples, *, seed, layers=2):
    return np.random.default_rng(seed).normal([0.5, -0.2], 0.05, size=(samples, layers))


def test_slopes_before_and_after_are_means_and_the_interval_is_that_of_pairs():
    before = random_slopes(40, seed=1)
    after = before - [0.3, 0.0] + np.random.default_rng(2).normal(0, 0.01, size=before.shape)
    together, *layers = scale_effects(cell_of(before), cell_of(after))
    for layer, effect in enumerate(layers):
        assert effect.layer == layer
        assert (effect.before, effect.after) == pytest.approx(
            (before[:, layer].mean(), after[:, layer].mean()), abs=1e-9
        )
        difference = after[:, layer] - before[:, layer]
        low, high = stats.t.interval(0.95, 39, difference.mean(), stats.sem(difference))
        # Resampled, and over independent samples it would be three times as wide or more.
        assert tuple(effect.interval) == pytest.approx((low, high), abs=0.25 * (high - low))
    assert together.layer is None
    assert (together.before, together.after) == pytest.approx(
        (np.abs(before).mean(), np.abs(after).mean()), abs=1e-9
    )
    assert (together.samples, together.documents) == (40, 40)


def test_samples_that_one_method_lacks_are_left_out_of_both():
    before, after = random_slopes(12, seed=3), random_slopes(12, seed=4)
    keys = [f"key-{sample}" for sample in (*range(2, 12), 50, 51)]
    together, first, _ = scale_effects(cell_of(before), cell_of(after, keys=keys))
    assert together.samples == first.samples == 10
    assert first.before == pytest.approx(before[2:, 0].mean(), abs=1e-9)
    assert first.after == pytest.approx(after[:10, 0].mean(), abs=1e-9)


def test_nothing_is_said_of_samples_that_cannot_be_paired():
    slopes = random_slopes(12, seed=5)
    assert scale_effects(cell_of(slopes), cell_of(slopes, keys=[f"other-{n}" for n in range(12)])) == ()
    assert scale_effects(cell_of(slopes, keys=[None] * 12), cell_of(slopes, keys=[None] * 12)) == ()


def test_documents_count_for_the_interval_and_few_have_none():
    before = random_slopes(20, seed=6)
    after = before + np.repeat(np.random.default_rng(7).normal(0, 0.1, size=(10, 2)), 2, axis=0)
    documents = [f"document-{sample // 2}" for sample in range(20)]
    _, alone, _ = scale_effects(cell_of(before), cell_of(after))
    _, shared, _ = scale_effects(cell_of(before, documents=documents), cell_of(after, documents=documents))
    assert (alone.documents, shared.documents, shared.samples) == (20, 10, 20)
    widths = [effect.interval.high - effect.interval.low for effect in (alone, shared)]
    assert widths[1] > 1.2 * widths[0]
    few = [f"document-{sample % 9}" for sample in range(20)]
    assert all(
        effect.interval is None and effect.kind is None
        for effect in scale_effects(cell_of(before, documents=few), cell_of(after, documents=few))
    )
