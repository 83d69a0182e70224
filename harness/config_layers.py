"""Where a setting was written, so that an error can name the place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longbench_run.harness.errors import unknown_name

Location = Sequence[str | int]

FLAG_OF_KEY = {"models": "--model", "baseline": "--no-baseline", "prefix_reuse": "--no-prefix-reuse"}
"""Flags that are spelled differently from their key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Settings that come from one place."""

    source: str
    """A file, ``preset smoke`` or ``run()``; unused for flags."""
    values: Mapping[str, Any]
    is_flags: bool = False

    def where(self, location: Location) -> str:
        """Return the place of a value: ``--lengths:`` or ``matrix.yaml: models[0].dtype``."""
        key = str(location[0])
        if self.is_flags:
            return f"{FLAG_OF_KEY.get(key, '--' + key.replace('_', '-'))}:"
        path = key
        for part in location[1:]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
        return f"{self.source}: {path}"


def merge(
    layers: Sequence[Layer], *, known: Collection[str]
) -> tuple[dict[str, Any], dict[str, Layer], list[str]]:
    """Lay settings over each other.

    Args:
        layers: From the weakest to the strongest.
        known: Keys that exist.

    Returns:
        The merged values, the layer each key came from, and one line for every key that does not exist.
    """
    values: dict[str, Any] = {}
    origin: dict[str, Layer] = {}
    errors: list[str] = []
    for layer in layers:
        for key, value in layer.values.items():
            if key in known:
                values[key], origin[key] = value, layer
            else:
                error = unknown_name("key", key, known, where=layer.source, see="`longbench-run run --help`")
                errors.append(str(error))
    return values, origin, errors
