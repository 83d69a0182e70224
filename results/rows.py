"""From records to the table of samples, column by column: a run may have a million."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from longbench_run.results.columns import COLUMNS, NUMBERS, OF_SAMPLE, WHOLE_NUMBERS
from longbench_run.results.lines import Parts
from longbench_run.results.records import CellPart, MetricInfo, RunHeader

if TYPE_CHECKING:
    import pandas as pd


class Rows:
    """The rows of runs, one per sample and metric; of a sample computed twice, the last.

    What rows share, of their cells and metrics, is kept once: a row holds places, and values are looked up at the end.
    """

    def __init__(self) -> None:
        """Begin without a run."""
        self._of_cell: list[dict[str, Any]] = []
        self._of_metric: list[dict[str, Any]] = []
        self._of_sample: list[tuple[Any, ...]] = []
        self._cells: list[int] = []
        self._metrics: list[int] = []
        self._samples: list[int] = []
        self._scores: list[float | None] = []
        self._failures: list[str | None] = []

    def add(self, run: str, header: RunHeader, records: Iterable[Parts]) -> None:
        """Append the rows of a run: of a sample for each metric declared for its task, and for any other that it has.

        Args:
            run: Folder, as given.
            header: Of the run.
            records: Of the run, in the order in which they were written.
        """
        metrics = {task.name: {metric.name: metric for metric in task.metrics} for task in header.tasks}
        values_of = itemgetter(*OF_SAMPLE)
        # Cells of records by the identity of their part, which `parts` keeps alive; ids tell samples apart.
        places: dict[int, int] = {}
        parts: list[CellPart] = []
        ids: dict[str, int] = {}
        identifier: list[int] = []
        cells, identifiers, indices, scores, failures = [], [], [], [], []
        first, start = len(self._of_cell), len(self._of_sample)
        for part, fields in records:
            place = places.get(id(part))
            if place is None:
                place = places[id(part)] = len(parts)
                parts.append(part)
                identifier.append(ids.setdefault(part.cell_id, len(ids)))
            cells.append(place)
            identifiers.append(identifier[place])
            indices.append(fields["index"])
            scores.append(fields["scores"])
            failures.append(fields["failure"])
            self._of_sample.append(values_of(fields))
        declared = [metrics.get(part.cell.task.name, {}) for part in parts]
        self._of_cell += _cell_columns(run, header, parts)
        known: list[dict[str, int]] = [{} for _ in parts]
        for number in _last(identifiers, indices):
            cell, of_sample, failure = cells[number], scores[number], failures[number]
            of_cell, metric_places = declared[cell], known[cell]
            names = of_cell if of_sample.keys() <= of_cell.keys() else dict.fromkeys((*of_cell, *of_sample))
            for name in names or ("",):
                if name not in metric_places:
                    metric_places[name] = len(self._of_metric)
                    self._of_metric.append(_metric_columns(name, of_cell.get(name)))
                self._cells.append(first + cell)
                self._metrics.append(metric_places[name])
                self._samples.append(start + number)
                self._scores.append(of_sample.get(name))
                self._failures.append(failure and f"{failure.type}: {failure.message}")

    def frame(self) -> pd.DataFrame:
        """Return the table, with the columns of `COLUMNS`; whole numbers are nullable. The rows are gone after that."""
        import pandas as pd

        series: dict[str, Any] = {
            "score": np.array(self._scores, dtype=np.float64),
            "failure": pd.Series(self._failures),
        }
        for shared, places in ((self._of_cell, self._cells), (self._of_metric, self._metrics)):
            used = np.unique(places)
            looked_up = np.searchsorted(used, places)
            for name in shared[0] if shared else ():
                values = _column(name, [shared[place][name] for place in used])
                series[name] = values.take(looked_up)
        # A tuple of each sample's values is turned into one of each column's, and is gone before the next is made an array.
        columns = dict(zip(OF_SAMPLE, zip(*self._of_sample, strict=True), strict=False))
        self._of_sample.clear()
        samples = np.array(self._samples, dtype=np.intp)
        is_one_row_each = np.array_equal(samples, np.arange(len(next(iter(columns.values()), ()))))
        for name in list(columns):
            values = _column(name, columns.pop(name))
            series[name] = values if is_one_row_each else values.take(samples)
        return pd.DataFrame({name: series.get(name, _column(name, [])) for name in COLUMNS}, copy=False)


def _column(name: str, values: Sequence[Any]) -> Any:
    import pandas as pd

    if name in WHOLE_NUMBERS:
        return pd.Series(np.array(values, dtype=np.float64)).astype("Int64").array
    return np.array(values, dtype=np.float64) if name in NUMBERS else pd.Series(list(values)).array


def _last(cells: list[int], indices: list[int | None]) -> list[int]:
    """Return the places where each sample, of a cell and an index, is for the last time, ascending."""
    import pandas as pd

    samples = pd.DataFrame({"cell": cells, "index": np.array(indices, dtype=np.float64)})
    return np.flatnonzero(~samples.duplicated(keep="last").to_numpy()).tolist()


def _metric_columns(name: str, info: MetricInfo | None) -> dict[str, Any]:
    return {
        "metric": name,
        "higher_is_better": info.higher_is_better if info else None,
        "is_binary": info.is_binary if info else None,
        "minimum": info.minimum if info else None,
        "maximum": info.maximum if info else None,
    }


def _cell_columns(run: str, header: RunHeader, parts: Iterable[CellPart]) -> list[dict[str, Any]]:
    references = {(task.name, task.protocol): task.reference for task in header.tasks}
    setups: dict[str, str] = {}
    found = []
    for part in parts:
        cell = part.cell
        if part.cell_id not in setups:
            setups[part.cell_id] = cell.setup_id()
        found.append(
            {
                "run": run,
                "model_label": part.model_label,
                "method_label": part.method_label,
                "task": cell.task.name,
                "task_version": cell.task.version,
                "protocol": cell.task.protocol,
                "context_length": cell.context_length,
                "seed": cell.seed,
                "method": cell.method.resolved,
                "factor_policy": part.factor_policy,
                "original_context_length": cell.original_context_length,
                "reference": references.get((cell.task.name, cell.task.protocol)),
                "cell_id": part.cell_id,
                "setup_id": setups[part.cell_id],
            }
        )
    return found
