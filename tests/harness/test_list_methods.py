"""What methods say of themselves: complete, the same in the terminal and in docs/methods.md."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, get_args

import pytest

from longbench_run.harness.cli import main
from longbench_run.harness.methods import Component, component_class, component_classes
from longbench_run.harness.methods.base import Tuning
from longbench_run.harness.methods.described import AXES, axis_texts, cache_note, parameters
from longbench_run.harness.methods.table import main as write_table
from longbench_run.harness.methods.table import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
COMPONENTS = list(component_classes())


def cls(name: str) -> type[Component]:
    return component_class(name, where="test")


def overridden(component: type[Component]) -> set[str]:
    """Return the names of the axes that a class changes by a member of its own, read without `described`."""
    members = {
        "frequencies": "frequencies",
        "logit_scale": "logit scale",
        "bands": "position map",
        "mask": "mask",
    }
    return {
        axis for member, axis in members.items() if any(member in c.__dict__ for c in component.__mro__[:-2])
    }


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_method_says_what_it_is(component):
    assert component.summary
    assert component.source
    assert component.tuning in get_args(Tuning)
    assert component.differs == "" or component.differs.endswith(".")
    assert all(axis_texts(component).values())
    assert overridden(component) <= set(axis_texts(component))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_every_parameter_has_a_text_that_names_its_default(component):
    described = parameters(component)

    assert {p.name for p in described} == {field.name for field in fields(component)}
    assert [p.name for p in described][-1] == "original_context_length"
    assert [p.name for p in described if not p.text.endswith(".")] == []
    # A choice between variants names the source of each of them instead.
    assert [
        p.name for p in described if "default" not in p.text and not p.text.startswith(("`", "Whose"))
    ] == []


def test_only_the_unmodified_model_changes_no_axis():
    assert [component.name for component in COMPONENTS if not axis_texts(component)] == ["none"]


def test_an_axis_that_one_member_changes_together_with_another_has_its_own_text():
    assert axis_texts(cls("lm_infinite")) == {
        "position map": "near keys as they are; sinks at 0, their queries at W",
        "mask": "near keys and sinks",
    }


def test_an_inherited_axis_is_told_as_well():
    assert axis_texts(cls("yarn"))["frequencies"] == axis_texts(cls("ntk_by_parts"))["frequencies"]
    assert list(axis_texts(cls("yarn"))) == ["frequencies", "logit scale"]


def test_frequencies_that_follow_the_length_are_told():
    assert axis_texts(cls("dynamic_ntk")) == {
        "frequencies": "the frequencies of base b (a n / L - (a - 1))^(d/(d-2)) at n tokens, unchanged up to L"
    }


def test_a_docstring_that_does_not_name_its_axis_is_an_error():
    @dataclass(frozen=True, kw_only=True)
    class Nameless(Component):
        name: ClassVar[str] = "nameless"

        def bands(self):
            """Some bands."""

    with pytest.raises(
        ValueError, match=r"Nameless\.bands: the docstring must begin with \"Axis N: \" and what"
    ):
        axis_texts(Nameless)


def test_a_default_that_a_class_computes_is_told_by_that_class():
    texts = {name: {p.name: p.text for p in parameters(cls(name))} for name in ("self_extend", "rerope")}

    assert texts["self_extend"]["window"].startswith(
        "W, the distances below it stay exact; tokens, from 1 to L; default: min(1024, L / 4): datamllab/LongLM@cdbbb06"
    )
    assert "default: L / 4, the lower end of what its author finds best" in texts["rerope"]["window"]


def test_the_cache_is_exact_by_default_and_what_turns_that_around_is_found_by_trying():
    notes = {component.name: cache_note(component) for component in COMPONENTS}

    assert all(note.exact for note in notes.values())
    assert {name: note.verdict for name, note in notes.items() if note.otherwise} == {
        "dynamic_ntk": "exact; not with variant=transformers",
        "dca": "exact; not with variant=released, mscale=true",
        "string": "exact; not with variant=released",
    }
    assert notes["string"].reasons == ("The released prefill counts one key twice, its decode does not.",)


def test_verbose_tells_a_method_axis_by_axis(capsys):
    assert main(["list", "methods", "--verbose"]) == 0

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 110
    dca = " ".join(shown[shown.index("\ndca ") : shown.index("\nstring ")].split())
    assert "position map: keys at j mod s; queries at p mod s, min(p mod s + s, c - 1), c - 1 for own," in dca
    assert "logit scale: (0.05 ln(n / L) + 1)^2 for n tokens beyond L, where mscale is on" in dca
    assert "fine-tuning: none needed cache: exact; not with variant=released, mscale=true." in dca
    assert "source: An et al. 2024, arXiv:2402.17463; HKUNLP/ChunkLlama@2add4d7" in dca
    assert "paper and code: The default is the paper's map. The released code (variant=released) has" in dca
    assert "parameters: variant=paper: Whose defaults the others take: `paper`, arXiv:2402.17463, or" in dca
    assert "chunk: Tokens in a chunk, s, from 1 to L; default: 3L/4; released: 5L/8." in dca


def test_the_plain_listing_is_one_line_for_each_method(capsys):
    assert main(["list", "methods"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[c.name, c.summary] for c in COMPONENTS]


@pytest.mark.parametrize("code", [
    "from longbench_run.harness.cli import main; main(['list', 'methods', '--verbose'])",
    "from longbench_run.harness.methods.table import main; main([])",
])  # fmt: skip
def test_describing_methods_imports_no_torch(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert {"torch", "transformers"} & set(done.stderr.split()) == set()
    assert "entropy_abf" in done.stdout


def test_the_page_is_what_the_classes_say():
    refresh = "Run: .venv/bin/python -m longbench_run.harness.methods.table docs/methods.md"

    assert PAGE.read_text(encoding="utf-8") == table(), refresh


def test_the_page_has_a_row_and_a_section_for_each_method():
    page = table()

    for component in COMPONENTS:
        assert page.count(f"\n| [`{component.name}`](#{component.name}) | ") == 1
        assert page.count(f"\n## `{component.name}`\n") == 1
    rows = [line for line in page.splitlines() if line.startswith("| [`")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {len(AXES) + 4}


def test_the_page_is_written_where_asked(tmp_path, capsys):
    assert write_table([str(tmp_path / "docs" / "page.md")]) == 0
    assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == table()
    assert capsys.readouterr().out == ""

    assert write_table([]) == 0
    assert capsys.readouterr().out == table()
