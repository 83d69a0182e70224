"""A group's results: equal to computing each request alone, and whole whatever happens to one of them."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import struct

import numpy as np
import pytest
import torch

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models import engine
from longbench_run.harness.models import scoring as scoring_module
from longbench_run.harness.models.engine import iterate_group, run_group, token_sha256
from longbench_run.harness.models.generate import generate
from longbench_run.harness.models.score import score
from longbench_run.tasks.base import Generated, GenerateRequest, Scored, ScoreRequest, ScoreWindow


def window(ids, first=1):
    return ScoreWindow(token_ids=tuple(ids), first_scored=first)


def scoring(*windows):
    return ScoreRequest(windows=windows)


@pytest.fixture
def forwards(monkeypatch):
    """Record the length of each scored forward pass; lengths in `.fails` raise the error given for them."""
    real = scoring_module.token_nll

    class Log(list):
        """Lengths in order, and the errors to raise by length."""

        def __init__(self):
            super().__init__()
            self.fails = {}

    log = Log()

    def token_nll(loaded, ids, scored, **pieces):
        log.append(len(ids))
        if len(ids) in log.fails:
            raise log.fails[len(ids)]
        return real(loaded, ids, scored, **pieces)

    monkeypatch.setattr(scoring_module, "token_nll", token_nll)
    return log


@pytest.fixture(scope="module")
def sweep(token_ids):
    ids = token_ids(96, seed=11)
    return [scoring(window(ids[:n], first)) for n, first in ((24, 1), (48, 30), (96, 5))]


def test_results_equal_each_request_alone(loaded, sweep, token_ids):
    requests = [GenerateRequest(prompt_ids=token_ids(20), max_new_tokens=5), *sweep]
    results = run_group(loaded, requests, prefix_causal=True)
    assert [r.status for r in results] == ["ok"] * 4
    assert results[0].output == generate(loaded, requests[0])
    for result, request in zip(results[1:], sweep, strict=True):
        (nll,) = result.output.nll
        np.testing.assert_allclose(nll, score(loaded, request.windows)[0], rtol=1e-5, atol=1e-5)


def test_cut_points_cost_one_forward(loaded, sweep, forwards):
    run_group(loaded, sweep, prefix_causal=True)
    assert forwards == [96]


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_model_that_ships_with_frequencies_of_the_length_gets_a_forward_for_each_window(
    loaded, llama_config, make_model, sweep, forwards, kind
):
    config = copy.deepcopy(llama_config)
    lists = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": 64}
    config.rope_parameters = {
        "rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **(lists if kind == "longrope" else {})
    }  # fmt: skip
    shipped = dataclasses.replace(loaded, model=make_model(config))
    found = run_group(shipped, sweep, prefix_causal=True)
    assert sorted(forwards) == [24, 48, 96]
    for result, request in zip(found, sweep, strict=True):
        np.testing.assert_allclose(result.output.nll[0], score(shipped, request.windows)[0], rtol=1e-6)


def test_a_method_that_is_not_prefix_causal_gets_a_forward_for_each_window(loaded, sweep, forwards):
    run_group(loaded, sweep, prefix_causal=False)
    assert forwards == [24, 48, 96]


def test_a_request_with_several_windows_keeps_their_order(loaded, token_ids, forwards):
    a, b = token_ids(40, seed=1), token_ids(30, seed=2)
    request = scoring(window(a, 3), window(b), window(a[:10]))
    (result,) = run_group(loaded, [request], prefix_causal=True)
    assert forwards == [40, 30]
    assert [len(nll) for nll in result.output.nll] == [37, 29, 9]
    for nll, expected in zip(result.output.nll, score(loaded, request.windows), strict=True):
        np.testing.assert_allclose(nll, expected, rtol=1e-5, atol=1e-5)


def test_time_and_memory_belong_to_the_request_that_was_computed(loaded, sweep):
    short, middle, longest = run_group(loaded, sweep, prefix_causal=True)
    assert longest.seconds_prefill > 0
    assert longest.seconds_decode is None
    assert (short.seconds_prefill, short.peak_bytes) == (None, None)
    assert (middle.seconds_prefill, middle.peak_bytes) == (None, None)
    weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    assert longest.peak_bytes is None or longest.peak_bytes > weights


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_of_a_shared_forward_leaves_the_shorter_ones(loaded, sweep, forwards, error):
    forwards.fails = {96: error}
    short, middle, longest = run_group(loaded, sweep, prefix_causal=True)
    assert forwards == [96, 48]
    assert (longest.status, longest.output) == ("out_of_memory", None)
    assert longest.failure.type == type(error).__name__
    assert longest.failure.message == str(error)
    assert longest.failure.traceback.startswith("Traceback (most recent call last):")
    for result, request in zip((short, middle), sweep[:2], strict=True):
        assert result.status == "ok"
        np.testing.assert_allclose(
            result.output.nll[0], score(loaded, request.windows)[0], rtol=1e-5, atol=1e-5
        )


def test_a_really_too_large_allocation_is_out_of_memory(loaded, sweep, monkeypatch):
    def allocate(*_arguments, **_pieces):
        return torch.empty(2**50)

    monkeypatch.setattr(scoring_module, "token_nll", allocate)
    assert [r.status for r in run_group(loaded, sweep, prefix_causal=True)] == ["out_of_memory"] * 3


def test_out_of_memory_in_generation_leaves_the_other_requests(loaded, token_ids, monkeypatch):
    real = engine.generate_timed

    def generate_timed(loaded, request, **options):
        if len(request.prompt_ids) == 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(loaded, request, **options)

    monkeypatch.setattr(engine, "generate_timed", generate_timed)
    requests = [GenerateRequest(prompt_ids=token_ids(n), max_new_tokens=2) for n in (8, 9, 10)]
    results = run_group(loaded, requests, prefix_causal=True)
    assert [r.status for r in results] == ["ok", "out_of_memory", "ok"]
    assert results[1].output is None
    assert results[1].failure.type == "OutOfMemoryError"


def test_a_failed_request_computes_no_further_windows(loaded, token_ids, forwards):
    forwards.fails = {40: MemoryError()}
    request = scoring(window(token_ids(40, seed=1)), window(token_ids(39, seed=2)))
    assert run_group(loaded, [request], prefix_causal=True)[0].status == "out_of_memory"
    assert forwards == [40]


def test_other_errors_keep_type_message_and_traceback(loaded, token_ids):
    requests = [
        GenerateRequest(prompt_ids=(1, 999), max_new_tokens=2),
        scoring(window(token_ids(5)), window((1, 2), first=2)),
        scoring(window((3, -4))),
        GenerateRequest(prompt_ids=(1, 2), max_new_tokens=2),
    ]
    results = run_group(loaded, requests, prefix_causal=True)
    assert [r.status for r in results] == ["error", "error", "error", "ok"]
    assert [r.failure.message for r in results[:3]] == [
        "prompt_ids must hold ids in [0, 258), the rows of the embedding, got 999.",
        "first_scored must be between 1 and 1, the window's last token, got 2.",
        "token_ids must hold ids in [0, 258), the rows of the embedding, got -4.",
    ]
    assert all(r.failure.type == "ValueError" and "Traceback" in r.failure.traceback for r in results[:3])


def test_nan_is_an_error_and_never_a_number(loaded, llama_config, make_model, sweep):
    model = make_model(llama_config)
    with torch.no_grad():
        model.get_output_embeddings().weight[7, 0] = float("nan")
    broken = dataclasses.replace(loaded, model=model)
    requests = [*sweep, GenerateRequest(prompt_ids=(1, 2), max_new_tokens=2)]
    results = run_group(broken, requests, prefix_causal=True)
    assert [(r.status, r.output, r.failure.type) for r in results] == [
        ("error", None, "FloatingPointError")
    ] * 4


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MethodNotApplicable("gpt_x: no")], ids=["ctrl-c", "method"]
)
def test_what_is_no_failure_of_a_sample_passes_through(loaded, sweep, forwards, monkeypatch, error):
    forwards.fails = {96: error}
    with pytest.raises(type(error)):
        run_group(loaded, sweep, prefix_causal=True)

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(engine, "generate_timed", fail)
    with pytest.raises(type(error)):
        run_group(loaded, [GenerateRequest(prompt_ids=(1,), max_new_tokens=1)], prefix_causal=True)


def test_results_come_as_soon_as_they_are_finished(loaded, sweep, token_ids, forwards):
    other = scoring(window(token_ids(20, seed=9)))
    requests = [other, GenerateRequest(prompt_ids=(1, 2), max_new_tokens=1), *sweep]
    stream = iterate_group(loaded, requests, prefix_causal=True)
    index, result = next(stream)
    assert (index, type(result.output), list(forwards)) == (1, Generated, [])
    assert torch.is_inference_mode_enabled() is False
    index, result = next(stream)
    assert (index, type(result.output), list(forwards)) == (0, Scored, [20])
    assert sorted(index for index, _ in stream) == [2, 3, 4]


def test_a_group_of_nothing_has_no_results(loaded):
    assert run_group(loaded, [], prefix_causal=True) == []
    (empty,) = run_group(loaded, [scoring()], prefix_causal=True)
    assert (empty.status, empty.output) == ("ok", Scored(nll=()))


def test_chunks_reach_the_prefill(loaded, token_ids):
    request = GenerateRequest(prompt_ids=token_ids(50), max_new_tokens=4)
    lengths = []
    handle = loaded.model.base_model.register_forward_hook(
        lambda _module, _arguments, output: lengths.append(output[0].shape[1])
    )
    try:
        (chunked,) = run_group(loaded, [request], prefix_causal=True, prefill_chunk=20)
    finally:
        handle.remove()
    assert lengths[:3] == [20, 20, 10]
    assert chunked.output == generate(loaded, request)


def test_hash_is_over_lengths_and_ids():
    prompt = GenerateRequest(prompt_ids=(5, 300), max_new_tokens=1)
    assert token_sha256(prompt) == hashlib.sha256(struct.pack("<3q", 2, 5, 300)).hexdigest()
    two = scoring(window((5,)), window((300, 1)))
    assert token_sha256(two) == hashlib.sha256(struct.pack("<5q", 1, 5, 2, 300, 1)).hexdigest()
    assert token_sha256(two) != token_sha256(scoring(window((5, 300)), window((1,))))


def test_hash_does_not_depend_on_what_was_shared(loaded, sweep):
    shared = run_group(loaded, sweep, prefix_causal=True)
    alone = run_group(loaded, sweep[:1], prefix_causal=False)
    assert shared[0].prompt_sha256 == alone[0].prompt_sha256 == token_sha256(sweep[0])


def test_two_runs_are_equal(loaded, sweep):
    first, second = (run_group(loaded, sweep, prefix_causal=True) for _ in range(2))
    assert [r.output for r in first] == [r.output for r in second]
