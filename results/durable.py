"""Writing that survives a kill or a power cut: whole files, whole lines, names that stay."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_text(path: Path, text: str, *, temporary: Path) -> None:
    """Replace a file as a whole: a reader finds the old text or the new one.

    Args:
        path: The file.
        text: What it is to hold.
        temporary: Where the text is written first, in the same folder.
    """
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_bytes(descriptor: int, data: bytes) -> None:
    """Write every byte and return when they are on the disk.

    Args:
        descriptor: An open file.
        data: What to write.
    """
    view = memoryview(data)
    while view:  # one call may take fewer bytes than it is given
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file and return when the copy is on the disk.

    Args:
        source: What to copy.
        target: The copy.
    """
    shutil.copy2(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, not only the contents of its files.

    Args:
        folder: The folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
