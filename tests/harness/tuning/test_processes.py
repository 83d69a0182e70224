"""Two processes, as a launcher starts them, make the variants that one makes; what cannot be is said once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig

from longbench_run.harness import cli_tune
from longbench_run.harness.cli import main, parse_arguments
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.testing.models import randomised
from longbench_run.harness.tuning import memory
from longbench_run.harness.tuning.processes import ALONE, Processes, processes_of
from longbench_run.harness.tuning.recipe import papers

METHODS = ["entropy_abf:skip_layers=1", "self_extend:group=4:window=16"]
FOLDERS = ["entropy_abf-skip_layers=1-8-seed0", "self_extend-group=4-window=16-8-seed0"]
WEIGHTS = "model.safetensors"
RECIPE = ["--context-length", "128", "--samples", "8", "--epochs", "3", "--learning-rate", "1e-2"]
STARTED = """
import os, shutil, sys
from longbench_run.harness.cli import main
from longbench_run.harness.tuning import memory, run

output, ports, words = sys.argv[1], iter(sys.argv[2].split(",")), sys.argv[3:]
second = os.fork()  # so that packages are imported once
rank = "0" if second else "1"
os.environ |= {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
if not second:
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(f"{output}.{name}", os.O_CREAT | os.O_WRONLY), stream.fileno())

if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    # Of a shared model, the head runs over many pieces, and layers again in the backward pass.
    run.logits_rows, memory._ROOM = lambda _vocabulary: 5, 0.0
if os.environ.get("TUNED_IN"):
    from longbench_run.harness import cli_tune
    papers = cli_tune.papers
    cli_tune.papers = lambda **asked: papers(**{**asked, "precision": os.environ["TUNED_IN"]})

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

def shared_out(self, args, state, control, model=None, **_keywords):
    # After every sample: whole gradients of all weights are not kept for a step.
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)

run.StepsSaid.on_substep_end = shared_out
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
    before = load_file(base / WEIGHTS)
    one, two = (load_file(next(each.glob("*.safetensors"))) for each in (folder, other))
    assert one.keys() == two.keys()
    changed = torch.cat([(one[name] - before.get(name, 0)).flatten() for name in one])
    return float(torch.cat([(one[name] - two[name]).flatten() for name in one]).norm() / changed.norm())


@pytest.fixture(scope="module")
def tied(base, tmp_path_factory):
    """Folder of the same model with one matrix for embeddings and head."""
    folder = tmp_path_factory.mktemp("tied") / "base"
    shutil.copytree(base, folder)
    config = LlamaConfig.from_pretrained(base)
    config.tie_word_embeddings = True
    randomised(config, spread=0.1).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("model", "sharded", "lora", "precision"),
    [
        ("base", False, [], "float32"),
        ("base", True, [], "float32"),
        ("base", True, ["--lora", "2"], "float32"),
        ("tied", True, [], "bfloat16"),
    ],
    ids=["whole", "shared", "shared-lora", "shared-tied-bfloat16"],
)
def test_two_processes_make_what_one_makes(
    request, chats, tmp_path, capsys, monkeypatch, model, sharded, lora, precision
):
    base = request.getfixturevalue(model)
    # In bfloat16, as on a GPU, sums in another order are rounded otherwise: 0.001. In float32 it would be 0.05 away.
    near, number = (1e-4, 2) if precision == "float32" else (1e-2, 1)
    monkeypatch.setattr(cli_tune, "papers", lambda **asked: papers(**{**asked, "precision": precision}))
    methods = dict(zip(METHODS[:number], FOLDERS, strict=False))
    folders = list(methods.values())
    words = [
        "--model",
        str(base),
        "--data",
        str(chats),
        "--methods",
        ",".join(methods),
        "--device",
        "cpu",
        *RECIPE,
        *lora,
    ]
    together = tmp_path / "together"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", str(sharded).lower())
    monkeypatch.setenv("TUNED_IN", precision)
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")  # accelerate's settings are not read
    command = [sys.executable, "-c", STARTED, str(together), free_ports(3), *words]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
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
        *(str(together / name) for name in folders),
        f"Run: longbench-run run --config {together / 'matrix.yaml'}",
    ]
    assert other_out == ""
    assert [line for line in other_err.splitlines() if "Loading weights" not in line] == []
    steps = [int(line.split("step ")[1].split(" of")[0]) for line in err.splitlines() if ": step " in line]
    # Killed before it said step 3, and goes on behind step 2.
    assert steps == len(folders) * [1, 2, 3, 4, 5, 6]
    assert err.startswith("--batch-size: number must be divisible by the 2 processes, got 3. ")
    assert sorted(path.name for path in together.iterdir()) == sorted([*folders, "matrix.yaml"])
    made = [(together, name) for name in folders]

    # What two began, one ends, unless each wrote its share alone.
    continued = tmp_path / "together-killed"
    checkpoint = continued / f".{folders[0]}.work" / "checkpoint-2"
    assert (checkpoint / "whole").exists()
    first = ["--methods", METHODS[0], "--output", str(continued), "--batch-size", "4"]
    assert main(["tune", *words, *first]) == (2 if sharded else 0)
    err = capsys.readouterr().err
    assert "step 2 of" not in err
    if sharded:
        assert (
            f"--output: checkpoint must be of a model that every process holds, got one of a model that they share by FSDP in "
            f"{str(checkpoint)!r}. Start it as it was started, or remove {str(checkpoint.parent)!r}.\n"
        ) in err
    else:
        made.append((continued, folders[0]))
    for output, name in made:
        recipes = [json.loads((each / name / "recipe.json").read_text()) for each in (alone, output)]
        results = [recipe.pop("result") for recipe in recipes]
        assert results[1]["losses"] == pytest.approx(results[0]["losses"], rel=near / 10)
        assert results[1]["applied_hash"] == results[0]["applied_hash"]
        assert recipes[0] == recipes[1]
        assert distance(alone / name, output / name, base) < near


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
    ("name", "what"),
    [("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"), ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM")],
)
def test_a_model_is_shared_by_fsdp_alone(base, chats, tmp_path, monkeypatch, capsys, name, what):
    monkeypatch.setenv(name, "true")
    words = ["--model", str(base), "--data", str(chats), "--methods", "pi", *RECIPE, "--batch-size", "4"]

    assert main(["tune", *words, "--output", str(tmp_path / "out")]) == 2

    assert capsys.readouterr().err == (
        f"tune: processes must hold the whole model, or share it by FSDP, got {what} by {name}. Start it with torchrun, or "
        "by an accelerate configuration with FSDP or none of them.\n"
    )


def test_processes_that_share_a_model_are_several(base, chats, tmp_path):
    places = {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}
    found = processes_of({**places, **ADDRESS, "ACCELERATE_USE_FSDP": "true"})
    assert (found.sharded, found.shares) == (True, 4)
    whole = processes_of(
        {**places, **ADDRESS, "ACCELERATE_USE_FSDP": "false", "ACCELERATE_USE_DEEPSPEED": "0"}
    )
    assert (whole.sharded, whole.shares) == (False, 1)
    with pytest.raises(ConfigError) as caught:
        processes_of({"ACCELERATE_USE_FSDP": "true"})
    assert str(caught.value) == (
        "tune: processes that share a model by FSDP must be at least 2, got 1 with ACCELERATE_USE_FSDP. "
        "Start more, or unset it."
    )
    words = ["--model", str(base), "--data", str(chats), "--methods", "pi", *RECIPE, "--batch-size", "4"]
    asked = parse_arguments(["tune", *words, "--device", "cpu", "--output", str(tmp_path)])
    (share,), (all_of_it,) = (cli_tune._plan(asked, processes) for processes in (found, whole))
    assert share.footprint.certain == pytest.approx(all_of_it.footprint.certain / 4, rel=1e-3)
    asked.lora = "2"
    with pytest.raises(ConfigError) as caught:
        cli_tune._plan(asked, found)
    assert str(caught.value) == (
        "--lora: rank must be at least the 4 processes that share the model by FSDP, got 2. "
        "Pass a larger one, or start fewer processes."
    )


def test_processes_on_a_cpu_share_its_memory(monkeypatch, tmp_path):
    sizes = {"weights": 100, "gradients": 100, "optimizer": 200, "activations": 50, "checkpoint": 300}
    needed = memory.TuningFootprint(recomputes=False, variant=100, **sizes)
    monkeypatch.setattr(memory, "memory_of", lambda _device: 999)

    two = Processes(count=2, local_count=2)
    memory.check_room(needed, device="cpu", folder=tmp_path)
    memory.check_room(needed, device="cuda:0", folder=tmp_path, processes=two)
    memory.check_room(needed, device="cpu", folder=tmp_path, processes=replace(two, sharded=True))
    with pytest.raises(ConfigError, match=r"2 processes of which each needs weights .*, got 0.0 MiB"):
        memory.check_room(needed, device="cpu", folder=tmp_path, processes=two)
