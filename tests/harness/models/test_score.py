"""Streamed token log-probabilities equal a plain float64 log-softmax over full logits, and stay small."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from transformers import CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig

from longbench_run.harness.models import score as module
from longbench_run.harness.models.memory import PeakMemory
from longbench_run.harness.models.score import score, token_nll
from longbench_run.tasks.base import ScoreWindow

SMALL = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "llama": LlamaConfig(**SMALL),
    "granite": GraniteConfig(**SMALL, logits_scaling=8.0),
    "cohere": CohereConfig(
        **{k: v for k, v in SMALL.items() if k != "head_dim"},
        logit_scale=0.25,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gemma2": Gemma2Config(**SMALL, final_logit_softcapping=3.0, query_pre_attn_scalar=16),
}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, loaded, make_model):
    return request.param, dataclasses.replace(loaded, model=make_model(FAMILIES[request.param]))


def plain_nll(loaded, ids):
    """The textbook: full logits, float64."""
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids])).logits[0, :-1].double()
    logprobs = torch.log_softmax(logits, dim=-1)
    return -logprobs.gather(-1, torch.tensor(ids)[1:, None]).squeeze(-1).numpy()


def passes(loaded, ids, **pieces):
    """Count the tokens that the decoder sees while the input is scored."""
    seen = []
    handle = loaded.model.base_model.register_forward_hook(
        lambda _module, _arguments, output: seen.append(output[0].shape[1])
    )
    try:
        nll = token_nll(loaded, ids, np.arange(1, len(ids)), **pieces)
    finally:
        handle.remove()
    return nll, seen


def test_nll_equals_full_logits_in_float64(family, token_ids):
    _, loaded = family
    ids = token_ids(150, seed=2)
    window = ScoreWindow(token_ids=ids, first_scored=1)
    (nll,) = score(loaded, [window])
    assert nll.dtype == np.float64
    np.testing.assert_allclose(nll, plain_nll(loaded, ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_pieces_do_not_change_the_result(family, token_ids, rows):
    _, loaded = family
    ids = token_ids(100, seed=3)
    nll, _ = passes(loaded, ids, rows=rows)
    np.testing.assert_allclose(nll, plain_nll(loaded, ids), rtol=1e-5, atol=1e-5)


def test_every_family_needs_one_pass_over_the_input(family, token_ids):
    """Where logits are scaled or capped, each piece costs one token: the model's forward is replayed."""
    name, loaded = family
    _, seen = passes(loaded, token_ids(100), rows=40)
    check, pieces = 1, 3
    assert seen == ([100] if name == "llama" else [100] + [1] * (check + pieces))


def test_a_family_without_hidden_states_runs_through_the_cache(family, token_ids, monkeypatch):
    _, loaded = family
    ids = token_ids(100, seed=4)
    monkeypatch.setattr(module, "_decoder", lambda _model: None)
    nll, seen = passes(loaded, ids, rows=30)
    assert seen == [30, 30, 30, 9]
    np.testing.assert_allclose(nll, plain_nll(loaded, ids), rtol=1e-5, atol=1e-5)


def test_a_head_that_cannot_be_replayed_runs_through_the_cache(loaded, make_model, token_ids, monkeypatch):
    model = make_model(FAMILIES["llama"])
    own = type(model).forward

    def forward(self, input_ids, **options):
        output = own(self, input_ids, **options)
        if input_ids.shape[1] > 1 or options.get("past_key_values") is not None:
            output.logits = (
                output.logits * 0.5
            )  # neither the head alone nor a replay over one token shows this
        return output

    monkeypatch.setattr(type(model), "forward", forward)
    other = dataclasses.replace(loaded, model=model)
    ids = token_ids(80, seed=5)
    np.testing.assert_allclose(passes(other, ids)[0], plain_nll(other, ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [33, 99])
def test_chunks_through_the_cache_do_not_change_the_result(family, token_ids, chunk):
    name, loaded = family
    ids = token_ids(100, seed=8)
    nll, seen = passes(loaded, ids, chunk=chunk, rows=20)
    np.testing.assert_allclose(nll, plain_nll(loaded, ids), rtol=1e-5, atol=1e-5)
    assert name != "llama" or seen == [min(chunk, 100 - start) for start in range(0, 100, chunk)]


def test_only_the_asked_tokens_are_scored(loaded, token_ids):
    ids = token_ids(90, seed=6)
    whole = plain_nll(loaded, ids)
    scored = np.array([1, 2, 40, 89])
    np.testing.assert_allclose(token_nll(loaded, ids, scored), whole[scored - 1], rtol=1e-5, atol=1e-5)
    (tail,) = score(loaded, [ScoreWindow(token_ids=ids, first_scored=70)])
    np.testing.assert_allclose(tail, whole[69:], rtol=1e-5, atol=1e-5)


def test_bfloat16_logits_are_normalised_in_float32(loaded, llama_config, make_model, token_ids):
    model = make_model(llama_config).to(torch.bfloat16)
    half = dataclasses.replace(loaded, model=model)
    ids = token_ids(60, seed=7)
    np.testing.assert_allclose(passes(half, ids)[0], plain_nll(half, ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", [0, 5, 6])
def test_a_window_must_score_something_that_has_a_token_before_it(loaded, first):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the full text is compared below
        score(loaded, [ScoreWindow(token_ids=(1, 2, 3, 4, 5), first_scored=first)])
    assert str(caught.value) == f"first_scored must be between 1 and 4, the window's last token, got {first}."


def test_nll_that_is_no_number_is_an_error(loaded, llama_config, make_model):
    model = make_model(llama_config)
    with torch.no_grad():
        model.get_output_embeddings().weight[7, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"^nll of token 1 must be finite, got (nan|inf)\.$"):
        score(dataclasses.replace(loaded, model=model), [ScoreWindow(token_ids=(1, 7, 3), first_scored=1)])


def test_no_hook_is_left_after_an_error(loaded, token_ids, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("no")

    monkeypatch.setattr(module, "last_logits", fail)
    with pytest.raises(RuntimeError, match=r"^no$"):
        token_nll(loaded, token_ids(5), np.array([1]))
    assert not any(m._forward_hooks for m in loaded.model.modules())


def test_scoring_stays_far_below_full_logits(loaded, make_model, token_ids):
    """4096 tokens x 64,000 entries: full logits are 1 GiB in fp32; the streamed pieces are 64 MiB."""
    n, vocabulary = 4096, 64_000
    model = make_model(LlamaConfig(**{**SMALL, "vocab_size": vocabulary}))
    facts = dataclasses.replace(loaded.facts, vocabulary=vocabulary)
    wide = dataclasses.replace(loaded, model=model, facts=facts)
    ids = token_ids(n, vocabulary=vocabulary)
    score(wide, [ScoreWindow(token_ids=ids[:600], first_scored=1)])  # what is allocated once
    memory = PeakMemory(wide.devices)
    memory.start()
    before = memory.read()
    if before is None:
        pytest.skip("this system does not let a process reset its peak memory")
    score(wide, [ScoreWindow(token_ids=ids, first_scored=1)])
    assert memory.read() - before < n * vocabulary * 4 / 4
