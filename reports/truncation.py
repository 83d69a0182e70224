"""What truncation took, as a table: prompts that were cut, what became of the evidence, and the score by it."""

from __future__ import annotations

from collections.abc import Iterator

from longbench_run.reports.panels import Panel
from longbench_run.reports.text import length_label, multiple_label
from longbench_run.results.statistics import Estimate

TRUNCATION_NOTE = (
    "Cut: prompts that lost tokens, and how many they lost on average. Evidence: samples in whose prompt everything the "
    "answer rests on still stands, of those where that can be known; the score is split by it. Between the two groups "
    "more than the cut may differ: other questions are asked."
)


def truncation_table(panel: Panel) -> Iterator[list[str]]:
    """Yield the head and the rows of a table: shares that were cut and that kept their evidence, and scores by it.

    Args:
        panel: It has ledgers.
    """
    window = panel.model.original_context_length
    yield [
        "context length",
        "method",
        "cut",
        "tokens lost",
        "evidence survived",
        "score: survived",
        "score: lost",
        "score: not known",
    ]
    for length in panel.lengths:
        for method in panel.methods:
            if ledger := panel.ledgers.get((method, length)):
                yield [
                    f"{length_label(length)} ({multiple_label(length, window)})",
                    method,
                    _share(ledger.truncated, ledger.samples),
                    f"{ledger.tokens_truncated:.0f}",
                    _share(ledger.survived, ledger.survived + ledger.lost),
                    *(
                        _score(panel, score)
                        for score in (ledger.score_survived, ledger.score_lost, ledger.score_unknown)
                    ),
                ]


def _share(count: int, of: int) -> str:
    return f"{count / of:.2f} ({count} of {of})" if of else "-"


def _score(panel: Panel, score: Estimate) -> str:
    return f"{panel.mean_text(score)}, n = {score.samples}" if score.samples else "-"
