"""Tuned variants: quality by context length and by number of samples, each a mean over seeds, and the training loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from longbench_run.reports.captions import run_id
from longbench_run.reports.document import (
    Block,
    Cell,
    Figure,
    Heading,
    Paragraph,
    Table,
    Text,
    cell,
    code,
    text,
)
from longbench_run.reports.figures import MOST_COLOURS
from longbench_run.reports.text import length_label, multiple_label
from longbench_run.reports.tuned_figures import (
    INTERVAL,
    loss_alt,
    loss_figure,
    number_text,
    place_title,
    quality_alt,
    quality_figure,
    seeds_text,
)
from longbench_run.results.statistics import SMALLEST_COUNT
from longbench_run.results.tuned import NONE, UNTUNED, Place, TunedCell, TunedRun

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.crossed import Contrast
    from longbench_run.results.records import ModelSummary, RunHeader

_NOTE = (
    "Each number is the mean over the seeds that its method was tuned with, over the samples that all of them scored. Its "
    "interval holds both sources of chance, seeds and samples of the evaluation (Student's t, the degrees of freedom of "
    "Satterthwaite; what both have in common is counted twice, so that it is rather too wide). Intervals that overlap say "
    "nothing of a difference: methods share seeds and samples, and TunedRun.contrast pairs them."
)
_NO_INTERVAL = f"[-]: no interval below 2 seeds or {SMALLEST_COUNT} samples or documents, or of values that are all equal."


class _Row(NamedTuple):
    """A row of a table."""

    label: Text
    cells: tuple[TunedCell, ...]


def tuned_blocks(header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield the section of a run's tuned variants: of means over tasks and what is in none, and tables of single tasks.

    Args:
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    if not header.tuned:
        return
    run = TunedRun(header, frame)
    in_a_mean = {part for place in run.places if place.task is None for part in run.parts(place)}
    yield Heading(text=text("Tuned variants"), level=3)
    if not run.places:
        yield Paragraph(text=text("Nothing was measured of them."))
    else:
        yield Paragraph(text=text(_NOTE))
    most = max(each.samples for each in header.tuned)
    for place in run.places:
        yield Heading(text=text(_title(run, place)), level=4)
        if place in in_a_mean:
            yield length_table(run, place, samples=most)
            continue
        yield quality_block(run, place)
        for samples in run.samples:
            if samples != UNTUNED:
                yield length_table(run, place, samples=samples)
        for length in shown_lengths(run):
            yield samples_table(run, place, context_length=length)
    yield loss_block(run)


def readable(blocks: Iterable[Block], header: RunHeader) -> Iterator[Block]:
    """Yield the blocks of a run's section, without its figures where variants are more than there are colours.

    Args:
        blocks: With a heading first.
        header: The run.
    """
    is_crowded = bool(header.tuned) and len(header.methods) > MOST_COLOURS
    for place, block in enumerate(blocks):
        if not (is_crowded and isinstance(block, Figure)):
            yield block
        if is_crowded and place == 0:
            yield Paragraph(
                text=text(
                    f"The run has {len(header.methods)} methods, each tuned variant for itself: tables have a row for each, "
                    "and figures, which could not tell them apart, are left out. Tuned variants, above, shows means "
                    "over seeds."
                )
            )


def shown_lengths(run: TunedRun) -> tuple[int, ...]:
    """Return the context lengths that tables by number of samples are for: those tuned for, and the longest.

    Args:
        run: With tuned variants.
    """
    return tuple(length for length in run.lengths if length in run.targets or length == run.lengths[-1])


def length_table(run: TunedRun, place: Place, *, samples: int) -> Table:
    """Return a table of a row per method and a column per context length, the untuned model first.

    Args:
        run: With tuned variants.
        place: A metric, or the mean over tasks.
        samples: Samples learnt from.
    """
    window = _model(run, place).original_context_length
    methods = [(NONE, UNTUNED)] if NONE in run.methods else []
    tuned = dict.fromkeys(each for each in run.methods if run.has(each, samples))
    rows = [
        _Row(
            text(code(method), *([", not tuned"] if count == UNTUNED else [])),
            tuple(TunedCell(method, count, length) for length in run.lengths),
        )
        for method, count in [*methods, *((method, samples) for method in tuned)]
    ]
    return _table(
        run,
        place,
        name=f"by context length {samples} samples",
        what=f"{_title(run, place)} by context length, tuned with {samples} samples",
        head=[f"{length_label(length)} ({multiple_label(length, window)})" for length in run.lengths],
        rows=rows,
    )


def samples_table(run: TunedRun, place: Place, *, context_length: int) -> Table:
    """Return a table of a row per method and a column per number of samples, 0 where nothing was tuned.

    Args:
        run: With tuned variants.
        place: A metric, or the mean over tasks.
        context_length: Tokens of the evaluation.
    """
    window = _model(run, place).original_context_length
    at = f"{length_label(context_length)} ({multiple_label(context_length, window)})"
    rows = [
        _Row(text(code(method)), tuple(TunedCell(method, samples, context_length) for samples in run.samples))
        for method in run.methods
    ]
    return _table(
        run,
        place,
        name=f"by samples at {length_label(context_length)}",
        what=f"{_title(run, place)} at {at} by number of tuning samples",
        head=["0 (not tuned)" if samples == UNTUNED else str(samples) for samples in run.samples],
        rows=rows,
    )


def quality_block(run: TunedRun, place: Place) -> Figure:
    """Return the figure of quality over the number of samples, a panel for each of up to four context lengths.

    Args:
        run: With tuned variants.
        place: A metric, or the mean over tasks.
    """
    what = f"{_title(run, place)} by number of tuning samples"
    every = [
        found
        for method in run.methods
        for samples in run.samples
        for length in run.lengths
        if (found := run.score(place, TunedCell(method, samples, length)))
    ]
    return Figure(
        name="-".join((*_name(place), "by samples", place.model_label)),
        title=what,
        alt=quality_alt(run, place),
        caption=_caption(
            run,
            place,
            what,
            every,
            "At 0: not tuned." + (" Dotted: the unmodified model." if NONE in run.methods else ""),
        ),
        draw=partial(quality_figure, run, place),
    )


def loss_block(run: TunedRun) -> Figure:
    """Return the figure of the training loss over steps, a panel for each of up to four numbers of samples.

    Args:
        run: With tuned variants.
    """
    seeds = len({each.seed for each in run.header.tuned})
    what = "Training loss of the tuned variants over steps"
    return Figure(
        name="training loss",
        title=what,
        alt=loss_alt(run),
        caption=text(
            f"{what}: nats per response token of each step's batch, mean over {seeds_text(seeds)}. Tuned for ",
            ", ".join(map(length_label, run.targets)),
            ". Run ",
            code(run_id(run.header)),
            ". Steps see different samples: a curve shows how methods differ, not how well one generalises.",
        ),
        draw=partial(loss_figure, run),
    )


def _table(
    run: TunedRun, place: Place, *, name: str, what: str, head: Sequence[str], rows: Sequence[_Row]
) -> Table:
    found = {each: run.score(place, each) for row in rows for each in row.cells}
    measured = [each for each in found.values() if each is not None]
    usual = _usual(measured)
    notes = [text(_NO_INTERVAL)] if any(each.low is None for each in measured) else []
    for row in rows:
        for title, each in zip(head, row.cells, strict=True):
            of_cell = found[each]
            if of_cell is not None and _counts(of_cell) != usual[each.samples == UNTUNED]:
                notes.append(text(*row.label, f", {title}: {_counts_text(*_counts(of_cell))}."))
    return Table(
        name="-".join((*_name(place), name, place.model_label)),
        caption=_caption(run, place, what, measured),
        head=(text("method"), *(text(title) for title in head)),
        rows=tuple((cell(row.label), *(_value(place, found[each]) for each in row.cells)) for row in rows),
        notes=tuple(notes),
    )


def _value(place: Place, found: Contrast | None) -> Cell:
    if found is None:
        return cell("-")
    value = number_text(place, found.value)
    if found.low is None or found.high is None:
        return cell(f"{value} [-]", sort=found.value)
    bounds = ", ".join(number_text(place, bound) for bound in (found.low, found.high))
    return cell(f"{value} [{bounds}]", sort=found.value)


def _counts(found: Contrast) -> tuple[int, int]:
    return found.seeds, found.n


def _counts_text(seeds: int, n: int) -> str:
    return f"{seeds_text(seeds)}, n = {n}" if seeds else f"n = {n}"


def _usual(found: Sequence[Contrast]) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return the most common counts of what was tuned, and of what was not."""
    both = [
        Counter(_counts(each) for each in found if (each.seeds == 0) == is_untuned)
        for is_untuned in (False, True)
    ]
    tuned, untuned = (counts.most_common(1)[0][0] if counts else None for counts in both)
    return tuned, untuned


def _caption(run: TunedRun, place: Place, what: str, found: Sequence[Contrast], *sentences: str) -> Text:
    tuned, untuned = _usual(found)
    counts = tuned or untuned or (0, 0)
    tasks = ", ".join(part.task for part in run.parts(place) if part.task)
    of_tasks = f", of the tasks {tasks}" if place.task is None else ""
    protocol = text(", protocol ", code(place.protocol)) if place.protocol else ()
    policies = sorted({each.context_length for each in run.header.tuned})
    return (
        *text(f"{what} ({_direction(run, place)}){of_tasks}. Model ", code(place.model_label)),
        *protocol,
        *text(
            f", tuned for {', '.join(map(length_label, policies))}, {_counts_text(*counts)}, {INTERVAL}. "
            f"Original window: {_model(run, place).original_context_length} tokens. Run ",
            code(run_id(run.header)),
            "." + "".join(f" {sentence}" for sentence in sentences),
        ),
    )


def _direction(run: TunedRun, place: Place) -> str:
    lower = any(
        metric.name == place.metric and not metric.higher_is_better
        for task in run.header.tasks
        if task.name == place.task
        for metric in task.metrics
    )
    return "lower is better" if lower else "higher is better"


def _title(run: TunedRun, place: Place) -> str:
    """Name a place, with its protocol and model where those tell it from others."""
    same = [each for each in run.places if (each.task, each.metric) == (place.task, place.metric)]
    protocols = {each.protocol for each in same}
    models = {each.model_label for each in run.places}
    apart = [
        *([place.protocol] if len(protocols) > 1 and place.protocol else []),
        *([place.model_label] if len(models) > 1 else []),
    ]
    return place_title(place) + (f" ({', '.join(apart)})" if apart else "")


def _name(place: Place) -> tuple[str, ...]:
    return ("tuned", *(part for part in (place.task, place.metric, place.protocol) if part))


def _model(run: TunedRun, place: Place) -> ModelSummary:
    return next(model for model in run.header.models if model.label == place.model_label)
