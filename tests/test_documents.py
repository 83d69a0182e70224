"""The pages of docs/: what they tell a reader to type works, and the site is built of them without a warning.

Everything runs in this process: a run of a page is planned, not computed, and what reads a run reads the committed
baseline in its place. tests/test_readme.py computes the runs of its pages.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from longbench_run.harness.cli import main
from longbench_run.harness.methods.self_extend import SelfExtend

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# Tests of their own run these pages.
ELSEWHERE = {"tasks.md", "extending.md", "lm-eval.md", "executors.md", "tune.md", "tune-llama-2.md"}
PAGES = sorted(page.name for page in DOCS.glob("*.md") if page.name not in ELSEWHERE)
FENCE = re.compile(r"^```(?P<language>bash|python)\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def examples(language: str) -> list[tuple[str, str]]:
    return [
        (page, fence["text"])
        for page in PAGES
        for fence in FENCE.finditer((DOCS / page).read_text())
        if fence["language"] == language
    ]


COMMANDS = [
    (page, shlex.split(line))
    for page, text in examples("bash")
    for line in text.replace("\\\n", " ").splitlines()
]
RUNS = [(page, words) for page, words in COMMANDS if words[1].startswith("-")]
OTHERS = [(page, words) for page, words in COMMANDS if not words[1].startswith("-")]
README = (ROOT / "README.md").read_text()  # tests/test_readme.py runs what stands there too
METHODS, TASK = ["none", "yarn"], "perplexity"
"""What is enough of the baseline: a report of all of it takes its time."""
shown = {"ids": lambda value: value if isinstance(value, str) else " ".join(value)}


def is_kept(record: dict) -> bool:
    return record["method_label"] in METHODS and record["cell"]["task"]["name"] == TASK


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a folder in which every run that a page names is there: a part of the committed baseline."""
    folder = tmp_path_factory.mktemp("documents")
    baseline = ROOT / "results" / "baselines" / "smoke"
    lines = (baseline / "records.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if is_kept(json.loads(line)))
    header = json.loads((baseline / "run.json").read_text())
    header |= {"methods": METHODS, "tasks": [task for task in header["tasks"] if task["name"] == TASK]}
    text = "".join((DOCS / page).read_text() for page in PAGES) + (DOCS / "notebook.ipynb").read_text()
    for name in sorted(set(re.findall(r"runs/[\w-]+", text))):
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_text(json.dumps(header))
        (folder / name / "records.jsonl").write_text(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def docs_modules():
    """Make the scripts in docs/ importable, as mkdocs does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield
    for name in ("generated", "pictures"):
        sys.modules.pop(name, None)


def test_every_command_is_one_of_this_program():
    assert {words[0] for _, words in COMMANDS} == {"longbench-run"}
    assert len(RUNS) > 10
    assert {words[1] for _, words in OTHERS} >= {"list", "report", "show", "compare"}


@pytest.mark.parametrize(("page", "words"), RUNS, **shown)
def test_a_run_of_a_page_can_be_planned(page, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGBENCH_RUN_PRESET", "smoke")

    assert main([*words[1:], *(["--dry-run"] if "--dry-run" not in words else [])]) == 0, (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("page", "words"), OTHERS, **shown)
def test_a_command_of_a_page_does_what_it_says(page, words, workspace, capsys):
    if " ".join(words) in README:
        pytest.skip("tests/test_readme.py runs it")
    assert main(words[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("page", "code"), examples("python"), ids=lambda value: value.splitlines()[0])
def test_a_python_example_of_a_page_runs(page, code, workspace):
    exec(compile(code, page, "exec"), {})  # noqa: S102


def test_the_notebook_runs_and_is_kept_without_outputs(workspace):
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    names: dict = {}
    for cell in code:
        exec(compile("".join(cell["source"]), "notebook.ipynb", "exec"), names)  # noqa: S102

    assert len(names["samples"]) == 40
    assert len(names["plot"].containers) == 2
    assert names["differences"].notna().all(axis=None)
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory, docs_modules):
    """Return the folder of the site, built as `make docs` does."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
    assert config.strict
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build(config)  # a warning is an error
    finally:
        config.plugins.on_shutdown()
    return folder


@pytest.mark.filterwarnings("ignore")  # of libraries that the site alone uses
def test_the_site_is_built_without_a_warning_and_every_page_can_be_reached(site):
    nav = set(re.findall(r"[\w-]+[.]md", str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])))
    pages = {page.name for page in DOCS.glob("*.md")}

    assert nav == pages
    assert {page.with_suffix(".html").name for page in DOCS.glob("*.md")} <= {p.name for p in site.iterdir()}
    assert not list(site.glob("*.py"))
    drawn = re.findall(r"pictures/[\w-]+[.]svg", (DOCS / "concepts.md").read_text())
    assert len(drawn) == 4
    assert all((site / name).read_text().count("<svg ") == 1 for name in drawn)


def test_no_link_leaves_the_site_for_a_file_of_the_repository(site):
    pages = {page.name: page.read_text() for page in site.glob("*.html")}

    assert [name for name, text in pages.items() if 'href="../' in text] == []
    assert "benchmarks/results/compare_coverage.md" in pages["compare.html"]


def test_what_is_generated_stands_in_its_place(site):
    pages = {page.name: page.read_text() for page in site.glob("*.html")}

    assert [name for name, text in pages.items() if "generated: " in text] == []
    assert "<code>applied_hash</code>" in pages["results-format.html"]
    assert "litm-v1-query-aware" in pages["protocols.html"]
    assert 'id="entropy-abf"' in pages["recipes.html"]
    assert "longbench_run.harness.methods.method.Method.applied_to" in pages["api.html"]
    assert "differences" in pages["notebook.html"]


def test_every_field_of_the_format_and_every_column_has_a_meaning(docs_modules):
    from generated import GENERATED

    rows = [line for name, make in GENERATED.items() if name[0].isupper() for line in make().splitlines()]

    assert len(rows) > 60
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


def test_pictures_are_drawn_from_the_methods_that_run(docs_modules, monkeypatch):
    from pictures import mask, position_map

    before = position_map()
    bands = SelfExtend.bands
    monkeypatch.setattr(SelfExtend, "bands", lambda self: bands(self)[:1])

    assert position_map() != before
    assert mask() == mask()  # what is not changed is drawn to the same bytes


@pytest.mark.parametrize("page", PAGES)
def test_links_into_the_tree_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (DOCS / page).read_text())

    assert [t for t in targets if not (DOCS / t).exists() and not t.startswith("pictures/")] == []
