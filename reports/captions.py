"""What must stand at every figure of a panel: model, protocol, factor policy, n, interval and run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from longbench_run.reports.document import Text, code, text
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import shortened
from longbench_run.results.records import RunHeader

_LONGEST_LABEL = 60
_RUN_ID_DIGITS = 12
_ABSENCES: Mapping[str, str] = {
    "-": "not measured",
    "oom": "out of memory",
    "err": "failed",
    "n/a": "not applicable",
}
"""What a table shows for a cell without a value -> the same in words."""


def run_id(header: RunHeader) -> str:
    """Return the name of a run that its folder does not change: the first digits of its key.

    Args:
        header: The run.
    """
    return header.run_key[:_RUN_ID_DIGITS]


def about(panel: Panel, *more: str) -> tuple[str, ...]:
    """Return what is said within a figure of a panel.

    Args:
        panel: One model, task and metric.
        more: What else holds for all of the figure: n, kind of interval.
    """
    return (
        shortened(panel.model.label, _LONGEST_LABEL),
        f"protocol {panel.task.protocol}",
        f"factor {panel.factor_policy}",
        *more,
    )


def caption(panel: Panel, header: RunHeader, what: str, facts: Iterable[str], *sentences: str) -> Text:
    """Return the caption of a figure or a table of a panel.

    Args:
        panel: One model, task and metric.
        header: The run.
        what: What is shown, without a stop.
        facts: What else holds for all of it: n, kind of interval.
        sentences: How it is to be read.
    """
    return text(
        f"{what}. Model ",
        code(panel.model.label),
        ", protocol ",
        code(panel.task.protocol),
        ", factor policy ",
        code(panel.factor_policy),
        "".join(f", {fact}" for fact in facts),
        f". Original window: {panel.model.original_context_length} tokens. Run ",
        code(run_id(header)),
        "." + "".join(f" {sentence}" for sentence in sentences),
    )


def absence(panel: Panel, method: str, context_length: int) -> str | None:
    """Return why a cell has no value, in words; None where it has one.

    Args:
        panel: One model, task and metric.
        method: Method label.
        context_length: Tokens.
    """
    cell = panel.cells.get((method, context_length))
    if cell is not None and cell.value is not None:
        return None
    return _ABSENCES[panel.value_text(method, context_length)]
