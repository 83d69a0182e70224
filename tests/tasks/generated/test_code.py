"""Generated files are Python that runs, and the next line follows from the definition."""

from __future__ import annotations

import ast
from itertools import islice
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.code import classes, functions

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)


def parameters(source: str) -> list[str]:
    (found,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return [argument.arg for argument in found.args.args if argument.arg != "self"]


@pytest.mark.parametrize("make", [functions, classes])
@given(seed=SEEDS, index=INDICES)
def test_the_call_hands_over_what_the_definition_takes_in_its_order(make, seed, index):
    for each in islice(make(seed, index), 5):
        names = parameters(each.source)
        scope: dict[str, object] = {}
        exec(f"{each.source}\n\n{each.caller}\n{each.call}", scope)  # noqa: S102
        (called,) = (value for name, value in scope.items() if name.startswith("call_"))
        values = SimpleNamespace(**{name: f"<{name}>" for name in names})
        offices = [value() for value in scope.values() if isinstance(value, type)]

        assert called(*offices, values) == "".join(f"<{name}>" for name in names)
        assert not set(names) & set(each.caller.replace("(", " ").replace(")", " ").split())


@given(SEEDS, INDICES)
def test_classes_stand_in_files_of_one_package_from_which_they_are_imported(seed, index):
    drawn = list(islice(classes(seed, index), 10))

    assert len({each.path for each in drawn}) == 10
    assert len({each.path.partition("/")[0] for each in drawn}) == 1
    for each in drawn:
        (imported,) = ast.parse(each.imported).body
        assert f"{imported.module.replace('.', '/')}.py" == each.path
        assert f"class {imported.names[0].name}:" in each.source
