"""What can be typed after each command, and its help; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from longbench_run.harness.cli_arguments_lm_eval import (
    EXPORT_TASKS_EXAMPLES,
    LM_EVAL_EXAMPLES,
    add_export_tasks,
    add_lm_eval,
)
from longbench_run.harness.cli_arguments_tune import TUNE_EXAMPLES, add_tune

PRESET_VARIABLE = "LONGBENCH_RUN_PRESET"

_RUN_EXAMPLES = """\
examples:
  longbench-run --methods pi,yarn,abf,entropy_abf,self_extend
      five methods and the unmodified model on the model that the package carries
  longbench-run --model meta-llama/Llama-2-7b-hf --methods yarn,self_extend:group=8 --lengths 4k,8k,16k
      a model of the Hugging Face Hub; 4k is 4096 tokens, 2x two original windows
  longbench-run --methods abf+log_n --tasks perplexity:protocol=same_tokens --factor per-length --dry-run
      a composition; print the cells, the tokens and an estimate, compute nothing
  longbench-run run --config matrix.yaml --output runs/paper
      the same keys as the flags, in YAML; flags win over the file

The same command goes on where it stopped, and computes nothing again.
exit codes: 0 done, 2 an error to mend, 3 some cells failed, 130 interrupted (nothing is lost), 1 a bug
"""
_REPORT_EXAMPLES = """\
examples:
  longbench-run report runs/paper
      write report.html, report.md and figures into the run's folder
  longbench-run report runs/first runs/second --output reports/both
      two runs one after the other: samples of two runs are never pooled
  longbench-run report runs/paper --format latex,csv --style paper --against yarn --output paper/tables
      tables and figures of a paper, beside the numbers that another one printed
"""
_COMPARE_EXAMPLES = """\
examples:
  longbench-run compare runs/baseline runs/candidate
      a verdict for every cell of the baseline, over the samples that both runs have
  longbench-run compare results/baselines/smoke runs/candidate --strict --junit compare.xml --markdown comment.md
      for CI: an inconclusive cell fails too
  longbench-run compare runs/seed-0 runs/seed-1 --unpaired --tolerance 0.05

exit codes: 0 holds, 4 a cell regressed, 5 a cell of the baseline failed, is missing or not comparable in the candidate
(with --strict: or is inconclusive), 2 nothing to compare or another error to mend, 1 a bug
"""
_LIST_EXAMPLES = """\
examples:
  longbench-run list methods
  longbench-run list tasks --verbose
  longbench-run list recipes
      runs to begin from: `--config` takes their names
"""
_SHOW_EXAMPLES = """\
examples:
  longbench-run show runs/paper --method yarn --task passkey --context-length 8k
  longbench-run show runs/paper --status error --limit 3
"""
_EXPORT_EXAMPLES = """\
examples:
  longbench-run export yarn:factor=4 reference exported/yarn
      config.json with which transformers, and what reads its configs, computes YaRN; the weights stay as they are
  longbench-run export abf+yarn meta-llama/Llama-2-7b-hf exported/llama --context-length 16k

A method that transformers has no keys for is refused with the reason.
"""
_SCORE_EXAMPLES = """\
examples:
  longbench-run score longbench pred/llama2-7b-chat-4k
      a folder with one DATASET.jsonl per dataset, rows with pred, answers, all_classes and length
  longbench-run score longbench pred_e/llama2-7b-chat-4k --e --json
      LongBench-E, per length bucket, as in the authors' result.json
  longbench-run score multidoc_qa answers/gold_at_0.jsonl.gz answers/gold_at_9.jsonl.gz
      rows with model_answer and answers, as in Lost in the Middle

exit codes: 0 done, 2 an error to mend, 1 a bug
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as it is typed, and what its help says."""

    name: str
    help: str
    description: str
    examples: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``run``; one that was not given is absent: what the file or the preset says holds."""
    what = parser.add_argument_group("what is measured")
    how = parser.add_argument_group("how models are loaded")
    where = parser.add_argument_group("where, and how much of it")

    def add(
        group: argparse._ArgumentGroup, flag: str, metavar: str, help_: str, *, many: bool = False
    ) -> None:
        if many:
            group.add_argument(
                flag, nargs="+", action="extend", metavar=metavar, help=help_, default=argparse.SUPPRESS
            )
        else:
            group.add_argument(flag, metavar=metavar, help=help_, default=argparse.SUPPRESS)

    add(what, "--model", "MODEL", "reference (bundled), a hub id or a folder; several are allowed", many=True)
    add(what, "--methods", "LIST", "methods separated by commas, name:key=value, composed with +", many=True)
    add(what, "--tasks", "LIST", "tasks separated by commas (default: passkey,perplexity)", many=True)
    add(
        what,
        "--lengths",
        "LIST",
        "context lengths: 4096, 4k or 2x (default: 4k,8k,16k,32k; bundled model: 1x,2x,4x,8x)",
        many=True,
    )
    add(what, "--samples", "N", "samples per cell (default: the task's)")
    add(
        what,
        "--factor",
        "POLICY",
        "fixed: methods are configured for the longest length (default); per-length; or a factor",
    )
    add(what, "--seed", "N", "seed of the samples; several are allowed (default: 0)", many=True)
    add(what, "--protocol", "NAME", "protocol of every task that has it")
    add(
        what,
        "--data-dir",
        "FOLDER",
        "data of every task that reads a folder (longbench: NAME.jsonl or data.zip)",
    )
    add(what, "--max-length", "TOKENS", "longbench: tokens of a prompt (default: as the authors, 3500 at 4k)")
    add(what, "--include-path", "FOLDER", "lm_eval: task files beside lm-eval's own")
    add(what, "--metadata", "JSON", "lm_eval: for tasks that make their data, e.g. RULER's max_seq_lengths")
    add(
        what,
        "--chat-template",
        "NAME",
        "auto: the model's own where it has one, thinking off (default); none, own, thinking, llama2 or vicuna",
    )
    what.add_argument(
        "--no-baseline",
        action="store_true",
        default=argparse.SUPPRESS,
        help="leave out none, the unmodified model",
    )
    how.add_argument(
        "--no-prefix-reuse",
        action="store_true",
        default=argparse.SUPPRESS,
        help="compute every prompt from its first token, whatever others it begins like",
    )
    add(how, "--revision", "REVISION", "branch, tag or commit of a hub model")
    add(how, "--adapter", "ADAPTER", "PEFT adapter: a folder, a hub id or id@revision")
    add(how, "--dtype", "DTYPE", "auto, float32, bfloat16 or float16 (default: auto)")
    add(how, "--quantization", "BITS", "4bit or 8bit, through bitsandbytes")
    add(how, "--device", "DEVICE", "auto, cpu, cuda or cuda:N (default: auto)")
    add(how, "--device-map", "MAP", "auto, balanced or sequential: spread over devices by accelerate")
    add(how, "--devices", "LIST", "GPUs, or cpu, of this machine with a process each: 0,1,2,3 or cpu,cpu")
    add(
        how,
        "--executor",
        "NAME",
        "local (default), or ray[:workers=N][:cores=N][:gpus=N]: N workers at most, each with so much",
    )
    add(how, "--ray-address", "ADDRESS", "auto or HOST:PORT of a Ray cluster (default: this machine alone)")
    add(
        how,
        "--original-context-length",
        "TOKENS",
        "window of pretraining (default: the model's configuration)",
    )
    how.add_argument(
        "--trust-remote-code",
        action="store_true",
        default=argparse.SUPPRESS,
        help="run code that the model brings along",
    )
    add(where, "--config", "FILE", "YAML file with the keys of these flags, or a recipe; flags win over it")
    add(where, "--preset", "NAME", f"smoke: seconds instead of minutes; also {PRESET_VARIABLE}")
    add(where, "--output", "FOLDER", "folder of the run (default: runs/MODEL-KEY)")
    add(
        where,
        "--overwrite",
        "WHICH",
        "missing: compute what has no record (default); failed: also what failed; all: everything again",
    )
    where.add_argument(
        "--dry-run", action="store_true", help="print cells, tokens and an estimate; compute nothing"
    )
    where.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument(
        "--output", metavar="FOLDER", help="where the report goes (default: the first run's folder)"
    )
    parser.add_argument(
        "--format",
        metavar="LIST",
        help="formats separated by commas: md, html, latex, csv (default: md,html)",
    )
    parser.add_argument(
        "--style", metavar="NAME", help="figures for a column of a paper, or for slides: paper, slides"
    )
    parser.add_argument("--against", metavar="NAME", help="published numbers beside yours, e.g. entropy-abf")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("baseline", metavar="BASELINE", help="run folder that the candidate must hold up to")
    parser.add_argument("candidate", metavar="CANDIDATE", help="run folder")
    for flag, metavar, help_ in (
        ("--tolerance", "X", "largest difference that is the same, in the metric's unit (default: 0.01)"),
        ("--alpha", "P", "chance of any wrong verdict, for all cells together (default: 0.05)"),
        ("--markdown", "FILE", "write a comment for a pull request"),
        ("--junit", "FILE", "write JUnit XML, one test case per cell"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_)
    parser.add_argument("--strict", action="store_true", help="an inconclusive cell is not enough: exit 5")
    parser.add_argument(
        "--unpaired", action="store_true", help="runs of different seeds: samples are not matched"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        choices=("methods", "tasks", "protocols", "models", "recipes"),
        metavar="methods|tasks|protocols|models|recipes",
    )
    parser.add_argument("--verbose", action="store_true", help="with sources and parameters")


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    for flag, metavar, help_ in (
        ("--model", "MODEL", "label of a model"),
        ("--method", "METHOD", "label of a method"),
        ("--task", "TASK", "name of a task"),
        ("--context-length", "TOKENS", "a context length: 4096 or 4k"),
        ("--status", "STATUS", "ok, error, out_of_memory or not_applicable"),
        ("--limit", "N", "most samples printed (default: 10)"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", help="one method: name:key=value, composed with +")
    parser.add_argument("model", metavar="MODEL", help="reference (bundled), a hub id or a folder")
    parser.add_argument("out", metavar="OUT", help="folder that config.json is written into")
    for flag, metavar, help_ in (
        (
            "--context-length",
            "LENGTH",
            "length the method is configured for: 16384, 16k or 4x (default: factor times the window)",
        ),
        (
            "--original-context-length",
            "TOKENS",
            "window of pretraining (default: the model's configuration)",
        ),
        ("--revision", "REVISION", "branch, tag or commit of a hub model"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help_)
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that the model brings along"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a config.json that is there")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task",
        choices=("longbench", "multidoc_qa"),
        metavar="longbench|multidoc_qa",
        help="whose format it is",
    )
    parser.add_argument(
        "predictions", nargs="+", metavar="PATH", help="longbench: a folder; multidoc_qa: files"
    )
    parser.add_argument(
        "--e",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="longbench: this is LongBench-E, or is not (default: by names and numbers of rows)",
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="longbench: refuse predictions that do not fit this data, row by row",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


RUN = Command(
    name="run",
    help="measure a matrix of models, methods, tasks and lengths",
    description="Measure long-context extension methods of RoPE language models.",
    examples=_RUN_EXAMPLES,
    add_arguments=_add_run,
)
COMMANDS = (
    RUN,
    Command(
        name="report",
        help="write the report of stored runs",
        description="Write the report of stored runs: pages to read, figures, tables for a paper.",
        examples=_REPORT_EXAMPLES,
        add_arguments=_add_report,
    ),
    Command(
        name="compare",
        help="hold a run up to a baseline, for CI",
        description="Compare two runs cell by cell: improved, same, regressed or inconclusive.",
        examples=_COMPARE_EXAMPLES,
        add_arguments=_add_compare,
    ),
    Command(
        name="list",
        help="name what there is",
        description="List what can be named in a run.",
        examples=_LIST_EXAMPLES,
        add_arguments=_add_list,
    ),
    Command(
        name="show",
        help="read the samples behind a number",
        description="Print samples of a run.",
        examples=_SHOW_EXAMPLES,
        add_arguments=_add_show,
    ),
    Command(
        name="score",
        help="score predictions that are there already",
        description="Score prediction files in a task's public format, as the task's authors do.",
        examples=_SCORE_EXAMPLES,
        add_arguments=_add_score,
    ),
    Command(
        name="export",
        help="write a method as a transformers config",
        description="Write the config.json with which transformers computes a method.",
        examples=_EXPORT_EXAMPLES,
        add_arguments=_add_export,
    ),
    Command(
        name="export-tasks",
        help="write tasks as task files of lm-eval",
        description="Write tasks at given lengths as task files that lm-eval runs, with the scores of a run.",
        examples=EXPORT_TASKS_EXAMPLES,
        add_arguments=add_export_tasks,
    ),
    Command(
        name="lm-eval",
        help="run lm-eval with the model hf-extended",
        description="Run lm-eval's own command line, which then knows the model hf-extended.",
        examples=LM_EVAL_EXAMPLES,
        add_arguments=add_lm_eval,
    ),
    Command(
        name="tune",
        help="tune a model with methods attached",
        description="Tune a model with each of several methods attached, on conversations longer than its window.",
        examples=TUNE_EXAMPLES,
        add_arguments=add_tune,
    ),
)
"""Every command, in the order of the help."""
