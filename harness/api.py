"""A run from Python: the same names as the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from longbench_run.harness.config_build import load_config
from longbench_run.harness.runner import execute

if TYPE_CHECKING:
    from longbench_run.harness.progress import Progress
    from longbench_run.harness.runner import RunSummary

Names = str | Sequence[str | Mapping[str, Any]]


def run(
    *,
    models: Names | None = None,
    methods: Names | None = None,
    tasks: Names | None = None,
    lengths: str | int | Sequence[str | int] | None = None,
    samples: int | None = None,
    factor: str | float | None = None,
    seed: int | Sequence[int] | None = None,
    protocol: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    max_length: int | None = None,
    include_path: str | PathLike[str] | None = None,
    metadata: str | None = None,
    chat_template: str | None = None,
    baseline: bool | None = None,
    revision: str | None = None,
    adapter: str | None = None,
    dtype: str | None = None,
    quantization: str | None = None,
    device: str | None = None,
    device_map: str | None = None,
    devices: str | Sequence[str | int] | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    original_context_length: int | None = None,
    trust_remote_code: bool | None = None,
    prefix_reuse: bool | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: str | None = None,
    config: str | PathLike[str] | None = None,
    preset: str | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Run a matrix and return where it is stored; read it with `longbench_run.results.load`.

    What is left out has the default of the command line. No report is written.

    Args:
        models: ``reference``, hub ids, folders, or mappings with a name and settings.
        methods: ``"pi,yarn"``, or a list of texts and of mappings with ``name``, ``label`` and ``weights``.
        tasks: ``"passkey,perplexity"``, or a list of texts and of mappings with ``name``, ``parameters`` and
            ``samples``.
        lengths: Tokens (4096, ``"4k"``) or original windows (``"2x"``).
        samples: Samples per cell, at least 1.
        factor: ``fixed``, ``per-length`` or a factor of at least 1.
        seed: Seeds of the samples, at least 0.
        protocol: Protocol of every task that has it.
        data_dir: Folder with the data of every task that reads one.
        max_length: Tokens of a prompt before the chat template, for every task that has it.
        include_path: Folder with task files beside lm-eval's own.
        metadata: JSON object, given to the tasks of lm-eval that make their data.
        chat_template: ``auto``, ``none``, ``own``, ``thinking``, ``llama2`` or ``vicuna``.
        baseline: Whether ``none`` is added.
        revision: Branch, tag or commit of a hub model.
        adapter: PEFT adapter.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        quantization: ``4bit`` or ``8bit``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        device_map: ``auto``, ``balanced`` or ``sequential``.
        devices: GPUs, or ``cpu``, of this machine with a process each: ``"0,1"``. As always with processes, a script
            that asks for them is to be guarded by ``if __name__ == "__main__":``.
        executor: ``local`` or ``ray[:workers=N][:cores=N][:gpus=N]``.
        ray_address: ``auto`` or ``HOST:PORT`` of a running cluster.
        original_context_length: Window of pretraining, L, in tokens.
        trust_remote_code: Whether code that a model brings along may run.
        prefix_reuse: Whether prompts that begin alike are computed once up to where they part.
        output: Folder of the run.
        overwrite: ``missing``, ``failed`` or ``all``.
        config: YAML file with the same keys; arguments win over it.
        preset: Name of a preset.
        progress: Where to tell how far it is.

    Raises:
        LongbenchError: If something does not fit; nothing is written then.
        TaskError: If a task cannot make samples.
        ResultsError: If the output folder cannot take the run.
    """
    asked: dict[str, object] = {
        "models": models,
        "methods": methods,
        "tasks": tasks,
        "lengths": lengths,
        "samples": samples,
        "factor": factor,
        "seed": seed,
        "protocol": protocol,
        "data_dir": None if data_dir is None else str(data_dir),
        "max_length": max_length,
        "include_path": None if include_path is None else str(include_path),
        "metadata": metadata,
        "chat_template": chat_template,
        "baseline": baseline,
        "revision": revision,
        "adapter": adapter,
        "dtype": dtype,
        "quantization": quantization,
        "device": device,
        "device_map": device_map,
        "devices": devices,
        "executor": executor,
        "ray_address": ray_address,
        "original_context_length": original_context_length,
        "trust_remote_code": trust_remote_code,
        "prefix_reuse": prefix_reuse,
        "output": None if output is None else str(output),
        "overwrite": overwrite,
        "config": None if config is None else str(config),
        "preset": preset,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    words = [f"{key}={value!r}" for key, value in given.items()]
    return execute(
        load_config(given, caller="run()"),
        command=(f"longbench_run.harness.run({', '.join(words)})",),
        progress=progress,
    )
