"""The contract of a method: every promise, as tests to inherit."""

from __future__ import annotations

from longbench_run.harness.testing.blocks import BlockPromises
from longbench_run.harness.testing.meaning import MeaningPromises
from longbench_run.harness.testing.samples import SamplePromises
from longbench_run.tasks.testing.promises import checks_of


class MethodContract(MeaningPromises, SamplePromises, BlockPromises):
    """What every method promises; name one in a class whose name begins with ``Test``, and pytest collects it all.

    Declarations are asserted both ways: what a method says it does not keep, it must really not keep.
    """


def contract_checks() -> tuple[str, ...]:
    """Return the names of all checks, methods of `MethodContract`."""
    return checks_of(MethodContract)
