"""The authors' archive: downloaded at a pinned revision, held to its hash, unpacked where nothing can climb out."""

from __future__ import annotations

import hashlib
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from longbench_run.tasks.base import TaskError

REPOSITORY = "zai-org/LongBench"
"""Data set of the Hugging Face Hub; once THUDM/LongBench."""
REVISION = "5e628be450b7e67fb7ae6e201bd6d8f7056f7672"
FILE = "data.zip"
SHA256 = "cb45b11a4133c6bc1d6a44b0f8e701335ff1e543195db1103472e575857f7f64"
"""Of the file at that revision, 113,932,529 bytes."""
URL = f"https://huggingface.co/datasets/{REPOSITORY}/resolve/{REVISION}/{FILE}"

_MOST_ENTRIES = 1000
_MOST_BYTES = 4 * 1024**3
"""Most that is unpacked; the files of the archive have well below 1 GiB."""
_STEP = 1024 * 1024


def unpacked(cache: Path, *, given: Path | None = None) -> Path:
    """Return the folder with the unpacked archive; it is unpacked once.

    Args:
        cache: Folder to unpack into.
        given: The archive, where the user has it; None to download it, or take it from the hub's own cache.

    Raises:
        TaskError: If it cannot be had, is not the archive that is pinned, or cannot be unpacked.
    """
    folder = cache / f"longbench-{SHA256[:16]}"
    if given is not None:
        _check_hash(given)
    if not folder.is_dir():
        if given is None:
            given = _downloaded()
            _check_hash(given)
        unpack(given, folder)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into a folder that does not exist yet; it appears as a whole or not at all.

    Raises:
        TaskError: If an entry would leave the folder, is a link, or there is too much of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as temporary:
        target = Path(temporary) / "unpacked"
        target.mkdir()
        try:
            with zipfile.ZipFile(archive) as opened:
                entries = opened.infolist()
                _check_entries(archive, entries)
                left = _MOST_BYTES
                for entry in entries:
                    left -= _extract(archive, opened, entry, target, left)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise TaskError(
                f"{archive}: must be a zip archive, got one that cannot be read ({error}). Get it again."
            ) from None
        try:
            target.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster
                raise


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise TaskError(
            f"{archive}: must hold at most {_MOST_ENTRIES} entries, got {len(entries)}. Get it again."
        )
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename or not path.parts:
            raise TaskError(
                f"{archive}: entries must stay in their folder, got {entry.filename!r}. Do not use this archive."
            )
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise TaskError(
                f"{archive}: entries must be files and folders, got {entry.filename!r}, which is a link or a device. "
                "Do not use this archive."
            )


def _extract(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most: int) -> int:
    """Write one entry and return its bytes: counted as they come, because what an archive says of itself may be false."""
    path = target.joinpath(*PurePosixPath(entry.filename.replace("\\", "/")).parts)
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(entry) as source, path.open("xb") as file:
        while block := source.read(_STEP):
            written += len(block)
            if written > most:
                raise TaskError(
                    f"{archive}: must unpack to at most {_MOST_BYTES} bytes, got more. Do not use this archive."
                )
            file.write(block)
    return written


def _check_hash(archive: Path) -> None:
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TaskError(
            f"{archive}: must be readable, got {error.strerror!r}. Get it again from {URL}."
        ) from None
    if found != SHA256:
        raise TaskError(
            f"{archive}: sha256 must be {SHA256}, got {found}. Delete it, and get it again from {URL}."
        )


def _downloaded() -> Path:
    """Return the archive in the hub's cache; a download that broke off goes on where it stopped."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(REPOSITORY, FILE, repo_type="dataset", revision=REVISION))
    # Offline, no route, no such name: the hub's errors are OSErrors or ValueErrors of many kinds.
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise TaskError(
            f"longbench: {FILE} must be in the cache or within reach, got: {reason}. Put {URL} (sha256 {SHA256[:16]}...) "
            f"or its files NAME.jsonl into a folder, and pass --data-dir FOLDER."
        ) from None
