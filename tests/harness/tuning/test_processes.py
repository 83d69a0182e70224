"""Two processes, as a launcher starts them, make the variants that one makes; what cannot be is said once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longbench_run.harness.cli import main
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.tuning import memory
from longbench_run.harness.tuning.processes import ALONE, Processes, check_whole, processes_of

METHODS = ["entropy_abf:skip_layers=1", "self_extend:group=4:window=16"]
FOLDERS = ["entropy_abf-skip_layers=1-8-seed0", "self_extend-group=4-window=16-8-seed0"]
RECIPE = ["--context-length", "128", "--samples", "8", "--epochs", "3", "--learning-rate", "1e-2"]
STARTED = """
import os, shutil, sys
from longbench_run.harness.cli import main
from longbench_run.harness.tuning import run

output, ports, words = sys.argv[1], iter(sys.argv[2].split(",")), sys.argv[3:]
second = os.fork()  # so that packages are imported once
rank = "0" if second else "1"
os.environ |= {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
if not second:
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(f"{output}.{name}", os.O_CREAT | os.O_WRONLY), stream.fileno())

def code(*more):
    os.environ["MASTER_PORT"] = next(ports)
    try:
        return main(["tune", *words, *more])
    except SystemExit as end:
        return end.code

assert code("--output", output, "--batch-size", "3") == 2

class Killed(Exception):
    pass

def killed(self, args, state, control, **_keywords):
    if state.global_step == 3:
        raise Killed

run.StepsSaid.on_step_end = killed
try:
    raise SystemExit(f"ended with {code('--output', output, '--batch-size', '4')}")
except Killed:
    del run.StepsSaid.on_step_end
if second:
    shutil.copytree(output, output + "-killed")
ended = code("--output", output, "--batch-size", "4")
sys.exit(ended or (os.waitpid(second, 0)[1] if second else 0))
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ",".join(ports)


def distance(folder, other, base):
    """Return how far apart two variants are, in what tuning changed."""
    one, two, before = (load_file(each / "model.safetensors") for each in (folder, other, base))
    changed = torch.cat([(one[name] - before[name]).flatten() for name in one])
    return float(torch.cat([(one[name] - two[name]).flatten() for name in one]).norm() / changed.norm())


def test_two_processes_make_what_one_makes(base, chats, tmp_path, capsys):
    words = [
        "--model",
        str(base),
        "--data",
        str(chats),
        "--methods",
        ",".join(METHODS),
        "--device",
        "cpu",
        *RECIPE,
    ]
    together = tmp_path / "together"
    command = [sys.executable, "-c", STARTED, str(together), free_ports(3), *words]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    alone = tmp_path / "alone"
    assert main(["tune", *words, "--output", str(alone), "--batch-size", "4"]) == 0
    capsys.readouterr()
    try:
        out, err = started.communicate(timeout=200)
    finally:
        if started.returncode is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
    other_out, other_err = (Path(f"{together}.{name}").read_text() for name in ("out", "err"))

    assert started.returncode == 0, err + other_err
    assert out.splitlines() == [
        *(str(together / name) for name in FOLDERS),
        f"Run: longbench-run run --config {together / 'matrix.yaml'}",
    ]
    assert other_out == ""
    assert [line for line in other_err.splitlines() if "Loading weights" not in line] == []
    steps = [int(line.split("step ")[1].split(" of")[0]) for line in err.splitlines() if ": step " in line]
    assert steps == 2 * [1, 2, 3, 4, 5, 6]  # killed before it said step 3, and goes on behind step 2
    assert err.startswith("--batch-size: number must be divisible by the 2 processes, got 3. ")
    assert sorted(path.name for path in together.iterdir()) == sorted([*FOLDERS, "matrix.yaml"])

    # What two began, one ends.
    assert (Path(f"{together}-killed") / f".{FOLDERS[0]}.work" / "checkpoint-2" / "whole").exists()
    continued = tmp_path / "together-killed"
    first = ["--methods", METHODS[0], "--output", str(continued), "--batch-size", "4"]
    assert main(["tune", *words, *first]) == 0
    assert "step 2 of" not in capsys.readouterr().err
    for output, name in ((together, FOLDERS[0]), (together, FOLDERS[1]), (continued, FOLDERS[0])):
        recipes = [json.loads((each / name / "recipe.json").read_text()) for each in (alone, output)]
        results = [recipe.pop("result") for recipe in recipes]
        assert results[1]["losses"] == pytest.approx(results[0]["losses"], rel=1e-5)
        assert results[1]["applied_hash"] == results[0]["applied_hash"]
        assert recipes[0] == recipes[1]
        assert distance(alone / name, output / name, base) < 1e-4


ADDRESS = {"MASTER_ADDR": "host", "MASTER_PORT": "1"}


def test_a_launcher_tells_which_process_this_is():
    places = {"RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}

    assert processes_of({}) == processes_of({"WORLD_SIZE": "1"}) == ALONE
    found = processes_of({"WORLD_SIZE": "4", **places, **ADDRESS})
    assert found == Processes(index=3, count=4, local_index=1, local_count=2)
    assert (found.share(32), found.is_first, found.device(None)) == (8, False, "cpu")
    with pytest.raises(ConfigError) as caught:
        processes_of({"WORLD_SIZE": "2", **ADDRESS})
    assert str(caught.value) == (
        "tune: processes must be started by torchrun or accelerate launch, got WORLD_SIZE=2 without RANK. "
        "Unset WORLD_SIZE, or start it with torchrun."
    )
    with pytest.raises(ConfigError) as caught:
        found.device("cuda:0")
    assert str(caught.value) == (
        "--device: must be auto or cpu where 4 processes train, got 'cuda:0'. "
        "Leave it out: every process takes a GPU of its own."
    )


@pytest.mark.parametrize(
    ("name", "what"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_a_model_is_not_split_over_devices(base, chats, tmp_path, monkeypatch, capsys, name, what):
    monkeypatch.setenv(name, "true")
    words = ["--model", str(base), "--data", str(chats), "--methods", "pi", *RECIPE, "--batch-size", "4"]

    assert main(["tune", *words, "--output", str(tmp_path / "out")]) == 2

    assert capsys.readouterr().err == (
        f"tune: processes must each hold the whole model, got {what} by {name}. Start it with torchrun, or by an accelerate "
        "configuration without it; pass --lora 8 where a device is too small.\n"
    )
    check_whole({name: "false"})


def test_processes_on_a_cpu_share_its_memory(monkeypatch, tmp_path):
    sizes = {"weights": 100, "gradients": 100, "optimizer": 200, "activations": 50, "checkpoint": 300}
    needed = memory.TuningFootprint(recomputes=False, **sizes)
    monkeypatch.setattr(memory, "memory_of", lambda _device: 999)

    memory.check_room(needed, device="cpu", folder=tmp_path)
    memory.check_room(needed, device="cuda:0", folder=tmp_path, processes=2)
    with pytest.raises(ConfigError, match=r"2 processes of which each needs weights .*, got 0.0 MiB"):
        memory.check_room(needed, device="cpu", folder=tmp_path, processes=2)
