"""The command in processes of its own that are born warm: torch is imported once, by the server that they fork from.

Importing it takes five seconds of a processor, and running the command on a tiny model a tenth of that. What a child
does from there on is what `python -m longbench_run.harness` does; it has its own process id, and may be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "longbench_run.harness.cli_commands",
        "longbench_run.harness.compute",
        "longbench_run.harness.models.load",
        "longbench_run.reports.report",
        "transformers.models.llama.modeling_llama",
    ]
)


@dataclass(frozen=True)
class Done:
    """What is left of a command, as `subprocess.run` gives it."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Child:
    """A command that was started."""

    process: ForkServerProcess
    streams: Path

    def wait(self, timeout: float = 280) -> Done:
        """Wait for its end."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still running after {timeout} s"
        out, err = ((self.streams / name).read_text() for name in ("stdout", "stderr"))
        return Done(self.process.exitcode, out, err)


def start(words: Sequence[str], folder: Path, streams: Path) -> Child:
    """Start the command in a folder; what it prints goes to `streams`."""
    streams.mkdir(parents=True, exist_ok=True)
    process = FORKS.Process(target=_command, args=(list(words), str(streams)))
    with pytest.MonkeyPatch.context() as patch:  # a child begins with its parent's folder and path
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path, str(ROOT)])
        process.start()
    return Child(process, streams)


def _command(words: list[str], streams: str) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{streams}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["longbench-run", *words]
    runpy.run_module("longbench_run.harness", run_name="__main__")
