"""Cutting Chinese text into words with jieba, as LongBench's metrics do."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench.metrics import Cut


def load_cut(*, where: str, otherwise: str) -> Cut:
    """Return what cuts Chinese text into words, with jieba's own dictionary.

    Args:
        where: What needs it, for the message.
        otherwise: What can be done without it, for the message.

    Raises:
        TaskError: If jieba is not installed: another cut would give other scores.
    """
    try:
        with warnings.catch_warnings():
            # jieba 0.42.1 holds escapes that newer versions of Python warn of when they compile it.
            warnings.simplefilter("ignore")
            jieba = import_module("jieba")
    except ModuleNotFoundError:
        raise TaskError(
            f"{where}: Chinese text must be cut into words by jieba, which is not installed. "
            f'Run `pip install "longbench-run[chinese]"`, or {otherwise}.'
        ) from None
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        # Its cache would lie in the shared folder for temporary files, where anybody could have put another.
        tokenizer.tmp_dir = folder
        tokenizer.initialize()

    @lru_cache(maxsize=8)  # a prediction is compared with each of its answers
    def cut(text: str) -> Sequence[str]:
        return tuple(tokenizer.cut(text))

    return cut
