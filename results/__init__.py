"""What was measured: records, the store of a run, tables and statistics. No torch, no sibling package.

Names are imported when first used: a command that only writes records loads neither pandas nor scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longbench_run.results.records import Record, ResultsError, RunHeader
    from longbench_run.results.store import Store, read_run
    from longbench_run.results.table import load, summarize

__all__ = ["Record", "ResultsError", "RunHeader", "Store", "load", "read_run", "summarize"]

_MODULES = {
    "Record": "records",
    "ResultsError": "records",
    "RunHeader": "records",
    "Store": "store",
    "load": "table",
    "read_run": "store",
    "summarize": "table",
}


def __getattr__(name: str) -> object:
    """Import an exported name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List the exported names."""
    return sorted(__all__)
