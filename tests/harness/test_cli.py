"""The command line: what is printed where, exit codes, and what help costs."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from longbench_run.harness import cli
from longbench_run.harness.cli import main
from longbench_run.harness.methods import component_classes
from longbench_run.harness.models import engine
from longbench_run.harness.progress import Bars
from longbench_run.results.store import read_run
from longbench_run.tasks.registry import list_tasks

HEAVY = {"torch", "transformers", "numpy", "pandas", "pydantic", "yaml", "matplotlib", "scipy"}


class Printed(NamedTuple):
    """A run, and what its command printed."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def flags(tiny_folder):
    """The flags of a run of two samples."""
    return [
        "--model", str(tiny_folder), "--device", "cpu", "--tasks", "passkey", "--lengths", "512", "--samples", "1",
        "--methods", "pi",
    ]  # fmt: skip


@pytest.fixture
def small(flags, tmp_path, monkeypatch):
    """These flags, in a new folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(cli.PRESET_VARIABLE, raising=False)
    return flags


@pytest.fixture(scope="module")
def finished_once(flags, tmp_path_factory):
    """A finished run where no --output was given, to copy."""
    folder, out, err = tmp_path_factory.mktemp("finished"), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.delenv(cli.PRESET_VARIABLE, raising=False)
        assert main(flags) == 0
    return Printed(folder, out.getvalue(), err.getvalue())


@pytest.fixture
def finished(finished_once, small, tmp_path):
    """The same in the test's own folder."""
    shutil.copytree(finished_once.folder / "runs", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    return finished_once._replace(folder=folder)


def script(code: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["report", "--help"], ["export", "--help"], ["--version"]]
)
def test_help_imports_nothing_that_takes_time(arguments):
    code = (
        "import sys\nfrom longbench_run.harness.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = script(code)

    assert done.returncode == 0
    assert HEAVY & set(done.stderr.split()) == set()


def test_help_shows_examples_and_exit_codes(capsys):
    for arguments in (["--help"], ["run", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert "longbench-run --methods pi,yarn,abf,entropy_abf,self_extend" in shown
        assert "130 interrupted" in shown


def test_the_examples_of_the_help_can_be_read(small):
    from longbench_run.harness.cli_commands import settings_of
    from longbench_run.harness.config_build import load_config

    commands = [line.strip() for line in cli.RUN.examples.splitlines() if line.startswith("  longbench-run")]
    for command in commands:
        settings = settings_of(cli.parse_arguments(command.split()[1:]))
        settings.pop("config", None)
        load_config(settings)
    assert len(commands) == 4


def test_a_run_prints_its_tables_and_where_the_report_lies(finished, small):
    folder = finished.folder
    assert folder.name.startswith("tiny-llama-")
    assert finished.out.startswith("passkey: accuracy")
    assert finished.out.endswith(f"\nReport: runs/{folder.name}/report.html\n")
    assert finished.err == ""
    assert "passkey" in (folder / "report.md").read_text()
    assert list((folder / "figures").glob("*.png"))
    header = read_run(folder).header
    assert header.command == ("longbench-run", *small)
    assert folder.name == f"tiny-llama-{header.run_key[:8]}"


def test_the_same_command_again_computes_nothing_and_says_the_same(finished, small, tmp_path, capsys):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}

    assert main(["run", *small]) == 0

    second = capsys.readouterr()
    assert second.out == finished.out
    assert second.err == f"Nothing to compute: all 2 samples are in runs/{finished.folder.name}.\n"
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_second_run_ends_in_seconds(finished, small, tmp_path):
    command = [sys.executable, "-m", "longbench_run.harness", *small]

    bare, again = [], []
    for _ in range(3):
        for column, words in ((bare, [sys.executable, "-c", "pass"]), (again, command)):
            started = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True, cwd=tmp_path)
            column.append(time.perf_counter() - started)

    # A bare interpreter takes 0.02 s on an idle machine; the bound moves along on a loaded one.
    assert min(again) < 3 * max(1, min(bare) / 0.02), (again, bare)


def test_json_is_for_machines(small, capsys):
    assert main([*small, "--json", "--output", "out"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert (result["folder"], result["report"], result["computed"]) == ("out", "out/report.html", 2)
    assert [(c["method_label"], c["context_length"], c["n"]) for c in result["cells"]] == [
        ("none", 512, 1),
        ("pi", 512, 1),
    ]


def test_a_dry_run_prints_cells_tokens_and_an_estimate_and_writes_nothing(
    small, tmp_path, capsys, monkeypatch
):
    from longbench_run.harness import compute

    monkeypatch.setattr(compute, "load_model", lambda *_: pytest.fail("weights were read"))
    arguments = [
        *small,
        "--tasks",
        "perplexity",
        "--lengths",
        "640",
        "--methods",
        "abf:base=100",
        "--dry-run",
    ]

    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    rows = [line.split() for line in shown.splitlines()]
    assert ["tiny-llama", "pi", "perplexity", "(plain)", "512", "1", "shared"] in rows
    assert ["tiny-llama", "pi", "perplexity", "(plain)", "640", "1", "640"] in rows
    assert "pi = pi:factor=10:original_context_length=64" in shown
    assert "abf:base=100: abf: base must be at least the llama model's own" in shown
    assert "8 cells, 8 samples," in shown
    assert "roughly 1 s on cpu" in shown

    main([*arguments, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert sum(cell["tokens"] for cell in result["cells"]) == int(
        next(line for line in shown.splitlines() if " cells, " in line)
        .split(", ")[2]
        .split()[0]
        .replace(",", "")
    )
    assert [c["method"] for c in result["cells"] if c["not_applicable"]] == ["abf:base=100"] * 4


def test_failed_cells_end_with_3_and_a_count(small, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr(engine, "generate_timed", broken)
    expected = (
        "2 of 2 cells have failed samples (2 in all). Read them with `longbench-run show out --status error`; "
        "the same command with --overwrite failed tries them again.\n"
    )

    assert main([*small, "--output", "out"]) == 3
    assert capsys.readouterr().err == expected
    assert main([*small, "--output", "out"]) == 3
    assert capsys.readouterr().err == "Nothing to compute: all 2 samples are in out.\n" + expected
    monkeypatch.undo()


def test_a_bug_keeps_its_traceback(small, tmp_path):
    code = (
        "import sys\nfrom longbench_run.harness import cli, cli_commands\n"
        "def bug(*a, **k): return {}['missing']\n"
        "cli_commands.run = bug\nsys.exit(cli.main([]))\n"
    )
    done = script(code)

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("KeyError: 'missing'\n")


def test_ctrl_c_ends_with_130_and_loses_nothing(small, tmp_path):
    command = [sys.executable, "-m", "longbench_run.harness", *small, "--samples", "2000", "--output", "out"]
    records = tmp_path / "out" / "records.jsonl"
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell ignores the signal for what it runs in the background, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no thread runs here
    ) as child:
        deadline = time.monotonic() + 120
        while not (records.exists() and records.read_bytes().count(b"\n") >= 3):
            assert child.poll() is None, child.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)

    stored = read_run(tmp_path / "out")
    assert child.returncode == 130
    assert out == ""
    assert err == (
        f"Interrupted after {len(stored.records)} samples: they are in out, and the same command goes on there.\n"
    )
    assert stored.header.status == "interrupted"


def test_a_closed_pipe_is_no_error(small, tmp_path):
    command = (
        f"{sys.executable} -m longbench_run.harness list tasks --verbose | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


def test_report_is_written_again_from_a_stored_run(finished, tmp_path, capsys):
    page = (finished.folder / "report.md").read_text()

    assert main(["report", f"runs/{finished.folder.name}", "--output", "elsewhere"]) == 0
    assert capsys.readouterr().out == "elsewhere/report.md\nelsewhere/report.html\n"
    assert (tmp_path / "elsewhere" / "report.md").read_text() == page


def test_show_prints_samples(finished, capsys):
    chosen = ["--method", "pi", "--context-length", "512", "--status", "ok", "--limit", "5"]

    assert main(["show", f"runs/{finished.folder.name}", *chosen]) == 0
    shown = capsys.readouterr().out
    assert "pi" in shown
    assert read_run(finished.folder).records[0].target in shown


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
def test_list_names_everything(verbose, capsys):
    names = {
        "methods": [component.name for component in component_classes()],
        "tasks": list(list_tasks()),
        "protocols": list(list_tasks()),
        "models": ["reference"],
    }
    for kind, expected in names.items():
        assert main(["list", kind, *verbose]) == 0
        shown = capsys.readouterr().out
        assert [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")] == expected
        assert max(map(len, shown.splitlines())) <= 150


def test_a_preset_may_come_from_the_environment(small, capsys, monkeypatch):
    arguments = [word for word in small if word not in {"--samples", "1"}]
    monkeypatch.setenv(cli.PRESET_VARIABLE, "smoke")

    assert main([*arguments, "--dry-run", "--json"]) == 0
    assert {c["samples"] for c in json.loads(capsys.readouterr().out)["cells"]} == {3}


def test_the_window_by_hand_is_used_and_said_aloud(small, capsys, caplog):
    assert main([*small, "--original-context-length", "0.25k", "--output", "out"]) == 0

    assert {r.cell.original_context_length for r in read_run("out").records} == {256}
    assert "the original window is taken from --original-context-length (256 tokens)." in caplog.text


def test_bars_are_drawn_on_a_terminal_and_nowhere_else():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, is_drawn in ((Terminal(), True), (io.StringIO(), False)):
        bars = Bars(stream)
        bars.start(1000)
        bars.stage("m pi passkey 4k", 10)
        bars.advance(tokens=500, samples=5)
        bars.stage("m pi passkey 8k", 10)
        bars.finish()
        assert ("passkey 4k" in stream.getvalue()) is is_drawn
        assert ("run" in stream.getvalue()) is is_drawn


def test_the_module_is_the_command(tmp_path):
    done = script(
        "import runpy, sys\nsys.argv = ['longbench-run', '--version']\n"
        "runpy.run_module('longbench_run.harness', run_name='__main__')",
        cwd=tmp_path,
    )

    assert (done.returncode, done.stdout) == (0, "longbench-run 0.1.0\n")
    assert Path(os.curdir).exists()
