"""Whether methods whose attention entropy drifts lose quality, in numbers and in words that claim no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from longbench_run.reports.captions import caption
from longbench_run.reports.document import Block, Heading, Paragraph, text
from longbench_run.reports.panels import Panel
from longbench_run.reports.tables import labelled_table
from longbench_run.reports.text import length_label, score_text
from longbench_run.results.entropy_correlation import FEWEST_METHODS, EntropyCorrelation, associations

if TYPE_CHECKING:
    from longbench_run.results.records import RunHeader

_READ_CORRELATION = (
    "rho: Spearman's rank correlation over the methods, of {drift} and of loss at the same length. Loss is how far a mean "
    "is on the bad side of that of the unmodified model at the original window, which is the same for all methods: the "
    "order of their means decides. Above 0, methods that drift less lose less. Interval: percentiles of the bootstrap "
    "over documents and samples; it is what they leave open of the order of these methods. By chance: share of all "
    "orders of so many methods with a rho at least as far from 0; of four methods it is 0.083 at best. Less drift goes "
    "with: said where the interval lies on one side of 0 and that share is at most 0.05 after Holm's correction over "
    "the rows. No row shows what causes what."
)


def correlation_blocks(
    panel: Panel, header: RunHeader, correlations: Iterable[EntropyCorrelation]
) -> Iterator[Block]:
    """Yield what is known of entropy drift and loss, or that nothing can be.

    Args:
        panel: That of the drift.
        header: The run.
        correlations: Of the run, all panels.
    """
    yield Heading(text=text("Does the method whose entropy drifts least lose least?"), level=4)
    found = [
        each
        for each in correlations
        if (each.drift.model_label, each.drift.task, each.drift.protocol, each.drift.metric)
        == (panel.model.label, panel.task.name, panel.task.protocol, panel.metric.name)
    ]
    if not found:
        yield Paragraph(
            text=text(
                f"This run does not say: it takes {FEWEST_METHODS} methods or more that have both entropies and scores of "
                "another task, at a length beyond the original window."
            )
        )
        return
    yield Paragraph(text=text(verdict(found)))
    yield labelled_table(
        "-".join((panel.task.name, "drift-and-loss", panel.model.label)),
        caption(
            panel,
            header,
            f"Rank correlation of {panel.quantity} and loss of quality over methods",
            ("95 % interval: percentile bootstrap",),
        ),
        correlation_rows(found),
        labels=[0, 1],
        notes=[text(_READ_CORRELATION.format(drift=panel.quantity))],
    )


def verdict(found: Sequence[EntropyCorrelation]) -> str:
    """Say in a sentence what the rows show, and no more.

    Args:
        found: At least one.
    """
    shown = associations(found)
    counts = sorted({len(each.methods) for each in found})
    methods = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    return (
        f"Of {len(found)} rank correlations over {methods} methods, {shown.count('less loss')} show that less drift goes "
        f"with less loss, {shown.count('more loss')} that it goes with more, and {shown.count('not shown')} show neither. "
        "This is of these methods on this model, and says nothing of others."
    )


def correlation_rows(found: Sequence[EntropyCorrelation]) -> Iterator[list[str]]:
    """Yield the head and the rows of a table of rank correlations.

    Args:
        found: Of one panel.
    """
    yield [
        "task",
        "metric",
        "context length",
        "methods",
        "documents",
        "samples",
        "rho",
        "by chance",
        "less drift goes with",
    ]
    for each, shown in zip(found, associations(found), strict=True):
        key = each.quality
        rho = "-"
        if each.value is not None:
            bounds = "-" if each.interval is None else ", ".join(map(score_text, each.interval))
            rho = f"{score_text(each.value)} [{bounds}]"
        yield [
            key.task,
            key.metric,
            length_label(key.context_length),
            str(len(each.methods)),
            str(each.documents),
            str(each.samples),
            rho,
            "-" if each.chance is None else f"{each.chance:.2g}",
            shown,
        ]
