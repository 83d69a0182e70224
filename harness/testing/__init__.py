"""Checks for authors of extension methods: what every method promises, as tests to inherit.

Five lines put a method through all of them, here one that this package knows by name::

    from longbench_run.harness.testing import MethodContract

    class TestSelfExtend(MethodContract):
        method = "self_extend:group=4:window=16"
        identities = ("self_extend:group=1:window=16",)

`method` may also be a `Component` or a `Method` as a value, which needs no name in the registry. The models are
tiny, random and made in code, so that a check takes a fraction of a second on a CPU: choose parameters that do
something within 150 tokens on a window of 64. A check that fails raises `BrokenPromise`, whose message says what
was promised and what was found. Only torch and transformers are needed; pytest collects the class, or
`broken_promises(TestSelfExtend())` runs it without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longbench_run.tasks.testing import BrokenPromise, broken_promises

if TYPE_CHECKING:
    from longbench_run.harness.testing.contract import MethodContract, contract_checks
    from longbench_run.harness.testing.families import FAMILIES, TinyFamily, family_checks, family_contract
    from longbench_run.harness.testing.formula import by_formula
    from longbench_run.harness.testing.models import draw_tokens, randomised, tiny_llama

__all__ = [
    "FAMILIES",
    "BrokenPromise",
    "MethodContract",
    "TinyFamily",
    "broken_promises",
    "by_formula",
    "contract_checks",
    "draw_tokens",
    "family_checks",
    "family_contract",
    "randomised",
    "tiny_llama",
]

_HOMES = {
    "FAMILIES": "families",
    "MethodContract": "contract",
    "TinyFamily": "families",
    "by_formula": "formula",
    "contract_checks": "contract",
    "draw_tokens": "models",
    "family_checks": "families",
    "family_contract": "families",
    "randomised": "models",
    "tiny_llama": "models",
}


def __getattr__(name: str) -> object:
    """Import on first use: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
