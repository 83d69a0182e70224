"""Peak memory of one forward pass, each in a process of its own: an allocator gives little back."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import torch

from benchmarks.models import benchmark_model, token_ids
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.memory import PeakMemory


def peak_memory(
    methods: list[str], length: int, *, device: str, dtype: str, threads: int | None
) -> dict[str, float]:
    """Return MiB above the loaded and warmed-up model for each method."""
    options = ["--device", device, "--dtype", dtype, *(["--threads", str(threads)] if threads else [])]
    found = {}
    for method in methods:
        command = [sys.executable, "-m", "benchmarks.memory", method, str(length), *options]
        found[method] = float(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )  # our own module
    return found


def _measure(method: str, length: int, **setting: Any) -> float:
    model = benchmark_model(**setting)
    peak = PeakMemory([model.device])
    with torch.inference_mode(), parse_method(method).applied_to(model, context_length=length):
        model(token_ids(64, setting["device"]), use_cache=True, logits_to_keep=1)
        peak.start()
        before = peak.read()
        model(token_ids(length, setting["device"]), use_cache=True, logits_to_keep=1)
        after = peak.read()
    if before is None or after is None:
        raise SystemExit("peak memory on a CPU must be measured on Linux.")
    return (after - before) / 2**20


def main() -> int:
    """Print MiB for one method at one length."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("method")
    parser.add_argument("length", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    print(
        _measure(
            options.method,
            options.length,
            device=options.device,
            dtype=options.dtype,
            threads=options.threads,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
