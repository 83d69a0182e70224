"""What a process does that was started to compute jobs for another one."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def prepare_process(threads: int) -> None:
    """Share the cores with the other workers, and leave the terminal to the process that draws on it.

    Args:
        threads: CPU threads, at least 1.
    """
    import torch
    from transformers.utils import logging as transformers_logging

    # torch's own number is smaller where the environment says so.
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
