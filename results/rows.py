"""From records to the table of samples, column by column: a run may have a million."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from longbench_run.results.columns import COLUMNS, NUMBERS, OF_SAMPLE, STRINGS, WHOLE_NUMBERS
from longbench_run.results.lines import Parts, Sample
from longbench_run.results.records import CellPart, MetricInfo, RunHeader

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 10_000
"""Samples that are objects at a time: as objects, those of a million take more time and memory than as arrays."""
_NONE = np.empty(0, dtype=np.intp)


class Rows:
    """The rows of runs, one per sample and metric; of a sample computed twice, the last.

    What rows share, of their cells and metrics, is kept once: a row holds places, and values are looked up at the end.
    """

    def __init__(self) -> None:
        """Begin without a run."""
        self._of_cell: list[dict[str, Any]] = []
        self._of_metric: list[dict[str, Any]] = []
        # Of each sample, the first as arrays of some samples each.
        self._of_sample: defaultdict[str, list[Any]] = defaultdict(list)
        self._cells: list[int] = []
        self._failures: list[Any] = []
        # Of each row, as arrays of a run each.
        self._samples = [_NONE]
        self._metrics = [_NONE]
        self._scores = [np.empty(0)]

    def add(self, run: str, header: RunHeader, records: Iterable[Parts]) -> None:
        """Append the rows of a run: of a sample for each metric declared for its task, and for any other that it has.

        Args:
            run: Folder, as given.
            header: Of the run.
            records: Of the run, in the order in which they were written.
        """
        declared = {task.name: {metric.name: metric for metric in task.metrics} for task in header.tasks}
        first = len(self._cells)
        parts: list[CellPart] = []
        places: dict[int, int] = {}  # of cells, by the identity of their part, which `parts` keeps alive
        indices = [np.empty(0)]
        samples: list[int] = []
        metrics: list[int] = []
        scores: list[float | None] = []
        # What is asked of a sample, by its cell and the names of its scores: name and place of each metric.
        asked: dict[tuple[int | str, ...], list[tuple[str, int]]] = {}
        for of_cells, of_samples in _blocks(records):
            for part in {id(part): part for part in of_cells}.values():
                if id(part) not in places:
                    places[id(part)] = len(self._of_cell) + len(parts)
                    parts.append(part)
            cells = [places[id(part)] for part in of_cells]
            columns = dict(
                zip(Sample.__struct_fields__, zip(*map(astuple, of_samples), strict=True), strict=True)
            )
            for name in OF_SAMPLE:
                self._of_sample[name].append(_block(name, columns[name]))
            indices.append(self._of_sample["index"][-1])
            start = len(self._cells)
            self._cells += cells
            self._failures += columns["failure"]
            for number, (cell, of_sample) in enumerate(zip(cells, columns["scores"], strict=True), start):
                key = (cell, *of_sample)
                if key not in asked:
                    of_task = declared.get(parts[cell - len(self._of_cell)].cell.task.name, {})
                    asked[key] = self._places(of_task, of_sample)
                for name, metric in asked[key]:
                    samples.append(number)
                    metrics.append(metric)
                    scores.append(of_sample.get(name))
        is_last = _is_last(
            parts, np.array(self._cells[first:], dtype=np.intp) - len(self._of_cell), np.concatenate(indices)
        )
        self._of_cell += _cell_columns(run, header, parts)
        rows = np.array(samples, dtype=np.intp)
        kept = is_last[rows - first]
        self._samples.append(rows[kept])
        self._metrics.append(np.array(metrics, dtype=np.intp)[kept])
        self._scores.append(np.array(scores, dtype=np.float64)[kept])

    def _places(self, declared: dict[str, MetricInfo], scored: Iterable[str]) -> list[tuple[str, int]]:
        """Append the metrics of a sample, and return their names and places; one without a name if there is none."""
        names = list(dict.fromkeys((*declared, *scored))) or [""]
        start = len(self._of_metric)
        self._of_metric += [_metric_columns(name, declared.get(name)) for name in names]
        return [(name, start + place) for place, name in enumerate(names)]

    def frame(self) -> pd.DataFrame:
        """Return the table, with the columns of `COLUMNS`; whole numbers are nullable. The rows are gone after that."""
        import pandas as pd

        samples, metrics = np.concatenate(self._samples), np.concatenate(self._metrics)
        cells = np.array(self._cells, dtype=np.intp)[samples]
        failures = [self._failures[sample] for sample in samples]
        series: dict[str, Any] = {
            "score": np.concatenate(self._scores),
            "failure": pd.Series([failure and f"{failure.type}: {failure.message}" for failure in failures]),
        }
        for shared, places in ((self._of_cell, cells), (self._of_metric, metrics)):
            used, looked_up = np.unique(places, return_inverse=True)
            for name in shared[0] if shared else ():
                values = _column(name, [_block(name, [shared[place][name] for place in used])])
                series[name] = values.take(looked_up)
        is_one_row_each = np.array_equal(samples, np.arange(len(self._cells)))
        for name in OF_SAMPLE:
            values = _column(name, self._of_sample.pop(name, []))
            series[name] = values if is_one_row_each else values.take(samples)
        return pd.DataFrame({name: series.get(name, _column(name, [])) for name in COLUMNS}, copy=False)


def _blocks(records: Iterable[Parts]) -> Iterator[tuple[tuple[CellPart, ...], tuple[Any, ...]]]:
    """Yield the parts of the cell and the samples of some records at a time."""
    rest = iter(records)
    while block := list(islice(rest, _BLOCK)):
        of_cells, of_samples = zip(*block, strict=True)
        yield of_cells, of_samples


def _block(name: str, values: Sequence[Any]) -> Any:
    """Return some values of a column, as an array where its type is known before the other values are."""
    import pandas as pd

    if name in NUMBERS or name in WHOLE_NUMBERS:
        return np.fromiter(values, dtype=np.float64, count=len(values))
    if name in STRINGS:
        return pd.Series(values, dtype=pd.Series([""]).dtype)
    return values


def _column(name: str, blocks: Sequence[Any]) -> Any:
    """Return a column, as pandas makes it of a list of all values."""
    import pandas as pd

    if name in NUMBERS or name in WHOLE_NUMBERS:
        numbers = np.concatenate([np.empty(0), *blocks])
        return pd.Series(numbers).astype("Int64").array if name in WHOLE_NUMBERS else numbers
    if name in STRINGS and any(block.notna().any() for block in blocks):
        return pd.concat(blocks, ignore_index=True).array
    values = [None] * sum(map(len, blocks)) if name in STRINGS else list(chain.from_iterable(blocks))
    return pd.Series(values).array


def _is_last(
    parts: Sequence[CellPart], cells: NDArray[np.intp], indices: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say of each sample, of the place of a cell's part and an index, whether no later one is of the same two."""
    import pandas as pd

    ids: dict[str, int] = {}
    of_part = np.array([ids.setdefault(part.cell_id, len(ids)) for part in parts], dtype=np.intp)
    samples = pd.DataFrame({"cell": of_part[cells], "index": indices})
    found: NDArray[np.bool_] = ~samples.duplicated(keep="last").to_numpy()
    return found


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
