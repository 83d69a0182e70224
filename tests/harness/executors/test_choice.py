"""What may be asked for, and what does not go together; nothing here starts anything."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from longbench_run.harness.cli import parse_arguments
from longbench_run.harness.cli_commands import settings_of
from longbench_run.harness.config_build import load_config
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors.choice import ExecutorChoice, executor_of
from longbench_run.harness.executors.in_process import InProcess
from longbench_run.harness.executors.processes import Processes
from longbench_run.harness.executors.ray_cluster import RayCluster


def test_devices_are_numbers_or_names_and_nobody_asks_for_an_executor_by_default():
    assert load_config({}).config.devices == ()
    assert isinstance(executor_of(load_config({})), InProcess)
    for given in ("0,1", [0, 1], ["cuda:0", "1"], "cuda:0,cuda:1"):
        loaded = load_config({"devices": given})
        assert (loaded.config.devices, loaded.config.first_device) == (("cuda:0", "cuda:1"), "cuda:0")
        assert isinstance(executor_of(loaded), Processes)
    assert load_config({"devices": "cpu,cpu"}).config.devices == ("cpu", "cpu")


def test_an_executor_is_a_name_with_numbers():
    assert load_config({"executor": "ray:gpus=0:workers=3:cores=2"}).config.chosen_executor == ExecutorChoice(
        name="ray", workers=3, cores=2, gpus=0
    )
    assert isinstance(executor_of(load_config({"executor": "ray", "ray_address": "auto"})), RayCluster)


UNKNOWN = "must be local or ray, the latter with workers, cores and gpus where wanted, got {!r}. Write ray:workers=2:cores=4."
CASES = [
    *({"executor": text} for text in ("slurm", "ray:cores=0", "ray:cores=1.5", "ray:nodes=2", "local:cores=2", "ray:", 3)),
    ({"devices": "0,gpu"}, "--devices: must be GPU numbers or cpu, separated by commas, got '0,gpu'. Write 0,1 or cpu,cpu."),
    ({"devices": "-1"}, "--devices: must be GPU numbers or cpu, separated by commas, got '-1'. Write 0,1 or cpu,cpu."),
    ({"devices": "cpu,cpu", "device": "cpu"}, "--devices: must be left out where a device is given (cpu), got 'cpu,cpu'. Pass --device or --devices, not both."),
    ({"devices": "0,1", "device_map": "auto"}, "--devices: must be left out where a device map is given (auto), got 'cuda:0,cuda:1'. Pass --device-map or --devices, not both."),
    ({"devices": "0,1", "models": [{"name": "m", "device_map": "balanced"}]}, "--devices: must be left out where a device map is given (balanced), got 'cuda:0,cuda:1'. Pass --device-map or --devices, not both."),
    ({"devices": "cpu,0"}, "--devices: must be all GPUs or all cpu, got 'cpu,cuda:0'. Their results would differ by more than rounding."),
    ({"devices": "1,1"}, "--devices: must be GPUs named once, got 'cuda:1,cuda:1'. Name each GPU once."),
    ({"devices": "cpu", "executor": "ray"}, "--devices: must be left out with --executor ray, got 'cpu'. Ray knows its machines' devices: pass --executor ray:workers=N for fewer."),
    ({"ray_address": "auto"}, "--ray-address: must be left out without --executor ray, got 'auto'. Pass --executor ray with it."),
    ({"ray_address": "ray://h:1", "executor": "ray"}, "--ray-address: must be auto or HOST:PORT, got 'ray://h:1'. Run on a machine of the cluster: ray:// is for remote terminals."),
    ({"device": "cuda:1", "executor": "ray"}, "--device: must be auto, cpu or cuda with --executor ray, got 'cuda:1'. Ray says which GPU a worker has."),
    ({"device": "cpu", "executor": "ray:gpus=1"}, "--device: must be auto or cuda where workers have GPUs, got 'cpu'. Leave gpus out."),
    ({"device": "cuda", "executor": "ray:gpus=0"}, "--device: must be auto or cpu where workers have no GPU, got 'cuda'. Leave gpus out."),
    ({"executor": "ray:gpus=2"}, "--executor: must be given with a device map where a worker has several GPUs, got 'ray:gpus=2'. Pass --device-map auto."),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_does_not_go_together_is_one_line(case):
    settings, message = (
        case if isinstance(case, tuple) else (case, f"--executor: {UNKNOWN.format(case['executor'])}")
    )
    with pytest.raises(ConfigError) as caught:
        load_config(settings)
    assert str(caught.value) == message


def test_the_commands_of_the_page_are_taken(root):
    text = (root / "docs" / "executors.md").read_text()
    commands = [
        line for fence in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in fence.splitlines()
    ]
    names = set()
    for line in commands:
        program, *words = shlex.split(line, comments=True)
        loaded = load_config(settings_of(parse_arguments(words)))
        assert program == "longbench-run"
        names.add(type(executor_of(loaded)))
    assert names == {Processes, RayCluster}


def test_the_default_executor_imports_no_ray_and_no_processes():
    code = (
        "import sys; from longbench_run.harness.config_build import load_config\n"
        "from longbench_run.harness.executors.choice import executor_of\n"
        "executor_of(load_config({}))\n"
        "print([name for name in ('ray', 'torch', 'multiprocessing') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
