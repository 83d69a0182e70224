"""What can be typed after the commands about lm-eval, and their help; imports nothing heavy."""

from __future__ import annotations

import argparse

EXPORT_TASKS_EXAMPLES = """\
examples:
  longbench-run export-tasks exported --tasks passkey,multidoc_qa --lengths 4k,8k --model meta-llama/Llama-2-7b-hf
      a YAML file and samples for each task and length; then: lm-eval run --include_path exported --tasks ...

lm-eval must run where longbench-run is installed, which scores the answers. Prompts go through no chat template.
"""
LM_EVAL_EXAMPLES = """\
examples:
  longbench-run lm-eval run --model hf-extended --model_args pretrained=reference,method=yarn,factor=4 --tasks hellaswag
      a task of lm-eval, by lm-eval, on a model whose window a method extends
  longbench-run lm-eval ls tasks
      what lm-eval has; `longbench-run run --tasks lm_eval/NAME` runs it in a matrix
"""


def add_export_tasks(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export-tasks``; a flag that was not given is absent."""
    parser.add_argument("folder", metavar="DIR", help="folder that the task files are written into")
    for flag, metavar, help_ in (
        ("--model", "MODEL", "whose tokenizer cuts samples to the length (default: reference, bundled)"),
        ("--revision", "REVISION", "branch, tag or commit of a hub model"),
        ("--original-context-length", "TOKENS", "window of pretraining, for lengths such as 2x"),
        ("--tasks", "LIST", "tasks separated by commas (default: passkey,perplexity)"),
        ("--lengths", "LIST", "context lengths: 4096, 4k or 2x (default: as of a run)"),
        ("--samples", "N", "samples per task and length (default: the task's)"),
        ("--seed", "N", "seed of the samples (default: 0)"),
        ("--protocol", "NAME", "protocol of every task that has it"),
        ("--data-dir", "FOLDER", "data of every task that reads a folder"),
        ("--max-length", "TOKENS", "longbench: tokens of a prompt"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_, default=argparse.SUPPRESS)
    parser.add_argument("--overwrite", action="store_true", help="replace task files that are there")


def add_lm_eval(parser: argparse.ArgumentParser) -> None:
    """Add the words of ``lm-eval``."""
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="what lm-eval itself takes")
