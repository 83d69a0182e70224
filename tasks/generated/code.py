"""Python files whose next line follows from a definition that stands somewhere before it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from longbench_run.tasks.generated import code_wordings as wordings
from longbench_run.tasks.generated.names import Names, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition, and a function that calls it: its last line tells every parameter that the definition takes."""

    path: str
    """File of the definition, where each has its own."""
    imported: str
    """Line that imports the definition from there."""
    source: str
    caller: str
    """The calling function up to its last line."""
    call: str
    """Its last line."""


def functions(seed: int, index: int, *, split: Split = "tasks") -> Iterator[Definition]:
    """Yield functions of one file, without end.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    templates = wordings.FUNCTION, wordings.FUNCTION_CALLER, wordings.FUNCTION_CALL
    return _definitions(seed, f"functions:{index}", split, templates)


def classes(seed: int, index: int, *, split: Split = "tasks") -> Iterator[Definition]:
    """Yield classes, each in a file of its own in one package, without end.

    Args:
        seed: Seed of the collection.
        index: Number of the sample, from 0.
        split: Split of everything invented.
    """
    templates = wordings.CLASS, wordings.CLASS_CALLER, wordings.CLASS_CALL
    return _definitions(seed, f"classes:{index}", split, templates)


def _definitions(seed: int, what: str, split: Split, templates: tuple[str, str, str]) -> Iterator[Definition]:
    draw = random.Random(f"{seed}:{what}:{split}")
    names = Names(draw, split)
    package = names.word()
    while True:
        parameters = [names.word() for _ in range(draw.randint(2, 4))]
        module = names.word()
        filled: Mapping[str, str] = {
            "package": package,
            "module": module,
            "owner": module.capitalize(),
            "function": f"{names.word()}_{names.word()}",
            "result": names.word(),
            "parameters": ", ".join(parameters),
            "terms": " + ".join(parameters),
            "arguments": ", ".join(wordings.ARGUMENT.format(parameter=each) for each in parameters),
        }
        source, caller, call = (template.format_map(filled) for template in templates)
        yield Definition(
            path=wordings.PATH.format_map(filled),
            imported=wordings.IMPORT.format_map(filled),
            source=source,
            caller=caller,
            call=call,
        )
