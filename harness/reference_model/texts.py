"""Rows with needles, and prose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longbench_run.harness.reference_model.formats import fill_with_prose, share
from longbench_run.harness.reference_model.row import Kind, Row, RowBuilder, Source
from longbench_run.harness.reference_model.wording import (
    DIGITS,
    NEEDLES,
    haystack,
    repeated_sentences,
    training_key,
)
from longbench_run.tasks.passkey import INSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


def field_prompt(source: Source, draw: Random, length: int) -> Row:
    """Return a needle in the frame of the passkey prompt, with its answer, and prose in what room is left.

    One row in two fills ``length``; the others stop anywhere before it.
    """
    return _framed(source, draw, length, digits=DIGITS)


def recurring_digits(source: Source, draw: Random, length: int) -> Row:
    """Return what `field_prompt` returns, of a key whose digits recur: none of them tells what follows it."""
    return _framed(source, draw, length, digits=draw.sample(DIGITS, draw.randint(1, 3)))


def _framed(source: Source, draw: Random, length: int, *, digits: Sequence[str]) -> Row:
    statement, question = NEEDLES[0] if draw.random() < 0.6 else draw.choice(NEEDLES)
    key = training_key(draw, digits=digits)
    needle = statement.format(key=key)
    answer = [*source.encode(f" {key}."), source.eos]
    frame = len(source.encode("\n".join((INSTRUCTION, needle, question)))) + 4  # what two more lines may cost
    room = length - 1 - frame - len(answer)
    sentences = _fitting(source, repeated_sentences(draw), int(room * share(draw)))
    cut = draw.randint(0, len(sentences))
    parts = (INSTRUCTION, " ".join(sentences[:cut]), needle, " ".join(sentences[cut:]), question)
    row = RowBuilder()
    row.add(source.encode("\n".join(part for part in parts if part)), Kind.IGNORED)
    row.add(answer, Kind.ANSWER)
    fill_with_prose(source, draw, row, length)
    return row.row(source, length)


def needles(source: Source, draw: Random, length: int) -> Row:
    """Return 1 to 8 needles of different wordings in a haystack, each asked for at the end."""
    wordings = draw.sample(NEEDLES[1:], min(len(NEEDLES) - 1, draw.randint(1, max(1, min(8, length // 128)))))
    keys = [training_key(draw) for _ in wordings]
    stated = [
        source.encode(f" {statement.format(key=key)}")
        for (statement, _), key in zip(wordings, keys, strict=True)
    ]
    asked = [
        (source.encode(f"\n{question}"), source.encode(f" {key}."))
        for (_, question), key in zip(wordings, keys, strict=True)
    ]
    room = length - 1 - sum(map(len, stated)) - sum(len(question) + len(answer) for question, answer in asked)
    text = haystack(source, draw, max(1, room))
    around = draw.choice((Kind.TEXT, Kind.IGNORED))
    row = RowBuilder()
    before = 0
    for place, needle in zip(sorted(draw.randint(0, max(0, room)) for _ in stated), stated, strict=True):
        row.add(text[before:place], around)
        row.add(needle, Kind.IGNORED)
        before = place
    row.add(text[before:], around)
    for question, answer in draw.sample(asked, len(asked)):
        row.add(question, Kind.IGNORED)
        row.add(answer, Kind.ANSWER)
    return row.row(source, length)


def book(source: Source, draw: Random, length: int) -> Row:
    """Return a piece of a book."""
    row = RowBuilder()
    row.add(source.prose(draw, length - 1), Kind.TEXT)
    return row.row(source, length)


def _fitting(source: Source, sentences: list[str], tokens: int) -> list[str]:
    """Return whole sentences of an endless cycle, at most ``tokens`` tokens."""
    costs = [len(source.encode(f" {sentence}")) for sentence in sentences]
    taken: list[str] = []
    left = tokens
    while left >= (cost := costs[len(taken) % len(costs)]):
        left -= cost
        taken.append(sentences[len(taken) % len(sentences)])
    return taken
