"""Key-value retrieval: the authors' prompt, an object that fills the length, and the pair at its place."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks.base import Generated, Scored, TaskError
from longbench_run.tasks.generated.pairs import pairs
from longbench_run.tasks.haystacks import place_of
from longbench_run.tasks.key_value import PROTOCOLS, KeyValue, kv_prompt
from longbench_run.tasks.registry import load_task

TEMPLATES = {
    "litm-v1": "c6e34e29e19dbed9ac4d1a51c31c64cdad5b9f68a87f4348fc0f3d320541db45",
    "litm-v1-query-aware": "13e0bc3b51dc470a8ba1195a6acf701fa6579363d7bbae123c7737d1b0e0d601",
}
"""Protocol -> sha256 of the authors' file in src/lost_in_the_middle/prompts at 29b8a6d, without the newline at its end."""

FILLED = "76054663236f53d9682d8e83fff0b91e454ff3340a66375a50313fe15b40aac8"
"""sha256 of what the authors' get_kv_retrieval_prompt makes of 75 pairs, without and with query-aware, joined by NUL."""


def sha256(texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def samples(tokenizer, *, context_length=9000, count=10, seed=0, **parameters):
    task = KeyValue(**parameters)
    return list(task.samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer))


def read(sample, tokenizer):
    """Return the object of a prompt as JSON has it, in order, and the key asked for."""
    text = tokenizer.decode(sample.request.prompt_ids, skip_special_tokens=True)
    (shown,) = re.findall(r"JSON data:\n(\{.*?\})\n\n", text, re.DOTALL)
    keys = set(re.findall(r'^Key: "(.*)"$', text, re.MULTILINE))
    assert len(keys) == 1
    return list(json.loads(shown).items()), keys.pop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_template_is_the_authors_file(protocol):
    assert sha256([PROTOCOLS[protocol]]) == TEMPLATES[protocol]


def test_filled_prompt_is_the_authors():
    shown = [(f"key {number}", f"value {number**2}") for number in range(75)]
    assert sha256([kv_prompt(template, shown, "key 40") for template in PROTOCOLS.values()]) == FILLED


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    protocol=st.sampled_from(list(PROTOCOLS)),
    kind=st.sampled_from(["words", "uuid"]),
    positions=st.integers(2, 9),
    more=st.integers(0, 4000),
    seed=st.integers(0, 10**6),
)
def test_budget_is_never_exceeded(usual_tokenizer, protocol, kind, positions, more, seed):
    task = KeyValue(protocol=protocol, kind=kind, positions=positions)
    length = task.minimum_length(usual_tokenizer) + more
    found = list(
        task.samples(context_length=length, count=positions + 1, seed=seed, tokenizer=usual_tokenizer)
    )
    assert len(found) == positions + 1
    assert all(len(sample.request.prompt_ids) + 100 <= length for sample in found)


@pytest.mark.parametrize("kind", ["words", "uuid"])
def test_as_many_pairs_as_fit_in_the_order_in_which_they_are_generated(byte_tokens, kind):
    for length in range(1500, 4500, 171):
        sample = samples(byte_tokens, context_length=length, count=1, kind=kind)[0]
        drawn = list(islice(pairs(0, 0, kind=kind), 200))
        sizes = {
            count: 1 + len(kv_prompt(PROTOCOLS["litm-v1"], drawn[:count], drawn[0][0]))
            for count in range(1, 200)
        }
        most = max(count for count, size in sizes.items() if size + 100 <= length)
        assert len(sample.request.prompt_ids) == sizes[most]
        assert read(sample, byte_tokens) == (drawn[:most], drawn[0][0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["words", "uuid"])
@pytest.mark.parametrize("positions", [2, 5, 7])
def test_pair_stands_at_its_place_among_the_same_others(byte_tokens, protocol, kind, positions):
    found = samples(byte_tokens, count=3 * positions, protocol=protocol, kind=kind, positions=positions)
    for number in range(3):
        of_key = found[number * positions : (number + 1) * positions]
        assert {sample.document for sample in of_key} == {f"generated-0-{number}"}
        assert sorted(sample.depth for sample in of_key) == [
            step / (positions - 1) for step in range(positions)
        ]
        others = set()
        for sample in of_key:
            shown, key = read(sample, byte_tokens)
            step = round(sample.depth * (positions - 1))
            assert shown.pop(place_of(step, depths=positions, pieces=len(shown))) == (key, sample.target)
            others.add(tuple(shown))
        assert len(others) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(seed=st.integers(0, 10**9), kind=st.sampled_from(["words", "uuid"]))
def test_nothing_else_holds_the_value_and_nothing_occurs_twice(byte_tokens, seed, kind):
    for sample in samples(byte_tokens, count=6, seed=seed, kind=kind):
        shown, key = read(sample, byte_tokens)
        texts = [text for pair in shown for text in pair]
        assert len(set(texts)) == len(texts) > 100
        assert [name for name, value in shown if sample.target in name or sample.target in value] == [key]


def test_pair_that_holds_the_value_by_chance_is_left_out(byte_tokens, monkeypatch):
    def drawn(seed, number, *, kind):
        yield "key", "Ab"
        for other in itertools.count():
            yield f"k-{other}", f"{'cab' if other % 3 else 'v'}-{other}"
            yield f"{'CAB' if other % 2 else 'w'}-{other}", f"u-{other}"

    monkeypatch.setattr("longbench_run.tasks.key_value.pairs", drawn)
    shown, _ = read(samples(byte_tokens, count=1)[0], byte_tokens)
    assert len(shown) > 100
    assert [pair for pair in shown if "ab" in "".join(pair).lower()] == [("key", "Ab")]


@pytest.mark.parametrize("kind", ["words", "uuid"])
@pytest.mark.parametrize("count", [75, 140])
def test_pairs_can_be_counted_as_the_authors_do(byte_tokens, kind, count):
    for sample in samples(byte_tokens, context_length=20_000, pairs=count, kind=kind):
        assert len(read(sample, byte_tokens)[0]) == count


@pytest.mark.parametrize(
    ("text", "accuracy"),
    [(" {}", 1.0), ('"{}"\nKey', 1.0), ("\n\nIt is {}", 1.0), (" {:.9}", 0.0), ("", 0.0)],
)
def test_value_anywhere_in_the_answer_is_right(byte_tokens, text, accuracy):
    sample = samples(byte_tokens, count=1)[0]
    for value in (sample.target, sample.target.upper()):
        score = KeyValue().score(sample, Generated(token_ids=(), text=text.format(value)))
        assert score.scores == {"accuracy": accuracy}


def test_other_output_is_a_mistake_of_the_caller(byte_tokens):
    with pytest.raises(TypeError, match=r"^key_value scores Generated, got Scored$"):
        KeyValue().score(samples(byte_tokens, count=1)[0], Scored(nll=()))


def test_generated_prompts_stay_what_they_are(byte_tokens):
    """Whoever changes them raises `PAIRS_VERSION`, or the version of the task."""
    found = [sample for kind in ("words", "uuid") for sample in samples(byte_tokens, count=5, kind=kind)]
    assert (
        KeyValue().info.version,
        KeyValue().parameters()["data"],
        sha256([byte_tokens.decode(sample.request.prompt_ids) for sample in found]),
    ) == (1, "generated-1", "eb8298700a60a36b9dd8eabed8fcbb213aab0b53a8662d9a8bcb0c0de69a6653")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "uuids"}, 'key_value: has no kind "uuids" (did you mean "uuid"?). Kinds: uuid, words.'),
        (
            {"protocol": "litm-v1-query-awar"},
            'key_value: has no protocol "litm-v1-query-awar" (did you mean "litm-v1-query-aware"?). Protocols: litm-v1, '
            "litm-v1-query-aware.",
        ),
        (
            {"positions": 1},
            "key_value: positions must be at least 2, got 1. Leave it out for the default, 5.",
        ),
        (
            {"max_new_tokens": "0"},
            "key_value: max_new_tokens must be at least 1, got 0. Leave it out for the default, 100.",
        ),
        (
            {"pairs": 4},
            "key_value: pairs must be at least positions=5, got 4. Raise it, or ask for fewer positions.",
        ),
    ],
)
def test_bad_parameter_is_named_in_one_line(parameters, message):
    with pytest.raises(TaskError) as error:
        load_task("key_value", **parameters)
    assert str(error.value) == message


def test_turn_of_a_chat_is_counted(byte_tokens):
    class Chat(type(byte_tokens)):
        def encode_chat(self, text):
            return self.encode(f"[INST] {text} [/INST]")

    length = KeyValue().minimum_length(Chat()) + 700
    found = list(KeyValue().samples(context_length=length, count=6, seed=0, tokenizer=Chat()))
    assert len(found) == 6
    for sample in found:
        assert len(sample.request.prompt_ids) + 100 <= length
        assert byte_tokens.decode(sample.request.prompt_ids).endswith("Corresponding value: [/INST]")


@pytest.mark.parametrize("pairs", [None, 75])
def test_length_below_the_minimum_is_named(byte_tokens, pairs):
    minimum = KeyValue(pairs=pairs).minimum_length(byte_tokens)
    with pytest.raises(TaskError) as error:
        samples(byte_tokens, context_length=minimum - 1, pairs=pairs)
    assert str(error.value) == (
        f"key_value: context_length must be at least {minimum} with this tokenizer and {pairs or 5} pairs, got "
        f"{minimum - 1}. Ask for a longer one."
    )
