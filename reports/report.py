"""The report of stored runs: read once, said once, written in every format asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from longbench_run.reports.content import LoadedRun, report_blocks
from longbench_run.reports.csv import write_csv
from longbench_run.reports.document import FIGURES, Block, Figure, Table
from longbench_run.reports.figures import STYLES, Style, save_figure
from longbench_run.reports.html import write_html
from longbench_run.reports.latex import write_latex
from longbench_run.reports.markdown import write_markdown
from longbench_run.results.records import ResultsError
from longbench_run.results.store import read_header
from longbench_run.results.table import load

_LONGEST_NAME = 80

_WRITERS: Mapping[str, Callable[[Sequence[LoadedRun], Sequence[Block], Path], Path]] = {
    "html": write_html,
    "md": lambda _, blocks, folder: write_markdown(blocks, folder),
    "latex": lambda _, blocks, folder: write_latex(blocks, folder),
    "csv": lambda runs, blocks, folder: write_csv(blocks, [run.frame for run in runs], folder),
}
FORMATS = tuple(_WRITERS)
"""What a report can be written as."""
DEFAULT_FORMATS = ("md", "html")
DEFAULT_STYLE: Style = "report"


def write_report(
    runs: Sequence[Path | str],
    output: Path | str,
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    style: str = DEFAULT_STYLE,
    against: str | None = None,
) -> tuple[Path, ...]:
    """Write the report of runs and its figures; the same runs give the same bytes.

    Runs are shown one after the other: samples of two runs are never pooled.

    Args:
        runs: Run folders, at least one.
        output: Folder of the report; made where it is missing.
        formats: Some of `FORMATS`.
        style: Where its figures are to be shown, one of `longbench_run.reports.figures.STYLES`.
        against: A paper whose numbers stand beside the runs', one of `longbench_run.results.published.published_names`.

    Returns:
        The page to open of each format, in the order of ``formats``.

    Raises:
        ResultsError: If there is no run, a name is unknown, a folder is no run or cannot be read, or the output
            cannot be written.
    """
    if not runs:
        raise ResultsError("report: run must be at least one folder, got none. Name a folder below runs/.")
    wanted = tuple(dict.fromkeys(known("--format", name, FORMATS) for name in formats))
    look = known("--style", style, STYLES)
    loaded = [LoadedRun(str(run), read_header(run), load(run)) for run in runs]
    blocks = tuple(with_file_names(report_blocks(loaded, against=against)))
    output = Path(output)
    try:
        (output / FIGURES).mkdir(parents=True, exist_ok=True)
        for block in blocks:
            if isinstance(block, Figure):
                stem = output / FIGURES / block.name
                save_figure(block.draw(look), stem, title=block.title, description=block.alt)
        return tuple(_WRITERS[name](loaded, blocks, output) for name in wanted)
    except OSError as error:
        raise ResultsError(
            f"{output}: --output must be writable, got {error.strerror or error!s}. Choose another --output."
        ) from None


Name = TypeVar("Name", bound=str)


def known(flag: str, name: str, names: Sequence[Name]) -> Name:
    """Return a name as one of those that there are.

    Args:
        flag: Where it was typed.
        name: What was typed.
        names: What could be.

    Raises:
        ResultsError: If it is none of them; the nearest is suggested.
    """
    for each in names:
        if each == name:
            return each
    near = get_close_matches(name, names, n=1)
    remedy = f'Did you mean "{near[0]}"?' if near else "Choose one of them."
    raise ResultsError(f"report: {flag} must be one of {', '.join(names)}, got {name!r}. {remedy}")


def with_file_names(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks whose names can be those of files: readable, and no two figures or tables with the same.

    Args:
        blocks: A report.
    """
    taken: set[tuple[type, str]] = set()
    for block in blocks:
        if not isinstance(block, Figure | Table):
            yield block
            continue
        wanted = re.sub(r"[^A-Za-z0-9._]+", "-", block.name).strip("-.")[:_LONGEST_NAME] or "x"
        name, number = wanted, 2
        # Some file systems do not tell upper from lower case.
        while (type(block), name.lower()) in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add((type(block), name.lower()))
        yield replace(block, name=name)
