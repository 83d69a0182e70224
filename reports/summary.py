"""What a run says, in a few sentences per task: computed, and only as far as a test says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from longbench_run.reports.document import Block, Heading, Items, Paragraph, Span, Text, code, strong, text
from longbench_run.reports.figures import BASELINE
from longbench_run.reports.forest import Forest, forest_of
from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label
from longbench_run.results.robustness import robustness

if TYPE_CHECKING:
    import pandas as pd

    from longbench_run.results.method_differences import Effect
    from longbench_run.results.records import RunHeader
    from longbench_run.results.robustness import EffectiveLength, Robustness

_MOST_NAMED = 8
"""Methods named in one sentence."""
_SHOWN: tuple[Effect, ...] = ("better", "worse")
_NOTE = (
    "Effective length: the longest one up to which a method holds its own score at the original window, with a 95 % range; "
    "below all: not even at the shortest; not known: the score there is missing or not above chance. "
    f"Better and worse: than {BASELINE}, over the same samples, each where a test shows it with a chance of 5 % for any "
    "wrong word of a task and metric (Holm's correction over its methods and lengths). Not shown is not the same as equal: "
    "more samples may show it."
)


def summary_blocks(panels: Sequence[Panel], header: RunHeader, frame: pd.DataFrame) -> Iterator[Block]:
    """Yield the verdict on a run: beyond the original window, which methods differ from the unmodified model.

    Args:
        panels: Of the run.
        header: The run.
        frame: Rows of `longbench_run.results.load` for it.
    """
    found: dict[tuple[str, str, str, str], list[Robustness]] = {}
    for each in robustness(header, frame):
        found.setdefault((each.model_label, each.task, each.protocol, each.metric), []).append(each)
    yield Heading(text=text("Summary"), level=3)
    yield Items(
        items=tuple(
            _verdict(
                panel,
                header,
                frame,
                found.get((panel.model.label, panel.task.name, panel.task.protocol, panel.metric.name), []),
            )
            for panel in panels
        )
    )
    yield Paragraph(text=text(_NOTE))


def _verdict(panel: Panel, header: RunHeader, frame: pd.DataFrame, methods: Sequence[Robustness]) -> Text:
    of_model = text(" of ", code(panel.model.label)) if len(header.models) > 1 else ()
    subject = text(strong(panel.title), *of_model, ", protocol ", code(panel.task.protocol), ": ")
    beyond = [length for length in panel.lengths if length > panel.model.original_context_length]
    if not panel.scored:
        return (*subject, *text("nothing was measured."))
    if not beyond:
        return (*subject, *text("no length beyond the original window was asked for."))
    forest = forest_of(panel, frame)
    return (
        *subject,
        *_held(methods),
        *(_effects(forest, beyond) if forest else _not_compared(panel)),
        *_longest(panel, beyond),
    )


def _held(methods: Sequence[Robustness]) -> Text:
    """Say up to which length methods hold their own score at the window, the longest first."""
    found: dict[EffectiveLength, list[str]] = {}
    unknown = []
    for each in methods:
        if each.effective_length.reason is None:
            found.setdefault(each.effective_length, []).append(each.method_label)
        else:
            unknown.append(each.method_label)
    sentences: list[Span] = []
    for length, of in sorted(found.items(), key=lambda group: -(group[0].value or 0)):
        sentences += [Span(f"{_held_text(length)}: "), *_named(of), Span("; ")]
    if unknown:
        sentences += [Span("not known: "), *_named(unknown), Span("; ")]
    return (Span("effective length "), *sentences[:-1], Span(". ")) if sentences else ()


def _held_text(length: EffectiveLength) -> str:
    at_least = "at least " if length.value == length.longest else ""
    bounds = "-" if length.interval is None else ", ".join(map(_end_text, length.interval))
    return f"{at_least}{_end_text(length.value)} [{bounds}]"


def _end_text(length: int | None) -> str:
    return "below all" if length is None else length_label(length)


def _not_compared(panel: Panel) -> Text:
    """Say that there is nothing to compare methods with; of the unmodified model alone there is nothing to say."""
    if panel.methods == (BASELINE,):
        return ()
    return text("There is no ", code(BASELINE), " to compare with. ")


def _effects(forest: Forest, beyond: Sequence[int]) -> Text:
    """Say which methods are shown to be better or worse beyond the window, and where."""
    found: dict[tuple[Effect, tuple[int, ...]], list[str]] = {}
    unclear = []
    for method in forest.methods:
        effects = {
            length: difference.effect
            for length in beyond
            if (difference := forest.differences.get((method, length)))
        }
        shown = [effect for effect in _SHOWN if effect in effects.values()]
        for effect in shown:
            at = tuple(length for length, of in effects.items() if of == effect)
            found.setdefault((effect, at), []).append(method)
        if not shown:
            unclear.append(method)
    sentences: list[Span] = []
    for (effect, at), methods in sorted(found.items(), key=lambda group: (group[0][0], -len(group[0][1]))):
        where = "at every length beyond the window" if at == tuple(beyond) else f"at {_lengths(at)}"
        sentences += [Span(f"{effect} {where}: "), *_named(methods), Span("; ")]
    if unclear:
        sentences += [Span("no difference shown: "), *_named(unclear), Span("; ")]
    return (Span(f"Against {BASELINE}, "), *sentences[:-1], Span(". "))


def _longest(panel: Panel, beyond: Sequence[int]) -> Text:
    """Say what was measured at the longest length, the best first."""
    length = beyond[-1]
    values: Mapping[str, float] = {
        method: cell.value
        for method in panel.methods
        if (cell := panel.cells.get((method, length))) and cell.value is not None
    }
    sign = -1 if panel.metric.higher_is_better else 1
    best = sorted(values, key=lambda method: sign * values[method])
    at = f"{length_label(length)} ({multiple_label(length, panel.model.original_context_length)})"
    parts: list[Span] = []
    for method in best[:_MOST_NAMED]:
        parts += [code(method), Span(f" {panel.number_text(values[method])}, ")]
    missing = [method for method in panel.methods if method not in values]
    said = [*parts[:-1], Span(parts[-1].text.rstrip(", "))] if parts else [Span("nothing was measured")]
    rest = f" and {len(best) - _MOST_NAMED} more" if len(best) > _MOST_NAMED else ""
    without = [Span("; without a value: "), *_named(missing)] if missing and parts else []
    return text(f"At {at}: ", *said, rest, *without, ".")


def _named(methods: Sequence[str]) -> list[Span]:
    names = [part for method in methods[:_MOST_NAMED] for part in (Span(", "), code(method))][1:]
    return [
        *names,
        *([Span(f" and {len(methods) - _MOST_NAMED} more")] if len(methods) > _MOST_NAMED else []),
    ]


def _lengths(lengths: Sequence[int]) -> str:
    return ", ".join(map(length_label, lengths))
