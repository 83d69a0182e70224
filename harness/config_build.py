"""From flags, file and preset to one validated configuration; every error at once, each with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from longbench_run.harness.config import Entry, MethodEntry, ModelEntry, RunConfig, TaskEntry, entries_of
from longbench_run.harness.config_layers import Layer, merge
from longbench_run.harness.errors import ConfigError, LongbenchError, unknown_name
from longbench_run.harness.executors.choice import conflicts
from longbench_run.harness.methods import parse_method
from longbench_run.harness.presets import preset
from longbench_run.harness.yaml_file import read_yaml
from longbench_run.recipes import config_path
from longbench_run.tasks.base import TaskError

_ENTRIES: Mapping[str, type[Entry]] = {"models": ModelEntry, "methods": MethodEntry, "tasks": TaskEntry}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A valid configuration, and where each of its settings was written."""

    config: RunConfig
    origin: Mapping[str, Layer]

    def where(self, key: str) -> str:
        """Return the place that an error about a setting names, its colon included."""
        layer = self.origin.get(key) or Layer(source="", values={}, is_flags=True)
        return layer.where((key,)).rstrip(":") + ":"


def load_config(
    settings: Mapping[str, Any], *, caller: str | None = None, preset_variable: str | None = None
) -> LoadedConfig:
    """Lay settings over the configuration file and the preset that they name, and validate.

    Args:
        settings: Key -> value as given, ``config`` (a path) and ``preset`` (a name) among them.
        caller: What errors call the settings' place, e.g. ``run()``; None for the command line's flags.
        preset_variable: Preset named by the environment; a flag or the file wins over it.

    Raises:
        ConfigError: With one line for every error there is.
    """
    given = Layer(source=caller or "", values=dict(settings), is_flags=caller is None)
    path = given.values.get("config")
    file = Layer(source=str(path), values=read_yaml(config_path(str(path))) if path is not None else {})
    layers = [file, given]
    named = [
        (layer.values["preset"], layer.where(("preset",)).rstrip(":"))
        for layer in layers
        if "preset" in layer.values
    ]
    if not named and preset_variable:
        named = [(preset_variable, "LONGBENCH_RUN_PRESET")]
    if named:
        name, where = named[-1]
        layers.insert(0, Layer(source=f"preset {name}", values=preset(str(name), where=where)))
    own = {"preset", "config"}
    return _validated(
        [
            Layer(
                source=layer.source,
                values={
                    k: v for k, v in layer.values.items() if k not in (own if layer is given else {"preset"})
                },
                is_flags=layer.is_flags,
            )
            for layer in layers
        ]
    )


def _validated(layers: Sequence[Layer]) -> LoadedConfig:
    values, origin, errors = merge(layers, known=RunConfig.model_fields)
    config = None
    try:
        # JSON mode is strict about scalars and still lets a list become a tuple.
        config = RunConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        errors += [_line(details, origin) for details in error.errors(include_url=False)]
    errors += [
        line
        for key in ("methods", "tasks")
        if key in values
        for line in _bad_names(key, values[key], origin[key])
    ]
    if config is not None:
        errors += _doubled_labels(config, origin)
        errors += conflicts(config, lambda key: origin[key].where((key,)))
    if errors or config is None:
        raise ConfigError("\n".join(dict.fromkeys(errors)))
    flags = frozenset(key for key, layer in origin.items() if layer.is_flags)
    return LoadedConfig(config=config.with_model_defaults(winning=flags), origin=origin)


def _bad_names(key: str, value: object, layer: Layer) -> list[str]:
    """Say what is wrong with the texts of methods and tasks, which pydantic takes for any text."""
    from longbench_run.harness.task_texts import task_of

    try:
        entries = entries_of(value)
    except PydanticCustomError:
        return []
    errors = []
    for number, entry in enumerate(entries):
        is_mapping = isinstance(entry, Mapping)
        text = entry.get("name") if isinstance(entry, Mapping) else entry
        if not isinstance(text, str) or not text:
            continue
        where = layer.where((key, number, "name") if is_mapping else (key, number)).rstrip(":")
        more = entry.get("parameters") if isinstance(entry, Mapping) else None
        try:
            if key == "methods":
                parse_method(text, where=where)
            else:
                task_of(text, more if isinstance(more, Mapping) else {}, where=where)
        except (LongbenchError, TaskError) as error:
            errors.append(str(error))
    return errors


def _doubled_labels(config: RunConfig, origin: Mapping[str, Layer]) -> list[str]:
    """Say which labels stand twice: rows and figures could not be told apart."""
    errors = []
    for key, entries in (("models", config.models), ("methods", config.methods)):
        labels = [entry.label or entry.name for entry in entries]
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            where = origin[key].where((key,)).rstrip(":") + ":"
            remedy = "Drop one, or give each its own label in a configuration file."
            errors.append(
                f"{where} label must be given once, got {label!r} {labels.count(label)} times. {remedy}"
            )
    return errors


_RULES = {
    "int_type": ("a whole number", "Write it in digits."),
    "int_from_float": ("a whole number", "Write it in digits."),
    "float_type": ("a number", "Write it in digits."),
    "string_type": ("text", "Put it in quotes."),
    "bool_type": ("true or false", "Write true or false."),
    "tuple_type": ("a list", "Write [a, b]."),
    "mapping_type": ("a mapping", "Write key: value."),
    "dict_type": ("a mapping", "Write key: value."),
    "string_too_short": ("text that is not empty", "Leave the key out for its default."),
    "string_too_long": ("text of at most 100 characters", "Choose a shorter name."),
    "missing": ("given", "Name what the entry is."),
}
_PATTERNS = {
    "device": ("auto, cpu, cuda or cuda:N", "Write cpu, for instance."),
    "label": ("printable text without line breaks", "Choose another name."),
}


def _line(details: Mapping[str, Any], origin: Mapping[str, Layer]) -> str:
    """Say one of pydantic's errors in this program's words."""
    location, kind, context = details["loc"], details["type"], details.get("ctx", {})
    layer = origin[str(location[0])]
    if kind == "extra_forbidden":
        known = _ENTRIES[str(location[0])].model_fields
        parent = layer.where(location[:-1]).rstrip(":")
        return str(
            unknown_name("key", str(location[-1]), known, where=parent, see="`longbench-run run --help`")
        )
    where, name = layer.where(location), str(location[-1])
    if kind == "rule":
        rule, remedy = context["rule"], context["remedy"]
    elif kind == "literal_error":
        rule = "one of " + context["expected"].replace("'", "").replace(" or ", ", ")
        remedy = "Choose one of them."
    elif kind == "greater_than_equal":
        rule, remedy = f"at least {context['ge']}", "Give a larger number."
    elif kind == "string_pattern_mismatch" and name in _PATTERNS:
        rule, remedy = _PATTERNS[name]
    else:
        otherwise = (details["msg"].removeprefix("Input should be "), "See `longbench-run run --help`.")
        rule, remedy = _RULES.get(kind, otherwise)
    value = "nothing" if kind == "missing" else context.get("got", repr(details["input"]))
    return f"{where} must be {rule}, got {value if len(value) <= 80 else value[:77] + '...'}. {remedy}"
