"""Invented words: each belongs to one split for good, and a generated text shows which ones it uses."""

from __future__ import annotations

import random
import uuid
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.names import (
    ORDINARY,
    Names,
    belongs_to_tasks,
    first_key,
    split_of,
    words_of,
)

SPLITS = st.sampled_from(["tasks", "training"])
SEEDS = st.integers(0, 2**64)
DRAWS = [Names.word, Names.name, Names.person, Names.town, Names.pair, Names.uuid]


def drawn(seed, split, draw, count):
    names = Names(random.Random(seed), split)
    return [draw(names) for _ in range(count)]


# The check values of CRC-32/ISO-HDLC: cbf43926 is that of the catalogue, e8b7be43 that of "a".
@pytest.mark.parametrize(("word", "split"), [("123456789", "training"), ("a", "tasks"), ("A", "tasks")])
def test_the_split_of_a_word_is_the_last_bit_of_its_crc32(word, split):
    assert split_of(word) == split


@pytest.mark.parametrize("draw", DRAWS)
@given(seed=SEEDS, split=SPLITS)
def test_every_invented_word_belongs_to_the_split_asked_for(draw, seed, split):
    for name in drawn(seed, split, draw, 20):
        invented = [word for word in words_of(name) if word not in ORDINARY]
        assert invented
        assert {split_of(word) for word in invented} == {split}


def test_both_splits_get_half_of_all_words():
    letters = random.Random(0)
    words = [
        "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(4, 12)))
        for _ in range(20_000)
    ]

    assert 0.48 < sum(split_of(word) == "tasks" for word in words) / len(words) < 0.52


@pytest.mark.parametrize("draw", DRAWS)
def test_nothing_is_drawn_twice(draw):
    assert len(set(drawn(0, "tasks", draw, 3_000))) == 3_000


def test_names_of_towns_do_not_run_out():
    towns = drawn(0, "training", Names.town, 28_000)  # more than can be made of one syllable and an ending

    assert len(set(towns)) == 28_000


def test_a_uuid_is_one_of_version_4():
    assert all(
        uuid.UUID(text).version == 4 and text == text.lower() for text in drawn(0, "tasks", Names.uuid, 100)
    )


def test_words_are_cut_as_code_cuts_them():
    assert words_of("call_brontal(BrontalKeef, 'x9y')") == ["call", "brontal", "brontal", "keef", "x", "y"]


@given(SEEDS, st.sampled_from(DRAWS))
def test_a_word_of_the_tasks_is_found_wherever_it_stands(seed, draw):
    offender, fine = (drawn(seed, split, draw, 1)[0] for split in ("tasks", "training"))
    for form in (
        "{}",
        "The trade of {} is baker.",
        'def call_{}(values):\n    return "{}"',
        "the {}'s",
        "{}: I will",
    ):
        assert belongs_to_tasks(form.replace("{}", fine)) is None
        assert belongs_to_tasks(form.replace("{}", offender)) in words_of(offender)


@pytest.mark.parametrize("number", [10_000, 54_321, 99_999])
@pytest.mark.parametrize("form", ["{}", "is {}.", "({})", "-{}", "{}\n", "the 24 of November {}"])
def test_a_number_that_could_be_a_passkey_is_found(form, number):
    assert belongs_to_tasks(form.format(number)) == str(number)
    assert first_key(form.format(number)) == str(number)


@pytest.mark.parametrize("text", ["1234", "123456", "09999", "x12345", "12345th", "1832", "12,345"])
def test_other_numbers_are_no_passkeys(text):
    assert first_key(text) is None


def test_a_frame_of_plain_words_is_not_taken_for_invented_ones():
    frame = "Answer with nothing but whatever the given passages tell you."
    plain = frozenset(words_of(frame))

    assert belongs_to_tasks(frame) is not None
    assert belongs_to_tasks(frame, plain=plain) is None
    assert belongs_to_tasks(f"{frame} {drawn(0, 'tasks', Names.name, 1)[0]}", plain=plain) is not None


def test_drawing_leaves_the_global_state_alone():
    state = random.getstate()
    list(islice(drawn(0, "tasks", Names.person, 10), 10))

    assert random.getstate() == state
