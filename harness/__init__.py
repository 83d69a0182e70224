"""Runs models: methods, attention, models, the matrix and its runner, the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from longbench_run.harness.api import run
    from longbench_run.harness.methods import parse_method

__all__ = ["__version__", "parse_method", "run"]

# Imported when first used: nothing here may cost what it does not need.
_MODULES = {"parse_method": "methods", "run": "api"}


def __getattr__(name: str) -> object:
    """Import an exported name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("longbench-run")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List the exported names."""
    return sorted(__all__)
