"""The page of a study: how it was made, and what it found beside the paper's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.tuning_claim.compositions import of_compositions
from benchmarks.tuning_claim.editions import FACTOR, Edition
from benchmarks.tuning_claim.methods import of_methods
from longbench_run.reports.document import FIGURES, Block, Figure, Heading, Items, Listing, Paragraph, text
from longbench_run.reports.figures import house_style, save_figure
from longbench_run.reports.markdown import markdown
from longbench_run.results import load
from longbench_run.results.store import read_header
from longbench_run.results.tuned import TunedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How variants were made and measured."""

    command: str
    """How it was asked."""
    seconds: Mapping[str, float]
    """Part -> wall-clock seconds."""
    rates: Mapping[str, float]
    """Learning rate -> loss that it was chosen by."""
    deviations: Mapping[str, Any]
    """Part of the paper's recipe -> what it was here, where it was another."""
    machine: str
    """What the seconds are of."""


def write_page(run: Path, folder: Path, *, edition: Edition, made: Made) -> Path:
    """Write ``tuning_claim-EDITION.md`` and its figures.

    Args:
        run: Folder of the run that measured the variants.
        folder: Where to write.
        edition: What was done.
        made: How.

    Returns:
        Path of the page.
    """
    header = read_header(run)
    measured = TunedRun(header, load(run))
    blocks = [
        *_introduction(edition, made),
        *(of_compositions if len(edition.compositions) > 1 else of_methods)(measured, edition),
    ]
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    named = [
        replace(block, name=f"tuning_claim-{edition.name}-{block.name}")
        if isinstance(block, Figure)
        else block
        for block in blocks
    ]
    for block in named:
        if isinstance(block, Figure):
            with house_style():
                figure = block.draw("report")
            save_figure(figure, folder / FIGURES / block.name, title=block.title, description=block.alt)
    path = folder / f"tuning_claim-{edition.name}.md"
    path.write_text(markdown(named), encoding="utf-8")
    return path


def _introduction(edition: Edition, made: Made) -> Iterator[Block]:
    yield Heading(text=text(f"The claim of entropy-aware ABF in miniature: edition {edition.name}"), level=1)
    yield Listing(text=made.command)
    model = "the bundled model" if edition.trained is None else f"a {edition.trained} model, trained for this"
    yield Paragraph(
        text=text(
            f"{model[0].upper()}{model[1:]}, window {edition.window} tokens, is tuned at {FACTOR} windows with each method "
            "attached, all weights, on conversations that are generated; nothing in them is asked for by a task. It is "
            "then measured at 1, 2, 4 and 8 windows. What is found is reported as it is found."
        )
    )
    parts = ", ".join(f"{part} {spent / 60:.0f} min" for part, spent in made.seconds.items())
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "longbench-run"))
    yield Items(
        items=(
            text(f"samples {', '.join(map(str, edition.samples))} of {edition.conversations} conversations"),
            text(f"seeds {', '.join(map(str, edition.seeds))}: which conversations, and their order"),
            text(
                "at every length, of each dataset: "
                + ", ".join(f"{task['name']} {task['samples']} samples" for task in edition.tasks)
            ),
            text(
                "the paper's recipe but for "
                + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in made.deviations.items())
            ),
            text(
                f"the learning rate, one for all: the lowest mean loss of {', '.join(edition.methods)} in the last step, "
                f"with {edition.rate_samples} samples of a seed of its own, among "
                + ", ".join(f"{rate} ({loss:.3f})" for rate, loss in made.rates.items())
            ),
            text(f"time: {parts}; {sum(made.seconds.values()) / 60:.0f} min in all, {made.machine}"),
            text(versions),
        )
    )
