"""Memory of this process above what was there when counting began."""

from __future__ import annotations

import ctypes
import sys

import torch

from longbench_run.harness.models.memory import PeakMemory, release_memory


class Above:
    """Counts from when it is made: weights and inputs that are there by then do not count."""

    def __init__(self, device: str) -> None:
        """Begin to count.

        Args:
            device: Whose memory, as torch spells it.
        """
        release_memory()
        if sys.platform == "linux":
            # What preparing has freed is still resident: the work would take it again without a new peak.
            ctypes.CDLL(None).malloc_trim(0)
        self._peak = PeakMemory([torch.device(device)])
        self._peak.start()
        self._before = self._peak.read()

    def mib(self) -> float:
        """Return the peak in MiB above the beginning.

        Raises:
            SystemExit: If the system does not tell.
        """
        after = self._peak.read()
        if self._before is None or after is None:
            raise SystemExit("peak memory on a CPU must be measured on Linux.")
        return (after - self._before) / 2**20
