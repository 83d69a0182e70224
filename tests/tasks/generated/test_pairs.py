"""Key-value pairs: nothing occurs twice, and a key is found once in the whole text."""

from __future__ import annotations

import json
import re
import uuid
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.pairs import pairs

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)
KINDS = st.sampled_from(["words", "uuid"])


@given(SEEDS, INDICES, KINDS)
def test_keys_and_values_occur_once(seed, index, kind):
    drawn = list(islice(pairs(seed, index, kind=kind), 100))
    text = json.dumps(dict(drawn))

    assert len({part for pair in drawn for part in pair}) == 200
    assert all(text.count(f'"{part}"') == 1 for pair in drawn for part in pair)


@given(SEEDS, INDICES)
def test_pairs_of_words_are_two_words_each_and_no_word_comes_twice(seed, index):
    text = " ".join(" ".join(pair) for pair in islice(pairs(seed, index), 50))
    found = re.findall(r"[a-z]+", text)

    assert re.fullmatch(r"([a-z]+-[a-z]+ ?){100}", text)
    assert len(set(found)) == len(found) == 200


@given(SEEDS, INDICES)
def test_uuids_are_of_version_4(seed, index):
    for pair in islice(pairs(seed, index, kind="uuid"), 20):
        assert [uuid.UUID(part).version for part in pair] == [4, 4]
