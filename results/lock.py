"""One writer per run folder: a lock that dies with its process, also after ``kill -9``."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from longbench_run.results.records import ResultsError


class RunLock:
    """An exclusive ``flock`` on the file ``lock`` of a run folder.

    The kernel drops it when the process ends, however it ends. The file stays: removing it would let two
    processes lock two files of the same name. It names its holder only for the message of a second process.

    Args:
        folder: The run folder; exists.

    Raises:
        ResultsError: If another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock or fail at once."""
        path = folder / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").split()
            os.close(descriptor)
            raise ResultsError(
                f"{folder}: --output must be written by one process at a time, got a run that "
                f"{_named(holder)} is writing. Wait for it to end, or choose another --output."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def _named(holder: list[str]) -> str:
    """Say who holds the lock; the file is empty for an instant after it was taken."""
    if not holder:
        return "another process"
    pid, host = holder[0], " ".join(holder[1:])
    return f"process {pid}" if host in ("", socket.gethostname()) else f"process {pid} on {host}"
