"""Carrying a method into a Hugging Face model, without touching model code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longbench_run.harness.attention.applied import Applied, apply
    from longbench_run.harness.attention.rotary import original_window, rope_facts

__all__ = ["Applied", "apply", "original_window", "rope_facts"]

_HOMES = {"Applied": "applied", "apply": "applied", "original_window": "rotary", "rope_facts": "rotary"}


def __getattr__(name: str) -> object:
    """Import on first use: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
