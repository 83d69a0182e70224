"""Writes docs/methods.md: python -m longbench_run.harness.methods.table docs/methods.md."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path

from longbench_run.harness.methods.base import Component
from longbench_run.harness.methods.described import AXES, axis_texts, cache_note, parameters
from longbench_run.harness.methods.registry import component_classes

_COMMAND = "python -m longbench_run.harness.methods.table docs/methods.md"

_INTRODUCTION = f"""\
# Methods

<!-- Generated: edit the classes in harness/methods, then run `{_COMMAND}`. -->

What each extension method does, with its parameters, its source, and where paper and released code differ;
`longbench-run list methods --verbose` prints the same. For a query at position p and a key at position j <= p:

```text
logit(p, j) = tau(layer, p) / sqrt(d) * <R(rho_q(p)) q, R(rho_k(j)) k>     where a mask allows it
```

A method changes some of four axes: the inverse frequencies theta_i of the rotation R (axis 1), the logit scale tau (2),
the position map rho (3) and the mask (4); "-" means that an axis stays as it is. L is the window of pretraining, the target
the context length that a method is configured for, s the factor between them, b the RoPE base, d the number of rotated
dimensions per head, n the tokens seen.

- **Fine-tuning**: "none needed" is made for models as they are; "optional" was published with fine-tuning and without;
  "meant for fine-tuning" was published with it, and is applied here to models as they are unless tuned weights are given;
  "trained with the model" is a scaling that models ship with.
- **Cache**: "exact" means that a prompt computed at once and then token by token gives what one pass over all tokens
  gives, with ordinary rotated keys in the cache.
- **Default**: "follows" means that a parameter left out is filled in from the model and the target, as its text says.
"""


def table() -> str:
    """Return the page, in Markdown."""
    components = list(component_classes())
    overview = _rows(
        ["method", *AXES, "fine-tuning", "cache"],
        (
            [
                f"[`{component.name}`](#{component.name})",
                *(axis_texts(component).get(axis, "-") for axis in AXES),
                component.tuning,
                cache_note(component).verdict,
            ]
            for component in components
        ),
    )
    return "\n".join([_INTRODUCTION, *overview, *(line for c in components for line in _section(c))]) + "\n"


def _section(component: type[Component]) -> Iterator[str]:
    note = cache_note(component)
    yield from (
        "",
        f"## `{component.name}`",
        "",
        f"{component.summary[0].upper()}{component.summary[1:]}.",
        "",
    )
    for axis, text in axis_texts(component).items():
        yield f"- **{axis.capitalize()}**: {text}"
    yield f"- **Fine-tuning**: {component.tuning}"
    yield f"- **Cache**: {' '.join([f'{note.verdict}.', *note.reasons])}"
    yield f"- **Source**: {component.source}"
    if component.differs:
        yield f"- **Paper and code**: {component.differs}"
    yield ""
    yield from _rows(
        ["parameter", "default", "meaning"],
        (
            [f"`{p.name}`", f"`{p.default}`" if p.default else "follows", p.text]
            for p in parameters(component)
        ),
    )


def _rows(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = ArgumentParser(prog="python -m longbench_run.harness.methods.table", description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, help="file to write; left out: standard output")
    path: Path | None = parser.parse_args(arguments).path
    if path is None:
        sys.stdout.write(table())
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
