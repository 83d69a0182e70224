"""Prompts that begin alike: computed once, with the results of computing each alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from longbench_run.harness import reference_model
from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.chat import TaskTokenizer
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.prefix import SharedPrefix, common_prefix, sharing_order
from longbench_run.harness.reference_model.tokenizer import load_tokenizer
from longbench_run.tasks.base import GenerateRequest
from longbench_run.tasks.key_value import KeyValue
from longbench_run.tasks.multidoc_qa.task import MultidocQa
from longbench_run.tasks.passkey import Passkey

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple), min_size=1, max_size=8)


@pytest.fixture
def grid(token_ids):
    """Prompts that part from one another at several places, as those of a depth grid do, out of order."""
    haystack, needle = token_ids(90), token_ids(6, seed=3)
    return [
        GenerateRequest(prompt_ids=(*haystack[:at], *needle, *haystack[at:]), max_new_tokens=6)
        for at in (45, 0, 80, 20)
    ]


@pytest.mark.parametrize("text", ["none", "pi:factor=4", "self_extend:group=4:window=16", "log_n"])
def test_a_group_gives_what_each_request_gives_alone(loaded, grid, text):
    method = parse_method(text)
    with continued(loaded.model), method.applied_to(loaded.model, context_length=128):
        shared = run_group(loaded, grid, prefix_causal=True)
        alone = run_group(loaded, grid, prefix_causal=True, prefix_reuse=False)

    assert [result.output for result in shared] == [result.output for result in alone]
    assert [result.prompt_sha256 for result in shared] == [result.prompt_sha256 for result in alone]
    assert [result.tokens_reused for result in alone] == [0, 0, 0, 0]


def test_every_token_that_an_earlier_prompt_began_with_is_reused(loaded, grid):
    shared = run_group(loaded, grid, prefix_causal=True)

    assert sorted(result.tokens_reused for result in shared) == [0, 0, 20, 45]


def test_nothing_is_reused_under_a_method_that_looks_at_the_length(loaded, grid):
    assert {result.tokens_reused for result in run_group(loaded, grid, prefix_causal=False)} == {0}


def test_a_prompt_asked_for_twice_still_computes_its_last_token(loaded, grid):
    first, second = run_group(loaded, [grid[0], grid[0]], prefix_causal=True)

    assert first.output == second.output
    assert second.tokens_reused == len(grid[0].prompt_ids) - 1


def test_a_failed_request_leaves_nothing_to_go_on_from(loaded, grid):
    broken = GenerateRequest(prompt_ids=(*grid[0].prompt_ids[:50], 10**9), max_new_tokens=2)
    results = run_group(loaded, [grid[0], broken, grid[3]], prefix_causal=True)
    alone = run_group(loaded, [grid[0], grid[3]], prefix_causal=True, prefix_reuse=False)

    assert [result.status for result in results] == ["ok", "error", "ok"]
    assert [results[0].output, results[2].output] == [result.output for result in alone]


@given(PROMPTS)
def test_in_the_sharing_order_each_prefix_is_computed_once(prompts):
    computed, last = 0, ()
    for place in sharing_order(prompts):
        computed += len(prompts[place]) - common_prefix(last, prompts[place])
        last = prompts[place]

    assert computed == len({prompt[:stop] for prompt in prompts for stop in range(1, len(prompt) + 1)})


def test_a_cache_that_does_not_hold_what_was_said_is_not_kept():
    prefix = SharedPrefix()
    prefix.keep((1, 2, 3), DynamicCache())

    assert prefix.take((1, 2, 4)) == (None, 0)


@pytest.mark.parametrize(
    ("task", "places", "share"), [(Passkey(), 10, 0.65), (KeyValue(), 5, 0.75), (MultidocQa(), 5, 0.75)]
)
def test_the_places_of_one_question_compute_a_part_of_their_tokens(task, places, share):
    tokenizer = TaskTokenizer(tokenizer=load_tokenizer(reference_model.path()))
    samples = list(task.samples(context_length=8192, count=places, seed=0, tokenizer=tokenizer))
    keys = {task.group_key(context_length=8192, index=sample.index) for sample in samples}
    prompts = [sample.request.prompt_ids for sample in samples]
    computed, last = 0, ()
    for place in sharing_order(prompts):
        computed += len(prompts[place]) - common_prefix(last, prompts[place])
        last = prompts[place]

    assert len(keys) == 1
    assert task.group_key(context_length=8192, index=places) not in keys
    assert computed <= share * sum(map(len, prompts))
