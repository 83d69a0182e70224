"""Old records and headers, brought to the schema that this program writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from longbench_run.results.records import SCHEMA_VERSION, ResultsError

Migration = Callable[[dict[str, Any]], dict[str, Any]]

RECORD_MIGRATIONS: Mapping[int, Migration] = {1: dict, 2: dict}
"""Schema version -> pure function to the next version, for lines of ``records.jsonl``.

2 adds fields that may be absent: where truncation began, all answers, the source's length, the chat template. 3
adds both ends of the prompt, and how much of it another sample had computed.
"""

HEADER_MIGRATIONS: Mapping[int, Migration] = {1: dict, 2: dict}
"""The same for ``run.json``: 2 adds the suites that tasks are parts of, and which protocols are references."""


def migrated(raw: dict[str, Any], migrations: Mapping[int, Migration], *, where: str) -> dict[str, Any]:
    """Return ``raw`` in the current schema.

    Args:
        raw: Parsed JSON object with ``schema_version``.
        migrations: `RECORD_MIGRATIONS` or `HEADER_MIGRATIONS`.
        where: File (and line) for the message.

    Raises:
        ResultsError: If the schema is newer than this program writes, or no version at all.
    """
    version = raw.get("schema_version")
    if version == SCHEMA_VERSION:
        return raw
    if not isinstance(version, int) or version < 1:
        raise ResultsError(
            f"{where}: schema_version must be a whole number from 1, got {version!r}. "
            "The file was not written by longbench-run, or was changed; restore it."
        )
    if version > SCHEMA_VERSION:
        raise ResultsError(
            f"{where}: schema_version {version} is newer than this program reads ({SCHEMA_VERSION}). "
            "Upgrade longbench-run."
        )
    for step in range(version, SCHEMA_VERSION):
        raw = {**migrations[step](raw), "schema_version": step + 1}
    return raw
