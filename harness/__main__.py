"""``python -m longbench_run.harness`` is the command ``longbench-run``."""

import sys

from longbench_run.harness.cli import main

if __name__ == "__main__":
    sys.exit(main())
