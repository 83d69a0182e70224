"""Greedy generation equals transformers' own, however the prompt is cut."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from longbench_run.harness.models.generate import generate, generate_timed
from longbench_run.tasks.base import GenerateRequest

BUDGET = 12


def request(prompt, **changes):
    return GenerateRequest(prompt_ids=prompt, **{"max_new_tokens": BUDGET, **changes})


def transformers_ids(loaded, prompt, *, end=None, **options):
    ids = torch.tensor([prompt])
    out = loaded.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=BUDGET,
        eos_token_id=end,
        pad_token_id=0,
        **options,
    )
    return tuple(out[0, len(prompt) :].tolist())


@pytest.mark.parametrize("length", [1, 2, 40, 200])
def test_ids_equal_transformers_generate(loaded, token_ids, length):
    prompt = token_ids(length, seed=length)
    endless = dataclasses.replace(loaded, end_ids=frozenset())
    expected = transformers_ids(loaded, prompt)
    assert len(set(expected)) > 2  # otherwise any constant would pass
    assert generate(endless, request(prompt)).token_ids == expected


def test_end_token_in_the_middle_ends_and_is_left_out(loaded, token_ids):
    prompt = token_ids(30, seed=1)
    endless = dataclasses.replace(loaded, end_ids=frozenset())
    free = generate(endless, request(prompt)).token_ids
    end = next(token for i, token in enumerate(free) if i >= 3 and token not in free[:i])
    stopped = dataclasses.replace(loaded, end_ids=frozenset({end, 9999}))
    expected = transformers_ids(loaded, prompt, end=end)
    assert expected[-1] == end
    assert generate(stopped, request(prompt)).token_ids == expected[:-1] == free[: free.index(end)]


@pytest.mark.parametrize("least", [0, 1, 2, 5, BUDGET])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_end_tokens_and_a_least_length_are_those_of_transformers(loaded, token_ids, at, least):
    prompt = token_ids(30, seed=1)
    own = dataclasses.replace(loaded, end_ids=frozenset({7}))
    free = generate(dataclasses.replace(loaded, end_ids=frozenset()), request(prompt)).token_ids
    end = free[at]
    # An id beyond the embedding's rows ends nothing, and must not fail where others are forbidden.
    output = generate(own, request(prompt, end_ids=(end, 9999), min_new_tokens=least))
    expected = transformers_ids(loaded, prompt, end=[7, end], min_new_tokens=least)
    assert len(expected) >= max(1, least)
    assert (end in expected[least:]) or len(expected) == BUDGET
    assert output.token_ids == (expected[:-1] if expected[-1] in (7, end) else expected)
    assert not set(output.token_ids) & {7, end}


def test_no_end_token_is_chosen_in_the_place_of_another(loaded, token_ids):
    prompt = token_ids(30, seed=1)
    ends = tuple(token for token in range(256) if token not in (5, 6))
    output = generate(loaded, request(prompt, end_ids=ends, min_new_tokens=4))
    expected = transformers_ids(loaded, prompt, end=[*loaded.end_ids, *ends], min_new_tokens=4)
    assert output.token_ids[:4] == expected[:4]
    assert set(output.token_ids) <= {5, 6, 256}


def test_end_token_at_once_gives_an_empty_answer(loaded, token_ids):
    prompt = token_ids(30, seed=1)
    first = generate(dataclasses.replace(loaded, end_ids=frozenset()), request(prompt)).token_ids[0]
    output = generate(dataclasses.replace(loaded, end_ids=frozenset({first})), request(prompt))
    assert (output.token_ids, output.text) == ((), "")


def test_ids_equal_a_left_padded_batch(loaded, token_ids):
    prompts = [token_ids(n, seed=n) for n in (17, 33, 90)]
    longest = max(len(p) for p in prompts)
    ids = torch.tensor([(0,) * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    batch = loaded.model.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=BUDGET, eos_token_id=None, pad_token_id=0
    )
    endless = dataclasses.replace(loaded, end_ids=frozenset())
    for prompt, row in zip(prompts, batch, strict=True):
        assert generate(endless, request(prompt)).token_ids == tuple(row[longest:].tolist())


@pytest.mark.parametrize("chunk", [1, 7, 16, 63, 64, 99, 100, 1000])
def test_prefill_in_chunks_gives_the_same_ids(loaded, token_ids, chunk):
    prompt = token_ids(100, seed=5)
    assert generate(loaded, request(prompt), prefill_chunk=chunk) == generate(loaded, request(prompt))


def test_prefill_computes_logits_at_the_last_position_only(loaded, token_ids):
    widths = []
    head = loaded.model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _module, arguments: widths.append(arguments[0].shape[1]))
    try:
        generate(loaded, request(token_ids(50), max_new_tokens=3))
    finally:
        handle.remove()
    assert widths == [1, 1, 1]


def test_text_is_cut_before_the_first_stop_text_and_decoding_ends(loaded, token_ids):
    endless = dataclasses.replace(loaded, end_ids=frozenset())
    prompt = token_ids(20, seed=3)
    free = generate(endless, request(prompt))
    stop = free.text[3:5]
    late = free.text[4:6]
    output = generate(endless, request(prompt, stop=(late, stop, "absent")))
    assert output.text == free.text[: free.text.index(stop)]
    assert len(output.token_ids) < BUDGET
    assert output.token_ids == free.token_ids[: len(output.token_ids)]


def test_prediction_is_what_the_tokenizer_makes_of_the_new_ids(loaded, token_ids):
    output = generate(loaded, request(token_ids(20)))
    assert output.text == loaded.tokenizer.decode(output.token_ids, skip_special_tokens=True)


def test_blanks_before_punctuation_are_kept(loaded, token_ids):
    said = {}

    class Tokenizer:
        def decode(self, ids, **options):
            said.update(options)
            return "x"

    generate(dataclasses.replace(loaded, tokenizer=Tokenizer()), request(token_ids(5)))
    assert said == {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


def test_times_are_measured_apart(loaded, token_ids):
    timed = generate_timed(loaded, request(token_ids(50)))
    assert timed.seconds_prefill > 0
    assert timed.seconds_decode > 0


def test_penalties_of_the_checkpoint_do_not_apply(loaded, token_ids, monkeypatch):
    prompt = token_ids(40, seed=40)
    endless = dataclasses.replace(loaded, end_ids=frozenset())
    before = generate(endless, request(prompt))
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", 5.0)
    assert transformers_ids(loaded, prompt) != before.token_ids
    assert generate(endless, request(prompt)) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": ()}, "prompt_ids must hold at least one token, got none."),
        (
            {"prompt_ids": (1, 258)},
            "prompt_ids must hold ids in [0, 258), the rows of the embedding, got 258.",
        ),
        ({"prompt_ids": (1, -1)}, "prompt_ids must hold ids in [0, 258), the rows of the embedding, got -1."),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0."),
        ({"min_new_tokens": 2}, "min_new_tokens must be 0 to max_new_tokens=1, got 2."),
        ({"min_new_tokens": -1}, "min_new_tokens must be 0 to max_new_tokens=1, got -1."),
    ],
)
def test_impossible_requests_are_refused(loaded, changes, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the full text is compared below
        generate(loaded, GenerateRequest(**{"prompt_ids": (1,), "max_new_tokens": 1, **changes}))
    assert str(caught.value) == message


def test_a_chunk_of_nothing_is_refused(loaded):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the full text is compared below
        generate(loaded, request((1,)), prefill_chunk=0)
    assert str(caught.value) == "prefill_chunk must be at least 1, got 0."


def test_logits_that_are_no_numbers_are_an_error(llama_config, make_model, loaded):
    model = make_model(llama_config)
    with torch.no_grad():
        model.get_output_embeddings().weight[7, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"^logits for position 3 must be finite, got nan\.$"):
        generate(dataclasses.replace(loaded, model=model), request((1, 2, 3)))


def test_nothing_global_changes(loaded, token_ids):
    state = torch.random.get_rng_state()
    settings = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype())
    first = generate(loaded, request(token_ids(20)))
    assert generate(loaded, request(token_ids(20))) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()) == settings
