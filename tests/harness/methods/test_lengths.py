"""Methods that follow a length: dynamic NTK, frozen and as transformers does it, and LongRoPE's two lists."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from longbench_run.harness.errors import ConfigError, MethodNotApplicable
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import run_group
from longbench_run.tasks.base import GenerateRequest, ScoreRequest, ScoreWindow

WINDOW = 64
SHORT = "1/1.1/1.2/1.3/1.4/1.5/1.6/1.7"
LONG = "1/1.5/2/2.5/3/3.5/4/4.5"


def logits(model, ids, **arguments):
    with torch.no_grad():
        return model(ids, **arguments).logits


def equal_ntk(model, ids, tokens, factor=4.0):
    """Logits under static NTK at the factor that dynamic NTK has at a length."""
    scale = max(1.0, factor * tokens / WINDOW - (factor - 1))
    with parse_method(f"ntk:factor={scale!r}").applied_to(model):
        return logits(model, ids)


@pytest.fixture
def ids(token_ids):
    return torch.tensor([token_ids(150)])


@pytest.mark.parametrize("announced", [None, 150, 200, 40])
def test_frozen_dynamic_ntk_is_static_ntk_at_the_length_of_the_sample(tiny_llama, ids, announced):
    expected = equal_ntk(tiny_llama, ids, announced or 150)

    with parse_method("dynamic_ntk:factor=4").applied_to(tiny_llama) as applied:
        if announced is None:
            found = logits(tiny_llama, ids)
        else:
            with applied.sample(announced):
                found = logits(tiny_llama, ids)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_cache_keeps_the_length_that_its_sample_began_with(tiny_llama, ids):
    expected = equal_ntk(tiny_llama, ids, 100)

    with parse_method("dynamic_ntk:factor=4").applied_to(tiny_llama), torch.no_grad():
        output = tiny_llama(ids[:, :100], use_cache=True)
        found = [output.logits]
        for token in ids[0, 100:]:
            output = tiny_llama(token[None, None], past_key_values=output.past_key_values, use_cache=True)
            found.append(output.logits)

    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-4, rtol=1e-4)


def test_the_engine_freezes_prompt_plus_answer_and_the_whole_window(loaded, token_ids):
    """Chunked prefill too: its first chunk alone must not decide the length."""
    prompt, text = token_ids(100, seed=4), token_ids(120, seed=5)
    requests = [
        GenerateRequest(prompt_ids=prompt, max_new_tokens=12),
        ScoreRequest(windows=(ScoreWindow(token_ids=text, first_scored=1),)),
    ]
    method = parse_method("dynamic_ntk:factor=4")

    with method.applied_to(loaded.model) as applied:
        whole, chunked = (
            run_group(loaded, requests, prefix_causal=False, announce=applied.sample, prefill_chunk=chunk)
            for chunk in (None, 16)
        )

    for result in (whole, chunked):
        for request, tokens, place in ((requests[0], 112, 0), (requests[1], 120, 1)):
            scale = 4 * tokens / WINDOW - 3
            with parse_method(f"ntk:factor={scale!r}").applied_to(loaded.model):
                (expected,) = run_group(loaded, [request], prefix_causal=True)
            if place == 0:
                assert result[0].output.token_ids == expected.output.token_ids
            else:
                np.testing.assert_allclose(result[1].output.nll[0], expected.output.nll[0], atol=1e-5)


def test_rows_of_different_lengths_are_refused(tiny_llama, token_ids):
    batch, mask = torch.zeros((2, 90), dtype=torch.long), torch.ones((2, 90), dtype=torch.long)
    mask[1, :30] = 0

    with (
        parse_method("dynamic_ntk:factor=4").applied_to(tiny_llama),
        pytest.raises(MethodNotApplicable) as caught,
    ):
        logits(tiny_llama, batch, attention_mask=mask)

    assert str(caught.value) == (
        "dynamic_ntk:factor=4:original_context_length=64:variant=frozen: a batch must hold samples of one length, got 60 and 90 "
        "tokens. Its frequencies follow the length: compute them one by one."
    )


def test_a_mask_that_hides_the_length_is_refused(tiny_llama, token_ids):
    ids = torch.tensor([token_ids(10)])

    with (
        parse_method("dynamic_ntk").applied_to(tiny_llama) as applied,
        pytest.raises(MethodNotApplicable, match=r"Announce it: `with applied.sample\(tokens\)`"),
    ):
        logits(tiny_llama, ids, attention_mask=torch.zeros((1, 1, 10, 10)))
    with (
        parse_method("dynamic_ntk").applied_to(tiny_llama) as applied,
        applied.sample(10),
        pytest.raises(RuntimeError, match="announced already"),
        applied.sample(11),
    ):
        pass


def test_the_transformers_variant_equals_transformers(tiny_llama, token_ids):
    """The same passes in the same order: growth, a shorter one that keeps the base, one below the window, decode."""
    config = copy.deepcopy(tiny_llama.config)
    config.rope_parameters = {**config.rope_parameters, "rope_type": "dynamic", "factor": 2.0}
    native = AutoModelForCausalLM.from_config(config).eval()
    native.load_state_dict(tiny_llama.state_dict())
    passes = [torch.tensor([token_ids(n, seed=n)]) for n in (70, 150, 100, 64, 63, 100, 40)]

    def compute(model):
        found = [logits(model, ids) for ids in passes]
        output = model(passes[1], use_cache=True)
        for token in range(3):
            step = torch.tensor([[token]])
            output = model(step, past_key_values=output.past_key_values, use_cache=True)
            found.append(output.logits)
        return found

    with torch.no_grad():
        expected = compute(native)
        with parse_method("dynamic_ntk:factor=2:variant=transformers").applied_to(tiny_llama):
            found = compute(tiny_llama)

    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4, msg=str(place))


@pytest.mark.parametrize("side", ["short", "long"])
def test_longrope_takes_the_list_of_the_targets_side(tiny_llama, ids, side):
    """Against transformers, which takes a list by each input's length: inputs on that side of the window."""
    config = copy.deepcopy(tiny_llama.config)
    lists = {
        f"{name}_factor": [float(x) for x in text.split("/")]
        for name, text in (("short", SHORT), ("long", LONG))
    }
    config.rope_parameters = {
        **config.rope_parameters, "rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": WINDOW, **lists,
    }  # fmt: skip
    config.max_position_embeddings = 4 * WINDOW
    native = AutoModelForCausalLM.from_config(config).eval()
    native.load_state_dict(tiny_llama.state_dict())
    given = ids[:, :60] if side == "short" else ids
    target = WINDOW if side == "short" else 4 * WINDOW
    text = f"longrope:factor=4:short_factor={SHORT}:long_factor={LONG}"

    expected = logits(native, given)
    with parse_method(text).applied_to(tiny_llama, context_length=target) as applied:
        found = logits(tiny_llama, given)
        again = parse_method(applied.method.canonical)
    with parse_method("longrope:factor=4").applied_to(native, context_length=target) as shipped:
        from_config = logits(native, given)

    assert f"side={side}" in applied.method.canonical
    assert again == applied.method == shipped.method
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(from_config, expected, atol=2e-4, rtol=1e-3)


def test_longrope_without_lists_is_not_applicable(tiny_llama):
    with pytest.raises(MethodNotApplicable) as caught, parse_method("longrope").applied_to(tiny_llama):
        pass

    assert str(caught.value) == (
        "longrope: short_factor must be given or stand in the model's config, got neither for the llama model. "
        "Write short_factor=1.0/1.02/... or short_factor=@file.json."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "longrope:long_factor=1/2/3:side=long",
            "longrope: long_factor must be 8 numbers, one for each pair of rotated dimensions, got 3. "
            "Give the list that was searched for this model.",
        ),
    ],
)
def test_a_list_of_another_size_is_refused(tiny_llama, text, message):
    with pytest.raises(ConfigError) as caught, parse_method(text).applied_to(tiny_llama):
        pass

    assert str(caught.value) == message


def test_a_divisor_of_zero_is_refused():
    with pytest.raises(ConfigError) as caught:
        parse_method("longrope:long_factor=1/0/3")

    assert str(caught.value) == (
        "method: longrope: long_factor must be numbers above 0, got (1.0, 0.0, 3.0). Leave it out for the default."
    )
