"""How a length is filled: the order of depths, the place of the needle, and the most pieces that fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.haystacks import fill, largest, place_of, spanning_order


@given(st.integers(2, 60))
def test_every_depth_is_asked_once_before_any_is_asked_again(depths):
    order = spanning_order(depths)
    assert sorted(order) == list(range(depths))
    assert order[:2] == [0, depths - 1]


@given(st.integers(0, 50), st.integers(0, 200), st.integers(0, 300))
def test_largest_finds_the_last_number_that_fits(at_least, more, guess):
    last = at_least + more
    assert largest(lambda n: n <= last, at_least=at_least, guess=guess) == last


def test_largest_asks_three_times_where_the_guess_is_right():
    asked = []
    largest(lambda n: bool(asked.append(n)) or n <= 5000, at_least=9, guess=5000)
    assert len(asked) <= 3


@pytest.mark.parametrize(
    ("depths", "pieces", "places"),
    [
        (3, 10, [0, 4, 9]),
        (5, 20, [0, 4, 9, 14, 19]),
        (7, 30, [0, 4, 9, 14, 19, 24, 29]),
    ],
)
def test_places_are_those_of_the_authors_files(depths, pieces, places):
    assert [place_of(step, depths=depths, pieces=pieces) for step in range(depths)] == places


@given(depths=st.integers(1, 30), more=st.integers(0, 400))
def test_places_differ_and_reach_both_ends(depths, more):
    pieces = depths + more
    places = [place_of(step, depths=depths, pieces=pieces) for step in range(depths)]
    assert len(set(places)) == depths
    assert places[0] == 0
    assert depths == 1 or places[-1] == pieces - 1


def prompt_of(sizes, *, overhead=7, asked=None):
    """Return prompts of the first pieces, which cost more where the needle does not stand first."""

    def prompt(pieces, place):
        if asked is not None:
            asked.append((pieces, place))
        if pieces > len(sizes):
            return None
        return [place] * (overhead + sum(sizes[:pieces]) + 40 * (place > 0))

    return prompt


@given(
    sizes=st.lists(st.integers(1, 90), min_size=5, max_size=300),
    budget=st.integers(1, 9000),
    depths=st.integers(1, 5),
)
def test_as_many_pieces_as_fit_at_every_place(sizes, budget, depths):
    prompt = prompt_of(sizes)

    def longest(pieces):
        places = {place_of(step, depths=depths, pieces=pieces) for step in range(depths)}
        return max(len(prompt(pieces, place)) for place in places)

    fitting = [pieces for pieces in range(depths, len(sizes) + 1) if longest(pieces) <= budget]
    found = fill(prompt, depths=depths, budget=budget, at_least=depths)
    if not fitting or fitting[-1] == len(sizes):  # too short for any, or too long for all there are
        assert found is None
    else:
        assert found.pieces == fitting[-1]
        places = [place_of(step, depths=depths, pieces=found.pieces) for step in range(depths)]
        assert [list(ids) for ids in found.prompts] == [prompt(found.pieces, place) for place in places]


@pytest.mark.parametrize(("budget", "pieces"), [(206, None), (207, 20), (9999, 20)])
def test_a_fixed_number_of_pieces_fits_or_does_not(budget, pieces):
    found = fill(prompt_of([10] * 30), depths=1, budget=budget, at_least=20, at_most=20)
    assert (found and found.pieces) == pieces


def test_a_prompt_without_pieces_is_possible():
    found = fill(lambda pieces, place: [1, 2, 3], depths=1, budget=3, at_least=0, at_most=0)
    assert found == (0, ((1, 2, 3),))


def test_no_prompt_is_encoded_twice_and_few_in_all():
    asked = []
    sizes = [60 + 7 * (number % 5) for number in range(1000)]
    found = fill(prompt_of(sizes, asked=asked), depths=5, budget=32_000, at_least=5)
    assert 400 < found.pieces < 500
    assert len(set(asked)) == len(asked)
    assert sum(pieces > 100 for pieces, _ in asked) <= 12  # five of them are the prompts
