"""Tables made of rows of text."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

from longbench_run.reports.document import Table, Text, cell, code, text

_NUMBER = re.compile(r"(?P<number>[+-]?\d+(\.\d+)?(e[+-]?\d+)?)(?P<unit>[kM]?)(?![\w.])")
_UNITS = {"": 1, "k": 1024, "M": 1024 * 1024}


def labelled_table(
    name: str,
    about: Text,
    rows: Iterable[Sequence[str]],
    *,
    labels: Container[int],
    notes: Sequence[Text] = (),
) -> Table:
    """Return a table of rows of text.

    Args:
        name: Of its file.
        about: Its caption.
        rows: The head first.
        labels: Columns that hold text of the user's; others are sorted by the number that they begin with.
        notes: What must be said of it.
    """
    head, *body = rows
    return Table(
        name=name,
        caption=about,
        head=tuple(text(title) for title in head),
        rows=tuple(
            tuple(
                cell(code(content)) if place in labels else cell(content, sort=_number(content))
                for place, content in enumerate(row)
            )
            for row in body
        ),
        notes=tuple(notes),
    )


def _number(content: str) -> float | None:
    """Return the number that a cell begins with; ``k`` and ``M`` are those of context lengths."""
    found = _NUMBER.match(content)
    return float(found["number"]) * _UNITS[found["unit"]] if found else None
