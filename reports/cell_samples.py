"""The samples of every cell of a report, in words, those that failed first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from longbench_run.reports.samples import DescribedSample, described
from longbench_run.reports.text import length_label, visible
from longbench_run.results.table import CellKey, groups_of_cells

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.reports.content import LoadedRun

MOST_SAMPLES = 1000
"""Samples of a cell that are written out: nobody reads more of one page."""

_FIELDS = (
    "index", "seed", "status", "document", "depth", "prompt_tokens", "scored_tokens", "tokens_truncated",
    "truncated_at", "prompt_head", "prompt_tail", "evidence_survived", "prediction", "target", "answers", "failure",
)  # fmt: skip


class SampleKey(NamedTuple):
    """A cell without its metric: its metrics are of the same samples."""

    run: str
    model_label: str
    task: str
    task_version: int
    protocol: str
    method_label: str
    context_length: int
    setup_id: str


@dataclass(frozen=True, slots=True)
class CellSamples:
    """The samples of one cell."""

    key: SampleKey
    run: LoadedRun
    rows: Mapping[str, pd.DataFrame]
    """Metric -> rows of `longbench_run.results.load`, in the order of seeds and indices."""

    @property
    def count(self) -> int:
        """Samples, those that failed too."""
        return max(len(rows) for rows in self.rows.values())

    @property
    def title(self) -> str:
        """The cell in words; it holds labels, which may be anything."""
        header, key = self.run.header, self.key
        parts = (
            key.task,
            f"protocol {key.protocol}",
            *([f"model {key.model_label}"] if len(header.models) > 1 else []),
        )
        failed = sum(status != "ok" for status in next(iter(self.rows.values()))["status"])
        return (
            f"{key.method_label} at {length_label(key.context_length)}, {', '.join(parts)}: "
            f"{self.count} samples" + (f", {failed} of them failed" if failed else "")
        )

    @property
    def samples(self) -> Iterator[DescribedSample]:
        """The samples, at most `MOST_SAMPLES`: those that failed first, then by seed and index."""
        scores: dict[tuple[Any, Any], dict[str, float]] = {}
        for metric, rows in self.rows.items():
            for seed, index, score in zip(rows["seed"], rows["index"], rows["score"], strict=True):
                if not _is_missing(score):
                    scores.setdefault((seed, _known(index)), {})[metric] = score
        rows = next(iter(self.rows.values()))
        is_ok = rows["status"].eq("ok").to_numpy()
        shown = rows.iloc[is_ok.argsort(kind="stable")[:MOST_SAMPLES]]
        for row in zip(*(shown[name] for name in _FIELDS), strict=True):
            values = {name: _known(value) for name, value in zip(_FIELDS, row, strict=True)}
            seed = values["seed"]
            yield described(
                values, seed=seed, scores=scores.get((seed, values["index"]), {}), failure=values["failure"]
            )

    @property
    def rest(self) -> str:
        """Say where the others are; empty where there are none."""
        if self.count <= MOST_SAMPLES:
            return ""
        return (
            f"{self.count - MOST_SAMPLES} more samples: `longbench-run show {self.key.run}` prints them, "
            "chosen by its flags."
        )


def samples_key(key: CellKey) -> SampleKey:
    """Return what a cell's samples are known by.

    Args:
        key: The cell and one of its metrics.
    """
    return SampleKey(*(getattr(key, name) for name in SampleKey._fields))


def cells_with_samples(runs: Iterable[LoadedRun]) -> Iterator[CellSamples]:
    """Yield every cell of runs that has a record, in the order of run, model, task, method and length.

    Args:
        runs: One after the other.
    """
    for run in runs:
        found: dict[SampleKey, dict[str, pd.DataFrame]] = {}
        for key, rows in groups_of_cells(run.frame):
            found.setdefault(samples_key(key), {})[visible(key.metric)] = rows
        for cell, of_metrics in found.items():
            yield CellSamples(cell, run, of_metrics)


def _known(value: Any) -> Any:
    """Return a value of a frame, None where it is missing."""
    return None if _is_missing(value) else value


def _is_missing(value: object) -> bool:
    """Tell None, NaN and pandas' NA, each of which a column may have."""
    import pandas as pd

    return value is None or value is pd.NA or value != value  # noqa: PLR0124 (NaN is what differs from itself)
