"""Every command and every Python example of the pages does what the page says.

They are read from the pages: a new one is run without a change here, but for fewer samples and, where the page names
none, shorter lengths.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from longbench_run.harness.cli import PRESET_VARIABLE, main
from longbench_run.harness.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "longbench-run"
PAGES = ["README.md", "CONTRIBUTING.md", "docs/tasks.md"]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)

# Commands that are not run here, with the reason. One that no page holds any more is an error.
NOT_RUN = {
    "make test": "is what runs this test",
    "make lint": "`make test` runs it before this test",
    "make types": "`make test` runs it before this test",
}


class Example(NamedTuple):
    """One command line, or one Python example."""

    page: str
    language: str
    text: str


def commands_of(language: str, text: str) -> list[str]:
    """Split a block into commands: continued lines joined, comments and a console's output left out."""
    lines = text.replace("\\\n", " ").splitlines()
    if language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def examples_of(page: str, content: str) -> list[Example]:
    examples = []
    for fence in FENCE.finditer(content):
        language, text = fence["language"], fence["text"]
        if language in {"bash", "console"}:
            examples += [Example(page, "bash", command) for command in commands_of(language, text)]
        elif language == "python":
            examples.append(Example(page, "python", text))
    return examples


EXAMPLES = [example for page in PAGES for example in examples_of(page, (ROOT / page).read_text())]
COMMANDS = [example for example in EXAMPLES if example.text not in NOT_RUN]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Return the folder in which all examples run in the order of the pages: later ones read earlier ones' output."""
    return tmp_path_factory.mktemp("readme")


def smaller(words: list[str]) -> list[str]:
    """Ask for no more samples than the smoke preset does: what the page says of its runs holds for any number."""
    most = PRESETS["smoke"]["samples"]
    pairs = zip(["", *words], words, strict=False)
    return [str(min(int(word), most)) if flag == "--samples" else word for flag, word in pairs]


def in_this_process(example: Example, monkeypatch) -> None:
    """Run an example as a process of its own would, without importing torch anew for each."""
    if example.language == "python":
        exec(compile(example.text, example.page, "exec"), {"__name__": "__main__"})  # noqa: S102  # a page of ours
    else:
        words = smaller(shlex.split(example.text))
        assert words[0] == COMMAND
        monkeypatch.setattr(sys, "argv", words)
        assert main() == 0


def in_a_shell(example: Example, workspace: Path) -> None:
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("`make` installs into .venv, and these tests run elsewhere: `make test` runs this one")
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    run = subprocess.run(
        ["bash", "-c", f"{example.text} METHODS=yarn OUTPUT={workspace}/runs/make"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | {"PRESET": "smoke"},
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", COMMANDS, ids=lambda e: f"{e.page}: {e.text.splitlines()[0]}")
def test_an_example_runs(example, workspace, monkeypatch):
    """`make run` as its own process; what the others name is the command, see test_packaging.py."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv(PRESET_VARIABLE, "smoke")
    if example.text.startswith("make "):
        in_a_shell(example, workspace)
    else:
        in_this_process(example, monkeypatch)


def test_the_two_commands_of_a_newcomer_are_there():
    texts = [example.text for example in EXAMPLES if example.page == "README.md"]

    assert "make run" in texts
    assert "make test" in texts


def test_what_is_not_run_is_still_on_a_page():
    assert set(NOT_RUN) <= {example.text for example in EXAMPLES}


def test_blocks_are_read_as_a_shell_reads_them():
    page = (
        "```bash\n# why\nmake run \\\n  PRESET=smoke\n\nmake bench\n```\n"
        "```console\n$ ls\nfile\n```\n"
        "```python\na = 1\nb = 2\n```\n"
        "```text\nno\n```\n"
    )

    assert [(e.language, e.text) for e in examples_of("page", page)] == [
        ("bash", "make run PRESET=smoke"),
        ("bash", "make bench"),
        ("bash", "ls"),
        ("python", "a = 1\nb = 2\n"),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_links_into_the_tree_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())

    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
