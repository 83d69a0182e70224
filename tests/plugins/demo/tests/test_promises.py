from longbench_run_demo.ledger import Ledger
from longbench_run_demo.slow_half import SlowHalf

from longbench_run.harness.testing import MethodContract
from longbench_run.tasks.testing import TaskContract


class TestSlowHalf(MethodContract):
    method = SlowHalf(factor=4)
    identities = (SlowHalf(factor=1),)


class TestLedger(TaskContract):
    task = Ledger()
