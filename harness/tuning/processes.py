"""Processes that tune one variant together, as torchrun or accelerate launch started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from longbench_run.harness.errors import ConfigError, LongbenchError

T = TypeVar("T")

_kept: list[Any] = []
"""Groups that were joined. What averages gradients would free the last reference while it holds the interpreter's lock,
for which a thread of the group may wait that freeing waits for (torch 2.13, gloo)."""

_SPLITTING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""What accelerate's configuration says through the environment, and what it means: one model over several devices."""
_PLACES = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""What launchers set in every process that they start, beside ``WORLD_SIZE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Those that train one model each alike, and the place of this one among them."""

    index: int = 0
    """This one's; the first one writes and speaks."""
    count: int = 1
    local_index: int = 0
    """This one's among those of its machine."""
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.index == 0

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
        """Connect the processes for as long as the block takes."""
        if self.count == 1:
            yield
            return
        from torch.distributed import destroy_process_group, group, init_process_group

        init_process_group()  # for CPU and GPU; accelerate takes it as it is
        _kept.append(group.WORLD)
        try:
            yield
        finally:
            destroy_process_group()

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


ALONE = Processes()


def processes_of(environment: Mapping[str, str]) -> Processes:
    """Return the processes that a launcher's environment tells of.

    Raises:
        ConfigError: If it tells of several, but not which one this is.
    """
    count = int(environment.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    missing = [name for name in (*_PLACES, "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise ConfigError(
            f"tune: processes must be started by torchrun or accelerate launch, got WORLD_SIZE={count} without "
            f"{missing[0]}. Unset WORLD_SIZE, or start it with torchrun."
        )
    index, local_index, local_count = (int(environment[name]) for name in _PLACES)
    return Processes(index=index, count=count, local_index=local_index, local_count=local_count)


def check_whole(environment: Mapping[str, str]) -> None:
    """Refuse to split one model over several devices.

    Raises:
        ConfigError: If accelerate's configuration asks for it.
    """
    for name, what in _SPLITTING.items():
        if environment.get(name, "false").lower() in {"true", "1", "yes"}:
            raise ConfigError(
                f"tune: processes must each hold the whole model, got {what} by {name}. Start it with torchrun, or by an "
                "accelerate configuration without it; pass --lora 8 where a device is too small."
            )
