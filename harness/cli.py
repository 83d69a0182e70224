"""The command line: what can be typed, and which exit code it ends with; imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

from longbench_run.harness.cli_arguments import COMMANDS, PRESET_VARIABLE, RUN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER_ERROR, CELLS_FAILED, INTERRUPTED, PIPE_CLOSED = 2, 3, 130, 141

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
        description=f"{RUN.description} Without a command it is `run`; its flags: `longbench-run run --help`.",
        epilog=RUN.examples,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    parsers = {
        command.name: commands.add_parser(
            command.name, help=command.help, description=command.description, epilog=command.examples
        )
        for command in COMMANDS
    }
    for command in COMMANDS:
        command.add_arguments(parsers[command.name])
    return parser, parsers


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
    elif leads not in (names := [command.name for command in COMMANDS]):
        raise CommandLineError(_unknown("command", leads, names, "See `longbench-run --help`."))
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
    from longbench_run.harness import cli_commands, cli_compare, cli_report, cli_score

    if found.command == "run":
        return cli_commands.run(found, words, preset_variable=os.environ.get(PRESET_VARIABLE))
    if found.command == "list":
        return cli_commands.list_names(found.kind, verbose=found.verbose)
    others = {
        "report": cli_report.report,
        "show": cli_commands.show,
        "score": cli_score.score,
        "export": cli_commands.export,
        "export-tasks": cli_commands.export_tasks,
        "lm-eval": cli_commands.lm_eval,
        "tune": cli_commands.tune,
        "compare": cli_compare.compare,
    }
    return others[found.command](found)


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
