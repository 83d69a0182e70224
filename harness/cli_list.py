"""What `longbench-run list` prints; loads no model library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from longbench_run.harness import reference_model
from longbench_run.harness.methods import component_class
from longbench_run.harness.methods.described import axis_texts, cache_note, parameters
from longbench_run.harness.methods.registry import METHODS
from longbench_run.harness.models.spec import REFERENCE
from longbench_run.recipes import description, recipe_names
from longbench_run.tasks.registry import TASKS, load_task

if TYPE_CHECKING:
    from longbench_run.harness.methods import Component
    from longbench_run.tasks.plugins import Names

_WIDTH = 110


def listing(kind: str, *, verbose: bool) -> str:
    """Return the listing of a kind of name.

    Args:
        kind: ``methods``, ``tasks``, ``protocols``, ``models`` or ``recipes``.
        verbose: Whether with sources and parameters.
    """
    of_kind = {
        "methods": _methods,
        "tasks": _tasks,
        "protocols": _protocols,
        "models": _models,
        "recipes": _recipes,
    }
    entries = of_kind[kind](verbose)
    return "\n".join(_aligned(list(entries))) + "\n"


Entry = tuple[str, str, Sequence[str]]
"""Name, one line about it, and further lines."""


def _listed(names: Names, of_own: Callable[[str], Entry]) -> Iterator[Entry]:
    """Yield the entry of every name; of a plugin's, which is not imported for it, whose it is."""
    for name in names.all():
        note = names.note(name)
        yield of_own(name) if note is None else (name, note, [])


def _methods(verbose: bool) -> Iterator[Entry]:
    def of_own(name: str) -> Entry:
        component = component_class(name, where="list")
        return name, component.summary, [*_details(component)] if verbose else []

    return _listed(METHODS, of_own)


def _details(component: type[Component]) -> Iterator[str]:
    note = cache_note(component)
    for axis, text in axis_texts(component).items():
        yield f"{axis}: {text}"
    yield f"fine-tuning: {component.tuning}"
    yield f"cache: {' '.join([f'{note.verdict}.', *note.reasons])}"
    yield f"source: {component.source}"
    if component.differs:
        yield f"paper and code: {component.differs}"
    yield "parameters:"
    for parameter in parameters(component):
        written = parameter.name if parameter.default is None else f"{parameter.name}={parameter.default}"
        yield f"  {written}: {parameter.text}"


def _tasks(verbose: bool) -> Iterator[Entry]:
    def of_own(name: str) -> Entry:
        info = load_task(name).info
        more = []
        if verbose:
            metrics = [
                f"{m.name} ({'higher' if m.higher_is_better else 'lower'} is better)" for m in info.metrics
            ]
            more = [
                f"version {info.version}; metrics: {', '.join(metrics)}",
                f"{info.default_count} samples by default",
                f"source: {info.source}",
                f"licence: {info.licence}",
                *(f"{key}: {text}" for key, text in info.parameters.items()),
            ]
        return name, info.summary, more

    return _listed(TASKS, of_own)


def _protocols(verbose: bool) -> Iterator[Entry]:
    def of_own(name: str) -> Entry:
        info = load_task(name).info
        more = (
            [f"protocol: {info.parameters['protocol']}"] if verbose and "protocol" in info.parameters else []
        )
        return name, ", ".join(info.protocols), more

    return _listed(TASKS, of_own)


def _models(verbose: bool) -> Iterator[Entry]:
    more = ["any causal language model with RoPE: a hub id such as meta-llama/Llama-2-7b-hf, or a folder"]
    config = json.loads((reference_model.path() / "config.json").read_text(encoding="utf-8"))
    window = config["max_position_embeddings"]
    summary = f"the model that the package carries, the default; window of {window} tokens"
    yield REFERENCE, summary, more if verbose else []


def _recipes(verbose: bool) -> Iterator[Entry]:
    for name in recipe_names():
        summary, *more = description(name)
        yield name, summary, more if verbose else []


def _aligned(entries: Sequence[Entry]) -> Iterator[str]:
    width = max(len(name) for name, _, _ in entries)
    indent = " " * (width + 2)
    for name, summary, more in entries:
        yield f"{name.ljust(width)}  {summary}"
        for line in more:
            text = line.lstrip()
            begin = indent + line.removesuffix(text)
            yield fill(
                text,
                width=_WIDTH,
                initial_indent=begin,
                subsequent_indent=begin + "  ",
                break_on_hyphens=False,  # a repository's name stays whole
            )
