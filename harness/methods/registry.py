"""Names of the extension methods; listing them imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from longbench_run.harness.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.methods.base import Component

_PACKAGE = "longbench_run.harness.methods"

BUILT_IN = {
    "none": "none:Unmodified",
    "pi": "pi:PositionInterpolation",
    "ntk": "ntk:NtkAware",
    "ntk_mixed": "ntk:NtkMixed",
    "ntk_fixed": "ntk:NtkFixed",
    "dynamic_ntk": "dynamic_ntk:DynamicNtk",
    "ntk_by_parts": "yarn:NtkByParts",
    "yarn": "yarn:Yarn",
    "llama3": "llama3:Llama3",
    "longrope": "longrope:LongRope",
    "abf": "abf:AdjustedBase",
    "entropy_abf": "abf:EntropyAwareAbf",
    "log_n": "log_n:LogN",
    "self_extend": "self_extend:SelfExtend",
    "rerope": "rerope:ReRope",
    "leaky_rerope": "rerope:LeakyReRope",
    "dca": "dca:DualChunk",
    "string": "string:String",
    "lm_infinite": "lambda_mask:LmInfinite",
    "streaming_llm": "lambda_mask:StreamingLlm",
}
"""Name -> ``module:class`` inside this package."""


def component_class(name: str, *, where: str) -> type[Component]:
    """Return the class of a component.

    Raises:
        UnknownName: If no component has this name.
    """
    if name not in BUILT_IN:
        raise unknown_name("method", name, BUILT_IN, where=where, see="`longbench-run list methods`")
    module, _, attribute = BUILT_IN[name].partition(":")
    found: type[Component] = getattr(import_module(f"{_PACKAGE}.{module}"), attribute)
    return found


def component_classes() -> Iterator[type[Component]]:
    """Yield every component class in the order of the table."""
    for name in BUILT_IN:
        yield component_class(name, where="list")
