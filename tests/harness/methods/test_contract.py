"""What every method promises, asserted for each name of the registry with the suite that is shipped for plugins."""

from __future__ import annotations

import textwrap

import pytest

from longbench_run.harness import testing
from longbench_run.harness.methods import component_classes
from longbench_run.harness.methods.registry import BUILT_IN
from longbench_run.harness.testing import MethodContract, broken_promises, contract_checks

LISTS = "short_factor=1/1.1/1.2/1.3/1.4/1.5/1.6/1.7:long_factor=1/1.5/2/2.5/3/3.5/4/4.5"
NEEDS = {"longrope": f"longrope:{LISTS}"}
"""Methods that cannot be written without parameters."""
METHODS = [
    *(NEEDS.get(name, name) for name in BUILT_IN),
    # Other computations under the same name, and what a window of 64 tokens does not reach by default.
    f"longrope:side=short:factor=4:{LISTS}",
    "dynamic_ntk:variant=transformers",
    "yarn:temperature=per_query",
    "entropy_abf:skip_layers=0",
    "dca:variant=released",
    "string:variant=released",
    "lm_infinite:window=32:sinks=4",
    # Several axes at once.
    "rerope+log_n",
    "abf+self_extend+log_n",
    "yarn+leaky_rerope",
    "yarn:factor=2+streaming_llm:window=32:sinks=4",
    "dynamic_ntk+rerope",
]
IDENTITIES = {
    "pi": ["pi:factor=1"],
    "ntk": ["ntk:factor=1"],
    "ntk_mixed": ["ntk_mixed:factor=1"],
    "ntk_fixed": ["ntk_fixed:factor=1"],
    "dynamic_ntk": ["dynamic_ntk:original_context_length=4096"],
    "ntk_by_parts": ["ntk_by_parts:factor=1"],
    "yarn": ["yarn:factor=1", "yarn:factor=1:temperature=per_query:original_context_length=4096"],
    "llama3": ["llama3:factor=1"],
    NEEDS["longrope"]: ["longrope:factor=1:long_factor=1/1/1/1/1/1/1/1"],
    "abf": ["abf:base=10000"],
    "entropy_abf": ["entropy_abf:base=10000:original_context_length=4096"],
    "log_n": ["log_n:original_context_length=4096"],
    "rerope": ["rerope:original_context_length=4096:window=150"],
    "self_extend": ["self_extend:group=1:window=16", "self_extend:original_context_length=4096"],
    "leaky_rerope": ["leaky_rerope:stretch=1"],
    "dca": ["dca:original_context_length=4096"],
    "string": ["string:shift=20:window=20", "string:original_context_length=4096"],
    "lm_infinite": ["lm_infinite:original_context_length=4096"],
    "streaming_llm": ["streaming_llm:original_context_length=4096"],
}
"""Each method with parameters that change nothing, so far as it has some."""


def contract(text):
    return type("Contract", (MethodContract,), {"method": text, "identities": IDENTITIES.get(text, ())})()


@pytest.mark.parametrize("check", contract_checks())
@pytest.mark.parametrize("text", METHODS)
def test_every_method_keeps_its_promises(text, check):
    getattr(contract(text), check)()


def test_every_method_but_the_unmodified_model_has_an_identity():
    assert {text.split(":")[0] for text in IDENTITIES} == set(BUILT_IN) - {"none"}


def test_every_method_says_what_it_is():
    for cls in component_classes():
        assert cls.summary
        assert cls.source
        assert cls.__doc__


def test_a_plugin_author_writes_five_lines():
    """As the package's documentation shows it; pytest collects a class of this name without a constructor."""
    example = textwrap.dedent(testing.__doc__.split("::\n")[1].split("\n`method`")[0])
    names = {}

    exec(example, names)  # noqa: S102  # what the documentation shows is what is run

    assert len([line for line in example.splitlines() if line]) <= 5
    mine = names["TestSelfExtend"]
    assert mine.__init__ is object.__init__
    assert [name for name in dir(mine) if name.startswith("test_")] == list(contract_checks())
    assert broken_promises(mine()) == {}
