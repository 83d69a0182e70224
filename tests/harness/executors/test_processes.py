"""A process per device: the same records, also when one of them dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from longbench_run.harness import run
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors import processes
from longbench_run.harness.executors.processes import Processes
from longbench_run.results.store import read_run


def workers():
    return [child for child in multiprocessing.active_children() if child.name.startswith("longbench-run")]


def test_two_processes_of_which_one_is_killed_record_what_one_records(
    matrix, assert_as_local, killer, caplog, tmp_path
):
    progress = killer(lambda: os.kill(workers()[0].pid, signal.SIGKILL), at=(3,))
    summary = run(**matrix, devices="cpu,cpu", progress=progress)

    assert (summary.computed, summary.failed_samples, progress.recorded) == (24, 0, 24)
    assert_as_local(tmp_path / "out")
    assert ["killed by SIGKILL" in record.getMessage() for record in caplog.records] == [True]
    assert progress.told == [("2 workers", 24)]
    assert progress.tokens == 0
    assert workers() == []
    assert read_run("out").header.device.startswith("2 x cpu (")
    assert read_run("out").header.status == "complete"


def test_a_script_that_workers_would_run_again_is_told_where_to_call(matrix, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from longbench_run.harness import run\nrun(**{matrix | {'lengths': '512'}!r}, devices='cpu,cpu')\n"
    )

    ended = subprocess.run([sys.executable, script.name], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "longbench_run.harness.executors.base.WorkersLost: Workers must start, got 6 that died before they had, the last one ended "
        'with exit code 1. See what they say on stderr; a script calls run() below `if __name__ == "__main__":`.'
    )
    assert read_run("out").header.status == "failed"


@pytest.mark.parametrize(
    ("devices", "gpus", "message"),
    [
        (["cuda:0", "cuda:1"], 0, "--devices: must be devices that torch sees, got 'cuda:0,cuda:1' with no GPU. Pass cpu,cpu or install a CUDA build of torch."),
        (["cuda:0", "cuda:1"], 1, "--devices: must be devices that torch sees, got 'cuda:0,cuda:1' with 1 GPU. Name GPUs from 0 to 0."),
        (["cuda:4"], 4, "--devices: must be devices that torch sees, got 'cuda:4' with 4 GPUs. Name GPUs from 0 to 3."),
        (["cpu"] * 3, 0, "--devices: must name cpu at most once per core, got 'cpu,cpu,cpu' with 2 cores. Name fewer."),
    ],
)  # fmt: skip
def test_devices_that_are_not_there_are_refused(devices, gpus, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)

    with pytest.raises(ConfigError) as caught, Processes(devices, where="--devices:"):
        pass
    assert str(caught.value) == message


def test_as_many_devices_as_there_are_will_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    with Processes(["cuda:0", "cuda:1"], where="--devices:") as executor:
        assert executor.size == 2
    assert workers() == []
