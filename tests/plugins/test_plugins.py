"""Packages that add a method and a task: listed, run, broken, and in the way of each other."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from longbench_run.results.store import read_run

OURS = f"longbench-run {version('longbench-run')}"
RUN = ["--lengths", "512", "--samples", "2", "--no-baseline", "--output", "run"]


@pytest.fixture
def command(installed, tmp_path):
    """Return a function that runs the command beside installed packages."""

    def run(arguments, *packages):
        words = [sys.executable, "-m", "longbench_run.harness", *arguments]
        return subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=tmp_path, env=installed(*packages)
        )

    return run


def lines_of(listing):
    """Return name -> what is said of it."""
    return dict(line.split(maxsplit=1) for line in listing.splitlines() if line[0] != " ")


@pytest.mark.parametrize("kind", ["methods", "tasks", "protocols"])
def test_plugins_are_listed_with_their_distribution_after_what_is_built_in(command, kind):
    without, beside = (command(["list", kind], *packages).stdout for packages in ([], ["demo"]))

    (added,) = set(lines_of(beside)) - set(lines_of(without))
    assert added == ("slow_half" if kind == "methods" else "ledger")
    assert list(lines_of(beside)) == [*lines_of(without), added]
    assert lines_of(beside)[added] == "plugin of longbench-run-demo 0.3.0: A method and a task to begin from."


@pytest.mark.parametrize(
    "arguments", ["list methods", "list tasks", "list protocols", "list methods --verbose"]
)
def test_listing_imports_no_plugin(installed, tmp_path, arguments):
    code = (
        "import sys\nfrom longbench_run.harness.cli import main\n"
        f"assert main({arguments.split()!r}) == 0\n"
        "print(*[name for name in sys.modules if name.startswith('longbench_run_')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=installed("demo", "broken"),
    )

    assert "plugin of longbench-run-broken 1.1: What a plugin must not be." in done.stdout
    assert done.stderr.split() == []


def test_a_method_and_a_task_of_a_plugin_run_and_the_run_says_whose_they_are(command, tmp_path):
    """Beside a broken package, which nothing here selects."""
    done = command(["--methods", "slow_half:factor=2+log_n", "--tasks", "ledger", *RUN], "demo", "broken")

    assert (done.returncode, done.stderr) == (0, "")
    run = read_run(tmp_path / "run")
    assert run.header.versions["longbench-run-demo"] == "0.3.0"
    assert "longbench-run-broken" not in run.header.versions
    assert [record.status for record in run.records] == ["ok", "ok"]
    for cell in (record.cell for record in run.records):
        assert cell.method.resolved.startswith("slow_half:factor=2:")
        assert cell.method.versions == {"slow_half": 1, "log_n": 1}
        assert (cell.task.name, cell.task.version, cell.task.protocol) == ("ledger", 1, "ledger-v1")

    report = command(["report", "run", "--format", "md", "--output", "out"])
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "out" / "report.md").read_text()
    assert "ledger" in page
    assert "longbench-run-demo" in page


def test_a_parameter_of_a_plugin_is_read_and_refused_as_any(command):
    refused = command(["--methods", "slow_half:factor=0", "--tasks", "passkey", *RUN], "demo")
    assert (refused.returncode, refused.stderr) == (
        2,
        "--methods: slow_half: factor must be at least 1, got 0.0. Leave it out for the default.\n",
    )
    unknown = command(["--methods", "yarn", "--tasks", "ledger:lines=3", *RUN], "demo")
    assert unknown.returncode == 2
    assert unknown.stderr == (
        '--tasks: ledger: has no parameter "lines". Parameters: max_new_tokens, protocol.\n'
    )


def test_a_plugin_is_suggested_for_a_name_that_is_almost_its(command):
    done = command(["--methods", "slow_hal", *RUN], "demo")

    assert (done.returncode, done.stderr) == (
        2,
        '--methods: unknown method "slow_hal". Did you mean "slow_half"? See `longbench-run list methods`.\n',
    )


LOAD = "of longbench-run-broken 1.1 cannot be loaded: {}. Repair or uninstall longbench-run-broken 1.1."
BE = "of longbench-run-broken 1.1 must be a {}, got longbench_run_broken{}. Repair or uninstall longbench-run-broken 1.1."


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("method", "missing_module", LOAD.format("ModuleNotFoundError: No module named 'longbench_run_broken.nowhere'")),
        ("method", "raises", LOAD.format("RuntimeError: two lines")),
        ("method", "exits", LOAD.format("SystemExit: bye")),
        ("method", "no_component", BE.format("method", ":NoComponent that is no subclass of Component")),
        ("method", "misnamed", BE.format("method", ".misnamed:Misnamed whose name is 'otherwise'")),
        (
            "task",
            "missing_attribute",
            LOAD.format("AttributeError: module 'longbench_run_broken' has no attribute 'Nothing'"),
        ),
        ("task", "no_dataclass", BE.format("task", ":NoComponent that is no dataclass")),
        (
            "task",
            "no_task",
            BE.format("task", ":NoTask without group_key, info, minimum_length, parameters, samples"),
        ),
    ],
)  # fmt: skip
def test_a_broken_plugin_fails_where_it_is_selected_in_one_line_with_its_version(
    command, kind, name, message
):
    methods, tasks = (name, "passkey") if kind == "method" else ("yarn", name)

    done = command(["--methods", methods, "--tasks", tasks, *RUN], "broken")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'--{kind}s: {kind} "{name}" {message}\n'


@pytest.mark.parametrize(
    ("kind", "name", "owners"),
    [
        ("method", "pi", f"{OURS} and longbench-run-shadow 2.0"),
        ("method", "slow_half", "longbench-run-demo 0.3.0 and longbench-run-shadow 2.0"),
        ("task", "perplexity", f"{OURS} and longbench-run-shadow 2.0"),
        ("task", "ledger", "longbench-run-demo 0.3.0 and longbench-run-shadow 2.0"),
    ],
)
def test_a_name_of_two_packages_is_an_error_that_names_both(command, kind, name, owners):
    methods, tasks = (name, "passkey") if kind == "method" else ("yarn", name)
    error = f"must be of one package, got {owners}. Uninstall all of them but one."

    done = command(["--methods", methods, "--tasks", tasks, *RUN], "demo", "shadow")
    listed = command(["list", f"{kind}s"], "demo", "shadow")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'--{kind}s: {kind} "{name}" {error}\n'
    assert listed.returncode == 0
    assert lines_of(listed.stdout)[name] == f"error: {error}"


def test_names_that_nobody_shadows_run_beside_those_that_are_and_name_no_plugin(command, tmp_path):
    done = command(["--methods", "yarn", "--tasks", "passkey", *RUN], "demo", "shadow")

    assert (done.returncode, done.stderr) == (0, "")
    assert not {"longbench-run-demo", "longbench-run-shadow"} & set(
        read_run(tmp_path / "run").header.versions
    )


def test_a_setting_for_every_task_imports_no_plugin_that_was_not_asked_for(command):
    arguments = ["--methods", "yarn", "--tasks", "passkey", "--max-length", "512", *RUN]
    done = command(arguments, "broken", "shadow")

    assert done.returncode == 2
    assert re.fullmatch(r"--max-length: .* longbench would\.\n", done.stderr), done.stderr
