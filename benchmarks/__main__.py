"""What the engine costs against how evaluations are usually written: `python -m benchmarks`, `python -m benchmarks gpu`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.models import columns
from benchmarks.page import page, spread
from benchmarks.rows import ROWS, Row
from benchmarks.speed import Bench
from benchmarks.stored import OtherLoad, Stored, failed, measured

OUTPUT = Path(__file__).resolve().parent / "results"
_SECONDS = {"cpu": 40.0, "gpu": 12.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows asked for, and write engine.json and engine.md after each of them."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.column == "gpu" and not torch.cuda.is_available():
        print("column gpu must be measured on a GPU that torch can use, got none.", file=sys.stderr)
        return 2
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}.")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}.")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    bench = Bench(
        column=columns()[options.column],
        repeats=options.repeats,
        seconds=_SECONDS[options.column] if options.seconds is None else options.seconds,
        threads=options.threads,
    )
    settings = {"repeats": options.repeats, "seconds": bench.seconds, "threads": options.threads}
    words = [f"--{name} {value:g}" for name, value in settings.items() if value is not None]
    command = " ".join(["python -m benchmarks", options.column, *words])
    rows = [row for row in ROWS if row.name in options.rows]
    return 0 if run_rows(bench, rows, output=options.output, command=command) else 1


def run_rows(bench: Bench, rows: Sequence[Row], *, output: Path, command: str) -> bool:
    """Measure rows and write both files after each; return whether none failed.

    Args:
        bench: Column and rounds.
        rows: Rows of the table.
        output: Folder of engine.json and engine.md.
        command: How it was asked, for the page.
    """
    stored = Stored(output / "engine.json")
    pending = stored.begin(bench, [row.name for row in rows])
    all_well = True
    for row in rows:
        if row.name not in pending:
            continue
        load = OtherLoad()
        try:
            figure = row.measure(bench)
            result = measured(figure, load, command=command)
            print(f"{row.name:24} {spread(figure.values)[1]:.3g} {row.unit} ({figure.note})", flush=True)
        except Exception as error:  # a row that fails must not keep the others from being measured
            result, all_well = failed(error, load, command=command), False
            print(f"{row.name:24} failed: {result['failed']}", flush=True)
        stored.add(bench, row.name, result)
        (output / "engine.md").write_text(page(stored.columns), encoding="utf-8")
    return all_well


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "column", nargs="?", default="cpu", choices=("cpu", "gpu"), help="device to measure; default cpu"
    )
    parser.add_argument(
        "--rows",
        type=_row_names,
        default=[row.name for row in ROWS],
        help=f"rows to measure, joined by commas; default: all. {', '.join(row.name for row in ROWS)}",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="rounds of a row at most, after one that warms up"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="no round of a row begins after so many, the first three excepted; default 40 on a CPU, 12 on a GPU",
    )
    parser.add_argument("--threads", type=int, help="CPU threads; torch's default if left out")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of engine.json and engine.md")
    return parser


def _row_names(text: str) -> list[str]:
    names = text.split(",")
    known = [row.name for row in ROWS]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise argparse.ArgumentTypeError(f"rows must be of {', '.join(known)}; got {wrong[0]!r}.")
    return names


if __name__ == "__main__":
    sys.exit(main())
