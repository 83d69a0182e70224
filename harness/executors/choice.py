"""Where a run is computed, as far as its texts tell; imports no torch and no Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import parse_number, parse_term

if TYPE_CHECKING:
    from longbench_run.harness.config import RunConfig
    from longbench_run.harness.config_build import LoadedConfig
    from longbench_run.harness.executors.base import Executor

LOCAL, RAY = "local", "ray"
_PARAMETERS: Mapping[str, Mapping[str, int]] = {LOCAL: {}, RAY: {"workers": 1, "cores": 1, "gpus": 0}}
"""Executor -> parameter -> its least value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorChoice:
    """An executor as asked for: ``local`` or ``ray[:workers=N][:cores=N][:gpus=N]``."""

    name: str
    workers: int | None = None
    """At most so many; None for as many as there is room for."""
    cores: int | None = None
    """CPU cores per worker; None for one beside a GPU, else all of a machine's."""
    gpus: int | None = None
    """GPUs per worker; None for one where the cluster has any."""


def parse_executor(text: str) -> ExecutorChoice | None:
    """Return the executor that a text names, None where it names none."""
    try:
        term = parse_term(text, where="")
    except ConfigError:
        return None
    known = _PARAMETERS.get(term.name)
    numbers = {key: parse_number(value) for key, value in term.parameters}
    if known is None or not set(numbers) <= set(known):
        return None
    whole = {key: n for key, n in numbers.items() if isinstance(n, int) and n >= known[key]}
    return ExecutorChoice(name=term.name, **whole) if len(whole) == len(numbers) else None


def parse_device(value: object) -> str | None:
    """Return the device that ``0``, ``cuda:0`` or ``cpu`` names, as torch spells it; None where it names none."""
    text = str(value).removeprefix("cuda:")
    if text == "cpu":
        return text
    is_number = not isinstance(value, bool) and text.isascii() and text.isdigit()
    return f"cuda:{int(text)}" if is_number else None


def conflicts(config: RunConfig, where: Callable[[str], str]) -> list[str]:
    """Say which settings of the executor do not go together, one line each.

    Args:
        config: The configuration.
        where: Key -> the place where it was set, e.g. ``--devices:``.
    """
    choice = config.chosen_executor
    is_ray = choice.name == RAY
    devices = ",".join(config.devices)
    maps = [m for m in (config.device_map, *(model.device_map for model in config.models)) if m is not None]
    rules = (
        (devices and config.device != "auto", "devices", f"left out where a device is given ({config.device})",
         devices, "Pass --device or --devices, not both."),
        (devices and maps, "devices", f"left out where a device map is given ({maps and maps[0]})",
         devices, "Pass --device-map or --devices, not both."),
        (devices and is_ray, "devices", "left out with --executor ray", devices,
         "Ray knows its machines' devices: pass --executor ray:workers=N for fewer."),
        (len({name == "cpu" for name in config.devices}) > 1, "devices", "all GPUs or all cpu", devices,
         "Their results would differ by more than rounding."),
        (len(set(config.devices) - {"cpu"}) < len(config.devices) - config.devices.count("cpu"), "devices",
         "GPUs named once", devices, "Name each GPU once."),
        (config.ray_address is not None and not is_ray, "ray_address", "left out without --executor ray",
         config.ray_address, "Pass --executor ray with it."),
        (is_ray and (config.ray_address or "").startswith("ray://"), "ray_address", "auto or HOST:PORT",
         config.ray_address, "Run on a machine of the cluster: ray:// is for remote terminals."),
        (is_ray and ":" in config.device, "device", "auto, cpu or cuda with --executor ray", config.device,
         "Ray says which GPU a worker has."),
        (is_ray and config.device == "cpu" and (choice.gpus or 0) > 0, "device", "auto or cuda where workers have GPUs",
         config.device, "Leave gpus out."),
        (is_ray and config.device == "cuda" and choice.gpus == 0, "device", "auto or cpu where workers have no GPU",
         config.device, "Leave gpus out."),
        (is_ray and (choice.gpus or 0) > 1 and len(maps) == 0, "executor",
         "given with a device map where a worker has several GPUs", config.executor, "Pass --device-map auto."),
    )  # fmt: skip
    return [
        f"{where(key)} must be {rule}, got {got!r}. {remedy}"
        for broken, key, rule, got, remedy in rules
        if broken
    ]


def executor_of(loaded: LoadedConfig) -> Executor:
    """Return the executor that a configuration asks for, not opened yet."""
    config = loaded.config
    choice = config.chosen_executor
    if choice.name == RAY:
        from longbench_run.harness.executors.ray_cluster import RayCluster

        return RayCluster(
            choice,
            address=config.ray_address,
            device=config.device,
            where=loaded.where("ray_address" if config.ray_address is not None else "executor"),
        )
    if config.devices:
        from longbench_run.harness.executors.processes import Processes

        return Processes(config.devices, where=loaded.where("devices"))
    from longbench_run.harness.executors.in_process import InProcess

    return InProcess()
