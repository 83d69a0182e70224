"""Names of the extension methods; listing them imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError, unknown_name
from longbench_run.harness.methods.base import Component
from longbench_run.tasks.plugins import Names

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _fault(name: str, found: Any) -> str | None:
    """Return why what a plugin offers is no component, None where it is one."""
    if not (isinstance(found, type) and issubclass(found, Component)):
        return "that is no subclass of Component"
    own = getattr(found, "name", None)
    return None if own == name else f"whose name is {own!r}"


METHODS = Names(
    kind="method",
    group="longbench_run.methods",
    built_in={name: f"{_PACKAGE}.{target}" for name, target in BUILT_IN.items()},
    error=ConfigError,
    fault=_fault,
)
"""Every name, those of plugins among them."""


def component_class(name: str, *, where: str) -> type[Component]:
    """Return the class of a component, of this package or of a plugin.

    Raises:
        UnknownName: If no component has this name.
        ConfigError: If two packages have the name, or the plugin that has it is broken.
    """
    names = METHODS.all()
    if name not in names:
        raise unknown_name("method", name, names, where=where, see="`longbench-run list methods`")
    found: type[Component] = METHODS.load(name, where=where)
    return found


def component_classes() -> Iterator[type[Component]]:
    """Yield every component class of this package in the order of the table."""
    for name in BUILT_IN:
        yield METHODS.load_built_in(name)
