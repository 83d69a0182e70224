"""What a report says, whatever the format: headings, sentences, tables and figures, one after the other.

Reports are written in these terms once, and each format renders them: nothing is said in one format and missing in
another, and no builder of content knows an escape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

    from longbench_run.reports.figures import Style
    from longbench_run.results.table import CellKey

FIGURES = "figures"
"""Folder of the figures of a report, beside its pages."""
TABLES = "tables"
"""Folder of its tables as files, where a format has them."""

MARKDOWN_PAGE, HTML_PAGE = "report.md", "report.html"

Kind = Literal["plain", "code", "strong"]


class Span(NamedTuple):
    """A stretch of text. It may hold anything, what a model wrote too: renderers escape it."""

    text: str
    kind: Kind = "plain"
    """``code`` is text of the user's or of a model's: labels, paths, names."""


Text: TypeAlias = tuple[Span, ...]
"""One line of text."""


def text(*parts: str | Span) -> Text:
    """Return a line; strings are plain.

    Example:
        >>> text("Model ", code("llama"))
        (Span(text='Model ', kind='plain'), Span(text='llama', kind='code'))
    """
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def code(content: str) -> Span:
    """Return text of the user's, shown letter by letter."""
    return Span(content, "code")


def strong(content: str) -> Span:
    """Return text that stands out."""
    return Span(content, "strong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A title of a section."""

    text: Text
    level: int
    """1 is the report, 2 a run, 3 a table or a figure of it, 4 below that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Sentences."""

    text: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A block of text to be shown as it is, such as a command."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table."""

    text: Text
    sort: float | None = None
    """What the cell is sorted by, where that is not its text."""
    is_best: bool = False
    """Whether it is the best of its column, or not significantly worse than that."""
    samples: CellKey | None = None
    """The samples behind it, where there are some to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, with what makes it stand alone: in a paper, or as a file."""

    name: str
    """Of its file, without a suffix; made fit for one, and unique, before anything is written."""
    caption: Text
    """Model, protocol, factor policy, n, kind of interval, run."""
    head: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """As many cells as the head has."""
    notes: tuple[Text, ...] = ()
    """What must be said of it below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure, drawn when a format wants it."""

    name: str
    """Of its file, as a table's."""
    title: str
    alt: str
    """The figure in words, for those who cannot see it."""
    caption: Text
    draw: Callable[[Style], MatplotlibFigure]
    """Draws it for where it is shown."""


Block: TypeAlias = Heading | Paragraph | Items | Listing | Table | Figure
"""A report is a sequence of these."""


def cell(
    content: str | Span | Text,
    *,
    sort: float | None = None,
    is_best: bool = False,
    samples: CellKey | None = None,
) -> Cell:
    """Return a cell.

    Args:
        content: Its text; a string is plain.
        sort: What it is sorted by, where that is not its text.
        is_best: Whether it is shown as the best.
        samples: Whose samples are behind it, where there are some to read.
    """
    line = text(content) if isinstance(content, str | Span) else content
    return Cell(text=line, sort=sort, is_best=is_best, samples=samples)
