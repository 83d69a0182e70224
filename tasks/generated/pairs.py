"""Keys with values to look up, as in Lost in the Middle."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from longbench_run.tasks.generated.names import Names, Split

PairKind = Literal["words", "uuid"]
"""What keys and values are made of."""

_DRAWN: Mapping[PairKind, Callable[[Names], str]] = {"words": Names.pair, "uuid": Names.uuid}


def pairs(
    seed: int, index: int, *, split: Split = "tasks", kind: PairKind = "words"
) -> Iterator[tuple[str, str]]:
    """Yield pairs of a key and a value without end; nothing occurs twice in one sample.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
        kind: ``words`` for two invented words joined by a hyphen, such as "brontal-keef"; ``uuid`` for random
            (version 4) uuids, as the authors of Lost in the Middle use.
    """
    random_state = random.Random(f"{seed}:pairs:{index}:{split}:{kind}")
    draw = _DRAWN[kind]
    names = Names(random_state, split)
    while True:
        yield draw(names), draw(names)
