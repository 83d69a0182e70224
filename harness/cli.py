"""The command line: what can be typed, and which exit code it ends with; imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER_ERROR, CELLS_FAILED, INTERRUPTED, PIPE_CLOSED = 2, 3, 130, 141
PRESET_VARIABLE = "LONGBENCH_RUN_PRESET"
COMMANDS = ("run", "report", "list", "show", "export")

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
      write report.md and its figures into the run's folder
  longbench-run report runs/first runs/second --output reports/both
"""
_LIST_EXAMPLES = """\
examples:
  longbench-run list methods
  longbench-run list tasks --verbose
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
_DESCRIPTION = "Measure long-context extension methods of RoPE language models."

_NO_VALUE = re.compile(r"argument (?P<flag>[^:]+): expected (?P<count>one|at least one) argument\Z")
_BAD_CHOICE = re.compile(
    r"argument (?P<name>[^:]+): invalid choice: '(?P<value>.*)' \(choose from (?P<known>.*)\)\Z"
)


class CommandLineError(Exception):
    """The command line cannot be read; the message is one line."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def __init__(self, *, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting: `main` does both."""
        see = f"See `{self.prog} --help`."
        if match := _NO_VALUE.match(message):
            flag = match["flag"].split("/")[-1]
            raise CommandLineError(f"{flag}: must be followed by {match['count']} value, got none. {see}")
        if match := _BAD_CHOICE.match(message):
            known = re.findall(r"[a-z_]+", match["known"])
            raise CommandLineError(_unknown("name", match["value"], known, see))
        raise CommandLineError(f"{message[:1].upper()}{message[1:]}. {see}")


def _unknown(kind: str, name: str, known: Sequence[str], see: str) -> str:
    nearest = get_close_matches(name, known, n=1)
    hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
    return f'Unknown {kind} "{name}".{hint} {see}'


def build_parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the parser of the whole command line, and that of each subcommand."""
    parser = _Parser(
        prog="longbench-run",
        description=f"{_DESCRIPTION} Without a command it is `run`; its flags: `longbench-run run --help`.",
        epilog=_RUN_EXAMPLES,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    parsers = {
        name: commands.add_parser(name, help=summary, description=description, epilog=epilog)
        for name, summary, description, epilog in (
            ("run", "measure a matrix of models, methods, tasks and lengths", _DESCRIPTION, _RUN_EXAMPLES),
            (
                "report",
                "write the report of stored runs",
                "Write report.md and its figures.",
                _REPORT_EXAMPLES,
            ),
            ("list", "name what there is", "List what can be named in a run.", _LIST_EXAMPLES),
            ("show", "read the samples behind a number", "Print samples of a run.", _SHOW_EXAMPLES),
            (
                "export",
                "write a method as a transformers config",
                "Write the config.json with which transformers computes a method.",
                _EXPORT_EXAMPLES,
            ),
        )
    }
    _add_run(parsers["run"])
    _add_report(parsers["report"])
    _add_list(parsers["list"])
    _add_show(parsers["show"])
    _add_export(parsers["export"])
    return parser, parsers


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
    what.add_argument(
        "--no-baseline",
        action="store_true",
        default=argparse.SUPPRESS,
        help="leave out none, the unmodified model",
    )
    add(how, "--revision", "REVISION", "branch, tag or commit of a hub model")
    add(how, "--adapter", "ADAPTER", "PEFT adapter: a folder, a hub id or id@revision")
    add(how, "--dtype", "DTYPE", "auto, float32, bfloat16 or float16 (default: auto)")
    add(how, "--quantization", "BITS", "4bit or 8bit, through bitsandbytes")
    add(how, "--device", "DEVICE", "auto, cpu, cuda or cuda:N (default: auto)")
    add(how, "--device-map", "MAP", "auto, balanced or sequential: spread over devices by accelerate")
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
    add(where, "--config", "FILE", "YAML file with the keys of these flags; flags win over it")
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


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", choices=("methods", "tasks", "protocols", "models"), metavar="methods|tasks|protocols|models"
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


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Args:
        arguments: Without the program's name.

    Raises:
        CommandLineError: If it cannot be read.
        SystemExit: After ``--help``.
    """
    words = list(arguments)
    parser, parsers = build_parser()
    leads = words[0] if words else "--"
    if leads in ("-h", "--help", "--version"):
        pass
    elif leads.startswith("-"):
        words.insert(0, "run") if words else words.append("run")
    elif leads not in COMMANDS:
        raise CommandLineError(_unknown("command", leads, COMMANDS, "See `longbench-run --help`."))
    found, extra = parser.parse_known_args(words)
    if extra:
        of_command = parsers.get(found.command, parser)
        see = f"See `{of_command.prog} --help`."
        flag = extra[0].partition("=")[0]
        if not flag.startswith("-"):
            raise CommandLineError(f'Unexpected argument "{extra[0]}". {see}')
        raise CommandLineError(_unknown("flag", flag, sorted(of_command._option_string_actions), see))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; a bug's exception is not caught."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(parse_arguments(words), words)
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; what the interpreter still holds for it must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if not _is_users(error):
            raise
        _say(str(error))
        return USER_ERROR


def _dispatch(found: argparse.Namespace, words: Sequence[str]) -> int:
    if found.version:
        from importlib.metadata import version

        sys.stdout.write(f"longbench-run {version('longbench-run')}\n")
        return 0
    from longbench_run.harness import cli_commands

    if found.command == "run":
        return cli_commands.run(found, words, preset_variable=os.environ.get(PRESET_VARIABLE))
    if found.command == "report":
        return cli_commands.report(found.runs, output=found.output)
    if found.command == "list":
        return cli_commands.list_names(found.kind, verbose=found.verbose)
    if found.command == "export":
        return cli_commands.export(found)
    return cli_commands.show(found)


def _is_users(error: Exception) -> bool:
    """Return whether an error is one that the user can mend."""
    if isinstance(error, CommandLineError):
        return True
    from longbench_run.harness.errors import LongbenchError
    from longbench_run.results.records import ResultsError
    from longbench_run.tasks.base import TaskError

    return isinstance(error, LongbenchError | ResultsError | TaskError)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
