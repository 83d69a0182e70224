"""The contract of a task: every promise, as tests to inherit."""

from __future__ import annotations

from longbench_run.tasks.testing.samples import SamplePromises
from longbench_run.tasks.testing.scores import ScorePromises
from longbench_run.tasks.testing.words import WordPromises


class TaskContract(WordPromises, SamplePromises, ScorePromises):
    """What every task promises; name one in a class whose name begins with ``Test``, and pytest collects it all."""
