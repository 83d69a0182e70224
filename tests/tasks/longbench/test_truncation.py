"""Both ways to cut: the authors' to the token, and the exact one, which fills a budget and keeps the question."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench.datasets import DATASETS
from longbench_run.tasks.longbench.prompts import PromptParts, filled
from longbench_run.tasks.longbench.truncation import TRUNCATIONS

V1, EXACT = TRUNCATIONS["longbench-v1"], TRUNCATIONS["exact"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
WORDS = st.lists(
    st.sampled_from(["the", "Paragraph 7:", "naïve", "上海", "\n\n", "x = f(y)", "  ", "🦉", "10203"]),
    max_size=200,
)


def first_row(shared, name):
    with (shared / f"data/longbench/{name}.jsonl").open(encoding="utf-8") as file:
        return json.loads(file.readline())


def test_limits_are_those_of_the_authors_table():
    lengths = (1024, 4096, 8192, 16384, 32768)
    assert [V1.limit("longbench", n, 32, None) for n in lengths] == [500, 3500, 7500, 15500, 31500]
    assert V1.limit("longbench", 5000, 32, 4096) == 4096
    assert EXACT.limit("longbench", 5000, 32, None) == 4968


def test_a_length_that_is_no_multiple_names_the_other_protocol():
    with pytest.raises(TaskError) as caught:
        V1.limit("longbench_qasper", 5000, 32, None)
    assert str(caught.value) == (
        "longbench_qasper: context_length must be a multiple of 1024 with protocol longbench-v1, got 5000. "
        "Choose another, name max_length, or use protocol exact."
    )


@pytest.mark.parametrize("limit", [500, 501, 3500])
def test_the_authors_cut_is_theirs_step_by_step(shared, sentencepiece, open_llama, limit):
    """Written down from `pred.py` with the tokenizer's own call, as it is used there."""
    cut = 0
    for name in DATASETS:
        row = first_row(shared, name)
        parts = filled(name, context=row["context"], question=row["input"])
        prompt = parts.text
        ids = sentencepiece(prompt, truncation=False)["input_ids"]
        half = int(limit / 2)
        if len(ids) > limit:
            cut += 1
            prompt = sentencepiece.decode(ids[:half], skip_special_tokens=True) + sentencepiece.decode(
                ids[-half:], skip_special_tokens=True
            )
        expected = sentencepiece(f"[INST]{prompt}[/INST]", truncation=False)["input_ids"]

        found = V1.fit(parts, open_llama, open_llama.encode_chat, limit)

        assert found.prompt_ids == tuple(expected)
        expected_ledger = (len(ids) - 2 * half, half) if len(ids) > limit else (0, None)
        assert (found.tokens_truncated, found.truncated_at) == expected_ledger
    assert cut >= 12


def test_a_prompt_at_the_limit_is_not_cut(one_byte):
    parts = PromptParts(before="a", context="bcd", after="e")
    assert V1.fit(parts, one_byte, one_byte.encode, 6).text == "abcde"
    assert V1.fit(parts, one_byte, one_byte.encode, 5).text == "ade"
    assert EXACT.fit(parts, one_byte, one_byte.encode, 6).text == "abcde"
    assert EXACT.fit(parts, one_byte, one_byte.encode, 5).text == "abde"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(before=TEXT, context=st.one_of(TEXT, WORDS.map(" ".join)), after=TEXT, more=st.integers(0, 400))
def test_exact_never_exceeds_its_budget_and_keeps_the_question(budgeted, before, context, after, more):
    parts = PromptParts(before=f"Instruction: {before}\n\n", context=context, after=f"\n\nQuestion: {after}")
    encode = budgeted.encode_chat
    limit = EXACT.never_cut(parts, encode) + more

    found = EXACT.fit(parts, budgeted, encode, limit)

    assert len(found.prompt_ids) <= limit
    assert found.prompt_ids == tuple(encode(found.text))
    assert found.text.startswith(parts.before)
    assert found.text.endswith(parts.after)
    whole = len(encode(parts.text))
    assert (found.tokens_truncated == 0) == (whole <= limit) == (found.text == parts.text)


@pytest.mark.parametrize("length", [2048, 4096])
def test_exact_fills_real_prompts_to_the_last_tokens(shared, budgeted, length):
    for name in ("hotpotqa", "qasper", "gov_report", "passage_retrieval_zh", "lcc"):
        row = first_row(shared, name)
        parts = filled(name, context=row["context"] * 3, question=row["input"])
        limit = length - 32 + EXACT.never_cut(parts, budgeted.encode_chat)

        found = EXACT.fit(parts, budgeted, budgeted.encode_chat, limit)

        # Text around the cut is encoded anew, and a character of up to four bytes may be lost on either side.
        assert limit - 8 <= len(found.prompt_ids) <= limit, name
        assert found.tokens_truncated > 0
        kept = found.text.removeprefix(parts.before).removesuffix(parts.after)
        assert len(kept) > 100
        head = kept[: len(kept) // 4].strip()
        if name != "passage_retrieval_zh":  # whose characters some of these tokenizers do not have
            assert head in parts.context


def test_exact_cuts_the_middle(one_byte):
    parts = PromptParts(before="<", context="0123456789", after=">")
    found = EXACT.fit(parts, one_byte, one_byte.encode, 8)
    assert found.text == "<01289>"
    assert (found.tokens_truncated, found.truncated_at) == (5, 5)  # the token before every text is counted


def test_half_a_character_is_no_text(one_byte):
    parts = PromptParts(before="", context="上海上海上海", after="?")
    for limit in range(4, 20):
        text = EXACT.fit(parts, one_byte, one_byte.encode, limit).text
        assert set(text) <= set("上海?")


def test_exact_without_room_for_the_question_says_so(one_byte):
    parts = PromptParts(before="instruction", context="abc", after="question")
    with pytest.raises(TaskError) as caught:
        EXACT.fit(parts, one_byte, one_byte.encode, 10)
    assert str(caught.value) == (
        "longbench: prompt without its context must be at most 10 tokens, got 20. Ask for a longer context length."
    )
