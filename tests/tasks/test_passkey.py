"""The passkey task: the prompt of the field, a budget that holds for every key, depths in model tokens."""

from __future__ import annotations

import json
import re

import pytest

from longbench_run.tasks.base import Generated, Scored, TaskError
from longbench_run.tasks.passkey import (
    _PROBED_KEYS,
    FILLER,
    INSTRUCTION,
    QUESTION,
    Passkey,
    passkey_prompt,
)

CYCLE = " ".join(FILLER)


class Letters:
    """One token per character; keys that `is_long` picks are spelled with more tokens."""

    bos_token_id = None

    def __init__(self, is_long=lambda key: False, more=40):
        self.is_long = is_long
        self.more = more

    def encode(self, text, *, add_special_tokens=True):
        extra = sum(self.more for key in re.findall(r"[0-9]{5}", text) if self.is_long(int(key)))
        return [ord(letter) for letter in text] + [0] * extra

    def decode(self, token_ids, *, skip_special_tokens=False):
        return "".join(map(chr, token_ids))


def samples(tokenizer, *, context_length=900, count=20, seed=0, **parameters):
    task = Passkey(**parameters)
    return list(task.samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer))


def prompt_text(sample):
    return Letters().decode(sample.request.prompt_ids)


def test_prompt_is_the_fields_five_parts():
    assert passkey_prompt(key=12345, sentences=7, boundary=3) == (
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
        "I will quiz you about the important information there.\n"
        "The grass is green. The sky is blue. The sun is yellow.\n"
        "The pass key is 12345. Remember it. 12345 is the pass key.\n"
        "Here we go. There and back again. The grass is green. The sky is blue.\n"
        "What is the pass key? The pass key is"
    )


@pytest.mark.parametrize("boundary", [0, 5])
def test_needle_at_an_end_leaves_no_empty_part(boundary):
    parts = passkey_prompt(key=12345, sentences=5, boundary=boundary).split("\n")
    assert len(parts) == 4
    assert parts[1 if boundary else 2] == CYCLE


@pytest.mark.parametrize("file", ["passkey_examples", "passkey_examples_5k", "passkey_examples_10k"])
def test_prompt_is_the_one_in_the_wild_up_to_known_differences(shared, file):
    """Self-Extend's files: "memorize it", a newline after each cycle of filler, no question (its script adds it)."""
    for line in (shared / f"data/passkey/{file}.jsonl").read_text().splitlines():
        row = json.loads(line)
        instruction, *cycles = row["input"].strip().split("\n")
        needle = next(part for part in cycles if part.startswith("The pass key"))
        assert {part for part in cycles if part != needle} == {CYCLE}
        ours = passkey_prompt(
            key=row["target"], sentences=5 * (len(cycles) - 1), boundary=5 * cycles.index(needle)
        )
        assert ours.split("\n")[0] == INSTRUCTION == instruction.replace("memorize it.", "memorize them.")
        assert ours.removesuffix("\n" + QUESTION).split("\n", 1)[1].replace("\n", " ") == " ".join(cycles)


def test_haystack_is_the_same_for_every_sample_of_a_length():
    haystacks = {
        re.sub(r"\n|The pass key is \d+. Remember it. \d+ is the pass key.", " ", prompt_text(sample))
        for sample in samples(Letters())
    }
    assert len({" ".join(haystack.split()) for haystack in haystacks}) == 1


def test_one_more_sentence_would_not_fit(tokenizer):
    longest = max(len(tokenizer.encode(sentence, add_special_tokens=False)) for sentence in FILLER)
    for context_length in (500, 777, 1024, 4096):
        used = max(len(s.request.prompt_ids) for s in samples(tokenizer, context_length=context_length)) + 10
        # the longest prompt over all places and keys may be a little longer than the longest of these 20
        assert context_length - longest - 4 <= used <= context_length


def test_not_one_token_is_wasted_where_every_letter_is_one():
    for context_length in range(700, 760):
        text = prompt_text(samples(Letters(), context_length=context_length, count=1)[0])
        sentences = sum(text.count(sentence) for sentence in FILLER)
        longer = passkey_prompt(key=12345, sentences=sentences + 1, boundary=1)
        assert len(text) + 10 <= context_length < len(longer) + 10


def test_needle_stands_at_the_boundary_nearest_to_its_depth(tokenizer):
    def tokens(text):
        return len(tokenizer.encode(text, add_special_tokens=False))

    half_a_sentence = max(tokens(" " + sentence) for sentence in FILLER) / 2
    for sample in samples(tokenizer, context_length=2048):
        text = tokenizer.decode(sample.request.prompt_ids, skip_special_tokens=True).removeprefix("<s>")
        before, needle, _ = text.partition(f"The pass key is {sample.target}.")
        assert needle
        haystack = len(sample.request.prompt_ids) - tokens(passkey_prompt(key=12345, sentences=0, boundary=0))
        found = (tokens(before) - tokens(INSTRUCTION + "\n")) / haystack
        assert abs(found - sample.depth) <= (half_a_sentence + 3) / haystack


def test_no_other_boundary_is_nearer_to_the_depth():
    """Sentences differ in length, so the boundary nearest by count is often not the nearest by tokens."""
    differs = 0
    for context_length in range(620, 720, 7):
        for sample in samples(Letters(), context_length=context_length, count=10):
            text = prompt_text(sample)
            sentences = sum(text.count(sentence) for sentence in FILLER)
            ends = [0]
            for number in range(sentences):
                ends.append(ends[-1] + len(FILLER[number % 5]) + 1)  # with the blank or newline behind it
            before = text.partition(f"The pass key is {sample.target}.")[0]
            chosen = sum(before.count(sentence) for sentence in FILLER)
            distances = [abs(end / ends[-1] - sample.depth) for end in ends]
            assert distances[chosen] == pytest.approx(min(distances), abs=1e-12)
            differs += chosen != round(sample.depth * sentences)
    assert differs > 5, "counting sentences would have given the same places, so this test shows nothing"


def test_depths_are_a_grid_in_an_order_that_spans_it_early():
    depths = [sample.depth for sample in samples(Letters(), count=20)]
    assert sorted(depths[:10]) == [step / 9 for step in range(10)]
    assert depths[10:] == depths[:10]
    assert depths[:3] == [0.0, 1.0, 4 / 9]


def test_keys_have_five_digits_and_differ():
    keys = [sample.target for sample in samples(Letters(), count=200)]
    assert all(re.fullmatch(r"[1-9][0-9]{4}", key) for key in keys)
    assert len(set(keys)) > 195


def test_key_stands_in_the_prompt_twice():
    for sample in samples(Letters()):
        assert prompt_text(sample).count(sample.target) == 2


@pytest.mark.parametrize("more", [1, 40])
def test_key_that_would_burst_the_budget_is_drawn_again(more):
    unusual = Letters(is_long=lambda key: key % 3 == 0 and key not in _PROBED_KEYS, more=more)
    redrawn = 0
    for context_length in range(900, 925):  # some of them leave no token to spare
        found = samples(unusual, context_length=context_length)
        usual = samples(Letters(), context_length=context_length)
        assert all(len(sample.request.prompt_ids) + 10 <= context_length for sample in found)
        redrawn += sum(a.target != b.target for a, b in zip(found, usual, strict=True))
    assert redrawn > 0, "no key was drawn again, so this test shows nothing"


def test_tokenizer_without_rule_is_refused():
    hostile = Letters(is_long=lambda key: key not in _PROBED_KEYS)
    with pytest.raises(TaskError) as error:
        samples(hostile)
    assert str(error.value) == (
        "passkey: prompt must be at most 890 tokens, got more for each of 100 keys. "
        "The tokenizer counts text in a way that cannot be planned for; use another one."
    )


@pytest.mark.parametrize(
    ("text", "prediction", "accuracy"),
    [
        (" 12345. Remember it.", "12345", 1.0),
        ("\n\n12345", "12345", 1.0),
        (" 012345", "012345", 1.0),
        (" 1234", "1234", 0.0),
        (" 123456", "123456", 0.0),
        (" 99999 12345", "99999", 0.0),
        (" 12,345", "12", 0.0),
        (" unknown", None, 0.0),
        ("", None, 0.0),
        (" ١٢٣٤٥", None, 0.0),
    ],
)
def test_first_integer_is_compared(text, prediction, accuracy):
    sample = samples(Letters(), count=1)[0]
    assert sample.target is not None
    text = text.replace("12345", sample.target)
    score = Passkey().score(sample, Generated(token_ids=(), text=text))
    assert score.scores == {"accuracy": accuracy}
    assert score.prediction == (prediction and prediction.replace("12345", sample.target))


def test_other_output_is_a_mistake_of_the_caller():
    with pytest.raises(TypeError, match=r"^passkey scores Generated, got Scored$"):
        Passkey().score(samples(Letters(), count=1)[0], Scored(nll=()))


def test_length_below_the_minimum_is_named():
    minimum = Passkey().minimum_length(Letters())
    with pytest.raises(TaskError) as error:
        Passkey().samples(context_length=minimum - 1, count=1, seed=0, tokenizer=Letters())
    assert str(error.value) == (
        f"passkey: context_length must be at least {minimum} with this tokenizer, got {minimum - 1}. "
        "Ask for a longer one."
    )


def test_long_haystack_is_found_without_reading_it_again_and_again(byte_bpe):
    """At 32k tokens each sample costs one pass over its prompt, and finding the haystack about three more."""
    before = byte_bpe.encoded_characters
    found = samples(byte_bpe, context_length=32768, count=20)
    characters = len(byte_bpe.decode(found[0].request.prompt_ids))
    assert byte_bpe.encoded_characters - before < 26 * characters
