"""Training rows: their form, what is asked of whom, and that tasks never ask for what was trained on."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.chat import TaskTokenizer
from longbench_run.harness.reference_model import data, formats
from longbench_run.harness.reference_model.data import MAKERS
from longbench_run.harness.reference_model.row import Kind, Refused, RowBuilder, unasked
from longbench_run.harness.reference_model.stages import CURRICULA
from longbench_run.harness.reference_model.wording import repeated_sentences, training_key
from longbench_run.tasks.generated.names import ORDINARY, belongs_to_tasks, first_key, words_of
from longbench_run.tasks.generated.pairs import pairs
from longbench_run.tasks.generated.passages import passages
from longbench_run.tasks.key_value import KeyValue
from longbench_run.tasks.multidoc_qa.task import MultidocQa
from longbench_run.tasks.passkey import FILLER, INSTRUCTION, Passkey

PROBLEMS = ("copying", "scattered", "planted")
FORMATS = ("needles", "field_prompt", "key_value", "questions", "longbench")
DISTINCT = 300
"""Rows looked at where a share of them is asserted."""


def row(rows, kind, *, step=0, length=1024):
    made = rows.batch(stage="s", step=step, rows=1, length=length, mixture={kind: 1.0})
    return made.ids[0], made.kinds[0]


def said(rows, ids, kinds, kind):
    """Return what stands at the tokens of one kind."""
    return rows.source.tokenizer.decode(ids[kinds == kind])


@given(kind=st.sampled_from(sorted(MAKERS)), step=st.integers(0, 10_000), length=st.integers(1000, 1400))
def test_a_row_has_its_length_begins_with_bos_and_depends_on_its_place_only(rows, kind, step, length):
    place = {"stage": "s", "step": step, "length": length, "mixture": {kind: 1.0}, "rows": 2}
    made, again = (rows.batch(**place) for _ in range(2))
    next_row = rows.batch(**place | {"step": step + 1})

    assert made.ids.shape == made.kinds.shape == (2, length)
    assert (made.ids[:, 0] == rows.source.bos).all()
    assert (made.kinds[:, 0] == Kind.IGNORED).all()
    assert (made.ids == again.ids).all()
    assert (made.kinds == again.kinds).all()
    assert (made.ids != next_row.ids).any()


@given(kind=st.sampled_from(PROBLEMS), step=st.integers(0, 10_000))
def test_a_copied_token_stood_earlier_behind_the_same_token(rows, kind, step):
    ids, kinds = row(rows, kind, step=step, length=400)
    seen: set[tuple[int, int]] = set()
    for position, pair in enumerate(pairwise(ids.tolist()), start=1):
        if kinds[position] == Kind.COPIED:
            assert pair in seen
        seen.add(pair)

    assert (kinds == Kind.COPIED).sum() >= 2


@given(step=st.integers(0, 10_000))
def test_a_needle_that_is_asked_for_stands_once_before_in_the_frame_of_the_task(rows, step):
    ids, kinds = row(rows, "field_prompt", step=step)
    first = (kinds == Kind.ANSWER).nonzero()[0][0]
    prompt = rows.source.tokenizer.decode(ids[1:first])
    answer = re.fullmatch(r" ([0-9]+)\.</s>", said(rows, ids, kinds, Kind.ANSWER))

    assert answer
    assert prompt.startswith(f"{INSTRUCTION}\n")
    assert set(re.findall(r"[0-9]+", prompt)) == {answer[1]}


@pytest.mark.parametrize("kind", ["field_prompt", "key_value", "questions"])
def test_rows_are_of_every_length_and_fill_it_every_second_time(rows, kind):
    shares = []
    for step in range(DISTINCT):
        ids, kinds = row(rows, kind, step=step)
        shares.append((kinds == Kind.ANSWER).nonzero()[0][-1] / len(ids))

    assert sum(share > 0.7 for share in shares) > DISTINCT / 3
    assert all(any(low <= share < low + 0.2 for share in shares) for low in (0.3, 0.5, 0.7))


@given(
    kind=st.sampled_from(("field_prompt", "key_value", "questions", "longbench")), step=st.integers(0, 10_000)
)
def test_a_prompt_is_made_of_the_tokens_that_the_task_makes_of_its_text(rows, kind, step):
    ids, kinds = row(rows, kind, step=step)
    first = (kinds == Kind.ANSWER).nonzero()[0][0]
    prompt = ids[1:first].tolist()

    assert rows.source.encode(rows.source.tokenizer.decode(prompt)) == prompt


@given(step=st.integers(0, 10_000))
def test_an_answer_to_a_key_is_the_line_that_stands_in_the_object(rows, step):
    ids, kinds = row(rows, "key_value", step=step)
    first = (kinds == Kind.ANSWER).nonzero()[0][0]
    shown = rows.source.tokenizer.decode(ids[1:first])

    for line in re.findall(r'("\S+": "\S+")</s>', said(rows, ids, kinds, Kind.ANSWER)):
        assert shown.count(line) == 1


@given(step=st.integers(0, 10_000))
def test_an_answer_to_a_question_is_a_statement_of_a_document(rows, step):
    ids, kinds = row(rows, "questions", step=step)
    first = (kinds == Kind.ANSWER).nonzero()[0][0]
    shown = rows.source.tokenizer.decode(ids[1:first])

    for statement in said(rows, ids, kinds, Kind.ANSWER).split("</s>")[:-1]:
        assert shown.count(statement) == 1


def test_generated_documents_take_the_place_of_books_where_there_are_none(tokenizer):
    source = data.Source(tokenizer, np.zeros(0, dtype=np.uint16))
    made = data.Rows(source, seed=0).batch(stage="s", step=0, rows=1, length=400, mixture={"books": 1.0})
    words = words_of(tokenizer.decode(made.ids[0, 1:]))

    assert (made.kinds[0, 1:] == Kind.TEXT).all()
    assert sum(word in ORDINARY for word in words) > 0.7 * len(words)


class TestDisjoint:
    """What tasks ask was never trained on, whatever their seed."""

    @given(st.randoms(use_true_random=False))
    def test_a_key_is_none_that_the_passkey_task_can_draw(self, draw):
        key = training_key(draw)

        assert not (len(key) == 5 and 10_000 <= int(key) <= 99_999)

    @given(st.randoms(use_true_random=False))
    def test_a_haystack_never_has_the_order_of_the_task(self, draw):
        cycle = " ".join(repeated_sentences(draw) * 3)

        assert " ".join(FILLER) not in cycle

    @pytest.mark.parametrize("kind", FORMATS)
    def test_no_row_holds_a_key_of_the_passkey_task(self, rows, kind):
        for step in range(100):
            ids, kinds = row(rows, kind, step=step)
            last = (kinds == Kind.ANSWER).nonzero()[0][-1]
            assert first_key(rows.source.tokenizer.decode(ids[1 : last + 1])) is None

    @given(seed=st.integers(0, 9_999), index=st.integers(0, 99))
    def test_a_needle_or_document_of_the_tasks_is_refused(self, seed, index):
        """A few of many: tests/tasks/generated/test_splits.py enumerates every seed from 0 to 9,999."""
        key, value = next(pairs(seed, index))
        gold = next(passages(seed, index))
        for text in (key, value, gold.title, gold.text, *(fact.statement for fact in gold.questions)):
            with pytest.raises(Refused, match="tasks may ask for it"):
                unasked(text)

    def test_what_the_tasks_really_ask_is_refused(self, tokenizer):
        for seed in range(20):
            for task in (Passkey(), KeyValue(), MultidocQa()):
                (sample,) = task.samples(
                    context_length=1500,
                    count=1,
                    seed=seed,
                    tokenizer=TaskTokenizer(tokenizer=tokenizer),
                )
                assert belongs_to_tasks(tokenizer.decode(sample.request.prompt_ids, skip_special_tokens=True))

    def test_a_sample_that_tasks_may_ask_for_is_drawn_again(self, rows, monkeypatch):
        asked = []

        def leaking(*arguments, split, **others):
            asked.append(split)
            return pairs(*arguments, split="tasks" if len(asked) == 1 else split, **others)

        before, _ = row(rows, "key_value", step=7)
        monkeypatch.setattr(formats, "pairs", leaking)
        ids, kinds = row(rows, "key_value", step=7)

        assert asked == ["training", "training"]
        assert (ids != before).any()
        assert belongs_to_tasks(said(rows, ids, kinds, Kind.ANSWER).replace("</s>", " ")) is None


def test_a_builder_cuts_what_is_too_long(rows):
    builder = RowBuilder()
    builder.add(range(3, 50), Kind.TEXT)

    assert builder.row(rows.source, 10).ids.tolist() == [rows.source.bos, *range(3, 12)]


def test_every_kind_of_row_of_the_curriculum_is_one_that_is_made():
    assert {
        kind for curriculum in CURRICULA.values() for stage in curriculum.stages for kind in stage.mixture
    } <= set(MAKERS)
