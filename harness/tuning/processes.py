"""Processes that tune one variant together, as torchrun or accelerate launch started them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from longbench_run.harness.errors import ConfigError, LongbenchError

T = TypeVar("T")

_kept: list[Any] = []
"""Groups that were joined. What averages gradients would free the last reference while it holds the interpreter's lock,
for which a thread of the group may wait that freeing waits for (torch 2.13, gloo)."""

_FSDP = "ACCELERATE_USE_FSDP"
"""Set by accelerate's configuration, or by hand: one model over several processes."""
_SETTINGS = "FSDP_"
"""Accelerate's say of how a model is split: it comes to it in shares, and must not be split or read otherwise."""
_OTHERS = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
"""The same by ways that are not taken here, and what they are called."""
_PLACES = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""What launchers set in every process that they start, beside ``WORLD_SIZE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Those that train one variant together, and the place of this one among them."""

    index: int = 0
    """This one's; the first one writes and speaks."""
    count: int = 1
    local_index: int = 0
    """This one's among those of its machine."""
    local_count: int = 1
    sharded: bool = False
    """Whether each holds a share of the model, its gradients and optimizer (FSDP), and not all of them."""

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.index == 0

    @property
    def shares(self) -> int:
        """Parts that a model is in, of which each process holds one."""
        return self.count if self.sharded else 1

    def share(self, batch_size: int) -> int:
        """Return how many samples of a batch this process learns.

        Raises:
            ConfigError: If they cannot all have as many.
        """
        if batch_size % self.count:
            raise ConfigError(
                f"--batch-size: number must be divisible by the {self.count} processes, got {batch_size}. "
                "Pass another one, or start fewer processes."
            )
        return batch_size // self.count

    def device(self, asked: str | None) -> str:
        """Return where this process computes, as ``--device`` would say it.

        Raises:
            ConfigError: If one GPU is asked for, which several processes would share.
        """
        if self.count == 1 or asked == "cpu":
            return asked or "auto"
        if asked not in (None, "auto"):
            raise ConfigError(
                f"--device: must be auto or cpu where {self.count} processes train, got {asked!r}. Leave it out: every "
                "process takes a GPU of its own."
            )
        import torch

        return f"cuda:{self.local_index}" if torch.cuda.is_available() else "cpu"

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Connect the processes for as long as the block takes, in which accelerate's settings of FSDP are not read."""
        if self.count == 1:
            yield
            return
        from torch.distributed import destroy_process_group, group, init_process_group

        settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
        for name in settings:
            del os.environ[name]
        init_process_group()  # for CPU and GPU; accelerate takes it as it is
        _kept.append(group.WORLD)
        try:
            yield
        finally:
            destroy_process_group()
            os.environ.update(settings)

    def agree(self, work: Callable[[], T]) -> T:
        """Do work in every process, and end all where one cannot; none goes on before all are done.

        Raises:
            ConfigError: In the first process, with what any of several could not, each line once.
            SystemExit: In the others: it is said.
        """
        if self.count == 1:
            return work()
        from torch.distributed import all_gather_object

        result: list[T] = []
        complaint = None
        try:
            result.append(work())
        except LongbenchError as error:
            complaint = str(error)
        complaints: list[str | None] = [None] * self.count
        all_gather_object(complaints, complaint)
        said = dict.fromkeys(text for text in complaints if text is not None)
        if said and self.is_first:
            raise ConfigError("\n".join(said))
        if said:
            raise SystemExit(2)
        return result[0]

    def first(self, work: Callable[[], None]) -> None:
        """Do in the first process what only one may do, while the others wait; errors as for `agree`."""
        self.agree(work if self.is_first else lambda: None)

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do work in one process after the other, for what they cannot all hold at a time; errors as for `agree`."""
        result: list[T] = []
        for index in range(self.count):
            if index == self.index:
                self.agree(lambda: result.append(work()))
            else:
                self.agree(lambda: None)
        return result[0]


ALONE = Processes()


def processes_of(environment: Mapping[str, str]) -> Processes:
    """Return the processes that a launcher's environment tells of.

    Raises:
        ConfigError: If it tells of several but not which one this is, or of one that shares a model.
    """
    count, sharded = int(environment.get("WORLD_SIZE", "1")), _is_set(environment, _FSDP)
    if sharded and count == 1:
        raise ConfigError(
            f"tune: processes that share a model by FSDP must be at least 2, got 1 with {_FSDP}. Start more, or unset it."
        )
    if count == 1:
        return ALONE
    missing = [name for name in (*_PLACES, "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise ConfigError(
            f"tune: processes must be started by torchrun or accelerate launch, got WORLD_SIZE={count} without "
            f"{missing[0]}. Unset WORLD_SIZE, or start it with torchrun."
        )
    index, local_index, local_count = (int(environment[name]) for name in _PLACES)
    return Processes(
        index=index, count=count, local_index=local_index, local_count=local_count, sharded=sharded
    )


def check_split(environment: Mapping[str, str]) -> None:
    """Refuse to split a model otherwise than by FSDP.

    Raises:
        ConfigError: If accelerate's configuration asks for it.
    """
    for name, what in _OTHERS.items():
        if _is_set(environment, name):
            raise ConfigError(
                f"tune: processes must hold the whole model, or share it by FSDP, got {what} by {name}. Start it with "
                "torchrun, or by an accelerate configuration with FSDP or none of them."
            )


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "false").lower() in {"true", "1", "yes"}
