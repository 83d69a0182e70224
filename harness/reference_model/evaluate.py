"""Measure the reference model: `python -m longbench_run.harness.reference_model.evaluate`.

Measures through the same tasks, methods and engine as a run, point by point; a killed measurement goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from longbench_run.harness import reference_model
from longbench_run.harness.methods import parse_method, parse_methods
from longbench_run.harness.models.engine import Announce, nothing_announced
from longbench_run.harness.models.generate import generate
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.score import score
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.reference_model.card import Table, render_card
from longbench_run.harness.reference_model.figures import Figure, Figures, Point
from longbench_run.tasks.base import GenerateRequest, ScoreRequest
from longbench_run.tasks.passkey import Passkey
from longbench_run.tasks.perplexity import Perplexity

if TYPE_CHECKING:
    from longbench_run.harness.models.load import LoadedModel
    from longbench_run.tasks.base import Tokenizer

METHODS = "none,pi,yarn,abf,entropy_abf,self_extend,ntk,rerope"
DEPTHS = 10
SCORED = 256
"""Last tokens of a document whose nll is compared under more or less context."""


def _task_tokenizer(loaded: LoadedModel) -> Tokenizer:
    return cast("Tokenizer", loaded.tokenizer)  # transformers types wider what it takes and returns


def passkey(
    loaded: LoadedModel,
    *,
    context_length: int,
    count: int,
    seed: int,
    announce: Announce = nothing_announced,
) -> tuple[list[float], list[float]]:
    """Ask for keys with the task that users run, at ten depths in turn.

    Args:
        loaded: The model, with whatever method is applied to it.
        context_length: Tokens, prompt plus answer budget.
        count: Samples.
        seed: Seed of the keys.
        announce: Block in which a sample of so many tokens is computed, as the engine's.

    Returns:
        Score (1 where the key was found) and depth of each sample.
    """
    task = Passkey(depths=DEPTHS)
    scores, depths = [], []
    for sample in task.samples(
        context_length=context_length, count=count, seed=seed, tokenizer=_task_tokenizer(loaded)
    ):
        if isinstance(sample.request, GenerateRequest) and sample.depth is not None:
            with announce(len(sample.request.prompt_ids) + sample.request.max_new_tokens):
                generated = generate(loaded, sample.request)
            scores.append(task.score(sample, generated).scores["accuracy"])
            depths.append(sample.depth)
    return scores, depths


def document_nll(
    loaded: LoadedModel, *, context_length: int, longest: int, count: int, seed: int
) -> list[float]:
    """Score the same tokens of generated documents under more or less context.

    Args:
        loaded: The model, with whatever method is applied to it.
        context_length: Tokens in the window.
        longest: Longest context length compared: the scored tokens end there.
        count: Documents.
        seed: Seed of the documents.

    Returns:
        Mean nll of each document's scored tokens, in nats per token.
    """
    task = Perplexity(protocol="same_tokens", last=SCORED, tokens=longest)
    return [
        float(np.mean(score(loaded, sample.request.windows)[0]))
        for sample in task.samples(
            context_length=context_length, count=count, seed=seed, tokenizer=_task_tokenizer(loaded)
        )
        if isinstance(sample.request, ScoreRequest)
    ]


def weights_sha256(folder: Path) -> str:
    """Return what tells the weights of a folder from others."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


class Evaluation:
    """Measures points that are not in the file of figures yet.

    Args:
        folder: The model.
        dtype: What to compute in.
        figures: File of figures.
        seed: Seed of keys and documents.
        longest: Longest context length compared on documents, in windows.
    """

    def __init__(self, *, folder: Path, dtype: str, figures: Path, seed: int, longest: int) -> None:
        self.loaded = load_model(ModelSpec(model=str(folder), dtype=dtype))
        self.weights = weights_sha256(folder)
        self.window = self.loaded.facts.original_context_length
        self.longest = longest * self.window
        self._seed = seed
        self._figures = Figures(figures)

    def figure(self, task: str, method: str, *, context_length: int, factor_for: int, count: int) -> Figure:
        """Measure one point, unless it was measured before.

        Args:
            task: ``passkey`` or ``documents``.
            method: As a user writes it.
            context_length: Tokens.
            factor_for: Context length that the method's parameters are resolved for.
            count: Samples.
        """
        resolved = parse_method(method).resolve(self.loaded.facts.rope, context_length=factor_for)
        point = Point(
            weights=self.weights,
            dtype=self.loaded.facts.dtype,
            task=task,
            method=resolved.canonical,
            context_length=context_length,
            seed=self._seed,
            count=count,
            scored_until=self.longest if task == "documents" else None,
        )
        figure = self._figures.get(point)
        if figure is None:
            figure = self._measure(point)
            self._figures.add(figure)
        return figure

    def _measure(self, point: Point) -> Figure:
        sample = {"context_length": point.context_length, "count": point.count, "seed": point.seed}
        with parse_method(point.method).applied_to(self.loaded.model) as applied:
            if point.task == "passkey":
                scores, depths = passkey(self.loaded, announce=applied.sample, **sample)
                return Figure(point=point, scores=scores, depths=depths)
            return Figure(
                point=point, scores=document_nll(self.loaded, longest=self.longest, **sample), depths=[]
            )


def inside(evaluation: Evaluation, *, trials: int, documents: int) -> Table:
    """Measure the unmodified model at a quarter, half and all of its window, as far as the tasks fill them."""
    window = evaluation.window
    shortest = max(SCORED + 2, Passkey(depths=DEPTHS).minimum_length(_task_tokenizer(evaluation.loaded)))
    table = Table("none", {})
    for context_length in (n for n in (window // 4, window // 2, window) if n >= shortest):
        for task, count in (("passkey", DEPTHS * trials), ("documents", documents)):
            table.rows["none", task, context_length] = _report(
                evaluation.figure(task, "none", context_length=context_length, factor_for=window, count=count)
            )
    return table


def beyond(
    evaluation: Evaluation,
    policy: str,
    *,
    methods: list[str],
    multiples: list[int],
    trials: int,
    documents: int,
) -> Table:
    """Measure methods at multiples of the window, the shortest first.

    Args:
        evaluation: What measures.
        policy: ``fixed`` (each method set once, for the longest length) or ``per-length``.
        methods: As a user writes them.
        multiples: Context lengths in windows.
        trials: Keys per depth at the window; half as many at twice the window and so on, at least 2.
        documents: Documents at every length.
    """
    table = Table(policy, {})
    for multiple in multiples:
        context_length = multiple * evaluation.window
        for method in methods:
            for task, count in (("passkey", DEPTHS * max(2, trials // multiple)), ("documents", documents)):
                table.rows[method, task, context_length] = _report(
                    evaluation.figure(
                        task,
                        method,
                        context_length=context_length,
                        factor_for=max(multiples) * evaluation.window
                        if policy == "fixed"
                        else context_length,
                        count=count,
                    )
                )
    return table


def _report(figure: Figure) -> Figure:
    worst = f"  worst depth {figure.worst_depth:.2f}" if figure.point.task == "passkey" else ""
    print(  # noqa: T201 - a script
        f"{figure.point.task:9} at {figure.point.context_length:6}  n {figure.point.count:3}  "
        f"{figure.estimate.value:.3f}{worst}  {figure.point.method}",
        flush=True,
    )
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; write the model card where one is asked for."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=reference_model.path(), help="folder; default: the bundled one"
    )
    parser.add_argument("--methods", default=METHODS, help=f"default {METHODS}")
    parser.add_argument("--multiples", default="1,2,4,8", help="context lengths in windows; default 1,2,4,8")
    parser.add_argument("--trials", type=int, default=20, help="keys per depth at the window; default 20")
    parser.add_argument("--documents", type=int, default=10, help="generated documents; default 10")
    parser.add_argument("--dtype", default="float32", help="what to compute in; default float32")
    parser.add_argument("--seed", type=int, default=0, help="seed of keys and documents; default 0")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; default 1")
    parser.add_argument("--figures", type=Path, default=Path("runs/reference_model/figures.jsonl"))
    parser.add_argument("--card", type=Path, help="write the model card to this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    methods = [method.text for method in parse_methods(options.methods)]
    multiples = [int(multiple) for multiple in options.multiples.split(",")]
    evaluation = Evaluation(
        folder=options.model,
        dtype=options.dtype,
        figures=options.figures,
        seed=options.seed,
        longest=max(multiples),
    )
    within = inside(evaluation, trials=options.trials, documents=options.documents)
    tables = [
        beyond(
            evaluation,
            policy,
            methods=methods,
            multiples=multiples,
            trials=options.trials,
            documents=options.documents,
        )
        for policy in ("fixed", "per-length")
    ]
    if options.card is not None:
        options.card.write_text(render_card(options.model, within, tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
