"""What holds for every generator; above all, that training sees nothing of what tasks ask, whatever the seed."""

from __future__ import annotations

import hashlib
import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbench_run.tasks.generated.names import ORDINARY, belongs_to_tasks, first_key, split_of, words_of

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)


def invented(text: str) -> set[str]:
    return set(words_of(text)) - ORDINARY


def test_a_change_of_what_is_generated_is_noticed(generators):
    digest = hashlib.sha256()
    for make in generators.values():
        for split in ("tasks", "training"):
            digest.update("\n".join(islice(make(3, 1, split), 40)).encode())

    assert digest.hexdigest() == ("7cd41a88102a8dcc71639fa236e664bf3a1c468a7eba2c547b2ebd5e75ffe385")


@settings(max_examples=20)
@given(seed=SEEDS, index=INDICES)
def test_training_texts_pass_the_filter_and_the_tasks_texts_do_not(generators, seed, index):
    for name, make in generators.items():
        assert [belongs_to_tasks(text) for text in islice(make(seed, index, "training"), 20)] == [
            None
        ] * 20, name
        whole = " ".join(islice(make(seed, index, "tasks"), 20))
        assert belongs_to_tasks(whole) is not None, name
        assert {split_of(word) for word in invented(whole)} == {"tasks"}, name
        assert first_key(whole) is None, name


@settings(max_examples=10)
@given(seed=SEEDS, index=INDICES)
def test_every_text_that_tells_something_names_something_invented(generators, seed, index):
    for name, make in generators.items():
        if name != "documents":  # some of its paragraphs are nothing but weather
            assert all(invented(text) for text in islice(make(seed, index, "tasks"), 30)), name


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1000, pytest.param(10_000, marks=pytest.mark.exhaustive)])
def test_no_word_of_the_first_seeds_of_tasks_occurs_in_training(generators, seeds):
    asked: set[str] = set()
    for make in generators.values():
        for seed in range(seeds):
            first = next(make(seed, 0, "tasks"))
            assert belongs_to_tasks(first) is not None
            asked.update(words_of(first))
    trained: set[str] = set()
    for make in generators.values():
        for index in range(400):
            trained.update(*map(words_of, islice(make(index // 200, index, "training"), 30)))

    assert len(asked) > 10 * seeds
    assert len(trained) > 50_000
    assert asked & trained <= ORDINARY


def test_texts_are_a_function_of_seed_and_index_alone(generator):
    state = random.getstate()
    alone = [list(islice(generator(1, index, "tasks"), 20)) for index in (0, 1)]
    together = list(zip(*(islice(generator(1, index, "tasks"), 20) for index in (0, 1)), strict=True))

    assert [list(texts) for texts in zip(*together, strict=True)] == alone
    assert alone[0] != alone[1]
    assert list(islice(generator(2, 0, "tasks"), 20)) != alone[0]
    assert list(islice(generator(1, 0, "training"), 20)) != alone[0]
    assert random.getstate() == state


def test_no_placeholder_is_left_unfilled(generator):
    for text in islice(generator(0, 0, "tasks"), 300):
        assert "{" not in text
        assert text.strip()
