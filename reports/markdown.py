"""A report as one Markdown page that GitHub shows as it is meant, whatever a label holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from pathlib import Path

from longbench_run.reports.document import (
    FIGURES,
    MARKDOWN_PAGE,
    Block,
    Figure,
    Heading,
    Items,
    Kind,
    Listing,
    Paragraph,
    Span,
    Table,
    Text,
)
from longbench_run.reports.text import markdown_code, markdown_text


def write_markdown(blocks: Sequence[Block], folder: Path) -> Path:
    """Write ``report.md``, which shows the figures that lie below ``figures/``.

    Args:
        blocks: The report; names of figures are those of their files.
        folder: It exists.

    Returns:
        Path of the page.
    """
    path = folder / MARKDOWN_PAGE
    path.write_text(markdown(blocks), encoding="utf-8")
    return path


def markdown(blocks: Iterable[Block]) -> str:
    """Return a report as Markdown.

    Args:
        blocks: The report.
    """
    lines: list[str] = []
    said: Text = ()
    for block in blocks:
        # A table that follows its figure has its caption: it is said once.
        if isinstance(block, Figure | Table) and block.caption != said:
            said = block.caption
            lines += [_line(said), ""]
        lines += [*_lines(block), ""]
    return "\n".join(lines).rstrip() + "\n"


@singledispatch
def _lines(block: Block) -> Iterator[str]:
    raise TypeError(f"no Markdown for {block!r}")


@_lines.register
def _(block: Heading) -> Iterator[str]:
    yield f"{'#' * block.level} {_line(block.text)}"


@_lines.register
def _(block: Paragraph) -> Iterator[str]:
    yield _line(block.text)


@_lines.register
def _(block: Items) -> Iterator[str]:
    yield from (f"- {_line(item)}" for item in block.items)


@_lines.register
def _(block: Listing) -> Iterator[str]:
    # A fence that the content cannot end.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
    yield from (f"{fence}text", block.text, fence)


@_lines.register
def _(block: Figure) -> Iterator[str]:
    stem = f"{FIGURES}/{block.name}"
    yield f"![{markdown_text(block.alt)}]({stem}.png)"
    yield ""
    yield f"The same as [SVG]({stem}.svg) and [PDF]({stem}.pdf)"


@_lines.register
def _(block: Table) -> Iterator[str]:
    yield _row(_line(title, in_table=True) for title in block.head)
    yield f"|{'|'.join(['---'] * len(block.head))}|"
    for cells in block.rows:
        lines = ((cell, _line(cell.text, in_table=True)) for cell in cells)
        yield _row(f"**{line}**" if cell.is_best else line for cell, line in lines)
    if block.notes:
        yield ""
        yield from (f"- {_line(note)}" for note in block.notes)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(line: Text, *, in_table: bool = False) -> str:
    return "".join(_span(span, in_table=in_table) for span in line)


def _span(span: Span, *, in_table: bool) -> str:
    shown: dict[Kind, str] = {
        "plain": markdown_text(span.text),
        "strong": f"**{markdown_text(span.text)}**",
        "code": markdown_code(span.text, in_table=in_table),
    }
    return shown[span.kind]
