"""The study of tuned variants: what it tunes with, and what its verdicts say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tuning_claim.claims import Claim, judged
from benchmarks.tuning_claim.conversations import TEMPLATE, turns_of, write_conversations
from benchmarks.tuning_claim.editions import EDITIONS, HALVES, MAIN
from longbench_run.harness import reference_model
from longbench_run.harness.reference_model.row import Kind, Row
from longbench_run.harness.reference_model.tokenizer import load_tokenizer
from longbench_run.harness.tuning.conversations import read_conversations
from longbench_run.harness.tuning.samples import encode_all
from longbench_run.results.crossed import Contrast
from longbench_run.tasks.generated.names import belongs_to_tasks, first_key


@pytest.fixture(scope="module")
def tokenizer():
    loaded = load_tokenizer(reference_model.path())
    loaded.chat_template = TEMPLATE
    return loaded


def test_conversations_fit_the_context_teach_answers_alone_and_hold_nothing_that_tasks_ask_for(
    tokenizer, tmp_path
):
    path = tmp_path / "conversations.jsonl"
    write_conversations(path, tokenizer, count=12, longest=2048)
    file = read_conversations(path)
    encoded = encode_all(file, tokenizer, context_length=2048)

    assert len(file.conversations) == len(encoded.samples) == 12
    assert not any(encoded.dropped.values())
    for conversation, sample in zip(file.conversations, encoded.samples, strict=True):
        assert conversation[-1].role == "assistant"
        assert all(first_key(turn.text) is None for turn in conversation)
        assert all(belongs_to_tasks(turn.text) is None for turn in conversation if turn.role == "assistant")
        assert 0 < sample.responses < len(sample) / 2
        learnt = tokenizer.decode([label for label in sample.labels if label >= 0])
        answers = [turn.text for turn in conversation if turn.role == "assistant"]
        assert learnt == "".join(f"{answer}</s>" for answer in answers)
    assert max(map(len, encoded.samples)) > 1024
    again = tmp_path / "again.jsonl"
    write_conversations(again, tokenizer, count=12, longest=2048)
    assert again.read_bytes() == path.read_bytes()


def test_a_row_becomes_turns_up_to_its_last_answer(tokenizer):
    parts = [("Say it.", Kind.IGNORED), (" One.", Kind.ANSWER), (" And?", Kind.TEXT), (" Two.", Kind.ANSWER)]
    ids, kinds = [tokenizer.bos_token_id], [Kind.IGNORED]
    for text, kind in [*parts, (" The end.", Kind.TEXT)]:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids += tokens
        kinds += [kind] * len(tokens)
    ids += [tokenizer.eos_token_id]
    kinds += [Kind.ANSWER]
    turns = turns_of(Row(np.array(ids[:-1]), np.array(kinds[:-1])), tokenizer)

    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "Say it."), ("assistant", " One."), ("user", " And?"), ("assistant", " Two."),
    ]  # fmt: skip


class Fixed:
    """A run whose contrasts are given."""

    def __init__(self, *contrasts):
        self._contrasts = iter(contrasts)

    def contrast(self, place, cells):
        return next(self._contrasts)


def found(value, p):
    return Contrast(value=value, seeds=5, n=20, clusters=20, low=value - 1, high=value + 1, p=p)


def test_claims_are_judged_together_and_on_their_own_side():
    stated = [
        Claim(text=str(number), cells={}, says=says)
        for number, says in enumerate(("above 0", "above 0", "near 0", "near 0", "above 0", "above 0"))
    ]
    run = Fixed(
        found(0.2, 1e-5), found(-0.2, 1e-5), found(0.2, 1e-5), found(0.01, 0.8), found(0.2, 0.03), None
    )

    assert [each.found for each in judged(run, None, stated)] == [
        "shown", "contradicted", "contradicted", "not shown", "not shown", "not measured",
    ]  # fmt: skip


def test_both_editions_tune_the_same_methods_with_five_seeds_and_hold_the_paper_s_and_the_released_form():
    assert {"entropy_abf", "entropy_abf:skip_layers=0"} <= set(MAIN)
    assert set(HALVES) - set(MAIN) == {"none", "log_n"}
    assert {len(edition.seeds) for edition in EDITIONS.values()} == {5}
    assert len({edition.samples for edition in EDITIONS.values()}) == 1
