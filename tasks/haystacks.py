"""How a context length is filled around a needle: the order of depths, and as many pieces as fit at each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Filling(NamedTuple):
    """The prompts of one needle with as many pieces around it as fit at every place."""

    pieces: int
    """Pieces in each prompt, the needle among them."""
    prompts: tuple[tuple[int, ...], ...]
    """Token ids, in the order of the depth grid."""


def spanning_order(depths: int) -> list[int]:
    """Order a grid of depths so that every next one is the farthest from all before it: 0, 1, the middle.

    Args:
        depths: Size of the grid, at least 1.
    """
    distance = [float("inf")] * depths
    order = []
    step = 0
    for _ in range(depths):
        order.append(step)
        distance = [min(d, abs(i - step)) for i, d in enumerate(distance)]
        step = max(range(depths), key=distance.__getitem__)
    return order


def place_of(step: int, *, depths: int, pieces: int) -> int:
    """Return how many pieces stand before the needle at one step of the depth grid.

    Rounded down, as in the data of Lost in the Middle: five depths of 20 documents are 0, 4, 9, 14 and 19.

    Args:
        step: Place in the grid, 0 to ``depths`` - 1.
        depths: Size of the grid, at least 1; the places differ where it is at most ``pieces``.
        pieces: Pieces in the prompt, the needle among them.
    """
    return step * max(0, pieces - 1) // max(1, depths - 1)


def largest(fits: Callable[[int], bool], *, at_least: int, guess: int) -> int:
    """Return a number that fits while the next one does not, looking near ``guess`` first.

    Args:
        fits: True up to some number, False after it; True at ``at_least``.
        at_least: Smallest answer.
        guess: Where to look first.
    """
    low, high, step = at_least, max(guess, at_least) + 1, 1
    if fits(high - 1):
        low = high - 1
        while fits(high):
            low, high, step = high, high + step, 2 * step
    else:
        high -= 1
        while high - step > low and not fits(high - step):
            high, step = high - step, 2 * step
        low = max(low, high - step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def fill(
    prompt: Callable[[int, int], Sequence[int] | None],
    *,
    depths: int,
    budget: int,
    at_least: int,
    at_most: int | None = None,
) -> Filling | None:
    """Return the prompts with the most pieces that fit, wherever the needle stands.

    Prompts of one length are the same pieces in the same order, only the needle moves. Each is really encoded
    before it is returned; a long one is encoded a few times in all, however many pieces it has.

    Args:
        prompt: From a number of pieces and the place of the needle among them, from 0, to token ids, special
            tokens included; None where there are not so many pieces.
        depths: Size of the depth grid, at least 1.
        budget: Tokens that a prompt may have.
        at_least: Fewest pieces that are acceptable.
        at_most: Most pieces wanted; None for as many as fit.

    Returns:
        None where the fewest pieces do not fit, or where there are not enough pieces to fill the budget.
    """
    encoded: dict[tuple[int, int], Sequence[int] | None] = {}

    def tokens(pieces: int, step: int) -> Sequence[int] | None:
        key = pieces, place_of(step, depths=depths, pieces=pieces)
        if key not in encoded:
            encoded[key] = prompt(*key)
        return encoded[key]

    def fits(pieces: int) -> bool:
        if at_most is not None and pieces > at_most:
            return False
        found = (tokens(pieces, step) for step in range(depths))
        return all(ids is not None and len(ids) <= budget for ids in found)

    if not fits(at_least):
        return None

    def length(pieces: int) -> int | None:
        ids = tokens(pieces, 0)
        return None if ids is None else len(ids)

    guess = at_least if at_most == at_least else _guess(length, budget=budget, at_least=at_least)
    pieces = largest(fits, at_least=at_least, guess=guess)
    if pieces != at_most and tokens(pieces + 1, 0) is None:
        return None
    return Filling(pieces, tuple(tuple(tokens(pieces, step) or ()) for step in range(depths)))


def _guess(length: Callable[[int], int | None], *, budget: int, at_least: int) -> int:
    """Return how many pieces fill a budget, from the tokens that they add on average."""
    first, before = at_least, length(at_least) or 1
    pieces = max(first + 1, first * budget // before) if first else 1
    for _ in range(2):
        after = length(pieces)
        if after is None or after <= before or pieces == first:
            break
        pieces = max(first, first + (budget - before) * (pieces - first) // (after - before))
    return pieces
