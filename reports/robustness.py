"""How methods hold up over context length, and what the run could have seen: a table each, formulas below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from longbench_run.reports.captions import absence, caption
from longbench_run.reports.document import Block, Cell, Heading, Table, Text, cell, code, text
from longbench_run.reports.panels import Note, Panel, grouped
from longbench_run.reports.text import length_label, multiple_label, score_text
from longbench_run.results.power import FORMULA, POWER, WANTED, Power, power
from longbench_run.results.robustness import FORMULAS, Aggregate, EffectiveLength, Robustness, robustness
from longbench_run.results.statistics import CONFIDENCE, Interval

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.records import RunHeader

_KEPT: Mapping[bool, str] = {True: "retention", False: "rise"}
"""Whether higher is better -> what is kept."""
_DIGITS = 3
_INTERVALS = (
    f"In brackets: {100 * CONFIDENCE:g} % intervals, from those of the cells and the correlation of cells that share "
    "documents (MOVER). Of the effective length: the lengths that it may be. At least: the longest length of the run is "
    "held."
)


def robustness_blocks(panel: Panel, header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield the aggregates of a panel: retention or rise by length, area and effective length of each method.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    found = robustness(header, _rows(panel, frame)) if panel.scored else ()
    if not found:
        return
    higher, window = panel.metric.higher_is_better, panel.model.original_context_length
    # At the window itself retention is 1 and the rise 0, by definition.
    lengths = [length for length in panel.lengths if length != window]
    formulas, unit = FORMULAS[higher], _unit(panel)
    title = f"{panel.title}: robustness"
    yield Heading(text=text(title), level=4)
    yield Table(
        name="-".join((*panel.name, "robustness", panel.model.label)),
        caption=caption(panel, header, title, (panel.count_text(), panel.interval_text())),
        head=(
            text("method"),
            *(
                text(f"{_KEPT[higher]}{unit} at {length_label(length)} ({multiple_label(length, window)})")
                for length in lengths
            ),
            text(f"area{unit}"),
            text("effective length"),
        ),
        rows=tuple(
            (
                cell(code(of_method.method_label)),
                *(_kept(panel, of_method, length) for length in lengths),
                _aggregate(of_method.area),
                _effective_length(of_method.effective_length),
            )
            for of_method in found
        ),
        notes=(*(text(f"{formula}.") for formula in formulas), text(_INTERVALS), *_reasons(found)),
    )


def power_blocks(panel: Panel, header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield what the run could have seen of a panel: detectable differences from the baseline, and samples needed.

    Args:
        panel: One model, task and metric.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    found = (
        {(of.method_label, of.context_length): of for of in power(_rows(panel, frame))}
        if panel.scored
        else {}
    )
    if not found:
        return
    window, unit = panel.model.original_context_length, _unit(panel)
    baseline = next(iter(found.values())).baseline_label
    title = f"{panel.title}: differences from {baseline} that {100 * POWER:g} % of such runs would detect"
    yield Heading(text=text(f"{panel.title}: what this run could detect"), level=4)
    yield Table(
        name="-".join((*panel.name, "power", panel.model.label)),
        caption=caption(panel, header, title, (panel.count_text(),)),
        head=(
            text("method"),
            *(
                text(f"{length_label(length)} ({multiple_label(length, window)}){unit}: n")
                for length in panel.lengths
            ),
        ),
        rows=tuple(
            (cell(code(method)), *(_power(found.get((method, length))) for length in panel.lengths))
            for method in panel.methods
            if method != baseline
        ),
        notes=(
            text(
                f"{FORMULA}. In a cell: the detectable difference, and after the colon the n needed for {WANTED:g}, in "
                "samples, or documents where samples share them."
            ),
            text("Each comparison by itself: with Holm's correction over many of them it takes more."),
            *(
                text(code(places), f": {reason}.")
                for reason, places in grouped(
                    Note(of.method_label, of.context_length, of.reason) for of in found.values() if of.reason
                )
            ),
        ),
    )


def _rows(panel: Panel, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a panel."""
    return frame[
        (frame["model_label"] == panel.model.label)
        & (frame["task"] == panel.task.name)
        & (frame["protocol"] == panel.task.protocol)
        & (frame["metric"] == panel.metric.name)
    ]


def _unit(panel: Panel) -> str:
    return " in nats" if panel.is_perplexity else ""


def _kept(panel: Panel, of_method: Robustness, length: int) -> Cell:
    found = of_method.kept[length]
    if found.value is None and (why := absence(panel, of_method.method_label, length)):
        return cell(why)
    return _aggregate(found, signed=not of_method.higher_is_better)


def _aggregate(found: Aggregate, *, signed: bool = False) -> Cell:
    if found.value is None:
        return cell("-")
    return cell(
        f"{_number(found.value, signed=signed)} {_bounds(found.interval, signed=signed)}", sort=found.value
    )


def _bounds(interval: Interval | None, *, signed: bool) -> str:
    if interval is None:
        return "[-]"
    return f"[{', '.join(_number(bound, signed=signed) for bound in interval)}]"


def _number(value: float, *, signed: bool) -> str:
    shown = score_text(value, digits=_DIGITS)
    return f"+{shown}" if signed and value > 0 else shown


def _effective_length(found: EffectiveLength) -> Cell:
    if found.reason is not None:
        return cell("-")
    own = "none" if found.value is None else length_label(found.value)
    held = "at least " if found.value == found.longest else ""
    bounds = "[-]"
    if found.interval is not None:
        bounds = (
            f"[{', '.join('none' if bound is None else length_label(bound) for bound in found.interval)}]"
        )
    return cell(f"{held}{own} {bounds}", sort=float(found.value or 0))


def _power(found: Power | None) -> Cell:
    if found is None or found.detectable is None:
        return cell("-")
    needed = "more than ten million" if found.needed is None else str(found.needed)
    return cell(f"{score_text(found.detectable, digits=_DIGITS)}: {needed}", sort=found.detectable)


def _reasons(found: tuple[Robustness, ...]) -> Iterator[Text]:
    """Yield why numbers are missing, each reason once."""
    places: dict[str, list[str]] = {}
    for of_method in found:
        reasons = (
            of_method.effective_length.reason,
            of_method.area.reason,
            *(of.reason for of in of_method.kept.values()),
        )
        for reason in dict.fromkeys(reason for reason in reasons if reason is not None):
            places.setdefault(reason, []).append(of_method.method_label)
    for reason, at in places.items():
        yield text(code(", ".join(at)), f": {reason}.")
