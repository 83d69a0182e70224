"""The model that the package carries: small, really trained, with a window short enough to outgrow on a CPU."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def path() -> Path:
    """Return the folder of the bundled model, as `from_pretrained` takes it.

    The package is always installed as files, never run from an archive.
    """
    return Path(str(files("longbench_run.harness.reference_model"))) / "weights"
