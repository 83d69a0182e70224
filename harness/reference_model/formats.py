"""Rows in the formats of the tasks, of what `tasks.generated` makes in the split for training."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from longbench_run.harness.reference_model.row import (
    GENERATED_SEED,
    INDICES,
    Kind,
    Row,
    RowBuilder,
    Source,
    unasked,
)
from longbench_run.tasks.generated.pairs import pairs
from longbench_run.tasks.generated.passages import Question, Wording, passages
from longbench_run.tasks.key_value import PROTOCOLS as KEY_VALUE
from longbench_run.tasks.longbench.prompts import filled
from longbench_run.tasks.longbench.synthetic import SyntheticRow, fewest_units, synthetic_row
from longbench_run.tasks.multidoc_qa.prompts import QA

if TYPE_CHECKING:
    from random import Random

LONGBENCH = ("trec", "passage_count", "passage_retrieval_en", "lcc")
"""Datasets of LongBench whose format is trained."""
_QUESTION_TOKENS = 70
"""Room kept for a question with its answer."""

_Asked = tuple[list[int], list[int]]
"""Tokens of a question and of its answer."""


def key_value(source: Source, draw: Random, length: int) -> Row:
    """Return a JSON object of key-value pairs, of which one is asked for, as in the task, or up to 16.

    An answer repeats the key before it gives the value: the value is then found by what stands before it.
    """
    before, after = KEY_VALUE["litm-v1"].split("{formatted_kv_records}")
    drawn = pairs(GENERATED_SEED, draw.randrange(INDICES), split="training", kind="words")
    shown = list(islice(drawn, _wanted(draw, min(16, length // 128))))
    asked = [
        (source.encode(after.format(key=key)), [*source.encode(unasked(f' "{key}": "{value}"')), source.eos])
        for key, value in shown
    ]
    room = length - 1 - sum(len(question) + len(answer) for question, answer in asked)
    room -= len(source.encode(_object(before, shown)))
    room = int(room * share(draw))
    for key, value in drawn:
        room -= len(source.encode(unasked(f',\n "{key}": "{value}"')))
        if room < 0:
            break
        shown.append((key, value))
    draw.shuffle(shown)
    row = RowBuilder()
    row.add(source.encode(_object(before, shown)), Kind.IGNORED)
    return _with_questions(source, draw, row, asked, length)


def questions(source: Source, draw: Random, length: int) -> Row:
    """Return numbered documents about invented people and places, and questions about one fact in them, or up to 12.

    An answer is the whole statement that the documents make, which begins with words of the question.
    """
    before, after = QA.split("{search_results}")
    wanted = _wanted(draw, min(12, length // 200))
    room = int((length - 1 - len(source.encode(before)) - wanted * _QUESTION_TOKENS) * share(draw))
    around = draw.choice((Kind.TEXT, Kind.IGNORED))
    row = RowBuilder()
    facts: list[Question] = []
    wording: Wording = "regular" if draw.random() < 0.8 else "varied"
    drawn = passages(GENERATED_SEED, draw.randrange(INDICES), split="training", wording=wording)
    for number, passage in enumerate(drawn, start=1):
        text = f"Document [{number}](Title: {unasked(passage.title)}) {unasked(passage.text)}"
        tokens = source.encode(f"{before}{text}" if number == 1 else f"\n{text}")
        room -= len(tokens)
        if room < 0 and facts:
            break
        row.add(tokens, around)
        facts += passage.questions
    asked = [
        (
            source.encode(after.format(question=fact.question)),
            [*source.encode(unasked(f" {fact.statement}")), source.eos],
        )
        for fact in draw.sample(facts, min(wanted, len(facts)))
    ]
    return _with_questions(source, draw, row, asked, length)


def longbench(source: Source, draw: Random, length: int) -> Row:
    """Return a made-up row of a dataset of LongBench in its prompt, with its answer."""
    dataset = draw.choice(LONGBENCH)
    index = draw.randrange(INDICES)
    most = int((length - 1) * share(draw))

    def tokens(units: int) -> _Asked:
        made = synthetic_row(dataset, GENERATED_SEED, index, units=units, split="training")
        return _prompt_and_answer(source, dataset, made)

    units = fewest_units(dataset)
    found = tokens(units)
    while sum(map(len, found)) < most:
        # The next guess is what fits if units are alike, one at least: a row is made a few times, not once per unit.
        more = max(1, int(units * most / sum(map(len, found))) - units)
        larger = tokens(units + more)
        if sum(map(len, larger)) > length - 1:
            break
        units, found = units + more, larger
    prompt, answer = found
    row = RowBuilder()
    row.add(prompt, Kind.IGNORED)
    row.add(answer, Kind.ANSWER)
    return _with_questions(source, draw, row, [], length)


def documents(source: Source, draw: Random, length: int) -> Row:
    """Return a generated document, from its beginning or from somewhere in it."""
    row = RowBuilder()
    row.add(source.document(draw, length - 1), Kind.TEXT)
    return row.row(source, length)


def share(draw: Random) -> float:
    """Return the share of the room that is filled: all of it in every second row."""
    return 1.0 if draw.random() < 0.5 else draw.uniform(0.1, 1.0)


def _wanted(draw: Random, most: int) -> int:
    """Return how many questions to ask: one, as the tasks do, in half of the rows; more teach more in one row."""
    return 1 if draw.random() < 0.5 else draw.randint(1, max(1, most))


def _object(before: str, shown: list[tuple[str, str]]) -> str:
    """Return the instruction and the object, as the task writes them."""
    lines = ",\n ".join(f'"{key}": "{value}"' for key, value in shown)
    return f"{before}{{{lines}}}"


def _prompt_and_answer(source: Source, dataset: str, made: SyntheticRow) -> _Asked:
    context, question, answer = (
        unasked(text) for text in (made.row["context"], made.row["input"], made.row["answers"][0])
    )
    prompt = filled(dataset, context=context, question=question).text
    return source.encode(prompt), [
        *source.encode(answer if prompt[-1].isspace() else f" {answer}"),
        source.eos,
    ]


def _with_questions(source: Source, draw: Random, row: RowBuilder, asked: list[_Asked], length: int) -> Row:
    """Return the row with questions and answers at its end, and prose in what room is left."""
    for question, answer in draw.sample(asked, len(asked)):
        row.add(question, Kind.IGNORED)
        row.add(answer, Kind.ANSWER)
    fill_with_prose(source, draw, row, length)
    return row.row(source, length)


def fill_with_prose(source: Source, draw: Random, row: RowBuilder, length: int) -> None:
    """Append prose up to ``length`` tokens with the one that begins a sequence."""
    room = length - 1 - len(row)
    if room > 0:
        prose = source.prose(draw, room)
        row.add(prose[:1], Kind.IGNORED)  # nothing tells where in a book it begins
        row.add(prose[1:], Kind.TEXT)
