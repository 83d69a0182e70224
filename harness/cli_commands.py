"""What each command does: results on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from longbench_run.harness.config_build import load_config
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.grammar import parse_number
from longbench_run.harness.lengths import parse_length
from longbench_run.results.records import Status

if TYPE_CHECKING:
    from longbench_run.harness.runner import RunSummary

_KEY_OF_FLAG = {"model": "models"}
_SWITCHED_OFF = {"no_baseline": "baseline", "no_prefix_reuse": "prefix_reuse"}
"""Flag -> key of the configuration that it makes false."""
_NOT_SETTINGS = {"command", "version", "dry_run", "json", *_SWITCHED_OFF}
_NUMBERS = {"samples", "factor", "seed"}
_TOKENS = {"original_context_length", "max_length"}


def run(found: argparse.Namespace, words: Sequence[str], *, preset_variable: str | None = None) -> int:
    """Run a matrix, write its report, print its tables.

    Args:
        found: The parsed command line.
        words: The command line as typed, for the header.
        preset_variable: Preset named by the environment.
    """
    _configure_logging()
    loaded = load_config(settings_of(found), preset_variable=preset_variable)
    if found.dry_run:
        from longbench_run.harness.cli_dry_run import describe
        from longbench_run.harness.preparation import prepare

        sys.stdout.write(describe(prepare(loaded), as_json=found.json))
        return 0
    from longbench_run.harness.progress import Bars
    from longbench_run.harness.runner import execute

    summary = execute(loaded, command=("longbench-run", *words), progress=Bars())
    return _finish(summary, as_json=found.json)


def settings_of(found: argparse.Namespace) -> dict[str, Any]:
    """Return what flags gave, by key of the configuration; texts of numbers are numbers.

    Args:
        found: The parsed command line.
    """
    settings: dict[str, Any] = {}
    for flag, text in vars(found).items():
        if flag not in _NOT_SETTINGS:
            settings[_KEY_OF_FLAG.get(flag, flag)] = _value(flag, text)
    settings |= {key: False for flag, key in _SWITCHED_OFF.items() if getattr(found, flag, False)}
    return settings


def _value(flag: str, text: object) -> object:
    if flag in _NUMBERS:
        return _numbers(text)
    if flag in _TOKENS:
        length = parse_length(text)
        return round(length.number) if length is not None and not length.in_windows else _numbers(text)
    return text


def _numbers(value: object) -> object:
    """Return the numbers that texts spell; a text that spells none stays, for the error to show."""
    if isinstance(value, list):
        return [_numbers(part) for text in value for part in str(text).split(",")]
    number = parse_number(value) if isinstance(value, str) else None
    return value if number is None else number


def _finish(summary: RunSummary, *, as_json: bool) -> int:
    from longbench_run.harness.cli import CELLS_FAILED
    from longbench_run.reports.terminal import terminal_tables

    page = _report_page(summary)
    if as_json:
        sys.stdout.write(json.dumps(_machine_readable(summary, page), indent=2) + "\n")
    else:
        width = max(60, shutil.get_terminal_size((100, 24)).columns)
        sys.stdout.write(terminal_tables(summary.folder, width=width))
        sys.stdout.write(f"\nReport: {page}\n")
    sys.stdout.flush()
    if summary.computed == 0:
        sys.stderr.write(f"Nothing to compute: all {summary.samples} samples are in {summary.folder}.\n")
    if summary.failed_cells:
        sys.stderr.write(
            f"{summary.failed_cells} of {summary.cells} cells have failed samples "
            f"({summary.failed_samples} in all). "
            f"Read them with `longbench-run show {summary.folder} --status error`; "
            "the same command with --overwrite failed tries them again.\n"
        )
        return CELLS_FAILED
    return 0


def _report_page(summary: RunSummary) -> Path:
    """Write the report and return the page to open; one that is newer than every record is left as it is."""
    from longbench_run.reports.document import HTML_PAGE, MARKDOWN_PAGE

    pages = [summary.folder / name for name in (HTML_PAGE, MARKDOWN_PAGE)]
    written = (summary.folder / "records.jsonl").stat().st_mtime_ns
    if summary.computed or any(not page.exists() or page.stat().st_mtime_ns < written for page in pages):
        from longbench_run.reports.report import write_report

        write_report([summary.folder], summary.folder)
    return pages[0]


def _machine_readable(summary: RunSummary, page: Path) -> Mapping[str, Any]:
    from longbench_run.results.table import cells, load

    return {
        "folder": str(summary.folder),
        "report": str(page),
        "run_key": summary.run_key,
        "computed": summary.computed,
        "samples": summary.samples,
        "failed_samples": summary.failed_samples,
        "failed_cells": summary.failed_cells,
        "cells": [asdict(cell) for cell in cells(load(summary.folder))],
    }


def list_names(kind: str, *, verbose: bool) -> int:
    """Print what can be named in a run."""
    from longbench_run.harness.cli_list import listing

    sys.stdout.write(listing(kind, verbose=verbose))
    return 0


def show(found: argparse.Namespace) -> int:
    """Print samples of a run."""
    from longbench_run.reports.samples import show_samples

    limit = 10 if found.limit is None else parse_number(found.limit)
    if not isinstance(limit, int):
        raise ConfigError(f"--limit: must be a whole number, got {found.limit!r}. Leave it out for 10.")
    status = found.status
    if status is not None and status not in get_args(Status):
        raise ConfigError(
            f"--status: must be one of {', '.join(get_args(Status))}, got {status!r}. Choose one of them."
        )
    length = None
    if found.context_length is not None:
        parsed = parse_length(found.context_length)
        if parsed is None or parsed.in_windows:
            raise ConfigError(
                f"--context-length: must be a number of tokens, got {found.context_length!r}. "
                "Write 4096 or 4k."
            )
        length = round(parsed.number)
    sys.stdout.write(
        show_samples(
            found.run,
            task=found.task,
            method=found.method,
            model=found.model,
            context_length=length,
            status=status,
            limit=limit,
        )
    )
    return 0


def export(found: argparse.Namespace) -> int:
    """Write a method as the config.json of a model, and print what it says."""
    _configure_logging()
    from longbench_run.harness.cli_export import export as write

    return _tell(*write(found))


def export_tasks(found: argparse.Namespace) -> int:
    """Write tasks as task files of lm-eval, and print their names."""
    _configure_logging()
    from longbench_run.harness.cli_export_tasks import export_tasks as write

    return _tell(*write(found))


def tune(found: argparse.Namespace) -> int:
    """Tune variants of a model, and print their folders."""
    _configure_logging()
    from longbench_run.harness.cli_tune import tune as make

    return _tell(*make(found))


def _tell(result: str, note: str) -> int:
    """Print what was made, and beside it what is to be known of it."""
    sys.stdout.write(result)
    sys.stderr.write(note)
    return 0


def lm_eval(found: argparse.Namespace) -> int:
    """Run lm-eval's command line."""
    from longbench_run.harness.cli_lm_eval import hand_over

    return hand_over(found.words)


def _configure_logging() -> None:
    """Let this program's warnings through to stderr, and keep libraries' chatter away."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
