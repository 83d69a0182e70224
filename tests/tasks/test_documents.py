"""Generated documents: reproducible, prefix-stable, consistent, and better told with more of what came before."""

from __future__ import annotations

import hashlib
import lzma
import random
import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.documents import GENERATOR_VERSION, generate_document, paragraphs

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)
LENGTHS = st.integers(1, 20_000)


def test_a_change_of_what_is_generated_is_noticed():
    text = generate_document(0, 0, characters=50_000) + generate_document(7, 3, characters=50_000)

    assert (GENERATOR_VERSION, hashlib.sha256(text.encode()).hexdigest()) == (
        2,
        "a9240493a71e203226f2a946c58c854eb0667230f6b5d596d96fdbd6cd289d8b",
    )


@given(SEEDS, INDICES, LENGTHS, LENGTHS)
def test_a_shorter_document_begins_a_longer_one(seed, index, one, other):
    shorter, longer = (generate_document(seed, index, characters=n) for n in sorted((one, other)))

    assert longer == shorter or longer.startswith(shorter + "\n\n")


@given(SEEDS, INDICES, LENGTHS)
def test_a_document_has_the_fewest_paragraphs_that_are_long_enough(seed, index, characters):
    text = generate_document(seed, index, characters=characters)
    without_last, _, last = text.rpartition("\n\n")

    assert len(text) >= characters
    assert generate_document(seed, index, characters=len(text)) == text
    assert len(generate_document(seed, index, characters=len(text) + 1)) > len(text)
    assert len(without_last) < characters
    assert last


@given(SEEDS, INDICES)
def test_seed_and_index_make_documents_of_their_own(seed, index):
    text = generate_document(seed, index, characters=2_000)

    assert text != generate_document(seed, index + 1, characters=2_000)
    assert text != generate_document(seed + 1, index, characters=2_000)


def test_documents_may_be_made_at_the_same_time_and_leave_the_global_state_alone():
    state = random.getstate()
    alone = list(islice(paragraphs(1, 0), 200)), list(islice(paragraphs(1, 1), 200))
    together = list(zip(islice(paragraphs(1, 0), 200), islice(paragraphs(1, 1), 200), strict=True))

    assert tuple(map(list, zip(*together, strict=True))) == alone
    assert random.getstate() == state


@pytest.mark.parametrize("index", range(3))
def test_no_paragraph_is_empty_or_holds_a_blank_line_or_an_unfilled_field(index):
    for paragraph in islice(paragraphs(0, index), 2_000):
        assert paragraph.strip() == paragraph != ""
        assert "\n" not in paragraph
        assert "{" not in paragraph


@pytest.mark.parametrize(
    "fact",
    [
        r"The house of ([A-Z]\w+ [A-Z]\w+) stood at ([^.]+)\.",
        r"([A-Z]\w+ [A-Z]\w+) was born on ([^.]+)\.",
        r"The home of ([A-Z]\w+ [A-Z]\w+) was in (\w+)\.",
    ],
)
def test_what_is_told_of_a_person_never_changes(fact):
    told: dict[str, set[str]] = {}
    for name, value in re.findall(fact, generate_document(0, 0, characters=300_000)):
        told.setdefault(name, set()).add(value)

    assert len(told) > 20
    assert {len(values) for values in told.values()} == {1}


def test_questions_are_not_asked_of_oneself():
    text = generate_document(0, 0, characters=100_000)
    pairs = re.findall(r'\?" asked ([A-Z]\w+ [A-Z]\w+) [^"]*"[^"]*" said ([A-Z]\w+ [A-Z]\w+)\.', text)

    assert len(pairs) > 50
    assert all(asking != answering for asking, answering in pairs)


def compressed(text: str) -> int:
    """Return bits of a text for a compressor that finds repetitions at any distance."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 2**24}]
    return 8 * len(lzma.compress(text.encode(), format=lzma.FORMAT_RAW, filters=filters))


def test_more_of_what_came_before_tells_more_at_every_distance():
    contexts = (4_000, 16_000, 64_000, 256_000)
    bits = dict.fromkeys(contexts, 0)
    for index in range(3):
        text = generate_document(0, index, characters=280_000)[:280_000]
        for context in contexts:
            before, last = text[-20_000 - context : -20_000], text[-20_000:]
            bits[context] += compressed(before + last) - compressed(before)

    assert bits[16_000] < 0.95 * bits[4_000]
    assert bits[64_000] < 0.95 * bits[16_000]
    assert bits[256_000] < 0.95 * bits[64_000]
