"""Runs to begin from: configuration files whose first comment says what they measure, cost and compare with.

A recipe goes by one name everywhere, ``recipes/NAME.yaml``: in a clone it is the file, elsewhere the copy that the
package carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

_FOLDER = "recipes"


def recipe_names() -> tuple[str, ...]:
    """Return the name of every recipe, as ``--config`` takes it."""
    return tuple(f"{_FOLDER}/{path.name}" for path in sorted(_shipped().glob("*.yaml")))


def config_path(name: str) -> Path:
    """Return the file that a name means: one that is there, else the recipe of that name.

    Args:
        name: A path, or one of `recipe_names`.
    """
    path = Path(name)
    is_recipe = not path.exists() and path.as_posix() in recipe_names()
    return _shipped() / path.name if is_recipe else path


def description(name: str) -> Sequence[str]:
    """Return the paragraphs of a recipe's first comment, the shortest description first.

    Args:
        name: One of `recipe_names`.
    """
    paragraphs: list[list[str]] = [[]]
    for line in (_shipped() / Path(name).name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if text := line.removeprefix("#").strip():
            paragraphs[-1].append(text)
        else:
            paragraphs.append([])
    return [" ".join(lines) for lines in paragraphs]


def _shipped() -> Path:
    """Return the folder that the package carries; it is always installed as files, never run from an archive."""
    return Path(str(files("longbench_run.recipes")))
