"""What a piece of work took at most, and whether an error means that memory ran out."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set size to the current one

_ALLOCATOR_SAYS = (
    "DefaultCPUAllocator",  # torch on a CPU: a RuntimeError without a class of its own
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "CUDA out of memory",
)


class PeakMemory:
    """Peak memory since `start`.

    On GPUs it is the sum over devices of what torch had allocated at most, weights counted. On a CPU it
    is the peak resident set of the whole process, weights and libraries counted, which Linux alone can reset;
    elsewhere None.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        """Prepare for a model that lies on ``devices``; nothing is reset before `start`."""
        self._gpus = [device for device in devices if device.type == "cuda"]
        self._is_reset = False

    def start(self) -> None:
        """Forget earlier peaks."""
        if self._gpus:
            for device in self._gpus:
                torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
            self._is_reset = True
        except OSError:
            self._is_reset = False

    def read(self) -> int | None:
        """Return the peak in bytes, or None where the system does not tell."""
        if self._gpus:
            return sum(torch.cuda.max_memory_allocated(device) for device in self._gpus)
        if not self._is_reset:
            return None
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on a GPU or in the CPU's allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _ALLOCATOR_SAYS)


def release_memory() -> None:
    """Return what torch holds but does not use; call it once no frame holds the failed tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
