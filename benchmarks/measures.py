"""One function for each kind of row: each returns the measurement of a method, or of a way to work."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import torch

from benchmarks.bands import draw_call
from benchmarks.memory import ENTROPY_METHOD, peak_mib
from benchmarks.models import Column, bundled, token_ids
from benchmarks.peers import full_form, windowed_nll
from benchmarks.speed import Bench, Figure, ForwardClock, attention_clock, in_turn, seconds_of
from benchmarks.ways import applied, entropy_request, plain_prefill, results, tensor, whole_forward
from longbench_run.harness import run
from longbench_run.harness.attention.bands import attend_bands
from longbench_run.tasks.base import GenerateRequest, Request, ScoreRequest, ScoreWindow, Tokenizer
from longbench_run.tasks.passkey import Passkey

Measure = Callable[[Bench], Figure]


def prefill(method: str) -> Measure:
    """Return the engine's prefill of one prompt over the unmodified model's forward that makes the same cache."""

    def measure(bench: Bench) -> Figure:
        loaded, length = bench.column.load(), bench.column.sizes.prefill
        request = GenerateRequest(prompt_ids=token_ids(length), max_new_tokens=1)

        def engine() -> float:
            with applied(loaded, method, length):
                return float(results(loaded, [request])[0].seconds_prefill or 0.0)

        return in_turn(bench, engine, partial(plain_prefill, loaded, length))

    return measure


def attention_call(method: str) -> Measure:
    """Return the attention calls of a prefill, all layers, over the unmodified model's causal ones."""

    def measure(bench: Bench) -> Figure:
        loaded, length = bench.column.load(), bench.column.sizes.prefill

        def calls(name: str) -> float:
            with applied(loaded, name, length), attention_clock(loaded.model, bench.column.device) as clock:
                plain_prefill(loaded, length)
            return sum(clock)

        return in_turn(bench, partial(calls, method), partial(calls, "none"))

    return measure


def full_form_time(method: str) -> Measure:
    """Return one band attention call over the form with n x n scores for each band."""

    def measure(bench: Bench) -> Figure:
        call = draw_call(bench.column, method, bench.column.sizes.full_form)

        @torch.inference_mode()
        def seconds(attend: Callable[..., object]) -> float:
            return seconds_of(
                lambda: attend(call.bands, call.value, scaling=call.scaling), bench.column.device
            )

        return in_turn(bench, partial(seconds, attend_bands), partial(seconds, full_form))

    return measure


def memory_ratio(work: str, over: str) -> Measure:
    """Return the peak memory of one piece of work over that of another, see `benchmarks.memory.WORKS`."""

    def measure(bench: Bench) -> Figure:
        above, below = peak_mib(bench, work), peak_mib(bench, over)
        return Figure(values=(above / below,), note=f"{above:.0f} MiB / {below:.0f} MiB")

    return measure


def memory_gib(work: str, beside: Callable[[Column], str] | None = None) -> Measure:
    """Return the peak memory of one piece of work in GiB; beside it, in words, what another way would take."""

    def measure(bench: Bench) -> Figure:
        words = [f"; {beside(bench.column)}"] if beside else []
        return Figure(values=(peak_mib(bench, work) / 1024,), note="".join(["one process", *words]))

    return measure


def all_attentions(column: Column) -> str:
    """Say what attention probabilities of all layers take, as ``output_attentions`` returns them: computed, not run."""
    shape, length = column.load().model.config, column.sizes.prefill
    layers, heads = shape.num_hidden_layers, shape.num_attention_heads
    total = layers * heads * length**2 * 4
    return f"{layers} layers x {heads} heads x {length}^2 probabilities of 4 bytes: {total / 2**30:.3g} GiB, computed"


def all_logits(column: Column) -> str:
    """Say what logits of all positions take, once, in fp32 and of the bundled model: computed, not run."""
    length, vocabulary = column.sizes.scoring, bundled().facts.vocabulary
    total = length * vocabulary * 4
    return f"logits of {length} positions x {vocabulary} tokens x 4 bytes: {total / 2**30:.3g} GiB, computed"


def entropy_time(bench: Bench) -> Figure:
    """Return the engine's attention entropies of one text over its nll of the same text, unmodified model."""
    loaded, length = bench.column.load(), bench.column.sizes.prefill
    window = ScoreWindow(token_ids=token_ids(length), first_scored=1)

    def seconds(method: str, request: Request) -> float:
        with applied(loaded, method, length):
            return seconds_of(lambda: results(loaded, [request]), bench.column.device)

    return in_turn(
        bench,
        partial(seconds, ENTROPY_METHOD, entropy_request(length)),
        partial(seconds, "none", ScoreRequest(windows=(window,))),
    )


def plain_perplexity(bench: Bench) -> Figure:
    """Return perplexity at all lengths through the engine over one forward pass of the longest."""
    loaded, lengths = bench.column.load(), bench.column.sizes.plain
    longest = token_ids(max(lengths))
    requests = [
        ScoreRequest(windows=(ScoreWindow(token_ids=longest[:length], first_scored=1),)) for length in lengths
    ]

    def engine() -> float:
        with applied(loaded, "none", max(lengths)):
            return seconds_of(lambda: results(loaded, requests), bench.column.device)

    return in_turn(bench, engine, partial(whole_forward, loaded, longest))


def windowed_perplexity(bench: Bench) -> Figure:
    """Return one document scored by peers' overlapping windows over the same document in one forward pass."""
    loaded, sizes = bench.column.load(), bench.column.sizes
    document = token_ids(sizes.windowed_document)
    ids = tensor(loaded, document)

    @torch.inference_mode()
    def windows() -> float:
        return seconds_of(
            lambda: windowed_nll(loaded.model, ids, window=sizes.windowed_window, stride=sizes.stride),
            bench.column.device,
        )

    return in_turn(bench, windows, partial(whole_forward, loaded, document))


def passkey_tokens(bench: Bench) -> Figure:
    """Return the prompt tokens that a depth grid computes over all of them."""
    loaded, requests = bench.column.load(), _passkey_grid(bench)
    with applied(loaded, "none", bench.column.sizes.passkey):
        found = results(loaded, requests)
    prompts = sum(len(request.prompt_ids) for request in requests)
    computed = prompts - sum(result.tokens_reused or 0 for result in found)
    return Figure(values=(computed / prompts,), note=f"{computed} / {prompts} tokens, counted")


def passkey_time(bench: Bench) -> Figure:
    """Return a depth grid's time with prefix reuse over that without."""
    loaded, requests = bench.column.load(), _passkey_grid(bench)

    def seconds(*, prefix_reuse: bool) -> float:
        with applied(loaded, "none", bench.column.sizes.passkey):
            return seconds_of(
                lambda: results(loaded, requests, prefix_reuse=prefix_reuse), bench.column.device
            )

    return in_turn(bench, partial(seconds, prefix_reuse=True), partial(seconds, prefix_reuse=False))


def outside_forward(bench: Bench) -> Figure:
    """Return the share of a run's time that is spent outside modules: a cut of the default matrix, bundled model."""
    sizes = bench.column.sizes
    with tempfile.TemporaryDirectory() as folder, ForwardClock(bench.column.device).of(None) as clock:
        started = time.perf_counter()
        summary = run(
            methods="pi,yarn,abf,entropy_abf,self_extend",
            lengths=sizes.matrix_lengths,
            samples=sizes.matrix_samples,
            device=bench.column.device,
            output=folder,
        )
        passed = time.perf_counter() - started
    if summary.failed_samples:
        raise RuntimeError(f"{summary.failed_samples} samples of the matrix failed")
    note = (
        f"{passed - clock.seconds:.3g} s of {passed:.3g} s, planning and loading counted; bundled model, "
        f"{sizes.matrix_samples} samples a cell, lengths {sizes.matrix_lengths}"
    )
    return Figure(values=(1 - clock.seconds / passed,), note=note)


def _passkey_grid(bench: Bench) -> list[GenerateRequest]:
    """Return ten depths in one haystack, as the task makes them."""
    task = Passkey()
    samples = task.samples(
        context_length=bench.column.sizes.passkey,
        count=task.depths,
        seed=0,
        tokenizer=cast("Tokenizer", bench.column.load().tokenizer),
    )
    return [sample.request for sample in samples if isinstance(sample.request, GenerateRequest)]
