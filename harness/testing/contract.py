"""The contract of a method: every promise, as tests to inherit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longbench_run.harness.testing.blocks import BlockPromises
from longbench_run.harness.testing.meaning import MeaningPromises
from longbench_run.harness.testing.promises import BrokenPromise
from longbench_run.harness.testing.samples import SamplePromises

if TYPE_CHECKING:
    from collections.abc import Iterable


class MethodContract(MeaningPromises, SamplePromises, BlockPromises):
    """What every method promises; name one in a class whose name begins with ``Test``, and pytest collects it all.

    Declarations are asserted both ways: what a method says it does not keep, it must really not keep.
    """


def contract_checks() -> tuple[str, ...]:
    """Return the names of all checks, methods of `MethodContract`."""
    return tuple(sorted(name for name in dir(MethodContract) if name.startswith("test_")))


def broken_promises(
    contract: MethodContract, checks: Iterable[str] | None = None
) -> dict[str, BrokenPromise]:
    """Run a contract without pytest and return what is broken, by the name of the check.

    Args:
        contract: An instance of a class that names a method.
        checks: Names of the checks to run; default: all.

    Raises:
        MethodNotApplicable: If the method cannot serve the model.
    """
    broken: dict[str, BrokenPromise] = {}
    for name in contract_checks() if checks is None else checks:
        try:
            getattr(contract, name)()
        except BrokenPromise as error:
            broken[name] = error
    return broken
