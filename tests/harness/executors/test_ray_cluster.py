"""Ray: the same records, also when an actor dies, and one line where there is no cluster."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from longbench_run.harness import run
from longbench_run.harness.environment import package_versions
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.executors import ray_cluster
from longbench_run.harness.executors.base import WorkersLost
from longbench_run.harness.executors.choice import ExecutorChoice
from longbench_run.harness.executors.ray_cluster import RayCluster
from longbench_run.results.store import read_run

with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`")


def workers():
    """Return the processes of actors at work that descend from this one."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        parents[folder.name] = parent
        if title.startswith(b"ray::Remote.compute"):
            found.append(folder.name)

    def is_ours(process):
        while process in parents:
            if process == str(os.getpid()):
                return True
            process = parents[process]
        return False

    return [int(process) for process in found if is_ours(process)]


@pytest.mark.ray
@with_ray
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_actors_of_which_one_is_killed_record_what_one_process_records(
    matrix, assert_as_local, killer, caplog, tmp_path
):
    progress = killer(lambda: os.kill(workers()[0], signal.SIGKILL), at=(16,))
    summary = run(**matrix, executor="ray:cores=1:workers=2", progress=progress)

    assert (summary.computed, summary.failed_samples, progress.recorded) == (24, 0, 24)
    assert_as_local(tmp_path / "out")
    assert ["(ActorDiedError of Ray)" in r.getMessage() for r in caplog.records] == [True]
    assert progress.told[0][0] == "2 workers"
    assert read_run("out").header.device == "cpu (Ray, CPU cores: 2 x 1)"


def test_without_ray_the_line_says_what_to_install(matrix, monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        run(**matrix, executor="ray")
    assert str(caught.value) == (
        "--executor: ray must be installed, got no package of that name. Run: pip install 'longbench-run[ray]'"
    )
    assert not Path("out").exists()


@with_ray
@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1:1", "Connection refused"), ("nowhere", "no HOST:PORT")]
)
def test_an_address_that_does_not_answer_is_one_line(matrix, address, reason):
    with pytest.raises(ConfigError) as caught:
        run(**matrix, executor="ray", ray_address=address)
    assert str(caught.value) == (
        "run(): ray_address: must be the address of a running Ray cluster that this machine belongs to, "
        f"got {address!r} ({reason}). See `ray status`, or leave it out to use this machine alone."
    )
    assert not Path("out").exists()


def test_workers_have_the_drivers_packages():
    ray_cluster._require_same(package_versions())
    with pytest.raises(
        ConfigError, match=r"^--executor: every machine .* must have torch .*, got one with 0\.1\. "
    ):
        ray_cluster._require_same(package_versions() | {"torch": "0.1"})


def test_a_worker_without_the_package_is_told_from_one_that_died():
    ray_cluster._require_package(RuntimeError("The actor died unexpectedly before finishing this task."))
    with pytest.raises(
        ConfigError, match=r"must have longbench-run, got one without it\. Run there: pip install "
    ):
        ray_cluster._require_package(RuntimeError("ModuleNotFoundError: No module named 'longbench_run'"))


ROOM = {
    "two machines with GPUs, one without": ({}, "auto", [(8, 2), (8, 1), (4, 0)], (3, 1, 1, "cuda:0")),
    "GPUs that are not to be used": ({}, "cpu", [(8, 2), (4, 0)], (3, 4, 0, "cpu")),
    "several GPUs each": ({"gpus": 2}, "auto", [(8, 4), (8, 3)], (3, 1, 2, "cuda:0")),
    "more GPUs than cores": ({"cores": 4}, "cuda", [(8, 8)], (2, 4, 1, "cuda:0")),
    "no more than asked for": ({"cores": 2, "workers": 3}, "auto", [(16, 0)], (3, 2, 0, "cpu")),
    "a machine that only leads": ({}, "auto", [(0, 0), (6, 0), (6, 0)], (2, 6, 0, "cpu")),
}
"""How many, on what, cores and GPUs of machines -> workers, their cores, their GPUs, their device."""


def cluster_of(machines, parameters, device):
    cluster = RayCluster(
        ExecutorChoice(name="ray", **parameters), address=None, device=device, where="--executor:"
    )
    nodes = [
        {"Alive": True, "Resources": {"CPU": float(cores), "GPU": float(gpus)}} for cores, gpus in machines
    ]
    nodes.append({"Alive": False, "Resources": {}})
    cluster._ray = SimpleNamespace(nodes=lambda: nodes)
    return cluster


@pytest.mark.parametrize("name", ROOM)
def test_there_are_as_many_workers_as_the_machines_have_room_for(name):
    parameters, device, machines, expected = ROOM[name]
    cluster = cluster_of(machines, parameters, device)
    cluster._make_room()
    options = cluster._options
    assert (cluster.size, options["num_cpus"], options["num_gpus"], cluster.device) == expected


def test_a_worker_that_fits_on_no_machine_is_one_line():
    with pytest.raises(ConfigError) as caught:
        cluster_of([(8, 0), (4, 0)], {}, "cuda")._make_room()
    assert str(caught.value) == (
        "--executor: a worker of 1 cores and 1 GPUs must fit on a machine of the cluster, got machines of "
        "8 cores, 0 GPUs; 4 cores, 0 GPUs. Ask for less, as in ray:cores=1."
    )


def test_a_cluster_that_gives_no_worker_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(ray_cluster, "_SECONDS_TO_START", -1.0)
    cluster = cluster_of([(1, 0)], {}, "cpu")
    cluster._ray.wait = lambda asked, **_: ([], asked)
    cluster._waiting["an actor's versions"] = 0

    with pytest.raises(WorkersLost, match="a Ray worker must start within"):
        next(cluster.events())
