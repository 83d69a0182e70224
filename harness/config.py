"""What a run is asked to do: the settings, their types and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from longbench_run.harness.chat import AUTO
from longbench_run.harness.chat import NAMES as CHAT_TEMPLATES
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors.choice import LOCAL, ExecutorChoice, parse_device, parse_executor
from longbench_run.harness.grammar import split_list
from longbench_run.harness.lengths import Length, parse_length
from longbench_run.harness.models.spec import REFERENCE

DType = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["4bit", "8bit"]
DeviceMap = Literal["auto", "balanced", "sequential"]
Overwrite = Literal["missing", "failed", "all"]
Parameter = str | int | float | bool | None

MODEL_KEYS = (
    "revision",
    "dtype",
    "adapter",
    "quantization",
    "device_map",
    "original_context_length",
    "trust_remote_code",
)
"""Keys that stand for every model at the top, and for one model in its entry."""
TASK_KEYS = ("data_dir", "max_length", "include_path", "metadata")
"""Keys that stand for every task that has a parameter of that name."""


def broken_rule(rule: str, remedy: str, *, got: object = None) -> PydanticCustomError:
    """Return the error of a validator, in the parts of the one-line form.

    Args:
        rule: What the value must be.
        remedy: What to do.
        got: The part that breaks the rule, where it is not the whole value.
    """
    # The text travels as values, never as a template: a brace in it must stay a brace.
    context = {"rule": rule, "remedy": remedy}
    return PydanticCustomError("rule", "{rule}", context if got is None else {**context, "got": repr(got)})


def entries_of(value: object) -> tuple[object, ...]:
    """Return one entry each for ``a,b`` and for ``[a, "b,c", {...}]``.

    Raises:
        PydanticCustomError: If there is none, or a name is empty.
    """
    found: list[object] = []
    for entry in value if isinstance(value, list | tuple) else [value]:
        try:
            found.extend(split_list(entry, where="") if isinstance(entry, str) else [entry])
        except ConfigError:
            raise broken_rule(
                "names separated by commas, none of them empty", "Name at least one.", got=entry
            ) from None
    if not found:
        raise broken_rule("a list of at least one", "Leave it out for the default.")
    return tuple(found)


def _factor(value: object) -> object:
    if value in ("fixed", "per-length"):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < float("inf"):
        raise broken_rule(
            "fixed, per-length or a number of at least 1", "Leave it out to configure for the longest length."
        )
    return float(value)


def _length(value: object) -> object:
    length = parse_length(value)
    if length is None:
        raise broken_rule(
            "a number of tokens (4096, 4k) or of original windows (2x)", "Write 4k,8k or 1x,2x."
        )
    return str(length)


def _chat_template(value: object) -> object:
    if value not in CHAT_TEMPLATES:
        nearest = get_close_matches(str(value), CHAT_TEMPLATES, n=1)
        hint = f'Did you mean "{nearest[0]}"?' if nearest else "Leave it out for the model's own."
        raise broken_rule(f"one of {', '.join(CHAT_TEMPLATES)}", hint)
    return value


def _devices(value: object) -> object:
    found = [parse_device(entry) for entry in entries_of(value)]
    if None in found:
        raise broken_rule("GPU numbers or cpu, separated by commas", "Write 0,1 or cpu,cpu.", got=value)
    return tuple(found)


def _executor(value: object) -> object:
    if not isinstance(value, str) or parse_executor(value) is None:
        raise broken_rule(
            "local or ray, the latter with workers, cores and gpus where wanted",
            "Write ray:workers=2:cores=4.",
        )
    return value


Label = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
NonEmpty = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """Strict, immutable part of a configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(Section):
    """What may be written as its name alone."""

    name: NonEmpty

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: object) -> object:
        if isinstance(data, str):
            return {"name": data}
        if not isinstance(data, Mapping):
            raise broken_rule("a name, or a mapping with a name", "Write name: ... and its settings below.")
        return data


class ModelEntry(Entry):
    """One model: ``reference``, a hub id or a folder, and how to load it; None: the setting at the top."""

    label: Label | None = None
    """What tables and figures call it; default: its name."""
    revision: str | None = None
    dtype: DType | None = None
    adapter: str | None = None
    quantization: Quantization | None = None
    device_map: DeviceMap | None = None
    original_context_length: Positive | None = None
    trust_remote_code: bool | None = None


class MethodEntry(Entry):
    """One method, in the grammar of ``--methods``, and its own weights where it was fine-tuned."""

    label: Label | None = None
    """What tables and figures call it; default: its text as asked."""
    weights: NonEmpty | None = None
    """Folder or hub id of the weights that belong to it: a whole model or a PEFT adapter."""


class TaskEntry(Entry):
    """One task, in the grammar of ``--tasks``, further parameters, and its own number of samples."""

    parameters: Mapping[str, Parameter] = Field(default_factory=dict)
    samples: Positive | None = None


class RunConfig(Section):
    """A run as asked for; None where the default depends on the model or the task."""

    models: Annotated[tuple[ModelEntry, ...], BeforeValidator(entries_of)] = (ModelEntry(name=REFERENCE),)
    methods: Annotated[tuple[MethodEntry, ...], BeforeValidator(entries_of)] = ()
    tasks: Annotated[tuple[TaskEntry, ...], BeforeValidator(entries_of)] = (
        TaskEntry(name="passkey"),
        TaskEntry(name="perplexity"),
    )
    lengths: Annotated[tuple[Annotated[str, BeforeValidator(_length)], ...], BeforeValidator(entries_of)] = ()
    """Default: 4k,8k,16k,32k, and 1x,2x,4x,8x for the bundled model."""
    samples: Positive | None = None
    factor: Annotated[Literal["fixed", "per-length"] | float, BeforeValidator(_factor)] = "fixed"
    seed: Annotated[tuple[Seed, ...], BeforeValidator(entries_of)] = (0,)
    baseline: bool = True
    """Whether ``none`` is added to the methods."""
    protocol: NonEmpty | None = None
    """Protocol of every task that has it."""
    data_dir: NonEmpty | None = None
    """Folder with the data of every task that reads one."""
    max_length: Positive | None = None
    """Tokens of a prompt before the chat template, for every task that has it; default: the protocol's."""
    include_path: NonEmpty | None = None
    """Folder with task files beside lm-eval's own."""
    metadata: NonEmpty | None = None
    """JSON object, given to the tasks of lm-eval that make their data."""
    chat_template: Annotated[str, BeforeValidator(_chat_template)] = AUTO
    """Template for the tasks whose prompts go through one."""
    revision: NonEmpty | None = None
    dtype: DType = "auto"
    adapter: NonEmpty | None = None
    quantization: Quantization | None = None
    device_map: DeviceMap | None = None
    original_context_length: Positive | None = None
    """Window of pretraining, L, in tokens; default: the model's own configuration."""
    trust_remote_code: bool = False
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    devices: Annotated[tuple[str, ...], BeforeValidator(_devices)] = ()
    """Devices of this machine with a process each; none for this process alone."""
    executor: Annotated[str, BeforeValidator(_executor)] = LOCAL
    """``local``, or ``ray[:workers=N][:cores=N][:gpus=N]``."""
    ray_address: NonEmpty | None = None
    """``auto`` or ``HOST:PORT`` of a running cluster; default: this machine alone."""
    prefix_reuse: bool = True
    """Whether prompts of a group that begin alike are computed once up to where they part."""
    output: NonEmpty | None = None
    overwrite: Overwrite = "missing"

    @property
    def chosen_executor(self) -> ExecutorChoice:
        """The executor asked for."""
        return parse_executor(self.executor) or ExecutorChoice(name=LOCAL)

    @property
    def first_device(self) -> str:
        """What the run is planned for."""
        return self.devices[0] if self.devices else self.device

    def parsed_lengths(self) -> tuple[Length, ...]:
        """Return the lengths asked for; none where the default holds."""
        return tuple(length for text in self.lengths if (length := parse_length(text)) is not None)

    def with_model_defaults(self, *, winning: frozenset[str]) -> Self:
        """Return the configuration with every model's settings filled in.

        Args:
            winning: Keys whose value at the top beats a model's own: those given as flags.
        """
        filled = []
        for model in self.models:
            settings = {
                key: getattr(self, key)
                if key in winning or getattr(model, key) is None
                else getattr(model, key)
                for key in MODEL_KEYS
            }
            filled.append(model.model_copy(update=settings))
        return self.model_copy(update={"models": tuple(filled)})
