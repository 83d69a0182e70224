"""Two runs compared, as text for a terminal and as a comment on a pull request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from longbench_run.reports.text import length_label, markdown_code, shortened, visible

if TYPE_CHECKING:
    from longbench_run.results.comparison import ComparedCell, Comparison, Outcome

_LONGEST_LABEL = 60
_LONGEST_REASON = 200
_LONGEST_COMMENT = 60_000
"""Characters: GitHub refuses a comment of more than 65,536."""
_MOST_BAD_ROWS = 25
_GAP = "  "

_OUTCOMES: Mapping[Outcome, str] = {
    "regressed": "Regressed",
    "incomplete": "Not comparable in full",
    "inconclusive": "No regression shown, some cells inconclusive",
    "holds": "Holds",
}
_HEAD = ("verdict", "task", "method", "length", "baseline", "candidate", "difference", "n", "remark")


def summary_text(comparison: Comparison) -> str:
    """Return the verdict on the whole in one line.

    Args:
        comparison: What was found.
    """
    from longbench_run.results.comparison import WORST_FIRST

    counts = comparison.counts
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in WORST_FIRST if counts[verdict])
    return f"{_OUTCOMES[comparison.outcome]}: {listed} (cells: {len(comparison.cells)})."


def facts_text(comparison: Comparison) -> str:
    """Return what the verdicts rest on in one line.

    Args:
        comparison: What was found.
    """
    paired = "paired by sample" if comparison.is_paired else "unpaired"
    return (
        f"Tolerance {comparison.tolerance:g} in the unit of each metric; differences {paired}; "
        f"alpha {comparison.alpha:g} for all cells together ({comparison.family}, Holm), and intervals at that level."
    )


def compare_terminal(comparison: Comparison) -> str:
    """Return the summary, one line per cell with the worst first, and what else must be known.

    Args:
        comparison: What was found.
    """
    rows = [_HEAD, *(_row(cell, comparison) for cell in comparison.cells)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    lines = [
        summary_text(comparison),
        "",
        *(
            _GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
        "",
        facts_text(comparison),
        *(f"! {visible(shortened(note, _LONGEST_REASON))}" for note in _notes(comparison)),
    ]
    return "\n".join(lines) + "\n"


def compare_markdown(comparison: Comparison) -> str:
    """Return a comment on a pull request: the verdict, what is bad, and all cells in a table that unfolds.

    Args:
        comparison: What was found.
    """
    from longbench_run.results.comparison import INCOMPLETE

    bad = [cell for cell in comparison.cells if cell.verdict == "regressed" or cell.verdict in INCOMPLETE]
    runs = f"{_code(comparison.candidate)} against {_code(comparison.baseline)}"
    lines = [f"**{summary_text(comparison)}**", "", f"{runs}. {facts_text(comparison)}", ""]
    if bad:
        lines += [*_table(bad[:_MOST_BAD_ROWS], comparison)]
        lines += [f"And {len(bad) - _MOST_BAD_ROWS} more below."] if len(bad) > _MOST_BAD_ROWS else []
        lines.append("")
    notes = [f"- {_code(shortened(note, _LONGEST_REASON))}" for note in _notes(comparison)][:_MOST_BAD_ROWS]
    lines += [*notes, ""] if notes else []
    lines += [f"<details><summary>All {len(comparison.cells)} cells</summary>", ""]
    left = _LONGEST_COMMENT - sum(len(line) + 1 for line in lines)
    shown = 0
    for line in _table(comparison.cells, comparison):
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
        shown += 1
    rest = len(comparison.cells) + 2 - shown  # the table's head is two lines
    lines += ["", f"{rest} more cells do not fit a comment."] if rest else []
    return "\n".join([*lines, "", "</details>"]) + "\n"


def cell_name(cell: ComparedCell, comparison: Comparison) -> str:
    """Return task and metric of a cell, with its protocol and model where there are several.

    Args:
        cell: One of the comparison's.
        comparison: What was found.
    """
    protocols = {other.protocol for other in comparison.cells if other.task == cell.task}
    models = {other.model for other in comparison.cells}
    return " ".join(
        [
            cell.task,
            cell.metric,
            *([f"({cell.protocol})"] if len(protocols) > 1 else []),
            *([f"[{cell.model}]"] if len(models) > 1 else []),
        ]
    )


def difference_text(cell: ComparedCell, comparison: Comparison) -> str:
    """Return the difference with its interval, or nothing where there is none.

    Args:
        cell: One of the comparison's.
        comparison: What was found.
    """
    digits = _digits(comparison.tolerance)
    if cell.difference is None:
        return ""
    text = _signed(cell.difference, digits)
    if cell.low is None or cell.high is None:
        return text
    return f"{text} [{_signed(cell.low, digits)}, {_signed(cell.high, digits)}]"


def remark(cell: ComparedCell) -> str:
    """Return what must be known of a cell beside its numbers.

    Args:
        cell: One of the comparison's.
    """
    parts = [cell.reason] if cell.reason else []
    unit = "samples" if cell.clusters == cell.samples else "documents"
    if cell.verdict == "inconclusive" and cell.reason is None:
        parts.append(
            f"about {cell.needed} {unit} would decide"
            if cell.needed is not None
            else f"no number of {unit} would decide: it lies at the tolerance"
        )
    if cell.samples and cell.missing:
        parts.append(f"samples missing in the candidate: {cell.missing}")
    if cell.added:
        parts.append(f"samples only in the candidate: {cell.added}")
    return "; ".join(parts)


def _row(cell: ComparedCell, comparison: Comparison) -> tuple[str, ...]:
    digits = _digits(comparison.tolerance)
    texts = (
        cell.verdict,
        shortened(cell_name(cell, comparison), _LONGEST_LABEL),
        shortened(cell.method, _LONGEST_LABEL),
        length_label(cell.context_length),
        *("-" if value is None else f"{value:.{digits}f}" for value in (cell.baseline, cell.candidate)),
        difference_text(cell, comparison) or "-",
        _count(cell),
        shortened(remark(cell), _LONGEST_REASON),
    )
    return tuple(visible(text) for text in texts)


def _count(cell: ComparedCell) -> str:
    return (
        str(cell.samples) if cell.clusters == cell.samples else f"{cell.samples} ({cell.clusters} documents)"
    )


def _table(cells: Sequence[ComparedCell], comparison: Comparison) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |"
    yield f"|{'|'.join(['---'] * len(_HEAD))}|"
    for cell in cells:
        verdict, task, method, length, before, after, difference, count, said = _row(cell, comparison)
        numbers = (length, before, after, difference.replace("[", "\\[").replace("]", "\\]"), count)
        yield f"| {' | '.join((verdict, _code(task), _code(method), *numbers, _code(said)))} |"


def _code(text: str) -> str:
    return markdown_code(text, in_table=True)


def _notes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.notes
    yield from (f"not measured in the baseline either: {text}" for text in comparison.unmeasured)
    if comparison.new_cells:
        yield f"cells in the candidate alone: {comparison.new_cells}"


def _digits(tolerance: float) -> int:
    """Return decimals that show the tolerance with a digit to spare, at least three."""
    return 3 if tolerance <= 0 else min(9, max(3, 1 - math.floor(math.log10(tolerance))))


def _signed(value: float, digits: int) -> str:
    """Return a difference with its sign; one that is not 0 does not look as if it were."""
    text = f"{value:+.{digits}f}"
    return f"{value:+.0e}" if value and float(text) == 0 else text
