"""The matrix: models x methods x tasks x lengths x seeds, resolved into the cells of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from longbench_run.harness.choices import Choices, MethodChoice, TaskChoice
from longbench_run.harness.errors import ConfigError, LongbenchError, MethodNotApplicable
from longbench_run.harness.grammar import format_value
from longbench_run.harness.models.spec import REFERENCE
from longbench_run.harness.plan import FirstSamples, Plan, PlannedCell, SampleSource, Weights
from longbench_run.results.records import CellIdentity, MethodIdentity

if TYPE_CHECKING:
    from longbench_run.harness.config import RunConfig
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.lengths import Length
    from longbench_run.harness.methods import Method
    from longbench_run.tasks.base import Sample

DECODING = "greedy"
_DEFAULT_LENGTHS = (4096, 8192, 16384, 32768)
_BUNDLED_WINDOWS = (1, 2, 4, 8)


def lengths_for(asked: Sequence[Length], *, model: str, original_context_length: int) -> tuple[int, ...]:
    """Return the context lengths of a model in tokens, ascending.

    Args:
        asked: What was asked for; empty for the default.
        model: The model as asked for.
        original_context_length: Its window of pretraining, L, in tokens.
    """
    if not asked:
        default = (
            [n * original_context_length for n in _BUNDLED_WINDOWS]
            if model == REFERENCE
            else _DEFAULT_LENGTHS
        )
        return tuple(default)
    return tuple(sorted({length.tokens(original_context_length) for length in asked}))


def plan_run(loaded: LoadedConfig, choices: Choices, weights: Sequence[Weights]) -> Plan:
    """Return every cell of a run.

    Args:
        loaded: The configuration.
        choices: Its methods and tasks.
        weights: Everything that has to be loaded, in the order of the models.

    Raises:
        ConfigError: With one line for every method that does not fit a model, every length that a task cannot
            fill, and methods or models that turn out to be the same.
    """
    config = loaded.config
    policy = config.factor if isinstance(config.factor, str) else format_value(config.factor)
    cells: list[PlannedCell] = []
    errors: list[str] = []
    of_model: dict[str, list[Weights]] = {}
    for entry in weights:
        of_model.setdefault(entry.model_label, []).append(entry)
    for entries in of_model.values():
        base = entries[0]
        lengths = lengths_for(
            config.parsed_lengths(), model=base.asked, original_context_length=base.original_context_length
        )
        errors += _short_lengths(loaded, choices, base, lengths)
        by_weights = {entry.method_weights: entry for entry in entries}
        for choice in choices.methods:
            if choice.weights not in by_weights:
                continue
            try:
                cells += _cells_of(config, choice, choices.tasks, by_weights[choice.weights], lengths)
            except LongbenchError as error:
                errors.append(f"{loaded.where('methods')} {error}")
    if not errors:
        errors += _same_cells(loaded, cells)
    if errors:
        raise ConfigError("\n".join(dict.fromkeys(errors)))
    return Plan(cells=tuple(cells), factor_policy=policy)


def _short_lengths(
    loaded: LoadedConfig, choices: Choices, weights: Weights, lengths: Sequence[int]
) -> list[str]:
    errors = []
    for choice in choices.tasks:
        minimum = choice.task.minimum_length(weights.tokenizer)
        errors += [
            f"{loaded.where('lengths')} context length must be at least {minimum} for {choice.identity.name} "
            f"with model {weights.model_label}, got {length}. Ask for longer ones."
            for length in lengths
            if length < minimum
        ]
    return errors


def _cells_of(
    config: RunConfig,
    choice: MethodChoice,
    tasks: Sequence[TaskChoice],
    weights: Weights,
    lengths: Sequence[int],
) -> Iterator[PlannedCell]:
    """Yield the cells of one method on one model."""
    facts, window = weights.inspected.facts, weights.original_context_length
    resolved: dict[int, tuple[Method, str | None]] = {}
    for task in tasks:
        identity = task.identity
        for length in lengths:
            target = _target_length(config.factor, length, longest=max(lengths), window=window)
            if target not in resolved:
                resolved[target] = _resolved(choice.method, weights, target)
            method, reason = resolved[target]
            for seed in dict.fromkeys(config.seed):
                cell = CellIdentity(
                    model=facts.identity,
                    dtype=facts.dtype,
                    attention=facts.attention,
                    original_context_length=window,
                    method=MethodIdentity(resolved=method.canonical, versions=method.versions),
                    task=identity,
                    context_length=length,
                    seed=seed,
                    decoding=DECODING,
                    chat_template=weights.chat.name
                    if weights.chat and task.task.info.uses_chat_template
                    else None,
                )
                yield PlannedCell(
                    identity=cell,
                    cell_id=cell.cell_id(),
                    weights=weights,
                    method_label=choice.label,
                    method=method,
                    target_length=target,
                    choice=task,
                    count=task.count(weights.asked),
                    not_applicable=reason,
                )


def _resolved(method: Method, weights: Weights, target: int) -> tuple[Method, str | None]:
    try:
        resolved = method.resolve(
            weights.inspected.facts.rope,
            original_context_length=weights.original_context_length,
            context_length=target,
        )
    except MethodNotApplicable as error:
        return method, str(error)
    return resolved, None


def _target_length(factor: str | float, length: int, *, longest: int, window: int) -> int:
    """Return the length that a method is configured for at ``length``."""
    if factor == "fixed":
        return longest
    return length if isinstance(factor, str) else round(factor * window)


def _same_cells(loaded: LoadedConfig, cells: Sequence[PlannedCell]) -> list[str]:
    """Say which methods or models are the same once resolved: a record belongs to one of them only."""
    first: dict[str, PlannedCell] = {}
    pairs: Mapping[tuple[str, str, str], None] = {}
    for cell in cells:
        other = first.setdefault(cell.cell_id, cell)
        if other is not cell:
            key, one, two = (
                ("models", other.weights.model_label, cell.weights.model_label)
                if other.weights.model_label != cell.weights.model_label
                else ("methods", other.method_label, cell.method_label)
            )
            pairs = {**pairs, (key, one, two): None}
    return [
        f"{loaded.where(key)} {key} must differ, got {one!r} and {two!r}, which are the same once resolved. "
        "Drop one."
        for key, one, two in pairs
    ]


def first_samples(plan: Plan) -> FirstSamples:
    """Return the first sample of every task, length, seed and tokenizer: what data cannot fill fails here.

    Raises:
        TaskError: If a task cannot make samples of a length.
        ConfigError: If the data has none.
    """
    found: dict[SampleSource, Sample] = {}
    for cell in plan.cells:
        if cell.sample_source in found:
            continue
        samples = cell.choice.task.samples(
            context_length=cell.context_length,
            count=cell.count,
            seed=cell.seed,
            tokenizer=cell.weights.tokenizer,
        )
        first = next(iter(samples), None)
        if first is None:
            raise ConfigError(
                f"{cell.identity.task.name}: data must have a sample at context length "
                f"{cell.context_length}, got none. Ask for another length."
            )
        found[cell.sample_source] = first
    return found
