"""Measure the reference model: `python -m longbench_run.harness.reference_model evaluate`.

Every part is a run like any other, stored in a folder of its own: a killed measurement goes on.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from longbench_run.harness import reference_model
from longbench_run.harness.api import run
from longbench_run.harness.methods.registry import component_classes
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.spec import REFERENCE, ModelSpec
from longbench_run.harness.progress import Bars
from longbench_run.harness.reference_model.card import render_card
from longbench_run.harness.reference_model.plain_text import measure_books
from longbench_run.harness.reference_model.speed import measure_speed
from longbench_run.results import load

if TYPE_CHECKING:
    import pandas as pd

MAIN_METHODS = ("none", "pi", "yarn", "abf", "entropy_abf", "self_extend")
"""Those of the main command."""
FARTHEST = 8
"""Longest context length, in windows; methods are set once, for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run of the measurement."""

    name: str
    """Of its folder."""
    windows: tuple[float, ...]
    """Context lengths, in windows of the model."""
    tasks: tuple[Mapping[str, Any], ...]
    """With their samples, as in a configuration."""
    methods: tuple[str, ...] = ("none",)
    settings: Mapping[str, Any] = field(default_factory=dict)


def other_methods() -> tuple[str, ...]:
    """Return every method that the main command does not name."""
    return tuple(kind.name for kind in component_classes() if kind.name not in MAIN_METHODS)


def parts() -> tuple[Part, ...]:
    """Return what is measured, the most important first."""
    inside = (
        Part(
            name="inside",
            windows=(0.25, 0.5, 1.0),
            tasks=({"name": "passkey", "samples": 200},),
        ),
        Part(
            name="skills",
            windows=(0.75, 1.0),
            tasks=(
                {"name": "key_value", "samples": 200},
                {"name": "multidoc_qa", "samples": 200},
                *(
                    {
                        "name": "longbench_synthetic",
                        "samples": 100,
                        "parameters": {"dataset": dataset, "protocol": "exact"},
                    }
                    for dataset in ("trec", "passage_count", "passage_retrieval_en")
                ),
            ),
        ),
    )
    beyond = tuple(
        Part(
            name=f"{name}-{distance}",
            windows=windows,
            methods=methods,
            tasks=({"name": "passkey", "samples": samples}, {"name": "perplexity", "samples": 10}),
            settings={"factor": float(FARTHEST)},
        )
        for name, methods in (("main", MAIN_METHODS), ("others", other_methods()))
        for distance, windows, samples in (("near", (1.0, 2.0, 4.0), 100), ("far", (float(FARTHEST),), 40))
    )
    return inside + beyond


def measure(part: Part, *, model: Path, window: int, dtype: str, output: Path) -> Path:
    """Run a part as far as it is not stored yet, and return its folder."""
    folder = output / part.name
    run(
        models=[{"name": str(model), "label": REFERENCE}],
        methods=list(part.methods),
        baseline=False,
        tasks=[dict(task) for task in part.tasks],
        lengths=[round(share * window) for share in part.windows],
        dtype=dtype,
        output=folder,
        progress=Bars(),
        **part.settings,
    )
    return folder


def weights_sha256(folder: Path) -> str:
    """Return what tells the weights of a folder from others."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def passkey_accuracy(model: Path, *, context_length: int, samples: int, output: Path) -> float:
    """Return the share of keys that an unmodified model finds.

    Args:
        model: Folder.
        context_length: Tokens, prompt plus answer budget.
        samples: Keys, at ten depths in turn.
        output: Folder of the run.
    """
    part = Part(name="passkey", windows=(1.0,), tasks=({"name": "passkey", "samples": samples},))
    folder = measure(part, model=model, window=context_length, dtype="float32", output=output)
    return float(load(folder)["score"].mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure part by part; write the model card where one is asked for."""
    names = [part.name for part in parts()]
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=reference_model.path(), help="folder; default: the bundled one"
    )
    parser.add_argument("--parts", default=",".join(names), help=f"default: {','.join(names)}")
    parser.add_argument(
        "--books", type=Path, help="folder of .txt files that the model was not trained on; default: none"
    )
    parser.add_argument(
        "--training-books", type=Path, help="folder of those that it was: the unigram model's"
    )
    parser.add_argument("--speed", action="store_true", help="time loading and prefill on this machine")
    parser.add_argument("--dtype", default="float32", help="what to compute in; default float32")
    parser.add_argument("--threads", type=int, help="CPU threads; default: one per core")
    parser.add_argument("--output", type=Path, default=Path("runs/reference_model/evaluation"))
    parser.add_argument("--card", type=Path, help="write the model card to this file")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    wanted = options.parts.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f"--parts must be among {', '.join(names)}, got {unknown[0]!r}. Leave it out for all.")
    window = inspect_model(ModelSpec(model=str(options.model))).facts.original_context_length
    shared = {"model": options.model, "window": window, "dtype": options.dtype, "output": options.output}
    frames: dict[str, pd.DataFrame] = {}
    for part in parts():
        if part.name in wanted:
            frames[part.name] = load(measure(part, **shared))
            print(f"{part.name}: {frames[part.name]['score'].count()} samples", flush=True)  # noqa: T201 - a script
    speed = measure_speed(options.model, lengths=[FARTHEST * window, 16 * window]) if options.speed else None
    books = None
    if options.books is not None:
        books = measure_books(books=options.books, training_books=options.training_books, **shared)
        print(books, flush=True)  # noqa: T201
    if options.card is not None:
        card = render_card(
            options.model,
            weights=weights_sha256(options.model),
            dtype=options.dtype,
            frames=frames,
            books=books,
            speed=speed,
        )
        options.card.write_text(card, encoding="utf-8")
    return 0
