"""Checks for authors of tasks: what every task promises, as tests to inherit.

Four lines put a task through all of them, here one that this package carries::

    from longbench_run.tasks.passkey import Passkey
    from longbench_run.tasks.testing import TaskContract

    class TestPasskey(TaskContract):
        task = Passkey(depths=5)

Neither a model nor a registered name is needed: tokenizers are made here, and right and wrong answers are written by
the checks. A check that fails raises `BrokenPromise`, whose message says what was promised and what was found. pytest
collects the class, or `broken_promises(TestPasskey())` runs it without; nothing beside this package is imported.
"""

from longbench_run.tasks.testing.contract import TaskContract
from longbench_run.tasks.testing.promises import BrokenPromise, broken_promises, checks_of

__all__ = ["BrokenPromise", "TaskContract", "broken_promises", "checks_of"]
