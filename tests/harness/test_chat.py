"""Chat templates: what a prompt is wrapped into, and what is said where that cannot be."""

from __future__ import annotations

import copy

import pytest

from longbench_run.harness.chat import NAMES, ChatTemplate, TaskTokenizer, find_template
from longbench_run.harness.errors import ConfigError, LongbenchError

OWN = (
    "{{ bos_token }}{% if not enable_thinking %}plain{% else %}deep{% endif %}|{{ strftime_now('%d %b %Y') }}|"
    "{{ messages[0]['role'] }}:{{ messages[0]['content'] }}{% if add_generation_prompt %}|answer:{% endif %}"
)


@pytest.fixture
def with_template(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = OWN
    return tokenizer


def found(asked, tokenizer):
    return find_template(asked, tokenizer, where="--chat-template: model m")


def text_of(tokenizer, template, prompt="How?"):
    ids = TaskTokenizer(tokenizer=tokenizer, chat=template).encode_chat(prompt)
    assert ids.count(tokenizer.bos_token_id) == 1  # where two stand, every score is another
    assert ids[0] == tokenizer.bos_token_id
    return tokenizer.decode(ids[1:])


def test_auto_is_the_models_own_where_it_has_one(tiny_tokenizer, with_template):
    assert found("auto", tiny_tokenizer) is None
    assert found("auto", with_template) == found("own", with_template) == ChatTemplate(name="own")
    assert found("none", with_template) is None


def test_the_own_template_asks_for_an_answer_without_thinking_on_a_fixed_day(with_template):
    assert text_of(with_template, found("auto", with_template)) == "plain|26 Jul 2024|user:How?|answer:"
    assert text_of(with_template, found("thinking", with_template)) == "deep|26 Jul 2024|user:How?|answer:"


def test_named_templates_are_those_of_longbench(tiny_tokenizer, with_template):
    for tokenizer in (tiny_tokenizer, with_template):
        assert text_of(tokenizer, found("llama2", tokenizer), "a {b}") == "[INST]a {b}[/INST]"
        assert text_of(tokenizer, found("vicuna", tokenizer), "How?") == (
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: How? ASSISTANT:"
        )


def test_without_a_template_a_turn_is_the_text(tiny_tokenizer):
    seen = TaskTokenizer(tokenizer=tiny_tokenizer)
    assert seen.encode_chat("How?") == seen.encode("How?") == tiny_tokenizer.encode("How?")
    assert seen.encode("a b", add_special_tokens=False) == tiny_tokenizer.encode(
        "a b", add_special_tokens=False
    )


def test_blanks_before_punctuation_stay_in_prompts(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.clean_up_tokenization_spaces = True
    tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    assert tokenizer.decode(tokenizer.encode("x , y ."), skip_special_tokens=True) == "x, y."
    seen = TaskTokenizer(tokenizer=tokenizer)
    assert seen.decode(seen.encode("x , y ."), skip_special_tokens=True) == "x , y ."


def test_an_own_template_that_is_not_there_is_refused(tiny_tokenizer):
    for name in ("own", "thinking"):
        with pytest.raises(ConfigError) as caught:
            found(name, tiny_tokenizer)
        assert str(caught.value) == (
            f"--chat-template: model m: chat template must be one that there is, got {name!r} and a tokenizer without "
            "one. Choose none or llama2, vicuna."
        )


def test_a_template_that_fails_is_an_error_of_one_line(with_template):
    with_template.chat_template = "{{ raise_exception('a system\nmessage comes first') }}"
    with pytest.raises(ConfigError) as caught:
        found("auto", with_template)
    assert str(caught.value) == (
        "--chat-template: model m: chat template must be one that takes a user's turn, got an error (a system message "
        "comes first). Choose none or llama2, vicuna."
    )
    assert found("none", with_template) is None


def test_an_unknown_name_names_the_nearest(tiny_tokenizer):
    with pytest.raises(LongbenchError, match='unknown chat template "llama"\\. Did you mean "llama2"'):
        found("llama", tiny_tokenizer)
    assert NAMES == ("auto", "none", "own", "thinking", "llama2", "vicuna")
