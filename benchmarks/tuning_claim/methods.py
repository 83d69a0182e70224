"""Tables laid out like the paper's 4 and 5, what is shown of its claims, and which half does the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.tuning_claim.blocks import grid, interval, nll_place
from benchmarks.tuning_claim.claims import Judged, claims, judged
from benchmarks.tuning_claim.editions import FACTOR, HALVES, WINDOWS, Edition
from longbench_run.reports.document import Block, Cell, Heading, Paragraph, Table, cell, code, text
from longbench_run.reports.text import length_label
from longbench_run.reports.tuned import length_table, loss_block, quality_block, samples_table
from longbench_run.results.published import published
from longbench_run.results.tuned import UNTUNED, Place, TunedCell, TunedRun

_MEAN = "longbench_mean_of_12"
"""What the paper's averages are called among its published numbers."""


def of_methods(run: TunedRun, edition: Edition) -> Iterator[Block]:
    """Yield the blocks of an edition with several methods."""
    yield from _tables(run, edition)
    yield from _claims(run, edition)
    yield from _halves(run, edition)
    yield from _paper()


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
        judged(run, nll_place(run), stated, higher_is_better=False),
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
                "0, no test can show it, and contradicted means that there is a difference. not tested: every seed and "
                "sample has the same value, or there are too few, and nothing is known of their spread."
            ),
        ),
    )


def _claim_row(each: Judged) -> tuple[Cell, ...]:
    return (
        cell(each.claim.text),
        cell(each.claim.says),
        cell(interval(each.contrast)),
        cell("-" if each.p is None else f"{each.p:.2g}"),
        cell(each.found),
    )


def _halves(run: TunedRun, edition: Edition) -> Iterator[Block]:
    """Yield the two halves of entropy-aware ABF: base and logit scale, neither, each and both."""
    lengths = [windows * edition.window for windows in WINDOWS]
    yield Heading(text=text("Which half does the work"), level=2)
    for place, said in (
        (run.places[0], "Mean over tasks"),
        (nll_place(run), "Nll of documents, in nats per token and less where it is better,"),
    ):
        for samples in (UNTUNED, *edition.halves_samples):
            name = f"{samples}" if place.metric is None else f"{samples}-{place.metric}"
            yield Table(
                name=f"halves-{name}",
                caption=text(
                    f"{said} of the larger base and the logit scale, neither, each and both; "
                    f"{f'{samples} samples' if samples else 'untuned'}."
                ),
                head=tuple(map(text, ("method", *map(length_label, lengths)))),
                rows=tuple(
                    (
                        cell(code(method)),
                        *(
                            cell(interval(run.contrast(place, {TunedCell(method, samples, n): 1.0})))
                            for n in lengths
                        ),
                    )
                    for method in HALVES
                ),
            )
            yield _effects(run, place, samples, lengths, name=f"effects-{name}")


def _effects(run: TunedRun, place: Place, samples: int, lengths: list[int], *, name: str) -> Table:
    neither, scale, base, both = HALVES
    effects = {
        "base, without scale": {base: 1.0, neither: -1.0},
        "base, with scale": {both: 1.0, scale: -1.0},
        "scale, without base": {scale: 1.0, neither: -1.0},
        "scale, with base": {both: 1.0, base: -1.0},
        "interaction": {both: 1.0, base: -1.0, scale: -1.0, neither: 1.0},
    }
    return Table(
        name=name,
        caption=text("Effects: differences of the rows above, paired, with 95 % intervals."),
        head=tuple(map(text, ("effect", *map(length_label, lengths)))),
        rows=tuple(
            (
                cell(effect),
                *(
                    cell(
                        interval(
                            run.contrast(
                                place,
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
        yield grid(name, title, found)


def _count(tuned: str | None) -> int:
    return int("".join(filter(str.isdigit, (tuned or "").partition(" ShareGPT")[0])))
