"""What is learnt of a conversation: its responses, whole, in order."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.tuning.conversations import DataFile, Turn
from longbench_run.harness.tuning.recipe import Recipe, papers
from longbench_run.harness.tuning.samples import IGNORED, Encoded, Sample, choose_samples, encode_all

TALK = (
    Turn("system", "Be brief."), Turn("user", "One?"), Turn("assistant", "uno\n\n dos"), Turn("user", "Two?"),
    Turn("assistant", "tres"), Turn("user", "Bye"),
)  # fmt: skip


def data(*conversations):
    return DataFile(name="data.jsonl", sha256="", conversations=conversations, without_response=0)


def learnt(sample, tokenizer):
    return tokenizer.decode([label for label in sample.labels if label != IGNORED])


def test_only_responses_are_learnt_up_to_the_token_that_ends_them(chat_tokenizer):
    (own,) = encode_all(data(TALK), chat_tokenizer, context_length=200).samples
    plain_tokenizer = copy.deepcopy(chat_tokenizer)
    plain_tokenizer.chat_template = None
    plain = encode_all(data(TALK), plain_tokenizer, context_length=200)

    assert chat_tokenizer.decode(own.token_ids) == (
        "<s>[system]Be brief.[user]One?[assistant]uno\n\n dos</s>[user]Two?[assistant]tres</s>"
    )
    assert learnt(own, chat_tokenizer) == "uno\n\n dos</s>tres</s>"
    assert plain.template == "plain"
    assert chat_tokenizer.decode(plain.samples[0].token_ids) == (
        "<s>Be brief.\nUSER: One?\nASSISTANT: uno\n\n dos</s>\nUSER: Two?\nASSISTANT: tres</s>\n"
    )
    assert learnt(plain.samples[0], chat_tokenizer).split() == ["uno", "dos</s>", "tres</s>"]


@given(answers=st.lists(st.integers(1, 30), min_size=1, max_size=5), context_length=st.integers(20, 120))
def test_samples_hold_whole_exchanges_and_no_more_than_the_context(chat_tokenizer, answers, context_length):
    turns = [
        turn
        for number, size in enumerate(answers)
        for turn in (Turn("user", str(number)), Turn("assistant", f"{number}" * size))
    ]
    whole = [f"{number}" * size for number, size in enumerate(answers)]
    # "<s>[user]", a digit, "[assistant]", and the end.
    fitting = [text for text in whole if 1 + 6 + 1 + 11 + len(text) + 1 <= context_length]
    if not fitting:
        with pytest.raises(ConfigError, match="longer ones alone"):
            encode_all(data(tuple(turns)), chat_tokenizer, context_length=context_length)
        return
    encoded = encode_all(data(tuple(turns)), chat_tokenizer, context_length=context_length)

    assert all(len(sample) <= context_length for sample in encoded.samples)
    pieces = "".join(learnt(sample, chat_tokenizer) for sample in encoded.samples)
    assert pieces == "".join(f"{text}</s>" for text in fitting)
    assert encoded.dropped["too_long"] == len(whole) - len(fitting)


def sample(length, mark):
    return Sample(token_ids=(mark,) * length, labels=(IGNORED,) + (mark,) * (length - 1))


THERE = Encoded(samples=tuple(sample(40 if i % 2 else 100, i) for i in range(20)), template="own")


def marks(count, **recipe):
    recipe = Recipe(context_length=128, samples=count, batch_size=1, **recipe)
    return [found.token_ids[0] for found in choose_samples(THERE, recipe, window=64, where="data.jsonl")]


def test_fewer_samples_are_among_more_and_every_epoch_has_its_order():
    few, many = marks(4), marks(12)

    assert set(few) < set(many)
    assert sorted(many[:12]) == sorted(many[12:])
    assert many[:12] != many[12:]
    assert marks(12) == many != marks(12, seed=1)


def test_compositions_take_what_they_say():
    assert all(mark % 2 for mark in marks(6, composition="short"))
    assert not any(mark % 2 for mark in marks(6, composition="long"))
    assert [mark % 2 for mark in marks(6, composition="short_then_long")] == [1] * 6 + [0] * 6
    with pytest.raises(ConfigError, match="at most the 10 long samples"):
        marks(11, composition="long")


def test_the_papers_recipe_is_the_default():
    """arXiv 2401.07004, appendix A."""
    assert (papers().steps, papers().batch_size, papers().warmup_steps) == (6, 32, 0)
    assert papers().deviations() == {}
    large = papers(samples=3500)
    assert (large.steps, large.batch_size, large.warmup_steps, large.deviations()) == (54, 128, 10, {})
    assert papers(learning_rate=5e-4, lora=8).deviations() == {
        "learning_rate": {"paper": 2e-5, "here": 5e-4}, "lora": {"paper": None, "here": 8},
    }  # fmt: skip
