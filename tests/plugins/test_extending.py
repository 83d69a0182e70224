"""The page for authors of plugins: its files are the package that is installed here, and its commands run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from longbench_run.harness.testing import contract_checks
from longbench_run.tasks.testing import TaskContract, checks_of

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "tests/plugins/demo"
PAGE = (ROOT / "docs/extending.md").read_text()
FILES = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)[0].splitlines()


def test_the_page_shows_every_file_of_the_package_as_it_is():
    there = {
        path.relative_to(DEMO).as_posix(): path.read_text()
        for path in DEMO.rglob("*")
        if path.suffix in {".py", ".toml"}
    }

    assert there.pop("longbench_run_demo/__init__.py") == ""
    assert there == FILES


def test_every_block_of_code_is_a_file_or_a_command():
    assert PAGE.count("```") == 2 * (len(FILES) + 1)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE)

    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
    assert "docs/extending.md" in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_runs_as_its_author_runs_it(installed, tmp_path):
    """In a folder with the page's files, where nothing of this repository's tests is seen."""
    for name in ["pyproject.toml", "tests/test_promises.py"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILES[name])
    environment = installed("demo") | {
        "LONGBENCH_RUN_PRESET": "smoke",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    assert COMMANDS[0] == "pip install ."  # done by the fixture, to a folder of its own
    shown = {}
    for command in COMMANDS[1:]:
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown[command.split()[0] + command.split()[1]] = done.stdout

    checks = [*contract_checks(), *checks_of(TaskContract)]
    assert f"{len(checks)} passed" in shown["pytesttests"]
    assert "slow_half      plugin of longbench-run-demo 0.3.0" in shown["longbench-runlist"]
    assert "slow_half+log_n" in shown["longbench-run--methods"]
    assert (tmp_path / "runs/demo/report.html").exists()


def test_the_package_builds_from_the_page_alone(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "page" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "page" / name).write_text(text)
    (tmp_path / "page/longbench_run_demo/__init__.py").touch()
    command = [
        "wheel",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "built",
        "./page",
    ]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True, cwd=tmp_path)

    (wheel,) = (tmp_path / "built").iterdir()
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    (entry_points,) = (tmp_path / "unpacked").glob("*.dist-info/entry_points.txt")
    assert re.findall(r"^\w+ = .*$", entry_points.read_text(), flags=re.MULTILINE) == [
        "slow_half = longbench_run_demo.slow_half:SlowHalf",
        "ledger = longbench_run_demo.ledger:Ledger",
    ]
