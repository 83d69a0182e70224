"""The benchmarks are scripts of the repository, not part of the package: they are imported from its root."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.models import Sizes, columns
from benchmarks.speed import Bench


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Return the CPU's column with every row so small that it takes a moment."""
    sizes = Sizes(
        prefill=256,
        full_form=1024,
        scoring=2048,
        full_logits=512,
        plain=(64, 128, 256),
        windowed_window=64,
        windowed_document=128,
        stride=32,
        passkey=256,
        decode_prompt=128,
        decode_samples=2,
        decode_tokens=4,
        step_tokens=2,
        matmul=128,
        copied=2**20,
        matrix_samples=1,
        matrix_lengths="512",
    )
    return Bench(column=replace(columns()["cpu"], sizes=sizes), repeats=1, seconds=30.0, threads=1)
