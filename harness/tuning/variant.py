"""A tuned variant on the disk: whole or absent, with the recipe that made it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longbench_run.harness.errors import ConfigError
from longbench_run.results.durable import replace_text, sync_folder

if TYPE_CHECKING:
    import torch

RECIPE = "recipe.json"
LOST = "change_lost"
"""Part of a recipe's result: dtype -> what of the change is lost in it."""
_CONFIG = "config.json"
EXPORTED = "exported"
"""Folder in a variant with the config.json that computes the method in transformers alone, where there is one."""


def read_recipe(folder: Path) -> dict[str, Any] | None:
    """Return the recipe in a folder; None where there is none, or half of one."""
    try:
        found = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def lost_in(recipe: Mapping[str, Any], dtype: str) -> float | None:
    """Return what of a variant's change is lost where it is loaded in a dtype, as its recipe says it.

    Returns:
        See `longbench_run.harness.tuning.rounding.change_lost`; None where the recipe says nothing.
    """
    result = recipe.get("result")
    lost = result.get(LOST) if isinstance(result, dict) else None
    share = lost.get(dtype) if isinstance(lost, dict) else None
    return float(share) if isinstance(share, int | float) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace_text(path, text, temporary=path.with_name(f".{path.name}.new"))


def is_planned(found: Mapping[str, Any], planned: Mapping[str, Any]) -> bool:
    """Return whether a recipe on the disk is the planned one, whatever came of it."""
    # What JSON makes of the plan: tuples are lists there.
    return all(found.get(key) == value for key, value in json.loads(json.dumps(planned)).items())


def write_variant(
    folder: Path,
    *,
    model: Any,
    state: Mapping[str, torch.Tensor],
    tokenizer: Any,
    dtype: torch.dtype | None,
    recipe: Mapping[str, Any],
    exported: Any | None,
) -> None:
    """Write a variant beside its place and move it there.

    Weights are stored as they were trained: few steps move them by less than half of what bfloat16 tells apart, and
    most of it would be rounded away.

    Args:
        folder: Its place; what is there is replaced.
        model: The tuned model, with no method applied; an adapter on it is saved alone.
        state: Its weights and buffers, whole, of which a shared model has a part alone.
        tokenizer: Saved beside whole weights; None beside an adapter.
        dtype: What whole weights say they are to be loaded in, that of the model they come from; None says nothing
            else than they are.
        recipe: What made it.
        exported: The transformers config of model and method, where there is one.
    """
    unfinished = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        model.save_pretrained(unfinished, state_dict=dict(state))
        if dtype is not None:
            config = json.loads((unfinished / _CONFIG).read_text(encoding="utf-8"))
            write_json(unfinished / _CONFIG, {**config, "dtype": str(dtype).removeprefix("torch.")})
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
        if exported is not None:
            exported.save_pretrained(unfinished / EXPORTED)
        write_json(unfinished / RECIPE, recipe)
        for path in unfinished.rglob("*"):
            if path.is_file():
                _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk, however a library says it, into the user's error.

    Raises:
        ConfigError: If there is no space left.
    """
    try:
        yield
    except Exception as error:
        # torch and safetensors raise errors of their own, without a number.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
            text in str(error) for text in ("No space left", "PytorchStreamWriter failed writing")
        )
        if not full:
            raise
        raise ConfigError(
            f"--output: folder must have space left, got none in {str(folder)!r}. Make room: the same command goes on."
        ) from error
