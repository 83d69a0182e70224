"""The direction of dependencies, proved with planted violations, and what importing costs."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PARTS = PROJECT["tool"]["setuptools"]["package-dir"]
HEAVY = ["torch", "transformers"]

# Contract -> a file that breaks it, as somebody in a hurry would write it.
VIOLATIONS = {
    "results": ("results/planted.py", "import torch"),
    "tasks": ("tasks/planted.py", "from longbench_run.results import records"),
    "reports": ("reports/planted.py", "def draw():\n    from longbench_run.tasks import base"),
    "methods": ("harness/methods/planted.py", "from torch import nn"),
    "direction": ("harness/methods/planted.py", "from longbench_run.harness import cli"),
}

# Environment variables that a dependency sets when it is imported.
# TORCHINDUCTOR_CACHE_DIR: torch 2.13, torch/_inductor/runtime/cache_dir_utils.py, with torch._dynamo (2026-11).
# HF_XET_HIGH_PERFORMANCE: lm_eval 0.4.13, lm_eval/__init__.py, which the model inside lm-eval imports.
SET_BY_OTHERS = {"TORCHINDUCTOR_CACHE_DIR", "HF_XET_HIGH_PERFORMANCE"}

# Files of more than 400 lines, with the reason why splitting would not make them easier to read.
LONG_FILES: dict[str, str] = {}


def lint_imports(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    """Run one contract on the copy in ``tree``, which hides the installed package."""
    command = [
        BIN / "lint-imports",
        "--no-cache",
        "--no-logo",
        "--config",
        tree / "pyproject.toml",
        "--contract",
        contract,
    ]
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
    )


@pytest.fixture
def tree(tmp_path) -> Path:
    """Return a copy of the source under its import names."""
    for name, folder in PARTS.items():
        ignored = shutil.ignore_patterns("__pycache__", "weights")
        shutil.copytree(ROOT / folder, tmp_path / Path(*name.split(".")), ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_has_a_planted_violation():
    assert {c["id"] for c in PROJECT["tool"]["importlinter"]["contracts"]} == set(VIOLATIONS)


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_violation_of_the_direction_is_caught(tree, contract):
    file, code = VIOLATIONS[contract]

    before = lint_imports(tree, contract)
    (tree / "longbench_run" / file).write_text(f"{code}\n")
    after = lint_imports(tree, contract)

    assert (before.returncode, "1 kept, 0 broken" in before.stdout) == (0, True), (
        before.stdout + before.stderr
    )
    assert (after.returncode, "0 kept, 1 broken" in after.stdout) == (1, True), after.stdout + after.stderr
    assert "planted" in after.stdout


def test_the_bare_names_of_the_folders_cannot_be_imported_unseen():
    command = [str(BIN / "ruff"), "check", "--select", "TID251", "--output-format", "concise"]
    code = "import tasks\nfrom results import records\nimport harness.cli\nfrom reports import figures\n"
    run = subprocess.run(
        [*command, "--stdin-filename", "harness/planted.py", "-"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        input=code,
    )

    assert re.findall(r"TID251 `(\w+)", run.stdout) == ["tasks", "results", "harness", "reports"]


def test_no_file_is_too_long_to_read_at_a_sitting():
    long = {
        str(path.relative_to(ROOT))
        for folder in PARTS.values()
        for path in (ROOT / folder).rglob("*.py")
        if len(path.read_text().splitlines()) > 400
    }

    assert long == set(LONG_FILES)


def test_no_module_is_a_drawer_for_everything():
    drawers = [
        p
        for folder in PARTS.values()
        for p in (ROOT / folder).rglob("*.py")
        if p.stem in {"utils", "helpers", "misc"}
    ]

    assert drawers == []


def modules_of(name: str) -> list[str]:
    """Return the modules below a package, itself included, from its files."""
    part = next(p for p in PARTS if name == p or name.startswith(f"{p}."))
    folder = ROOT / PARTS[part] / Path(*name.removeprefix(part).strip(".").split("."))
    names = (path.relative_to(folder).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
    return [".".join([name, *(p for p in parts if p != "__init__")]) for parts in names]


def state_after(code: str, *, cwd: Path) -> dict:
    """Run ``code`` in a fresh interpreter and return what it left behind."""
    script = "\n".join(
        [
            "import json, os, random, sys",
            "environment, state = dict(os.environ), random.getstate()",
            code,
            "changed = sorted({name for name, _ in set(os.environ.items()) ^ set(environment.items())})",
            "left = {'modules': sorted(sys.modules), 'environment': changed, 'random': random.getstate() == state}",
            "json.dump(left, sys.stderr)",
        ]
    )
    run = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=cwd)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stderr.splitlines()[-1])


@pytest.mark.parametrize("package", PROJECT["tool"]["setuptools"]["packages"])
def test_importing_a_package_loads_nothing_heavy(package, tmp_path):
    after = state_after(f"import {package}", cwd=tmp_path)

    assert package in after["modules"]
    assert set(HEAVY) & set(after["modules"]) == set()


@pytest.mark.parametrize(
    "package",
    [
        "longbench_run.harness.methods",
        "longbench_run.tasks",
        "longbench_run.results",
        "longbench_run.reports",
    ],
)
def test_no_module_of_a_light_package_loads_anything_heavy(package, tmp_path):
    after = state_after("".join(f"import {module}\n" for module in modules_of(package)), cwd=tmp_path)

    assert set(modules_of(package)) <= set(after["modules"])
    assert set(HEAVY) & set(after["modules"]) == set()


def test_importing_has_no_effects(tmp_path):
    modules = [module for part in PARTS for module in modules_of(part) if not module.endswith("__main__")]

    after = state_after("".join(f"import {module}\n" for module in modules), cwd=tmp_path)

    assert set(after["environment"]) <= SET_BY_OTHERS
    assert after["random"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    ["--help", "run --help", "list methods", "list tasks", "list protocols", "list models", "list recipes"],
)
def test_help_and_list_load_nothing_heavy(arguments, tmp_path):
    code = (
        f"sys.argv = ['longbench-run', *{arguments.split()!r}]\n"
        "from longbench_run.harness.cli import main\n"
        "try:\n"
        "    status = main()\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "assert not status, status\n"
    )

    assert set(HEAVY) & set(state_after(code, cwd=tmp_path)["modules"]) == set()


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def test_help_takes_less_than_a_fifth_of_a_second():
    """Median of nine, interleaved with a bare interpreter.

    That one takes 0.02 s on an idle machine; where it takes longer, the machine is loaded and the bound moves
    along.
    """
    pairs = [
        (seconds([sys.executable, "-c", "pass"]), seconds([str(BIN / "longbench-run"), "--help"]))
        for _ in range(9)
    ]
    bare, helping = (statistics.median(column) for column in zip(*pairs, strict=True))

    assert helping < 0.2 * max(1, bare / 0.02), f"--help {helping:.3f} s, bare interpreter {bare:.3f} s"


def test_the_default_output_folder_is_git_ignored():
    """`results` and `reports` are code here: output goes to runs/."""
    run = subprocess.run(
        ["git", "check-ignore", "runs/any/records.jsonl"], check=False, capture_output=True, cwd=ROOT
    )

    assert run.returncode == 0
