"""Rows of random tokens that teach to copy: what follows a token sequence is what followed it before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.harness.reference_model.row import Kind, Row, RowBuilder, Source
from longbench_run.harness.reference_model.wording import haystack, training_key

if TYPE_CHECKING:
    from random import Random


def copying(source: Source, draw: Random, length: int) -> Row:
    """Return one segment of 2 to 64 random tokens, repeated back to back.

    Short ones as often as long ones, on a scale of logarithms: they are learned first, and the long ones from them.
    """
    segment = source.random_tokens(draw, round(math.exp(draw.uniform(math.log(2), math.log(64)))))
    row = RowBuilder()
    row.add(segment, Kind.IGNORED)
    row.add(segment[:1], Kind.IGNORED)  # that the repetition begins cannot be known
    row.add(np.resize(np.roll(segment, -1), max(0, length - len(row))), Kind.COPIED)
    return row.row(source, length)


def scattered(source: Source, draw: Random, length: int) -> Row:
    """Return random tokens among which earlier spans return, at any distance.

    In half of the rows the tokens come from a vocabulary so small that one token tells not enough: what follows
    must be found by matching two or more.
    """
    few = draw.random() < 0.5
    size = max(32, length // draw.choice((4, 8, 16)))
    vocabulary = np.array(source.random_tokens(draw, size)) if few else None
    row = RowBuilder()
    while len(row) < length:
        row.add(source.random_tokens(draw, draw.randint(1, 48), vocabulary), Kind.IGNORED)
        for _ in range(draw.randint(1, 3)):
            start = draw.randrange(len(row))
            span = row.ids[start : start + draw.randint(6, 64)]
            unknown = min(len(span), 3 if few else 1)
            row.add(span[:unknown], Kind.IGNORED)
            row.add(span[unknown:], Kind.COPIED)
    return row.row(source, length)


def planted(source: Source, draw: Random, length: int) -> Row:
    """Return text in which keys with values are planted, all asked for again at the end.

    A key is two to four tokens whose last one is common in the text around it. A value is digits, or two to
    eight random tokens.
    """
    text = haystack(source, draw, length)
    wanted = draw.randint(1, max(1, min(16, length // 96)))
    pairs = []
    for _ in range(wanted):
        last = int(text[draw.randrange(len(text))])
        key = [*source.random_tokens(draw, draw.randint(1, 3)), last]
        if draw.random() < 0.5:
            value = source.encode(f" {training_key(draw)}")
        else:
            value = source.random_tokens(draw, draw.randint(2, 8))
        pairs.append((key, value))
    room = length - 1 - 2 * sum(len(key) + len(value) for key, value in pairs)
    around = draw.choice((Kind.TEXT, Kind.IGNORED))  # or only what was asked for counts
    row = RowBuilder()
    before = 0
    for place, (key, value) in zip(sorted(draw.randint(0, room) for _ in pairs), pairs, strict=True):
        row.add(text[before:place], around)
        row.add(key + value, Kind.IGNORED)
        before = place
    row.add(text[before:room], around)
    for key, value in draw.sample(pairs, len(pairs)):
        row.add(key, Kind.IGNORED)
        row.add(value, Kind.COPIED)
    return row.row(source, length)
