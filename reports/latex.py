"""A report as LaTeX: each table as a file that a paper can input, and one document that holds all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from pathlib import Path

from longbench_run.reports.document import (
    FIGURES,
    TABLES,
    Block,
    Cell,
    Figure,
    Heading,
    Items,
    Listing,
    Paragraph,
    Table,
)
from longbench_run.reports.latex_text import escaped, latex

PAGE = "report.tex"

_MOST_ROWS = 40
"""Of a table on one page; longer ones go on in the next."""
_WIDEST_CELL = 48
"""Characters of a cell on one line; columns with longer ones have lines of a fixed width."""
_WIDE_COLUMN = r">{\raggedright\arraybackslash}p{0.36\linewidth}"
_NEEDS = "% Needs \\usepackage[T1]{fontenc} and \\usepackage{textcomp,array,booktabs,graphicx}."
_PREAMBLE = rf"""{_NEEDS}
\documentclass[a4paper,10pt]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage{{textcomp,array,booktabs,graphicx}}
\usepackage[margin=22mm]{{geometry}}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage{{float}}
\floatplacement{{figure}}{{H}}
\floatplacement{{table}}{{H}}
\setlength{{\parindent}}{{0pt}}
\setlength{{\parskip}}{{0.5em}}
\emergencystretch=3em
\begin{{document}}
"""
_HEADINGS: Mapping[int, str] = {
    1: "{{\\LARGE\\bfseries {}\\par}}",
    2: "\\section*{{{}}}",
    3: "\\subsection*{{{}}}",
    4: "\\subsubsection*{{{}}}",
}
_NO_WIDER = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}"
"""Shrinks what is wider than a line."""


def write_latex(blocks: Sequence[Block], folder: Path) -> Path:
    r"""Write ``tables/NAME.tex`` for each table, and ``report.tex``, which inputs them and shows the figures.

    Args:
        blocks: The report; names of figures and tables are those of their files, and each figure lies below ``figures/``
            as PDF.
        folder: It exists.

    Returns:
        Path of the document.
    """
    (folder / TABLES).mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Table):
            (folder / TABLES / f"{block.name}.tex").write_text(latex_table(block), encoding="ascii")
    path = folder / PAGE
    path.write_text(latex_document(blocks), encoding="ascii")
    return path


def latex_document(blocks: Sequence[Block]) -> str:
    """Return a document that inputs each table's file.

    Args:
        blocks: The report.
    """
    body = (line for block in blocks for line in (*_lines(block), ""))
    return "\n".join([_PREAMBLE, *body, "\\end{document}"]) + "\n"


def latex_table(table: Table) -> str:
    """Return a table with caption, label and notes: booktabs, what is best in bold, no wider than a line.

    Args:
        table: Its name is that of its label, ``tab:NAME``.
    """
    columns = "".join(_column(table, place) for place in range(len(table.head)))
    head = _row([latex(title) for title in table.head])
    starts = range(0, max(1, len(table.rows)), _MOST_ROWS)
    parts = [_NEEDS]
    for start in starts:
        is_first, is_last = start == starts[0], start == starts[-1]
        parts += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{latex(table.caption)}{'' if is_first else ' (continued)'}}}",
            *([f"\\label{{tab:{table.name}}}"] if is_first else []),
            "\\small",
            "\\smallskip",
            f"{_NO_WIDER}{{%",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            head,
            "\\midrule",
            *(_row(map(_cell, cells)) for cells in table.rows[start : start + _MOST_ROWS]),
            "\\bottomrule",
            "\\end{tabular}}",
            *(
                f"\\par\\smallskip{{\\footnotesize\\raggedright {latex(note)}\\par}}"
                for note in (table.notes if is_last else ())
            ),
            "\\end{table}",
        ]
    return "\n".join(parts) + "\n"


@singledispatch
def _lines(block: Block) -> Iterator[str]:
    raise TypeError(f"no LaTeX for {block!r}")


@_lines.register
def _(block: Heading) -> Iterator[str]:
    yield _HEADINGS[block.level].format(latex(block.text))


@_lines.register
def _(block: Paragraph) -> Iterator[str]:
    yield latex(block.text)


@_lines.register
def _(block: Items) -> Iterator[str]:
    if block.items:
        yield "\\begin{itemize}"
        yield from (f"\\item {latex(item)}" for item in block.items)
        yield "\\end{itemize}"


@_lines.register
def _(block: Listing) -> Iterator[str]:
    yield "\\begin{quote}\\ttfamily\\raggedright"
    yield from (f"{escaped(line).replace('  ', '~~')}\\par" for line in block.text.splitlines())
    yield "\\end{quote}"


@_lines.register
def _(block: Figure) -> Iterator[str]:
    yield "\\begin{figure}"
    yield "\\centering"
    # Braces around the stem: with a dot in it, older versions would take the rest for a suffix.
    stem = f"{{{FIGURES}/{block.name}}}.pdf"
    yield f"{_NO_WIDER}{{\\includegraphics{{{stem}}}}}"
    yield f"\\caption{{{latex(block.caption)}}}"
    yield f"\\label{{fig:{block.name}}}"
    yield "\\end{figure}"


@_lines.register
def _(block: Table) -> Iterator[str]:
    yield f"\\input{{{TABLES}/{block.name}.tex}}"


def _column(table: Table, place: int) -> str:
    """Return how a column is set: text to the left, numbers to the right, long text over several lines."""
    cells = [row[place] for row in table.rows]
    if any(sum(len(span.text) for span in cell.text) > _WIDEST_CELL for cell in cells):
        return _WIDE_COLUMN
    is_label = place == 0 or any(span.kind == "code" for cell in cells for span in cell.text)
    return "l" if is_label else "r"


def _cell(cell: Cell) -> str:
    shown = latex(cell.text)
    return f"\\textbf{{{shown}}}" if cell.is_best and shown else shown


def _row(cells: Iterator[str] | Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
