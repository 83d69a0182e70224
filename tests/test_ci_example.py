"""The workflow that users copy: its own commands measure, compare and pass, and it shows what it found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longbench_run.harness.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
STEPS = yaml.safe_load((ROOT / "docs" / "ci-example.yml").read_text())["jobs"]["compare"]["steps"]
COMMANDS = {step["name"]: step["run"] for step in STEPS if "run" in step}


EVERY_METHOD = "pi,yarn,abf,entropy_abf,self_extend"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "methods", ["yarn,self_extend", pytest.param(EVERY_METHOD, marks=pytest.mark.exhaustive)]
)
def test_the_workflow_measures_and_compares(methods, tmp_path):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    baseline = tmp_path / "results" / "baselines" / "smoke"
    shutil.copytree(ROOT / "results" / "baselines" / "smoke", baseline)
    compared = ["none", *methods.split(",")]
    keep(baseline, compared)
    measure = COMMANDS["Measure"].replace(EVERY_METHOD, methods)
    assert f" {methods} " in measure

    for command in (measure, COMMANDS["Compare"], COMMANDS["Show"]):
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    summary = (tmp_path / "summary.md").read_text()
    assert "regressed" not in summary.splitlines()[0]
    assert (tmp_path / "compare.xml").read_text().count("<testcase ") == summary.count("\n| ") - 1
    # Perplexity at two lengths; ten keys cannot decide a hundredth.
    assert f" {2 * len(compared)} same" in summary.splitlines()[0]

    records = tmp_path / "runs" / "candidate" / "records.jsonl"
    records.write_text("".join(map(worsened, records.read_text().splitlines())))
    failed = subprocess.run(
        ["bash", "-e", "-c", COMMANDS["Compare"]],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
    )
    assert failed.returncode == 4


def keep(run, methods):
    """Leave nothing in a stored run but some of its methods."""
    header, records = run / "run.json", run / "records.jsonl"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"methods": methods}))
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(line for line in lines if json.loads(line)["method_label"] in methods))


def worsened(line):
    """Return a record whose text is less probable, by about a tenth of a nat per token."""
    record = json.loads(line)
    if "nll" in record["scores"]:
        record["scores"]["nll"] += 0.1 + 0.001 * record["index"]
    return json.dumps(record) + "\n"


def test_the_workflow_installs_before_it_measures_and_shows_what_failed():
    assert list(COMMANDS) == ["Install", "Measure", "Compare", "Show"]
    assert all(step.get("if") == "always()" for step in STEPS[-2:])


def test_the_baseline_is_there_and_holds_what_the_workflow_measures():
    from longbench_run.results.store import read_header

    baseline = ROOT / "results" / "baselines" / "smoke"
    words = read_header(baseline).command

    assert " ".join(words).partition(" --output")[0] == COMMANDS["Measure"].partition(" --output")[0]


def test_its_preset_is_one():
    assert "smoke" in PRESETS
    assert "--preset smoke" in COMMANDS["Measure"]


def test_a_baseline_is_two_files_and_nothing_else(tmp_path):
    subprocess.run(["git", "init", "--quiet"], check=True, cwd=tmp_path)
    folder = tmp_path / "smoke"
    (folder / "figures").mkdir(parents=True)
    for name in (
        "run.json",
        "records.jsonl",
        "report.md",
        "report.html",
        "lock",
        "figures/x.png",
        "replaced-1",
    ):
        (folder / name).write_text("{}")
    (tmp_path / ".gitignore").write_text((ROOT / "results" / "baselines" / ".gitignore").read_text())

    subprocess.run(["git", "add", "."], check=True, cwd=tmp_path)
    kept = subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout

    assert kept.split() == [".gitignore", "smoke/records.jsonl", "smoke/run.json"]
