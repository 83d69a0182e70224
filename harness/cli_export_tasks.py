"""`longbench-run export-tasks`: this package's tasks as task files of lm-eval."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.chat import TaskTokenizer
from longbench_run.harness.choices import TaskChoice, asked_tasks
from longbench_run.harness.cli_commands import settings_of
from longbench_run.harness.config_build import LoadedConfig, load_config
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.matrix import lengths_for
from longbench_run.harness.models.spec import ModelSpec, complaint
from longbench_run.harness.task_texts import name_of
from longbench_run.results.durable import replace_text
from longbench_run.tasks.lm_eval.export import MODULE, MODULE_TEXT, ExportedTask, exported

if TYPE_CHECKING:
    import argparse

_OWN_FLAGS = frozenset({"folder", "overwrite"})
"""What this command takes beside the keys of a configuration."""


def export_tasks(found: argparse.Namespace) -> tuple[str, str]:
    """Write the task files that a command line asks for.

    Args:
        found: The parsed command line.

    Returns:
        What to print on stdout, and what to say beside it.

    Raises:
        LongbenchError: If a flag, the model or the folder is wrong; nothing was written then.
        TaskError: If a task cannot make its samples or be exported; nothing was written then.
    """
    settings = {key: value for key, value in settings_of(found).items() if key not in _OWN_FLAGS}
    folder = _target(Path(found.folder), is_replaced=found.overwrite)
    tasks = list(_exported(load_config(settings)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{MODULE}.py", MODULE_TEXT)
        for task in tasks:
            _write(folder / f"{task.name}.jsonl", task.rows)
            _write(folder / f"{task.name}.yaml", task.settings)
    except OSError as error:
        got = f"{str(folder)!r} ({error.strerror})"
        raise ConfigError(
            complaint("DIR", "folder", "one that can be written", got, "Name another.")
        ) from error
    written = "".join(f"{task.name}: {task.samples} samples\n" for task in tasks)
    names = ",".join(task.name for task in tasks)
    note = "".join(
        f"{task.name}: {task.read_differently} of {task.samples} samples hold text that the tokenizer reads as other "
        "tokens than in a run of this package.\n"
        for task in tasks
        if task.read_differently
    )
    return f"{written}Run: lm-eval run --include_path {folder} --tasks {names}\n", note


def _exported(loaded: LoadedConfig) -> Iterator[ExportedTask]:
    from longbench_run.harness.models.facts import inspect_model

    config = loaded.config
    if len(config.models) > 1:
        got = f"{len(config.models)} of them"
        raise ConfigError(
            f"{loaded.where('models')} model must be a single one, got {got}. Export for each into a folder of its own."
        )
    model = config.models[0]
    inspected = inspect_model(
        ModelSpec(
            model=model.name,
            revision=model.revision,
            original_context_length=model.original_context_length,
            trust_remote_code=bool(model.trust_remote_code),
        )
    )
    tokenizer = TaskTokenizer(tokenizer=inspected.tokenizer)
    lengths = lengths_for(
        config.parsed_lengths(),
        model=model.name,
        original_context_length=inspected.facts.original_context_length,
    )
    for entry, task in asked_tasks(loaded):
        count = TaskChoice(task=task, samples=entry.samples or config.samples).count(model.name)
        for length in lengths:
            samples = list(
                task.samples(context_length=length, count=count, seed=config.seed[0], tokenizer=tokenizer)
            )
            if not samples:
                raise ConfigError(
                    f"{task.info.name}: data must have a sample at context length {length}, got none. Ask for another "
                    "length."
                )
            yield exported(name_of(entry.name), task, samples, context_length=length, tokenizer=tokenizer)


def _target(folder: Path, *, is_replaced: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(complaint("DIR", "path", "a folder", repr(str(folder)), "Name another."))
    if not is_replaced and (folder / f"{MODULE}.py").exists():
        remedy = "Name another folder, or pass --overwrite."
        raise ConfigError(complaint("DIR", "folder", "one without exported tasks", repr(str(folder)), remedy))
    return folder


def _write(path: Path, text: str) -> None:
    replace_text(path, text, temporary=path.with_name(f".{path.name}.new"))
