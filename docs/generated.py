"""What pages hold that the code knows better: tables of fields, protocols and recipes, filled in when the site is built."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from longbench_run.harness.cli_list import listing
from longbench_run.recipes import config_path, description, recipe_names
from longbench_run.results import records
from longbench_run.results.columns import COLUMNS, OF_SAMPLE

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")


def fields_of(name: str) -> str:
    """Return the table of a stored row's own fields: type, and meaning as its docstring has it.

    Args:
        name: Class of `longbench_run.results.records`.
    """
    (body,) = [
        node.body
        for node in ast.parse(inspect.getsource(records)).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    rows = []
    for place, node in enumerate(body):
        if not isinstance(node, ast.AnnAssign):
            continue
        field = ast.unparse(node.target)
        rows.append((f"`{field}`", f"`{ast.unparse(node.annotation)}`", _meaning(field, body[place + 1 :])))
    return _table(("field", "type", "meaning"), rows)


def _meaning(field: str, after: Sequence[ast.stmt]) -> str:
    """Return the docstring below a field; where it has none, the text of the column of that name."""
    if after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant):
        return " ".join(str(after[0].value.value).split()).replace("``", "`")
    return COLUMNS[field] if field in OF_SAMPLE else ""


def columns() -> str:
    """Return the table of the columns of `load`."""
    return _table(("column", "meaning"), [(f"`{name}`", text) for name, text in COLUMNS.items()])


def protocols() -> str:
    """Return what `longbench-run list protocols --verbose` prints."""
    return f"```text\n{listing('protocols', verbose=True)}```"


def recipes() -> str:
    """Return a section for every recipe: what its comment says, and the file."""
    return "\n\n".join("\n\n".join(_recipe(name)) for name in recipe_names())


def _recipe(name: str) -> Iterator[str]:
    title = name.removeprefix("recipes/").removesuffix(".yaml")
    settings = [
        line
        for line in config_path(name).read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    yield f"## {title}"
    yield from description(name)
    yield "```yaml\n" + "\n".join(settings) + "\n```"


def notebook() -> str:
    """Return the notebook's cells: its texts, and its code in blocks."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    blocks = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    return "\n\n".join(blocks).removeprefix("# A run in pandas\n\n")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


GENERATED: Mapping[str, Callable[[], str]] = {
    "protocols": protocols,
    "recipes": recipes,
    "columns": columns,
    "notebook": notebook,
    **{
        name: partial(fields_of, name)
        for name in (
            "CellPart",
            "SamplePart",
            "CellIdentity",
            "ModelIdentity",
            "MethodIdentity",
            "TaskIdentity",
            "Failure",
            "Bucket",
            "RunHeader",
            "ModelSummary",
            "TaskSummary",
            "MetricInfo",
            "TuningSummary",
        )
    },
}
"""Marker of a page, as in ``<!-- generated: recipes -->`` -> what stands there."""
