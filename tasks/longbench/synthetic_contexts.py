"""Contexts of made-up rows: for each dataset of LongBench, what stands around the evidence, and in what form."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

from longbench_run.tasks.generated import code_wordings
from longbench_run.tasks.generated.code import classes, functions
from longbench_run.tasks.generated.few_shot import FewShot, dialogues, trivia, typed_questions
from longbench_run.tasks.generated.names import Split
from longbench_run.tasks.generated.paragraphs import abstract, repeating_paragraphs
from longbench_run.tasks.generated.passages import Wording, passages, two_hop
from longbench_run.tasks.generated.reports import meeting, report


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a dataset's own builder decides."""

    context: str
    answers: Sequence[str]
    input: str = ""
    evidence: tuple[str, ...] = ()
    places: Sequence[int] = ()
    """Numbers of the units that hold the evidence, from 0."""
    classes: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which row is wanted."""

    seed: int
    """Of the dataset's own: no two datasets tell the same."""
    index: int
    split: Split
    units: int
    depths: tuple[float, ...]
    """Where the units go that hold the evidence, drawn uniformly from [0, 1)."""


Builder = Callable[[Wanted], Content]
MOST_EVIDENCE = 4
"""Units that hold the evidence of a row, at most, unless every unit counts."""
_CALLS_SHOWN = 3
"""Functions in the last file that show how a class is called, before the one that is to be continued."""
_T = TypeVar("_T")


def _placed(gold: Sequence[_T], others: Iterator[_T], wanted: Wanted) -> tuple[list[_T], list[int]]:
    """Return ``units`` things, the gold ones among the others at their depths, and the places of the gold ones."""
    things = list(islice(others, wanted.units - len(gold)))
    slots = [int(depth * (len(things) + 1)) for depth in wanted.depths[: len(gold)]]
    order = sorted(range(len(gold)), key=lambda number: (wanted.depths[number], number))
    for before, number in enumerate(order):
        things.insert(slots[number] + before, gold[number])
    places = {number: slots[number] + before for before, number in enumerate(order)}
    return things, [places[number] for number in range(len(gold))]


def _numbered(texts: Sequence[str], form: str) -> list[str]:
    return [form.format(number=number, text=text) for number, text in enumerate(texts, start=1)]


def _one_document(wording: Wording, form: str) -> Builder:
    def build(wanted: Wanted) -> Content:
        stream = passages(wanted.seed, wanted.index, split=wanted.split, wording=wording)
        gold = next(stream)
        things, places = _placed([gold], stream, wanted)
        asked = gold.questions[0]
        return Content(
            context="\n".join(form.format(title=passage.title, text=passage.text) for passage in things),
            input=asked.question,
            answers=asked.answers,
            evidence=asked.statements,
            places=places,
        )

    return build


def _many_documents(wording: Wording) -> Builder:
    def build(wanted: Wanted) -> Content:
        asked, stream = two_hop(wanted.seed, wanted.index, split=wanted.split, wording=wording)
        gold = list(islice(stream, 2))
        things, places = _placed(gold, stream, wanted)
        texts = [f"{passage.title}\n{passage.text}" for passage in things]
        return Content(
            context="\n".join(_numbered(texts, "Passage {number}:\n{text}")),
            input=asked.question,
            answers=asked.answers,
            evidence=asked.statements,
            places=places,
        )

    return build


def _summary(form: str) -> Builder:
    def build(wanted: Wanted) -> Content:
        whole = report(wanted.seed, wanted.index, split=wanted.split, findings=MOST_EVIDENCE)
        things, places = _placed(whole.findings, whole.background, wanted)
        findings = tuple(section.finding for section in things if section.finding is not None)
        return Content(
            context="\n".join(_numbered([section.text for section in things], form)),
            answers=[" ".join(findings)],
            evidence=findings,
            places=sorted(places),
        )

    return build


def _meeting(wanted: Wanted) -> Content:
    stream = meeting(wanted.seed, wanted.index, split=wanted.split)
    gold = next(stream)
    things, places = _placed([gold], stream, wanted)
    return Content(
        context="\n".join(item.text for item in things),
        input=gold.question.question,
        answers=gold.question.answers,
        evidence=gold.question.statements,
        places=places,
    )


def _examples(make: Callable[..., FewShot], shown: str, *, asked: str, is_evidence: bool) -> Builder:
    """Return a builder of few-shot rows.

    Args:
        make: Makes the examples.
        shown: Form of an example, with fields ``text`` and ``label``.
        asked: Form of the input, with a field ``text``.
        is_evidence: Whether the answer follows from the first example; from the input alone where not.
    """

    def build(wanted: Wanted) -> Content:
        shots = make(wanted.seed, wanted.index, split=wanted.split)
        things, places = _placed([next(shots.examples)], shots.examples, wanted)
        texts = [shown.format(text=example.text, label=example.label) for example in things]
        return Content(
            context="".join(texts),
            input=asked.format(text=shots.asked.text),
            answers=[shots.asked.label],
            evidence=tuple(texts[place] for place in places if is_evidence),
            places=places if is_evidence else (),
            classes=shots.classes,
        )

    return build


def _count(wanted: Wanted) -> Content:
    stream = repeating_paragraphs(wanted.seed, wanted.index, split=wanted.split)
    texts = list(islice(stream, wanted.units))
    random.Random(wanted.seed).shuffle(texts)
    different = list(dict.fromkeys(texts))
    return Content(
        context="\n\n".join(_numbered(texts, "Paragraph {number}: {text}")),
        answers=[str(len(different))],
        evidence=tuple(different),
        places=[texts.index(text) for text in different],
    )


def _retrieval(wanted: Wanted) -> Content:
    stream = passages(wanted.seed, wanted.index, split=wanted.split, wording="varied")
    gold = next(stream)
    things, places = _placed([gold], stream, wanted)
    return Content(
        context="\n\n".join(_numbered([passage.text for passage in things], "Paragraph {number}: {text}")),
        input=abstract(gold),
        answers=[f"Paragraph {places[0] + 1}"],
        evidence=(gold.text,),
        places=places,
    )


def _one_file(wanted: Wanted) -> Content:
    stream = functions(wanted.seed, wanted.index, split=wanted.split)
    gold = next(stream)
    things, places = _placed([gold], stream, wanted)
    parts = [
        each.source if each is gold else f"{each.source}\n\n\n{each.caller}\n{each.call}" for each in things
    ]
    return Content(
        context="\n\n\n".join([*parts, f"{gold.caller}\n"]),
        answers=[gold.call],
        evidence=(gold.source,),
        places=places,
    )


def _many_files(wanted: Wanted) -> Content:
    stream = classes(wanted.seed, wanted.index, split=wanted.split)
    gold, *shown = islice(stream, 1 + _CALLS_SHOWN)
    things, places = _placed([gold], chain(shown, stream), wanted)
    used = [*shown[: wanted.units - 1], gold]
    files = [f"{each.path}\n{each.source}\n" for each in things]
    imports = "\n".join(each.imported for each in used)
    callers = [f"{each.caller}\n{each.call}" for each in used[:-1]]
    main = "\n\n\n".join([imports, *callers, f"{gold.caller}\n"])
    path = code_wordings.MAIN_PATH.format(package=gold.path.partition("/")[0])
    return Content(
        context=f"{''.join(files)}{path}\n{main}",
        answers=[gold.call],
        evidence=(gold.source,),
        places=places,
    )


BUILDERS: Mapping[str, tuple[int, Builder]] = {
    # dataset -> fewest units, builder
    "narrativeqa": (1, _one_document("varied", "{text}")),
    "qasper": (1, _one_document("varied", "{title}\n{text}")),
    "multifieldqa_en": (1, _one_document("regular", "{title}\n{text}")),
    "hotpotqa": (2, _many_documents("regular")),
    "2wikimqa": (2, _many_documents("varied")),
    "musique": (2, _many_documents("varied")),
    "gov_report": (MOST_EVIDENCE, _summary("{text}")),
    "qmsum": (1, _meeting),
    "multi_news": (MOST_EVIDENCE, _summary("Passage {number}:\n{text}")),
    "trec": (
        1,
        _examples(
            typed_questions,
            "Question: {text}\nType: {label}\n",
            asked="Question: {text}\nType:",
            is_evidence=True,
        ),
    ),
    "triviaqa": (1, _examples(trivia, "{text}\n{label}\n", asked="{text}\n", is_evidence=False)),
    "samsum": (
        1,
        _examples(
            dialogues,
            "Dialogue: {text}\nSummary: {label}\n",
            asked="Dialogue: {text}\nSummary: ",
            is_evidence=False,
        ),
    ),
    "passage_count": (1, _count),
    "passage_retrieval_en": (1, _retrieval),
    "lcc": (1, _one_file),
    "repobench-p": (1, _many_files),
}
"""The datasets of which rows can be made up: the English ones and code."""
