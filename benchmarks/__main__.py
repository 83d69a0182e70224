"""What a method costs: `python -m benchmarks` prints time over the unmodified model's, and peak memory."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.memory import peak_memory
from benchmarks.speed import decode_ratios, forward_ratios

METHODS = "none,pi,ntk,yarn,abf,log_n,entropy_abf,self_extend,rerope"


def main() -> int:
    """Measure, print tables, and with --output keep the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--methods", default=METHODS, help="methods to measure against none")
    parser.add_argument(
        "--lengths", default="2048,8192,16384", help="tokens of a forward pass, for time and memory"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; each runs every method once, in turn")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="dtype of the model"
    )
    parser.add_argument("--threads", type=int, help="CPU threads; torch's default if left out")
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    options = parser.parse_args()
    methods = [name for name in options.methods.split(",") if name != "none"]
    lengths = [int(length) for length in options.lengths.split(",")]
    setting = {"device": options.device, "dtype": options.dtype, "threads": options.threads}
    forward = {
        length: forward_ratios(methods, length, repeats=options.repeats, **setting) for length in lengths
    }
    decode = {
        length: decode_ratios(methods, length, repeats=options.repeats, **setting) for length in lengths[:2]
    }
    memory = {length: peak_memory(["none", *methods], length, **setting) for length in lengths}
    _table("Forward pass: time over none's, median of rounds (quartiles)", methods, forward)
    _table(
        "Decode, 16 tokens after the length: time over none's, median of rounds (quartiles)", methods, decode
    )
    print("\nPeak memory above the loaded model in MiB, one process a figure")
    print(f"{'method':28}" + "".join(f"{length:>18}" for length in lengths))
    for method in ["none", *methods]:
        print(f"{method:28}" + "".join(f"{memory[length][method]:>18.0f}" for length in lengths))
    if options.output is not None:
        figures = {"setting": setting, "forward": forward, "decode": decode, "memory_mib": memory}
        options.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _table(title: str, methods: list[str], ratios: dict[int, dict[str, list[float]]]) -> None:
    print(f"\n{title}")
    print(f"{'method':28}" + "".join(f"{length:>24}" for length in ratios))
    seconds = (f"{found['none'][1]:.3f} s" for found in ratios.values())
    print(f"{'none':28}" + "".join(f"{text:>24}" for text in seconds))
    for method in methods:
        cells = ("{1:.3f} ({0:.3f}-{2:.3f})".format(*found[method]) for found in ratios.values())
        print(f"{method:28}" + "".join(f"{text:>24}" for text in cells))


if __name__ == "__main__":
    sys.exit(main())
