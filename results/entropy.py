"""Attention entropy: by position and layer, how it drifts with ln n, and whether methods that drift lose quality.

Entropies are no column of the table of samples: they are read from the records when they are asked for, and only the
lines that hold some are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from longbench_run.results.lines import read_parts
from longbench_run.results.statistics import Estimate, estimate
from longbench_run.results.store import records_path
from longbench_run.results.table import CELL_KEYS, CellKey, clusters_of, latest_cells

if TYPE_CHECKING:
    import pandas as pd

_TAIL = 512
"""Bytes of a line, the fields behind its entropies among them."""
_SAMPLES = ("sample", "key", "cluster", "layer", "start", "stop", "even", "entropy")

# Of each bucket of a sample: layer, first position, the one after the last, entropy in nats.
_Buckets = list[tuple[int, int, int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyCell:
    """The entropies of one cell."""

    key: CellKey
    samples: pd.DataFrame
    """One row per sample, layer and bucket: ``sample``, ``key`` (by which it is paired), ``cluster`` (its document),
    ``layer``, ``start``, ``stop``, ``even`` (mean of ln(p + 1) over positions [start, stop): the entropy of even
    attention) and ``entropy`` (nats, mean over heads)."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers, ascending."""
        return tuple(sorted({int(layer) for layer in self.samples["layer"]}))

    @property
    def count(self) -> int:
        """Samples."""
        return int(self.samples["sample"].nunique())

    @property
    def documents(self) -> int:
        """Documents, where samples name one; else samples."""
        return int(self.samples["cluster"].nunique())


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyPoint:
    """The entropy of one layer over the queries of one bucket."""

    layer: int
    start: int
    """First position."""
    stop: int
    """The one after the last."""
    even: float
    """Mean of ln(p + 1), in nats: no entropy is larger."""
    mean: Estimate
    """Nats, over samples and heads; the interval is by document."""

    @property
    def ratio(self) -> float:
        """Entropy as a part of that of even attention, 0 to 1; of the query at position 0 alone, which sees one key, 1."""
        return cast("float", self.mean.value) / self.even if self.even else 1.0


def entropy_cells(frame: pd.DataFrame) -> tuple[EntropyCell, ...]:
    """Return every cell that has entropies; of two setups of one place, the one computed last.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some; the folders of its runs are read.

    Raises:
        ResultsError: If a line of a run cannot be read.
    """
    of_runs = {run: _read(str(run)) for run in frame["run"].unique()}
    if not any(of_runs.values()):
        return ()
    found = (_cell(key, rows, of_runs[key.run]) for key, rows in latest_cells(frame).items())
    return tuple(cell for cell in found if cell is not None)


def entropy_by_position(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, layer and bucket of positions: entropy in nats with its 95 % interval by document.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some; the folders of its runs are read.

    Returns:
        Columns of the cell, ``layer``, ``start``, ``stop``, ``even`` (mean of ln(p + 1) over the bucket), ``ratio`` (of
        the entropy to that), ``n``, ``value`` (mean over samples and heads) and its interval.
    """
    import pandas as pd

    own = ["layer", "start", "stop", "even", "ratio", "n", "value", "low", "high", "interval"]
    rows = [
        {
            **cell.key._asdict(),
            **{name: getattr(point, name) for name in own[:5]},
            **_columns(point.mean),
        }
        for cell in entropy_cells(frame)
        for point in points_of(cell)
    ]
    return pd.DataFrame(rows, columns=[*CELL_KEYS, *own])


def entropy_slopes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell and layer: slope of entropy against ln(p + 1) with its 95 % interval by document.

    Args:
        frame: Rows of `longbench_run.results.load`, all or some; the folders of its runs are read.

    Returns:
        Columns of the cell, ``layer``, ``n``, ``value`` and its interval. Slopes are those of `slopes_of`.
    """
    import pandas as pd

    rows = [
        {**cell.key._asdict(), "layer": layer, **_columns(slope)}
        for cell in entropy_cells(frame)
        for layer, slope in slopes_of(cell).items()
    ]
    return pd.DataFrame(rows, columns=[*CELL_KEYS, "layer", "n", "value", "low", "high", "interval"])


def points_of(cell: EntropyCell) -> tuple[EntropyPoint, ...]:
    """Return the points of a cell, by layer and position.

    Args:
        cell: Its samples, all or some.
    """
    return tuple(
        EntropyPoint(
            layer=int(layer),
            start=int(start),
            stop=int(stop),
            even=_even(int(start), int(stop)),
            mean=estimate(rows["entropy"].tolist(), clusters=rows["cluster"].tolist(), minimum=0.0),
        )
        for (layer, start, stop), rows in cast("Any", cell.samples.groupby(["layer", "start", "stop"]))
    )


def ratios_of(cell: EntropyCell) -> pd.DataFrame:
    """Return the mean entropy of a cell as a part of that of even attention, 0 to 1; without intervals, at once.

    Args:
        cell: Its samples, all or some.

    Returns:
        A row per layer and a column per bucket (start, stop), ascending.
    """
    means = cell.samples.groupby(["layer", "start", "stop"])[["entropy", "even"]].mean()
    return (means["entropy"] / means["even"]).unstack(["start", "stop"]).sort_index(axis=1)


def differences_of(cell: EntropyCell, baseline: EntropyCell) -> pd.DataFrame:
    """Return the mean difference of a cell's entropy and another's in nats, over the samples that both have.

    Args:
        cell: Its samples, all or some.
        baseline: What is subtracted: a cell of the same model, task and length.

    Returns:
        A row per layer and a column per bucket (start, stop), ascending; without rows where no sample is shared.
    """
    place = ["layer", "start", "stop"]
    # pandas would merge rows without a key with each other.
    with_key = cell.samples.dropna(subset="key")
    shared = with_key.merge(baseline.samples, on=["key", *place], suffixes=("", "_baseline"))
    differences = (shared["entropy"] - shared["entropy_baseline"]).groupby([shared[name] for name in place])
    return differences.mean().unstack(["start", "stop"]).sort_index(axis=1)


def slopes_of(cell: EntropyCell) -> Mapping[int, Estimate]:
    """Return the slope of each layer's entropy against ln(p + 1), in nats per nat, mean over samples.

    By least squares over the buckets of a sample but the first, which count alike: so an octave counts as any other.
    It is 1 where attention is even, and 0 where its entropy stays what it is.

    Args:
        cell: At least two buckets beyond the first position.
    """
    return {
        int(layer): estimate(rows["slope"].tolist(), clusters=rows["cluster"].tolist())
        for layer, rows in cast("Any", sample_slopes(cell).groupby("layer"))
    }


def sample_slopes(cell: EntropyCell) -> pd.DataFrame:
    """Return the slope of each layer and sample, those that `slopes_of` averages.

    Args:
        cell: At least two buckets beyond the first position.

    Returns:
        Columns ``layer``, ``sample``, ``key``, ``cluster`` and ``slope``, by layer and sample.
    """
    points = later(cell).samples
    one = [points["layer"], points["sample"]]
    x = points["even"] - points.groupby(one)["even"].transform("mean")
    y = points["entropy"] - points.groupby(one)["entropy"].transform("mean")
    slopes = ((x * y).groupby(one).sum() / (x * x).groupby(one).sum()).dropna().rename("slope")
    of_sample = points.groupby("sample")[["key", "cluster"]].first()
    return slopes.reset_index().join(of_sample, on="sample")


def later(cell: EntropyCell, *, layers: tuple[int, ...] | None = None) -> EntropyCell:
    """Return a cell without its first bucket, whose queries see few keys.

    Args:
        cell: Its samples, all or some.
        layers: Those wanted. Default: all.
    """
    samples = cell.samples[cell.samples["start"] > 0]
    if layers is not None:
        samples = samples[samples["layer"].isin(layers)]
    return EntropyCell(key=cell.key, samples=samples)


def _read(run: str) -> Mapping[tuple[str, int], _Buckets]:
    """Return the entropies of the samples of a run by cell and index; of one computed twice, the last."""
    return {
        (part.cell_id, sample.index): [
            (bucket.layer, bucket.start, bucket.stop, math.fsum(bucket.heads) / len(bucket.heads))
            for bucket in sample.entropy_buckets
        ]
        for part, sample in read_parts(records_path(run), wanted=_may_hold_entropies)
    }


def _may_hold_entropies(line: bytes) -> bool:
    """Say so of what was written otherwise too, e.g. with spaces; most lines say near their end that they hold none."""
    return b'"entropy_buckets":[]' not in line[-_TAIL:] and b'"entropy_buckets"' in line


def _cell(key: CellKey, rows: pd.DataFrame, found: Mapping[tuple[str, int], _Buckets]) -> EntropyCell | None:
    import pandas as pd

    # A sample that failed when it was computed again has none, whatever an earlier line says.
    scored = rows[rows["status"].eq("ok")]
    buckets = [
        (sample, key, cluster, layer, start, stop, _even(start, stop), entropy)
        for sample, (cell_id, index, key, cluster) in enumerate(
            zip(scored["cell_id"], scored["index"], scored["sample_key"], clusters_of(scored), strict=True)
        )
        for layer, start, stop, entropy in found.get((cell_id, index), ())
    ]
    return EntropyCell(key=key, samples=pd.DataFrame(buckets, columns=[*_SAMPLES])) if buckets else None


def _even(start: int, stop: int) -> float:
    """Return the mean of ln(p + 1) over positions [start, stop)."""
    return (math.lgamma(stop + 1) - math.lgamma(start + 1)) / (stop - start)


def _columns(found: Estimate) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"n": found.samples, "value": found.value, "low": low, "high": high, "interval": found.kind}
