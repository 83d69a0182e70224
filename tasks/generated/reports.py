"""Reports with findings to sum up, and meetings with decisions to recall."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from longbench_run.tasks.generated.few_shot import fillings
from longbench_run.tasks.generated.names import Names, Split
from longbench_run.tasks.generated.passages import Passage, Question, passages
from longbench_run.tasks.generated.sample_wordings import (
    DECISIONS,
    FINDING,
    MEETING,
    MEETING_QUESTION,
    SECTION,
    SPEAKERS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a report, under a heading of its own."""

    text: str
    finding: str | None = None
    """The sentence that a summary repeats, None in background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Sections, in no order: a summary repeats the findings in the order in which they stand."""

    findings: tuple[Section, ...]
    background: Iterator[Section]
    """Endless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that a meeting talks about and decides."""

    text: str
    """A line per utterance, each beginning with who speaks."""
    question: Question


def report(seed: int, index: int, *, split: Split = "tasks", findings: int = 4) -> Report:
    """Return the sections of a report.

    A finding is a sentence that the next one calls so; nothing in the background is.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
        findings: Sections with a finding, at least 1.
    """
    stream = passages(seed, index, split=split, wording="varied")
    return Report(
        findings=tuple(_with_finding(passage) for passage in islice(stream, findings)),
        background=(
            Section(text=SECTION.format(heading=passage.title, text=passage.text)) for passage in stream
        ),
    )


def meeting(seed: int, index: int, *, split: Split = "tasks") -> Iterator[Item]:
    """Yield what a meeting talks about, without end; no two items have a name in common.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    draw = random.Random(f"{seed}:meeting:{index}:{split}")
    names = Names(draw, split)
    while True:
        first, second, third = draw.sample(SPEAKERS, 3)
        filled = {**fillings(draw, names), "first": first, "second": second, "third": third}
        decision = draw.choice(DECISIONS).format_map(filled)
        yield Item(
            text="\n".join(line.format(**filled, decision=decision) for line in MEETING),
            question=Question(
                question=MEETING_QUESTION.format_map(filled), answers=(decision,), statements=(decision,)
            ),
        )


def _with_finding(passage: Passage) -> Section:
    statement = passage.questions[0].statement
    text = passage.text.replace(statement, FINDING.format(statement=statement))
    return Section(text=SECTION.format(heading=passage.title, text=text), finding=statement)
