"""`longbench-run compare`: a candidate run against a baseline, and the exit code that CI acts on."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import parse_number

if TYPE_CHECKING:
    import argparse

    from longbench_run.results.comparison import Comparison

REGRESSED, UNDECIDED = 4, 5


def compare(found: argparse.Namespace) -> int:
    """Print the verdicts, write the files asked for, and return the exit code.

    Args:
        found: The parsed command line.

    Raises:
        ConfigError: If a number is none, or a file cannot be written.
        ResultsError: If a run cannot be read, or nothing can be compared.
    """
    from longbench_run.reports.comparison import compare_markdown, compare_terminal
    from longbench_run.reports.junit import compare_junit
    from longbench_run.results.comparison import ALPHA, TOLERANCE, compare_runs

    comparison = compare_runs(
        found.baseline,
        found.candidate,
        tolerance=_number("--tolerance", found.tolerance, TOLERANCE),
        alpha=_number("--alpha", found.alpha, ALPHA),
        is_paired=not found.unpaired,
    )
    if found.markdown is not None:
        _write("--markdown", found.markdown, compare_markdown(comparison))
    if found.junit is not None:
        _write("--junit", found.junit, compare_junit(comparison, is_strict=found.strict))
    if found.json:
        sys.stdout.write(json.dumps(_machine_readable(comparison), indent=2) + "\n")
    else:
        sys.stdout.write(compare_terminal(comparison))
    return exit_code(comparison, is_strict=found.strict)


def exit_code(comparison: Comparison, *, is_strict: bool) -> int:
    """Return 4 where a cell regressed, 5 where the candidate cannot answer for a cell, else 0.

    Args:
        comparison: What was found.
        is_strict: Whether an inconclusive cell counts as one that the candidate cannot answer for.
    """
    codes = {
        "regressed": REGRESSED,
        "incomplete": UNDECIDED,
        "inconclusive": UNDECIDED if is_strict else 0,
        "holds": 0,
    }
    return codes[comparison.outcome]


def _number(flag: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    number = parse_number(text)
    if number is None:
        raise ConfigError(f"{flag}: must be a number, got {text!r}. Leave it out for {default}.")
    return float(number)


def _write(flag: str, path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{flag}: must be a file that can be written, got {path!r} ({error.strerror or error!s}). "
            "Choose another one."
        ) from None


def _machine_readable(comparison: Comparison) -> Mapping[str, Any]:
    return {
        "outcome": comparison.outcome,
        "counts": dict(comparison.counts),
        **asdict(comparison),
    }
