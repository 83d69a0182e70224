"""Rows about decode, and about what share of the device's own rates is reached."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.measures import Measure
from benchmarks.models import token_ids
from benchmarks.peers import generate_each
from benchmarks.speed import Bench, Figure, ForwardClock, in_turn, seconds_of, wait
from benchmarks.ways import applied, plain_prefill, results, tensor
from longbench_run.harness.models.forward import last_logits
from longbench_run.tasks.base import GenerateRequest


def matrix_rate(bench: Bench) -> Figure:
    """Return the share of the device's matrix rate that a prefill reaches, with the best attention kernel.

    Counted are 2 operations per non-embedding weight and token, and the causal half of attention.
    """
    loaded, length, side = bench.column.load(), bench.column.sizes.prefill, bench.column.sizes.matmul
    config, model = loaded.model.config, loaded.model
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    weights = _numbers(model) - sum(_numbers(table) for table in tables)
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * length**2
    operations = 2 * weights * length + attention
    left, right = (torch.randn(side, side, device=bench.column.device, dtype=model.dtype) for _ in range(2))
    products = [seconds_of(lambda: left @ right, bench.column.device) for _ in range(20)]
    rate = 2 * side**3 / median(products[5:])
    shares: dict[str, list[float]] = {}
    started = time.perf_counter()
    for kernel in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        of_kernel: list[float] = []
        with sdpa_kernel(kernel):
            try:
                plain_prefill(loaded, length)
            except RuntimeError:  # torch has no such kernel for this device
                continue
            while not of_kernel or (
                len(of_kernel) < bench.repeats and time.perf_counter() - started < bench.seconds
            ):
                of_kernel.append(operations / plain_prefill(loaded, length) / rate)
        shares[kernel.name.lower()] = of_kernel
    best = max(shares, key=lambda name: median(shares[name]))
    found = ", ".join(f"{name} {median(values):.2f}" for name, values in shares.items())
    return Figure(values=tuple(shares[best]), note=f"{found}; matrix rate {rate / 1e12:.3g} TFLOP/s")


def decode_samples(bench: Bench) -> Figure:
    """Return the engine's decode time for several samples over that of one `generate` call for each."""
    loaded, sizes = bench.column.load(), bench.column.sizes
    requests = _decode_requests(bench)
    prompts = [tensor(loaded, request.prompt_ids) for request in requests]

    def engine() -> float:
        with applied(loaded, "yarn", sizes.decode_prompt + sizes.decode_tokens):
            return _decode_clock(bench, lambda: results(loaded, requests)).seconds

    @torch.inference_mode()
    def calls() -> float:
        generate = partial(generate_each, loaded.model, prompts, tokens=sizes.decode_tokens)
        return _decode_clock(bench, generate).seconds

    return in_turn(bench, engine, calls, note=_decoded(bench))


def decode_bandwidth(bench: Bench) -> Figure:
    """Return the share of the memory bandwidth at which decode reads weights, once a step, and every sample's cache."""
    loaded, sizes = bench.column.load(), bench.column.sizes
    config, model = loaded.model.config, loaded.model
    bandwidth = _bandwidth(sizes.copied, bench.column.device)
    weights = (_numbers(model) - _numbers(model.get_input_embeddings())) * model.dtype.itemsize
    of_token = (
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * model.dtype.itemsize
    )
    with applied(loaded, "yarn", sizes.decode_prompt + sizes.decode_tokens):
        seconds, steps = _decode_clock(bench, lambda: results(loaded, _decode_requests(bench)))
    # The first token comes from the prompt's pass, and the last one is never fed back.
    cached = sizes.decode_samples * sum(sizes.decode_prompt + step for step in range(1, sizes.decode_tokens))
    read = steps * weights + cached * of_token
    note = f"{read / seconds / 1e9:.3g} GB/s of {bandwidth / 1e9:.3g} GB/s; {_decoded(bench)}"
    return Figure(values=(read / seconds / bandwidth,), note=note)


def decode_step(method: str) -> Measure:
    """Return a decode step behind a long cache over the unmodified model's."""

    def measure(bench: Bench) -> Figure:
        loaded, sizes = bench.column.load(), bench.column.sizes
        length, token = sizes.decode_prompt, tensor(loaded, (7,))
        caches: dict[str, Any] = {}

        @torch.inference_mode()
        def steps(name: str) -> float:
            with applied(loaded, name, length):
                if name not in caches:
                    _, caches[name] = last_logits(loaded, tensor(loaded, token_ids(length)), use_cache=True)
                cache = caches[name]
                wait(bench.column.device)
                started = time.perf_counter()
                for _ in range(sizes.step_tokens):
                    _, cache = last_logits(loaded, token, cache=cache, use_cache=True)
                wait(bench.column.device)
                passed = time.perf_counter() - started
                cache.crop(-sizes.step_tokens)
            return passed / sizes.step_tokens

        return in_turn(bench, partial(steps, method), partial(steps, "none"))

    return measure


def _numbers(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _bandwidth(size: int, device: str) -> float:
    """Return the bytes read and written in a second while so many are copied."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = [seconds_of(lambda: target.copy_(source), device) for _ in range(10)]
    return 2 * size / median(copies[3:])


def _decode_requests(bench: Bench) -> list[GenerateRequest]:
    sizes = bench.column.sizes
    return [
        GenerateRequest(
            prompt_ids=token_ids(sizes.decode_prompt, seed=seed),
            max_new_tokens=sizes.decode_tokens,
            min_new_tokens=sizes.decode_tokens,
        )
        for seed in range(sizes.decode_samples)
    ]


class _Decode(NamedTuple):
    seconds: float
    steps: int
    """Passes over one token a row."""


def _decode_clock(bench: Bench, call: Callable[[], object]) -> _Decode:
    """Measure all but the passes over prompts."""
    with ForwardClock(bench.column.device).of(bench.column.load().model) as clock:
        passed = seconds_of(call, bench.column.device)
    return _Decode(passed - clock.prompts, clock.steps)


def _decoded(bench: Bench) -> str:
    sizes = bench.column.sizes
    return f"{sizes.decode_samples} samples x {sizes.decode_tokens} tokens"
