"""What needles and the text around them are made of in training; tasks may share wording, never keys or haystacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from longbench_run.tasks.passkey import FILLER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from numpy.typing import NDArray

    from longbench_run.harness.reference_model.row import Source

SENTENCES = (
    *FILLER,
    "The cat sat by the door.",
    "Two men came up the road.",
    "It was a quiet evening.",
    "The water is cold and clear.",
    "She put the book on the table.",
    "The old house stands on the hill.",
    "Nobody knew what to say.",
    "A bell rang far away.",
    "He looked at the fire for a long time.",
    "The snow is white.",
    "The road is long.",
    "Rain fell on the roof.",
    "They walked home together.",
    "The children are at school.",
    "The bread is fresh.",
    "Leaves lay on the ground.",
    "He is not here today.",
    "The window was open.",
    "The boat is on the lake.",
    "Every word was heard.",
    "The horse is in the field.",
    "Up and down they went.",
    "The moon is high.",
    "She said nothing more.",
    "The garden is full of roses.",
    "One day is like another.",
    "The key is on the wall.",
    "The letter is from a friend.",
    "What is done is done.",
    "The town is not far.",
)
"""Sentences that haystacks repeat. Those of the task's own haystack never stand in its order."""
NEEDLES = (
    ("The pass key is {key}. Remember it. {key} is the pass key.", "What is the pass key? The pass key is"),
    ("The pass key is {key}.", "What is the pass key? The pass key is"),
    ("The secret number is {key}. Keep it in mind.", "What is the secret number? The secret number is"),
    ("The magic number is {key}.", "Which number is magic? The magic number is"),
    ("The code of the safe is {key}.", "What opens the safe? The code of the safe is"),
    ("{key} is the number. The number is {key}.", "Say the number. The number is"),
    ("Remember this: the word is {key}.", "Which word was it? The word is"),
    ("Their answer was {key}, and it was final.", "What did they answer? Their answer was"),
    ("On the door stood {key}.", "And what was to be read there? On the door stood"),
)
"""Needle and question, whose end repeats how the needle begins."""
DIGITS = "0123456789"
_SIZES = (3, 4, 4, 5, 6, 6, 7)


def training_key(draw: Random, *, digits: Sequence[str] = DIGITS) -> str:
    """Return a key that the task `passkey` cannot ask for, of some digits.

    Its keys are 10000 to 99999: here five digits begin with a zero, and the other keys have more or fewer.
    """
    size = draw.choice(_SIZES)
    first = "0" if size == 5 else draw.choice(digits)
    return first + "".join(draw.choice(digits) for _ in range(size - 1))


def repeated_sentences(draw: Random) -> list[str]:
    """Return 2 to 12 sentences in an order that a haystack repeats, never the one of the task's haystack."""
    while True:
        chosen = draw.sample(SENTENCES, draw.randint(2, 12))
        if [sentence for sentence in chosen if sentence in FILLER][:5] != list(FILLER):
            return chosen


def haystack(source: Source, draw: Random, count: int) -> NDArray[np.int64]:
    """Return ``count`` tokens of text to hide needles in: a few sentences repeated, or prose."""
    if draw.random() < 0.5:
        sentences = " ".join(["", *repeated_sentences(draw)])
        return np.resize(np.array(source.encode(sentences), dtype=np.int64), count)
    return source.prose(draw, count)
