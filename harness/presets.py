"""Named sets of settings: the weakest layer, below the configuration file and the flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longbench_run.harness.errors import unknown_name

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Seconds on two cores: enough to see every part work, too little to conclude anything from.
    "smoke": {"lengths": ["1x", "2x"], "samples": 3},
}


def preset(name: str, *, where: str) -> Mapping[str, Any]:
    """Return the settings of a preset.

    Args:
        name: ``smoke``.
        where: Flag, file or variable that named it.

    Raises:
        UnknownName: If there is no such preset.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS, where=where, see="`longbench-run run --help`")
    return PRESETS[name]
