"""`longbench-run compare` on real runs of a small model: verdicts, exit codes, files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from longbench_run.harness import run
from longbench_run.harness.cli import main
from longbench_run.harness.methods import self_extend
from longbench_run.harness.methods.position_maps import near

SETTINGS = {
    "methods": "self_extend:group=8:window=16",
    "tasks": "perplexity,passkey",
    "lengths": "512",
    "samples": 12,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    """Give the folder of a real run of a seed, made once."""
    folder = tmp_path_factory.mktemp("runs")

    def of_seed(seed=0):
        if not (folder / str(seed)).exists():
            run(models=str(tiny_folder), seed=seed, output=folder / str(seed), **SETTINGS)
        return folder / str(seed)

    return of_seed


@pytest.fixture
def changed(made, tmp_path):
    """Give a copy of the run whose records went through a function; None drops one."""

    def copy(change):
        folder = tmp_path / "changed"
        shutil.copytree(made(), folder)
        path = folder / "records.jsonl"
        records = [change(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(record) + "\n" for record in records if record is not None))
        return folder

    return copy


def compare(capsys, *words):
    code = main(["compare", *map(str, words)])
    return code, capsys.readouterr().out


def of_task(name, change):
    return lambda record: change(record) if record["cell"]["task"]["name"] == name else record


def with_nll(record, added):
    return record | {"scores": {"nll": record["scores"]["nll"] + added}}


def as_failed(record):
    failure = {"type": "RuntimeError", "message": "lost", "traceback": None}
    return record | {"status": "error", "scores": {}, "failure": failure}


def test_a_run_holds_against_itself(made, capsys):
    code, out = compare(capsys, made(), made())
    assert code == 0
    assert out.startswith(
        "No regression shown, some cells inconclusive: 2 inconclusive, 2 same (cells: 4).\n"
    )


def test_strict_asks_for_more_than_no_proof(made, capsys):
    assert compare(capsys, made(), made(), "--strict")[0] == 5
    assert compare(capsys, made(), made(), "--strict", "--tolerance", "0.9")[0] == 0


def test_a_higher_nll_is_a_regression_and_a_lower_one_an_improvement(made, changed, capsys):
    worse = changed(of_task("perplexity", lambda record: with_nll(record, 0.1)))
    code, out = compare(capsys, made(), worse)
    assert code == 4
    assert out.splitlines()[3].startswith("regressed ")
    code, out = compare(capsys, worse, made())
    assert code == 0
    assert "2 improved" in out.splitlines()[0]
    assert compare(capsys, made(), worse, "--tolerance", "0.2")[0] == 0


def test_a_cell_that_failed_or_is_missing_is_no_pass(made, changed, capsys):
    code, out = compare(capsys, made(), changed(of_task("passkey", as_failed)))
    assert (code, "failed" in out, "error: RuntimeError: lost (12 of 12 samples)" in out) == (5, True, True)


def test_a_task_that_is_gone_is_no_pass(made, changed, capsys):
    code, out = compare(capsys, made(), changed(of_task("passkey", lambda _: None)))
    assert code == 5
    assert "the candidate has no task 'passkey' here, it has 'perplexity'" in out


def test_another_version_of_a_task_is_not_compared(made, changed, capsys):
    def newer(record):
        task = record["cell"]["task"] | {"version": 99}
        return record | {"cell": record["cell"] | {"task": task}}

    code, out = compare(capsys, made(), changed(of_task("passkey", newer)))
    assert (code, "task version 1 against 99" in out) == (5, True)


def test_a_run_killed_half_way_says_what_is_missing(made, changed, capsys):
    half = changed(lambda record: record if record["index"] != 11 else None)
    code, out = compare(capsys, made(), half)
    assert code == 0
    assert out.count("samples missing in the candidate: 1") == 4


def test_runs_of_two_seeds_are_compared_unpaired_only(made, capsys):
    code, out = compare(capsys, made(), made(1), "--unpaired", "--tolerance", "0.5")
    assert code == 0
    assert "! Samples are not paired" in out

    assert main(["compare", str(made()), str(made(1))]) == 2
    assert "no shared samples: seed 0 against 1; --unpaired compares them" in capsys.readouterr().err


def test_a_planted_bug_is_noted_and_the_same_computed_again_is_not(
    made, tiny_folder, tmp_path, monkeypatch, capsys
):
    """The model is random, so the mean may stay: that every document changed is what shows the bug."""
    again, planted = tmp_path / "again", tmp_path / "planted"
    run(models=str(tiny_folder), seed=0, output=again, **SETTINGS)
    monkeypatch.setattr(self_extend, "near", lambda window: near(window - 8))
    run(models=str(tiny_folder), seed=0, output=planted, **SETTINGS)

    assert "score differently" not in compare(capsys, made(), again)[1]
    notes = [line for line in compare(capsys, made(), planted)[1].splitlines() if line.startswith("!")]
    assert notes == [
        "! method self_extend:group=8:window=16: 12 of 12 samples score differently (cells: 1), though model, method, "
        "task and their versions are the same: other code, packages or hardware"
    ]


@pytest.mark.slow
def test_a_planted_bug_that_costs_the_bundled_model_quality_is_a_regression(tmp_path, monkeypatch, capsys):
    settings = {
        "methods": "self_extend",
        "baseline": False,
        "tasks": "perplexity",
        "lengths": "2x",
        "device": "cpu",
    }
    own = self_extend.SelfExtend.bands

    def without_shift(method):
        near_band, far_band = own(method)
        return near_band, replace(far_band, query_map=lambda p: p // method.group)

    run(samples=12, output=tmp_path / "before", **settings)
    monkeypatch.setattr(self_extend.SelfExtend, "bands", without_shift)
    run(samples=12, output=tmp_path / "after", **settings)

    code, out = compare(capsys, tmp_path / "before", tmp_path / "after", "--tolerance", "0.001")
    assert (code, out.startswith("Regressed: 1 regressed (cells: 1).")) == (4, True)


def test_files_and_json_say_the_same(made, changed, tmp_path, capsys):
    worse = changed(of_task("perplexity", lambda record: with_nll(record, 0.1)))
    junit, comment = tmp_path / "compare.xml", tmp_path / "comment.md"
    code, out = compare(capsys, made(), worse, "--json", "--junit", junit, "--markdown", comment)
    found = json.loads(out)
    assert (code, found["outcome"]) == (4, "regressed")
    assert found["counts"] == {"regressed": 2, "inconclusive": 2}
    (suite,) = ElementTree.fromstring(junit.read_text())  # noqa: S314 (written by this test)
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["4", "2", "2"]
    assert comment.read_text().startswith("**Regressed: 2 regressed, 2 inconclusive (cells: 4).**")


def test_what_cannot_be_read_or_written_is_one_line(made, changed, tmp_path, capsys):
    folder = made()
    newer = changed(lambda record: record | {"schema_version": 99})
    (tmp_path / "file").write_text("")
    for words, message in (
        (
            [tmp_path, folder],
            f"{tmp_path}: run must be a folder that longbench-run wrote, got one without run.json. See what is in runs/.",
        ),
        (
            [folder, newer],
            f"{newer}/records.jsonl line 1: schema_version 99 is newer than this program reads (3). Upgrade longbench-run.",
        ),
        (
            [folder, folder, "--tolerance", "much"],
            "--tolerance: must be a number, got 'much'. Leave it out for 0.01.",
        ),
        (
            [folder, folder, "--alpha", "5"],
            "compare: --alpha must be above 0 and below 1, got 5.0. Leave it out for 0.05.",
        ),
        (
            [folder, folder, "--junit", tmp_path / "file" / "x"],
            f"--junit: must be a file that can be written, got '{tmp_path}/file/x' (Not a directory). Choose another one.",
        ),
        (
            [folder],
            "The following arguments are required: CANDIDATE. See `longbench-run compare --help`.",
        ),
    ):
        assert main(["compare", *map(str, words)]) == 2
        assert capsys.readouterr() == ("", f"{message}\n")


def test_comparing_loads_no_torch(made):
    code = (
        "import sys\nfrom longbench_run.harness.cli import main\n"
        f"main(['compare', {str(made())!r}, {str(made())!r}])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "matplotlib", "pandas"} & set(done.stderr.split()) == set()
