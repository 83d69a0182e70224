"""`longbench-run tune`: variants of a model, each tuned with a method attached."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from longbench_run.harness.cli_dry_run import duration_text
from longbench_run.harness.errors import ConfigError, unknown_name
from longbench_run.harness.footprint import gibibytes
from longbench_run.harness.grammar import parse_number
from longbench_run.harness.lengths import parse_length
from longbench_run.harness.methods.method import parse_methods
from longbench_run.harness.models.spec import REFERENCE, ModelSpec
from longbench_run.harness.tuning.processes import Processes, check_split, processes_of
from longbench_run.harness.tuning.recipe import COMPOSITIONS, Recipe, papers
from longbench_run.results.durable import replace_text

if TYPE_CHECKING:
    import argparse

    from longbench_run.harness.tuning.plan import PlannedVariant

_UNITS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
MATRIX = "matrix.yaml"
"""Configuration of a run that measures the variants."""


def tune(found: argparse.Namespace) -> tuple[str, str]:
    """Make the variants that a command line asks for.

    Args:
        found: The parsed command line.

    Returns:
        What to print on stdout, and what to say beside it.

    Raises:
        LongbenchError: With one line, whatever the user can mend; there is no half-written variant then.
    """
    processes = processes_of(os.environ)
    with processes.joined():
        said = _tune(found, processes)
    return said if processes.is_first else ("", "")


def _tune(found: argparse.Namespace, processes: Processes) -> tuple[str, str]:
    planned = processes.agree(lambda: _plan(found, processes))
    from transformers.utils.logging import disable_progress_bar

    from longbench_run.harness.tuning.run import StepsSaid, make_variant

    output = Path(found.output)
    notes = "".join(_memory(planned))
    if found.dry_run:
        return "".join([*_described(planned), *_cost(planned)]), notes
    processes.agree(lambda: _check_room(planned, output, processes))
    if processes.is_first:
        sys.stderr.write(notes)
    disable_progress_bar()  # one for every file read and written
    for variant in planned:
        trained = make_variant(
            variant,
            save_every=_save_every(found),
            overwrite=found.overwrite,
            callbacks=[StepsSaid(variant.folder.name)],
            processes=processes,
        )
        if not trained and processes.is_first:
            sys.stderr.write(f"{variant.folder.name}: nothing to train, it is there.\n")
    path = output / MATRIX
    processes.first(lambda: replace_text(path, _matrix(planned), temporary=path.with_name(f".{MATRIX}.new")))
    names = "".join(f"{variant.folder}\n" for variant in planned)
    return f"{names}Run: longbench-run run --config {path}\n", ""


def _check_room(planned: Sequence[PlannedVariant], output: Path, processes: Processes) -> None:
    from longbench_run.harness.tuning.memory import check_room

    for variant in planned:
        check_room(
            variant.footprint,
            device=variant.inspected.facts.device,
            folder=output,
            processes=processes,
        )


def _save_every(found: argparse.Namespace) -> Any:
    return _number("--save-every", found.save_every, whole=True, least=1)


def _plan(found: argparse.Namespace, processes: Processes) -> list[PlannedVariant]:
    check_split(os.environ)
    if Path(found.output).exists() and not Path(found.output).is_dir():
        raise ConfigError(f"--output: path must be a folder, got {found.output!r}. Name another.")
    _save_every(found)
    methods = parse_methods(found.methods)
    window = _tokens("--original-context-length", found.original_context_length)
    compositions = _compositions(found.composition or Recipe.composition)
    spec = ModelSpec(
        model=found.model or REFERENCE,
        revision=found.revision,
        dtype="float32",
        device=processes.device(found.device),
        original_context_length=window,
        trust_remote_code=found.trust_remote_code,
    )
    length = parse_length(found.context_length)
    if length is None:
        raise ConfigError(
            f"--context-length: must be a length, got {found.context_length!r}. Write 16384, 16k or 4x."
        )
    numbers = {
        flag: _number(f"--{flag.replace('_', '-')}", getattr(found, flag), whole=whole)
        for flag, whole in (
            ("lora", True),
            ("learning_rate", False),
            ("batch_size", True),
            ("epochs", True),
            ("warmup_steps", True),
            ("weight_decay", False),
        )
    }
    samples = _numbers("--samples", found.samples or str(Recipe.samples))
    seeds = _numbers("--seed", found.seed or str(Recipe.seed))
    # What the command line alone tells is said before anything heavy is imported.
    for count in samples:
        processes.share(papers(samples=count, **numbers).batch_size)
    from longbench_run.harness.models.facts import inspect_model, resolve_device
    from longbench_run.harness.tuning.plan import plan_tuning

    tokens = length.tokens(inspect_model(spec).facts.original_context_length if length.in_windows else 1)
    precision = "float32" if resolve_device(spec) == "cpu" else "bfloat16"
    recipes = [
        papers(
            context_length=tokens,
            samples=count,
            seed=seed,
            composition=composition,
            precision=precision,
            **numbers,
        )
        for composition in compositions
        for count in samples
        for seed in seeds
    ]
    return plan_tuning(
        spec,
        methods,
        recipes,
        data=found.data,
        output=Path(found.output),
        shares=processes.shares,
    )


def _memory(planned: Sequence[PlannedVariant]) -> list[str]:
    lines = {
        f"Memory of {variant.inspected.facts.device}: about {gibibytes(variant.footprint.total)} "
        f"({variant.footprint}); on the disk {gibibytes(variant.footprint.disk)}.\n"
        for variant in planned
    }
    return sorted(lines)


def _described(planned: Sequence[PlannedVariant]) -> list[str]:
    lines = []
    for variant in planned:
        differences = ", ".join(
            f"{name} {value['here']} (paper {value['paper']})"
            for name, value in variant.recipe.deviations().items()
        )
        tokens = variant.description["data"]["tokens"]
        lines.append(
            f"{variant.folder}: {variant.method.canonical}, {variant.recipe.steps} steps of "
            f"{variant.recipe.batch_size} samples, {tokens:,} tokens; differs from the paper: {differences or 'nothing'}\n"
        )
    return lines


def _cost(planned: Sequence[PlannedVariant]) -> Iterator[str]:
    """Yield what the variants take together, here and on GPUs that need not be here."""
    from longbench_run.harness.tuning import cost

    tokens = sum(variant.description["data"]["tokens"] for variant in planned)
    computed = sum(map(cost.operations, planned))
    variants = "1 variant" if len(planned) == 1 else f"{len(planned)} variants"
    alone, shared = (
        duration_text(sum(cost.seconds(variant, gpus=gpus) for variant in planned)) for gpus in (1, cost.GPUS)
    )
    yield (
        f"{variants}, {tokens:,} tokens, {_operations(computed)}: roughly {alone} on 1 GPU, {shared} on "
        f"{cost.GPUS} ({cost.GPU} at {cost.UTILISATION:.0%} of its {_operations(cost.PEAK)}/s in bfloat16: an order of "
        "magnitude; what is there already is counted too).\n"
    )
    needed = max((cost.gpu_memory(variant) for variant in planned), key=lambda memory: memory.together)
    verdict = ": too much" if needed.alone > cost.GPU_BYTES else ""
    yield (
        f"Memory of a GPU: about {gibibytes(needed.alone)} where it is alone, {gibibytes(needed.together)} as one of "
        f"{cost.GPUS} that each hold the whole model, of the {gibibytes(cost.GPU_BYTES)} of an {cost.GPU}{verdict}; "
        f"{gibibytes(needed.sharded)} as one of {cost.GPUS} that share it by FSDP.\n"
    )


def _operations(count: float) -> str:
    size, unit = next((pair for pair in _UNITS if count >= pair[0]), _UNITS[-1])
    return f"{count / size:.1f} {unit}".replace(".0 ", " ")


def _matrix(planned: Sequence[PlannedVariant]) -> str:
    """Return the configuration of a run with every variant under the method that it was tuned with."""
    spec = planned[0].inspected.spec
    model: dict[str, Any] = {"name": spec.model}
    if spec.revision is not None:
        model["revision"] = spec.revision
    if spec.original_context_length is not None:
        model["original_context_length"] = spec.original_context_length
    if spec.trust_remote_code:
        model["trust_remote_code"] = True
    methods = [
        {"name": variant.method.canonical, "label": variant.folder.name, "weights": str(variant.folder)}
        for variant in planned
    ]
    return yaml.safe_dump({"models": [model], "methods": methods}, sort_keys=False, allow_unicode=True)


def _compositions(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in COMPOSITIONS:
            raise unknown_name(
                "name", name, COMPOSITIONS, where="--composition", see="`longbench-run tune --help`"
            )
    return names


def _tokens(flag: str, text: str | None) -> int | None:
    length = None if text is None else parse_length(text)
    if text is not None and (length is None or length.in_windows):
        raise ConfigError(f"{flag}: must be a number of tokens, got {text!r}. Write 4096 or 4k.")
    return None if length is None else length.tokens(1)


def _numbers(flag: str, text: str) -> list[int]:
    return list(dict.fromkeys(_number(flag, part.strip(), whole=True) for part in text.split(",")))


def _number(flag: str, text: str | None, *, whole: bool, least: int = 0) -> Any:
    """Return the number that a flag gives; None where it was not given."""
    number = None if text is None else parse_number(text)
    if text is not None and (number is None or number < least or (whole and not isinstance(number, int))):
        rule = "a whole number" if whole else "a number"
        raise ConfigError(f"{flag}: must be {rule} of at least {least}, got {text!r}. Write it in digits.")
    return number
