"""A report as one HTML file that needs nothing else: readable by keyboard and ear, in the dark, and on paper.

Whatever a model or a user wrote is text: templates escape it, and a content security policy allows no script and no style
but this package's own, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from longbench_run.reports.cell_samples import CellSamples, SampleKey, cells_with_samples, samples_key
from longbench_run.reports.document import FIGURES, HTML_PAGE, Block, Cell, Figure, Heading, Table, Text
from longbench_run.reports.html_figures import InlineFigures
from longbench_run.reports.samples import LONGEST_TEXT
from longbench_run.reports.text import shortened, visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from longbench_run.reports.content import LoadedRun

DETAILS = "details"
MOST_BYTES = 1_900_000
"""Of the page: what does not fit lies beside it."""


def write_html(runs: Sequence[LoadedRun], blocks: Sequence[Block], folder: Path) -> Path:
    """Write ``report.html``, and ``details/`` beside it where the samples would make it too large to open quickly.

    Args:
        runs: The runs that the report is about, with their samples.
        blocks: The report; figures lie below ``figures/`` of the folder.
        folder: It exists.

    Returns:
        Path of the page.
    """
    cells = {cell.key: cell for cell in cells_with_samples(runs)}
    page = _Page(blocks=blocks, folder=folder, targets=_targets(cells, "#cell-{}"))
    if len(page.body()) > MOST_BYTES:
        page.has_inline_figures = False
    room = MOST_BYTES - len(page.body()) - len(page.figures.glyphs)
    samples: list[Markup] = []
    for number, cell in enumerate(cells.values()):
        samples.append(_rendered("inline_cell.html.j2", cell=cell, anchor=f"cell-{number}"))
        room -= len(samples[-1].encode())
        if room < 0:
            break
    for stale in (folder / DETAILS).glob("cell-*.html"):
        stale.unlink()
    links: list[tuple[str, str]] = []
    if room < 0:
        samples = []
        page.targets = _targets(cells, DETAILS + "/cell-{}.html")
        links = [(page.targets[key], cell.title) for key, cell in cells.items()]
        _write_details(cells, folder)
    path = folder / HTML_PAGE
    path.write_text(
        _rendered("report.html.j2", page=page, body=page.body(), samples=samples, links=links, **_shell()),
        encoding="utf-8",
    )
    return path


@dataclass(slots=True)
class _Page:
    """What templates ask of a report."""

    blocks: Sequence[Block]
    folder: Path
    targets: Mapping[SampleKey, str]
    """Cell -> where its samples are."""
    has_inline_figures: bool = True
    figures: InlineFigures = field(default_factory=InlineFigures)
    _drawings: dict[str, Markup] = field(default_factory=dict)

    @property
    def contents(self) -> list[tuple[str, Heading]]:
        """Anchors and headings of what the table of contents lists."""
        return [
            (self.anchor(place), block)
            for place, block in enumerate(self.blocks)
            if isinstance(block, Heading) and block.level in (2, 3)
        ]

    @property
    def title(self) -> Text:
        """The first heading."""
        return next((block.text for block in self.blocks if isinstance(block, Heading)), ())

    def body(self) -> Markup:
        """Return the blocks as HTML."""
        placed = [
            (type(block).__name__, self.anchor(place), block) for place, block in enumerate(self.blocks)
        ]
        said = {
            after.name
            for before, after in pairwise(self.blocks)
            if isinstance(before, Figure) and isinstance(after, Table) and before.caption == after.caption
        }
        return _rendered("blocks.html.j2", page=self, placed=placed, said=said)

    def anchor(self, place: int) -> str:
        """Return the id of a heading.

        Args:
            place: Of the block in the report.
        """
        return f"part-{place}"

    def samples(self, cell: Cell) -> str | None:
        """Return where the samples behind a cell are, None where there are none.

        Args:
            cell: Of a table.
        """
        return None if cell.samples is None else self.targets.get(samples_key(cell.samples))

    def drawing(self, figure: Figure) -> Markup:
        """Return a figure as a part of the page, or as a reference where there is no room for all of them.

        Args:
            figure: Of the report.
        """
        svg = f"{FIGURES}/{figure.name}.svg"
        if not self.has_inline_figures:
            return Markup('<img src="{}" alt="{}">').format(svg, visible(figure.alt))
        if figure.name not in self._drawings:
            self._drawings[figure.name] = self.figures.inline(
                self.folder / svg, name=f"f{len(self._drawings)}", alt=visible(figure.alt)
            )
        return self._drawings[figure.name]


def _targets(cells: Mapping[SampleKey, CellSamples], form: str) -> Mapping[SampleKey, str]:
    return {key: form.format(number) for number, key in enumerate(cells)}


def _write_details(cells: Mapping[SampleKey, CellSamples], folder: Path) -> None:
    (folder / DETAILS).mkdir(exist_ok=True)
    for number, cell in enumerate(cells.values()):
        path = folder / DETAILS / f"cell-{number}.html"
        path.write_text(_rendered("cell.html.j2", cell=cell, report=HTML_PAGE, **_shell()), encoding="utf-8")


def _rendered(template: str, **values: object) -> Markup:
    return Markup(_environment().get_template(template).render(values))  # noqa: S704 (templates escape)


@lru_cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": visible, "short": _short, "lines": _lines}
    return environment


def _resource(name: str) -> str:
    return (files("longbench_run.reports") / "templates" / name).read_text(encoding="utf-8")


def _short(text: str) -> str:
    """Return text on one line, cut where nobody reads on."""
    return shortened(visible(text), LONGEST_TEXT)


def _lines(text: str) -> str:
    """Return text on its own lines, all else that does not print spelled out, and cut where nobody reads on."""
    return "\n".join(visible(line) for line in shortened(text, LONGEST_TEXT).split("\n"))


@lru_cache
def _shell() -> Mapping[str, str]:
    """Return what every page is wrapped in: style, script and the policy that allows only them."""
    style, script = _resource("report.css"), _resource("report.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704 (own files)


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
