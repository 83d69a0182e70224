"""What was measured: records, the store of a run, tables and statistics. No torch, no sibling package.

Names are imported when first used: a command that only writes records loads neither pandas nor scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longbench_run.results.best import best_cells
    from longbench_run.results.comparison import Comparison, compare_runs
    from longbench_run.results.entropy import entropy_by_position, entropy_slopes
    from longbench_run.results.entropy_correlation import entropy_correlations
    from longbench_run.results.positions import by_position, position_curves, position_effects
    from longbench_run.results.records import Record, ResultsError, RunHeader
    from longbench_run.results.store import Store, read_run
    from longbench_run.results.suites import suite_scores
    from longbench_run.results.table import load, summarize
    from longbench_run.results.truncation import by_truncation

__all__ = [
    "Comparison",
    "Record",
    "ResultsError",
    "RunHeader",
    "Store",
    "best_cells",
    "by_position",
    "by_truncation",
    "compare_runs",
    "entropy_by_position",
    "entropy_correlations",
    "entropy_slopes",
    "load",
    "position_curves",
    "position_effects",
    "read_run",
    "suite_scores",
    "summarize",
]

_MODULES = {
    "Comparison": "comparison",
    "Record": "records",
    "ResultsError": "records",
    "RunHeader": "records",
    "Store": "store",
    "best_cells": "best",
    "by_position": "positions",
    "by_truncation": "truncation",
    "compare_runs": "comparison",
    "entropy_by_position": "entropy",
    "entropy_correlations": "entropy_correlation",
    "entropy_slopes": "entropy",
    "load": "table",
    "position_curves": "positions",
    "position_effects": "positions",
    "read_run": "store",
    "suite_scores": "suites",
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
