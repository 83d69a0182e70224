"""What a run was made with: packages, revision of the source, device, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "longbench-run",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
)
_CPU_NAME = "model name"


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that can change a number, and Python's; nothing is imported."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """Return the commit of this program's source, ``-dirty`` where files differ; None where there is none."""
    folder = Path(__file__).resolve().parent
    try:
        inside = _git("ls-files", "--error-unmatch", Path(__file__).name, folder=folder)
        revision = _git("rev-parse", "HEAD", folder=folder)
        if inside is None or revision is None:
            return None
        changed = _git("status", "--porcelain", "--untracked-files=no", folder=folder)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return f"{revision}-dirty" if changed else revision


def _git(*arguments: str, folder: Path) -> str | None:
    run = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return run.stdout.strip() if run.returncode == 0 else None


def device_name(device: str) -> str:
    """Return a device with the name of its hardware, e.g. ``cuda:0 (NVIDIA H200)``.

    Args:
        device: As torch spells it; ``cuda`` stands for all GPUs.
    """
    if not device.startswith("cuda"):
        return f"{device} ({_processor()})"
    import torch

    _, _, number = device.partition(":")
    numbers = [int(number)] if number else range(torch.cuda.device_count())
    return f"{device} ({', '.join(dict.fromkeys(torch.cuda.get_device_name(n) for n in numbers))})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(_CPU_NAME)]
    return names[0] if names else platform.processor() or platform.machine()


def now() -> str:
    """Return the time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
