"""What the model knows of plain English: bits per byte of books, with more and less context, beside a unigram model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from longbench_run.harness.api import run
from longbench_run.harness.models.spec import REFERENCE
from longbench_run.harness.reference_model.row import read_book, read_books
from longbench_run.harness.reference_model.tokenizer import load_tokenizer
from longbench_run.results import load

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOKENS = 65_536
"""Tokens scored of each book."""
SHARES = (8, 1)
"""The window divided by these: how much context there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFigures:
    """Bits per byte over the first `TOKENS` tokens of each book, and what they are compared with."""

    books: tuple[str, ...]
    """Names of the files."""
    bits_per_byte: dict[int, float]
    """Context length in tokens -> bits per byte of the model."""
    bits_per_byte_unigram: float | None
    """Of token frequencies in the books trained on, one added to each; None without those books."""


def measure_books(
    *, books: Path, training_books: Path | None, model: Path, window: int, dtype: str, output: Path
) -> BookFigures:
    """Score books under the window and an eighth of it; what is stored is not computed again.

    Args:
        books: Folder of ``.txt`` files that the model was not trained on.
        training_books: Folder of those that it was, for the unigram model.
        model: Folder of the model.
        window: Its native window, in tokens.
        dtype: What to compute in.
        output: Folder of the runs.
    """
    tokenizer = load_tokenizer(model)
    names = sorted(path.name for path in books.glob("*.txt"))
    lengths = [window // share for share in SHARES]
    task: dict[str, Any] = {
        "name": "perplexity",
        "samples": len(names),
        "parameters": {
            "protocol": "sliding",
            "text": str(books),
            "tokens": TOKENS,
            "stride": min(lengths) // 2,
        },
    }
    folder = output / "books"
    run(
        models=[{"name": str(model), "label": REFERENCE}],
        methods="none",
        tasks=[task],
        lengths=lengths,
        dtype=dtype,
        output=folder,
    )
    texts = [tokenizer.encode(read_book(books / name), add_special_tokens=False)[:TOKENS] for name in names]
    # All of them are scored: the one that begins a sequence stands before the first.
    scored = np.concatenate(texts)
    bits = scored.size / (math.log(2) * sum(len(str(tokenizer.decode(text)).encode()) for text in texts))
    frame = load(folder)
    return BookFigures(
        books=tuple(names),
        bits_per_byte={
            length: float(np.average(rows["score"], weights=rows["weight"])) * bits
            for length in sorted(lengths)
            for rows in [frame[frame["context_length"] == length]]
        },
        bits_per_byte_unigram=None
        if training_books is None
        else _unigram_nll(scored, read_books(training_books, tokenizer), len(tokenizer)) * bits,
    )


def _unigram_nll(scored: NDArray[np.int64], seen: NDArray[np.uint16], vocabulary: int) -> float:
    """Return the mean nll, in nats per token, of tokens under the smoothed frequencies of others."""
    counts = np.bincount(seen, minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[scored].mean())
