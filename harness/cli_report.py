"""`longbench-run report`: stored runs as pages to read, tables and figures to print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def report(found: argparse.Namespace) -> int:
    """Write the report of stored runs and print where it is, one line per format.

    Args:
        found: The parsed command line.

    Raises:
        ResultsError: If a run cannot be read, a name is unknown, or the output cannot be written.
    """
    from longbench_run.reports.report import DEFAULT_FORMATS, DEFAULT_STYLE, write_report

    formats = DEFAULT_FORMATS if found.format is None else [name.strip() for name in found.format.split(",")]
    pages = write_report(
        found.runs,
        found.runs[0] if found.output is None else found.output,
        formats=formats,
        style=DEFAULT_STYLE if found.style is None else found.style,
        against=found.against,
    )
    sys.stdout.write("".join(f"{page}\n" for page in pages))
    return 0
