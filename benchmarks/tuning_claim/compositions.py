"""What the composition of the data changes, beside the paper's table 3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.tuning_claim.blocks import grid, interval, nll_place
from benchmarks.tuning_claim.editions import WINDOWS, Edition
from longbench_run.reports.document import Block, Heading, Paragraph, Table, cell, text
from longbench_run.reports.text import length_label
from longbench_run.reports.tuned import length_table, loss_block
from longbench_run.results.crossed import holm
from longbench_run.results.published import published
from longbench_run.results.tuned import Place, TunedRun, difference


def of_compositions(run: TunedRun, edition: Edition) -> Iterator[Block]:
    """Yield the blocks of an edition with several compositions and one method."""
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
        nll_place(run),
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
    yield grid("paper-3", "Table 3", {(row.called, row.dataset): row.value for row in rows})


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
                        f"{interval(found[of, length])}, p {'-' if (p := p_values[of, length]) is None else f'{p:.2g}'}"
                    )
                    for length in lengths
                ),
            )
            for composition, of in zip(edition.compositions[1:], others, strict=True)
        ),
    )
