"""The page of a study: tables laid out like the paper's, its own beside them, and what is shown of its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.tuning_claim.claims import Judged, claims, judged
from benchmarks.tuning_claim.editions import FACTOR, HALVES, WINDOWS, Edition
from longbench_run.reports.document import (
    FIGURES,
    Block,
    Cell,
    Figure,
    Heading,
    Items,
    Listing,
    Paragraph,
    Table,
    cell,
    code,
    text,
)
from longbench_run.reports.figures import house_style, save_figure
from longbench_run.reports.markdown import markdown
from longbench_run.reports.text import length_label
from longbench_run.reports.tuned import length_table, loss_block, quality_block, samples_table
from longbench_run.results import load
from longbench_run.results.crossed import Contrast, holm
from longbench_run.results.published import published
from longbench_run.results.store import read_header
from longbench_run.results.tuned import UNTUNED, Place, TunedCell, TunedRun, difference

_MEAN = "longbench_mean_of_12"
"""What the paper's averages are called among its published numbers."""


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
        *(_of_compositions if len(edition.compositions) > 1 else _of_methods)(measured, edition),
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


def _of_methods(run: TunedRun, edition: Edition) -> Iterator[Block]:
    yield from _tables(run, edition)
    yield from _claims(run, edition)
    yield from _halves(run, edition)
    yield from _paper()


def _of_compositions(run: TunedRun, edition: Edition) -> Iterator[Block]:
    mean, (count,) = run.places[0], edition.samples
    yield Heading(text=text("By composition and context length"), level=2)
    yield Paragraph(
        text=text(
            "Conversations of each composition: none, any; short, within the window; long, of more than half the context; "
            "short_then_long, one half of each, the short ones first."
        )
    )
    yield length_table(run, mean, samples=count)
    yield _differences(run, mean, edition, name="compositions", said="differences of means over tasks")
    yield _differences(
        run,
        _nll(run),
        edition,
        name="compositions-nll",
        said="differences of nll, in nats per token, below 0 where the composition is better",
    )
    yield replace(loss_block(run), name="loss")
    yield Heading(text=text("Each task"), level=2)
    for place in run.places[1:]:
        yield length_table(run, place, samples=count)
    yield Heading(text=text("The paper's table 3"), level=2)
    yield Paragraph(
        text=text(
            "Entropy-aware ABF on Llama-2-7B-chat, window 4096, tuned on other mixtures of other data, in percent "
            "(arXiv:2401.07004); long: above 8092 tokens, short: at most 4096."
        )
    )
    rows = [row for row in published("entropy-abf") if row.table == "3"]
    yield _grid("paper-3", "Table 3", {(row.called, row.dataset): row.value for row in rows})


def _nll(run: TunedRun) -> Place:
    return next(place for place in run.places if place.metric == "nll")


def _differences(run: TunedRun, place: Place, edition: Edition, *, name: str, said: str) -> Table:
    (method,), (count,) = edition.methods, edition.samples
    any_length, *others = (f"{method}, composition {each}" for each in edition.compositions)
    lengths = [windows * edition.window for windows in WINDOWS]
    found = {
        (other, length): run.contrast(
            place, difference(other, any_length, samples=count, context_length=length)
        )
        for other in others
        for length in lengths
    }
    corrected = holm([None if each is None else each.p for each in found.values()])
    p_values = dict(zip(found, corrected, strict=True))
    return Table(
        name=name,
        caption=text(
            f"What a composition changes: {said}; paired by seed and sample, with 95 % intervals and p after Holm's "
            "correction over all of them."
        ),
        head=tuple(map(text, ("difference", *map(length_label, lengths)))),
        rows=tuple(
            (
                cell(f"{composition} - none"),
                *(
                    cell(
                        f"{_interval(found[of, length])}, p {'-' if (p := p_values[of, length]) is None else f'{p:.2g}'}"
                    )
                    for length in lengths
                ),
            )
            for composition, of in zip(edition.compositions[1:], others, strict=True)
        ),
    )


def _tables(run: TunedRun, edition: Edition) -> Iterator[Block]:
    mean, target = run.places[0], FACTOR * edition.window
    yield Heading(text=text("By context length, like the paper's table 4"), level=2)
    for count in run.samples:
        if count != UNTUNED:
            yield length_table(run, mean, samples=count)
    yield Heading(text=text("By number of samples, like the paper's table 5"), level=2)
    for length in (target, 2 * target):
        yield samples_table(run, mean, context_length=length)
    yield replace(quality_block(run, mean), name="quality")
    yield replace(loss_block(run), name="loss")
    yield Heading(text=text("Each task"), level=2)
    for place in run.places[1:]:
        yield length_table(run, place, samples=max(run.samples))


def _claims(run: TunedRun, edition: Edition) -> Iterator[Block]:
    target = FACTOR * edition.window
    stated = list(claims(run, target=target, longest=2 * target))
    yield Heading(text=text("What the paper claims"), level=2)
    yield _claim_table(
        "claims",
        judged(run, run.places[0], stated),
        "differences of means over tasks, in shares; positive numbers",
    )
    yield Paragraph(
        text=text(
            "Scores of a small model are at their floor or ceiling where nothing can differ. The same of the nll of "
            "documents that no answer is asked of, which has neither:"
        )
    )
    yield _claim_table(
        "claims-nll",
        judged(run, _nll(run), stated, higher_is_better=False),
        "differences of nll, in nats per token, with the sign turned, so that positive numbers",
    )


def _claim_table(name: str, found: Sequence[Judged], said: str) -> Table:
    return Table(
        name=name,
        caption=text(
            f"Each claim: {said} favour what is named first. 95 % interval over seeds and samples, paired; p after Holm's "
            "correction over all rows."
        ),
        head=tuple(map(text, ("difference", "the paper says", "found", "p", "verdict"))),
        rows=tuple(_claim_row(each) for each in found),
        notes=(
            text(
                "shown, contradicted: p is at most 0.05. not shown: the data decide neither way; where the paper says near "
                "0, no test can show it, and contradicted means that there is a difference."
            ),
        ),
    )


def _claim_row(each: Judged) -> tuple[Cell, ...]:
    return (
        cell(each.claim.text),
        cell(each.claim.says),
        cell(_interval(each.contrast)),
        cell("-" if each.p is None else f"{each.p:.2g}"),
        cell(each.found),
    )


def _interval(found: Contrast | None) -> str:
    if found is None:
        return "-"
    bounds = "[-]" if found.low is None or found.high is None else f"[{found.low:.3f}, {found.high:.3f}]"
    return f"{round(found.value, 3) + 0.0:.3f} {bounds}"  # no -0.000


def _halves(run: TunedRun, edition: Edition) -> Iterator[Block]:
    """Yield the two halves of entropy-aware ABF: base and logit scale, neither, each and both."""
    mean = run.places[0]
    lengths = [windows * edition.window for windows in WINDOWS]
    yield Heading(text=text("Which half does the work"), level=2)
    for samples in (UNTUNED, *edition.halves_samples):
        yield Table(
            name=f"halves-{samples}",
            caption=text(
                f"Mean over tasks of the larger base and the logit scale, neither, each and both; "
                f"{f'{samples} samples' if samples else 'untuned'}."
            ),
            head=tuple(map(text, ("method", *map(length_label, lengths)))),
            rows=tuple(
                (
                    cell(code(method)),
                    *(
                        cell(_interval(run.contrast(mean, {TunedCell(method, samples, n): 1.0})))
                        for n in lengths
                    ),
                )
                for method in HALVES
            ),
        )
        yield _effects(run, mean, samples, lengths)


def _effects(run: TunedRun, mean: Place, samples: int, lengths: list[int]) -> Table:
    neither, scale, base, both = HALVES
    effects = {
        "base, without scale": {base: 1.0, neither: -1.0},
        "base, with scale": {both: 1.0, scale: -1.0},
        "scale, without base": {scale: 1.0, neither: -1.0},
        "scale, with base": {both: 1.0, base: -1.0},
        "interaction": {both: 1.0, base: -1.0, scale: -1.0, neither: 1.0},
    }
    return Table(
        name=f"effects-{samples}",
        caption=text("Effects: differences of the rows above, paired, with 95 % intervals."),
        head=tuple(map(text, ("effect", *map(length_label, lengths)))),
        rows=tuple(
            (
                cell(effect),
                *(
                    cell(
                        _interval(
                            run.contrast(
                                mean,
                                {TunedCell(method, samples, n): sign for method, sign in of_methods.items()},
                            )
                        )
                    )
                    for n in lengths
                ),
            )
            for effect, of_methods in effects.items()
        ),
    )


def _paper() -> Iterator[Block]:
    rows = [row for row in published("entropy-abf") if row.task == _MEAN and row.tuned != "no"]
    yield Heading(text=text("The paper's tables"), level=2)
    yield Paragraph(
        text=text(
            "Llama-2-7B-chat, window 4096, tuned at 16384 tokens of ShareGPT; means over 12 English datasets of LongBench "
            "in percent (arXiv:2401.07004). Of another model, other data and other tasks: the order of methods may be "
            "compared, no number."
        )
    )
    four = {(row.called, row.context_length): row.value for row in rows if row.table == "4"}
    five = {(row.called, _count(row.tuned)): row.value for row in rows if row.table == "5"}
    for name, found, title in (
        ("paper-4", four, "Table 4: by context length, 3,500 conversations"),
        ("paper-5", five, "Table 5: by conversations, at 16384 tokens"),
    ):
        yield _grid(name, title, found)


def _count(tuned: str | None) -> int:
    return int("".join(filter(str.isdigit, (tuned or "").partition(" ShareGPT")[0])))


def _grid(name: str, title: str, found: Mapping[tuple[str, Any], str]) -> Table:
    columns = sorted({column for _, column in found})
    return Table(
        name=name,
        caption=text(title),
        head=tuple(map(text, ("method", *map(str, columns)))),
        rows=tuple(
            (cell(method), *(cell(found.get((method, column), "-")) for column in columns))
            for method in dict.fromkeys(method for method, _ in found)
        ),
    )
