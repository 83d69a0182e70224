"""What can be typed after `tune`, and its help; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

TUNE_EXAMPLES = """\
examples:
  longbench-run tune --model meta-llama/Llama-2-7b-chat-hf --methods pi,ntk_by_parts,yarn,abf,entropy_abf \\
      --context-length 16k --data sharegpt.jsonl --samples 32,100 --output tuned
      a variant for each method and number of samples, by the recipe of Entropy-aware ABF
  longbench-run tune --methods yarn --context-length 8k --data chats.jsonl --samples 100 --lora 8 --output tuned --dry-run
      print steps, deviations from the paper's recipe and memory; train nothing
  longbench-run run --config tuned/matrix.yaml
      measure the variants

The same command goes on where it stopped, and trains nothing again.
exit codes: 0 done, 2 an error to mend, 130 interrupted (checkpoints are kept), 1 a bug
"""


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tune``."""
    for flag, metavar, help_ in (
        ("--methods", "LIST", "methods separated by commas, each attached while training"),
        ("--context-length", "LENGTH", "longest sample, for which methods are configured: 16384, 16k or 4x"),
        (
            "--data",
            "FILE",
            "conversations as JSON lines: ShareGPT's (conversations: from, value) or messages",
        ),
        ("--output", "DIR", "folder that variants are written into"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_, required=True)
    for flag, metavar, help_ in (
        ("--model", "MODEL", "reference (bundled, default), a hub id or a folder"),
        ("--revision", "REVISION", "branch, tag or commit of a hub model"),
        ("--device", "DEVICE", "auto, cpu or cuda:N (default: auto)"),
        ("--original-context-length", "TOKENS", "window of pretraining (default: the model's configuration)"),
        ("--samples", "LIST", "samples per variant, separated by commas (default: 100)"),
        ("--seed", "LIST", "seeds of samples and order, separated by commas (default: 0)"),
        (
            "--composition",
            "LIST",
            "which conversations, separated by commas: none (any), short (within the window), long (over half the "
            "context), short_then_long (default: none)",
        ),
        ("--lora", "RANK", "train an adapter of this rank (default: all weights)"),
        ("--learning-rate", "X", "peak (default: 2e-5)"),
        ("--batch-size", "N", "samples per step (default: 32, and 128 from 3500 samples on)"),
        ("--epochs", "N", "how often each sample is learnt (default: 2)"),
        ("--warmup-steps", "N", "steps up to the peak (default: 0, and 10 from 3500 samples on)"),
        ("--weight-decay", "X", "of AdamW (default: 0.1)"),
        ("--save-every", "N", "steps between checkpoints (default: a third of the steps)"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_)
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that the model brings along"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace variants of another recipe")
    parser.add_argument(
        "--dry-run", action="store_true", help="print variants, steps and memory; train nothing"
    )
