"""`longbench-run export`: a method as the config.json of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import split_list
from longbench_run.harness.lengths import Length, parse_length
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.hub import find_source
from longbench_run.harness.models.skeleton import read_config
from longbench_run.harness.models.spec import ModelSpec, complaint
from longbench_run.results.durable import replace_text

if TYPE_CHECKING:
    import argparse

    from transformers import PreTrainedConfig

_NAME = "config.json"


def export(found: argparse.Namespace) -> tuple[str, str]:
    """Write the config that a command line asks for.

    Args:
        found: The parsed command line.

    Returns:
        What to print on stdout, and what to say beside it.

    Raises:
        LongbenchError: With one line, whatever the user can mend; nothing was written then.
    """
    names = split_list(found.method, where="METHOD")
    if len(names) > 1:
        remedy = "Export each into a folder of its own."
        raise ConfigError(complaint("METHOD", "method", "a single one", repr(found.method), remedy))
    method = parse_method(names[0], where="METHOD")
    length = _length("--context-length", found.context_length, "a length", "Write 16384, 16k or 4x.")
    rule = "a number of tokens"
    window = _length("--original-context-length", found.original_context_length, rule, "Write 4096 or 4k.")
    spec = ModelSpec(
        model=found.model,
        revision=found.revision,
        original_context_length=round(window.number) if window is not None else None,
        trust_remote_code=found.trust_remote_code,
    )
    path = _target(Path(found.out), overwrite=found.overwrite)
    where = f"model {spec.model}"
    config = read_config(spec, find_source(spec.model, where=where), where=where)
    tokens = _tokens(length, spec, config)
    exported = method.export(
        config,
        original_context_length=spec.original_context_length,
        context_length=tokens,
        trust_remote_code=spec.trust_remote_code,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, exported.to_json_string(), temporary=path.with_name(f".{_NAME}.new"))
    except OSError as error:
        got = f"{str(path.parent)!r} ({error.strerror})"
        raise ConfigError(
            complaint("OUT", "folder", "one that can be written", got, "Name another.")
        ) from error
    text = exported.get_text_config()
    promised = getattr(text, "max_position_embeddings", None)
    decided: dict[str, Any] = {
        "max_position_embeddings": promised,
        "rope_parameters": getattr(text, "rope_parameters", None),
    }
    note = ""
    if tokens not in (None, promised):
        reason = (
            "this is the model as released"
            if method.as_released
            else "transformers takes the window of pretraining from it, and computes longer inputs all the same"
        )
        note = f"max_position_embeddings is {promised}, not {tokens}: {reason}.\n"
    return f"{path}\n{json.dumps(decided, indent=2)}\n", note


def _length(flag: str, text: str | None, rule: str, remedy: str) -> Length | None:
    """Return the length that a flag names; one in windows only where the rule is any length."""
    if text is None:
        return None
    length = parse_length(text)
    if length is None or (length.in_windows and rule != "a length"):
        raise ConfigError(f"{flag}: must be {rule}, got {text!r}. {remedy}")
    return length


def _target(folder: Path, *, overwrite: bool) -> Path:
    path = folder / _NAME
    if folder.exists() and not folder.is_dir():
        raise ConfigError(complaint("OUT", "path", "a folder", repr(str(folder)), "Name another."))
    if not overwrite and path.exists() and path.stat().st_size:
        remedy = "Name another folder, or pass --overwrite."
        raise ConfigError(complaint("OUT", "folder", "one without config.json", repr(str(folder)), remedy))
    return path


def _tokens(length: Length | None, spec: ModelSpec, config: PreTrainedConfig) -> int | None:
    if length is None or not length.in_windows:
        return None if length is None else length.tokens(1)
    window = spec.original_context_length
    if window is None:
        from longbench_run.harness.attention import original_window

        found = original_window(config)
        if found is None:
            got, remedy = repr(str(length)), "Write it in tokens, or pass --original-context-length."
            rule = "a number of tokens where the config holds no window"
            raise ConfigError(complaint(f"model {spec.model}", "context length", rule, got, remedy))
        window = found[0]
    return length.tokens(window)
