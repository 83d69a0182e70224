"""The plan of a run: models x methods x tasks x lengths x seeds as cells, and their samples as groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from longbench_run.harness.config import MethodEntry, RunConfig
from longbench_run.harness.config_build import LoadedConfig
from longbench_run.harness.errors import ConfigError, LongbenchError, MethodNotApplicable
from longbench_run.harness.grammar import format_value
from longbench_run.harness.lengths import Length
from longbench_run.harness.methods import Method, parse_method
from longbench_run.harness.task_texts import check_protocol, task_of
from longbench_run.results.records import CellIdentity, MethodIdentity, TaskIdentity

if TYPE_CHECKING:
    from longbench_run.harness.models.facts import InspectedModel
    from longbench_run.tasks.base import Sample, Task, Tokenizer

BUNDLED = "reference"
DECODING = "greedy"
_DEFAULT_LENGTHS = (4096, 8192, 16384, 32768)
_BUNDLED_WINDOWS = (1, 2, 4, 8)
_BUNDLED_SAMPLES = {"passkey": 20, "perplexity": 10}
"""Samples per cell of the bundled model's default matrix: minutes on two cores, with honest intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """A method as asked for, not yet resolved for a model."""

    label: str
    method: Method
    weights: str | None
    """Weights of its own, None for the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """A task as asked for."""

    task: Task
    samples: int | None
    """Samples per cell that were asked for, None for the default."""

    @property
    def identity(self) -> TaskIdentity:
        """The task's part of every cell's identity."""
        task = self.task
        return TaskIdentity(
            name=task.info.name,
            version=task.info.version,
            protocol=task.protocol,
            parameters=dict(task.parameters()),
        )

    def count(self, model: str) -> int:
        """Return the samples per cell for a model, named as asked for."""
        if self.samples is not None:
            return self.samples
        default = self.task.info.default_count
        return _BUNDLED_SAMPLES.get(self.task.info.name, default) if model == BUNDLED else default


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a configuration asks for, texts turned into values; still knows no model."""

    methods: tuple[MethodChoice, ...]
    tasks: tuple[TaskChoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What has to be loaded once: a model, or a model with the weights that one method brings."""

    model_label: str
    inspected: InspectedModel
    asked: str
    """The model as asked for; ``reference`` has its own defaults."""
    method_weights: str | None
    original_context_length: int
    """Window of the model itself, L, in tokens."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, as tasks see it."""
        # The library annotates what `decode` gives for batches too.
        return cast("Tokenizer", self.inspected.tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """One model, method, task, length and seed."""

    identity: CellIdentity
    cell_id: str
    weights: Weights
    method_label: str
    method: Method
    """Resolved; as asked for where it is not applicable."""
    target_length: int
    """Length that the method was configured for, in tokens."""
    choice: TaskChoice
    count: int
    """Samples asked for; the data may have fewer."""
    not_applicable: str | None = None
    """Why the method cannot serve the model."""

    @property
    def context_length(self) -> int:
        """Tokens asked for."""
        return self.identity.context_length

    @property
    def seed(self) -> int:
        """Seed of the samples."""
        return self.identity.seed

    @property
    def sample_source(self) -> tuple[str, str, int, int]:
        """Key of the samples, which all methods share: tokenizer, task, length and seed."""
        return (
            self.weights.inspected.facts.identity.model_dump_json(),
            self.identity.task.model_dump_json(),
            self.context_length,
            self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Samples of one resolved method that are computed together."""

    key: str
    members: tuple[tuple[PlannedCell, int], ...]
    """Cell and sample index, shortest length first; every length has a cell of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRun:
    """Cells that are computed while one resolved method is attached."""

    weights: Weights
    method: Method
    target_length: int
    cells: tuple[PlannedCell, ...]

    def groups(self) -> Iterator[Group]:
        """Yield the groups, a function of the plan alone: what is already stored does not change them."""
        members: dict[tuple[str, int, str], list[tuple[PlannedCell, int]]] = {}
        for cell in self.cells:
            for index in range(cell.count):
                key = cell.choice.task.group_key(context_length=cell.context_length, index=index)
                members.setdefault((cell.identity.task.model_dump_json(), cell.seed, key), []).append(
                    (cell, index)
                )
        for (_, _, key), found in members.items():
            found.sort(key=lambda member: (member[0].context_length, member[1]))
            yield Group(key=key, members=tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every cell of a run, in the order asked for: model, method, task, length, seed."""

    cells: tuple[PlannedCell, ...]
    factor_policy: str

    @property
    def lengths(self) -> tuple[int, ...]:
        """Context lengths of all models, in tokens, ascending."""
        return tuple(sorted({cell.context_length for cell in self.cells}))

    def method_runs(self) -> list[MethodRun]:
        """Return what to attach, one after the other; runs that need the same weights follow each other."""
        runs: dict[tuple[int, str], list[PlannedCell]] = {}
        for cell in self.cells:
            if cell.not_applicable is None:
                runs.setdefault((id(cell.weights), cell.identity.method.model_dump_json()), []).append(cell)
        order = list({id(cell.weights): None for cell in self.cells})
        return [
            MethodRun(
                weights=cells[0].weights,
                method=cells[0].method,
                target_length=cells[0].target_length,
                cells=tuple(cells),
            )
            for (_, _), cells in sorted(runs.items(), key=lambda item: order.index(item[0][0]))
        ]


def choose(loaded: LoadedConfig) -> Choices:
    """Turn the texts of a configuration into methods and tasks.

    Raises:
        ConfigError: If nothing is left to run, or two entries cannot be told apart.
    """
    config = loaded.config
    methods = [_method_choice(entry, loaded.where("methods").rstrip(":")) for entry in config.methods]
    has_baseline = any(choice.method.as_released and choice.weights is None for choice in methods)
    if config.baseline and not has_baseline:
        methods.insert(0, MethodChoice(label="none", method=parse_method("none"), weights=None))
    if not methods:
        raise ConfigError(
            f"{loaded.where('methods')} must be at least one where the baseline is left out, got none. "
            "Name a method, or drop --no-baseline."
        )
    labels = [choice.label for choice in methods]
    if labels.count("none") > 1:
        raise ConfigError(
            f"{loaded.where('methods')} label must be given once, got 'none' twice. "
            "It is the baseline's; choose another label, or pass --no-baseline."
        )
    where = loaded.where("tasks").rstrip(":")
    if config.protocol is not None:
        names = [entry.name.partition(":")[0] for entry in config.tasks]
        check_protocol(config.protocol, names, where=loaded.where("protocol").rstrip(":"))
    tasks = [
        TaskChoice(
            task=task_of(entry.name, entry.parameters, where=where, protocol=config.protocol),
            samples=entry.samples or config.samples,
        )
        for entry in config.tasks
    ]
    _check_tasks(tasks, where)
    return Choices(methods=tuple(methods), tasks=tuple(tasks))


def _method_choice(entry: MethodEntry, where: str) -> MethodChoice:
    return MethodChoice(
        label=entry.label or entry.name.strip(),
        method=parse_method(entry.name, where=where),
        weights=entry.weights,
    )


def _check_tasks(tasks: Sequence[TaskChoice], where: str) -> None:
    seen: set[tuple[str, str]] = set()
    for choice in tasks:
        key = (choice.identity.name, choice.identity.protocol)
        if key in seen:
            raise ConfigError(
                f"{where}: task must stand once per protocol, got {key[0]!r} with protocol {key[1]!r} twice. "
                "Tables could not tell them apart: make two runs."
            )
        seen.add(key)


def lengths_for(asked: Sequence[Length], *, model: str, original_context_length: int) -> tuple[int, ...]:
    """Return the context lengths of a model in tokens, ascending.

    Args:
        asked: What was asked for; empty for the default.
        model: The model as asked for.
        original_context_length: Its window of pretraining, L, in tokens.
    """
    if not asked:
        default = (
            [n * original_context_length for n in _BUNDLED_WINDOWS] if model == BUNDLED else _DEFAULT_LENGTHS
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


FirstSamples = Mapping[tuple[str, str, int, int], "Sample"]
"""First sample by `PlannedCell.sample_source`."""


def first_samples(plan: Plan) -> FirstSamples:
    """Return the first sample of every task, length, seed and tokenizer: what data cannot fill fails here.

    Raises:
        TaskError: If a task cannot make samples of a length.
        ConfigError: If the data has none.
    """
    found: dict[tuple[str, str, int, int], Sample] = {}
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
