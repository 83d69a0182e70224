"""`longbench-run lm-eval`: lm-eval's own command line, with the model `hf-extended`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from longbench_run.tasks.lm_eval.loading import installed


def hand_over(words: Sequence[str]) -> int:
    """Run lm-eval's command line.

    Args:
        words: What follows ``lm-eval``: ``run --model hf-extended ...``, ``ls tasks``, ``validate ...``.

    Raises:
        TaskError: If lm-eval is not installed.
        SystemExit: As lm-eval ends, with its exit code.
    """
    installed()
    from lm_eval.__main__ import cli_evaluate

    import longbench_run.harness.lm_eval_model  # noqa: F401  # lm-eval 0.4.13 knows a model once its module is there

    typed = sys.argv
    sys.argv = ["lm-eval", *words]  # where lm-eval reads its command line
    try:
        cli_evaluate()
    finally:
        sys.argv = typed
    return 0
