"""Where a model's files are, and what went wrong on the way to them, in words that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)

from longbench_run.harness.errors import LongbenchError, ModelError
from longbench_run.harness.models.spec import REFERENCE, complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where files are read from."""

    location: str
    """Folder or hub id, as transformers takes it."""
    name: str
    """Hub id, or the folder's name: no path of this machine."""
    is_local: bool

    @property
    def folder(self) -> Path:
        """The folder of a local source."""
        return Path(self.location)


def find_source(text: str, *, where: str, marker: str = "config.json") -> Source:
    """Decide whether a text names a folder or a hub id.

    Args:
        text: What the user wrote.
        where: What the error message begins with.
        marker: File that a usable folder holds.

    Raises:
        ModelError: If it is the path of something that does not exist, or of a folder without ``marker``.
    """
    if text == REFERENCE:
        from longbench_run.harness import reference_model  # knows where the bundled files are

        return Source(location=str(reference_model.path()), name=REFERENCE, is_local=True)
    path = Path(text).expanduser()
    if path.is_dir():
        if not (path / marker).is_file():
            rule = f"a folder with {marker}"
            raise ModelError(
                complaint(where, "path", rule, repr(text), "Give the folder that save_pretrained wrote.")
            )
        return Source(location=str(path), name=path.resolve().name, is_local=True)
    looks_like_path = (
        text.startswith((".", "/", "~")) or text.endswith("/") or "\\" in text or text.count("/") > 1
    )
    if path.exists() or looks_like_path:
        raise ModelError(complaint(where, "path", "an existing folder", repr(text), _nearest(path)))
    return Source(location=text, name=text, is_local=False)


def _nearest(path: Path) -> str:
    parent = path.parent
    siblings = sorted(p.name for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
    nearest = get_close_matches(path.name, siblings, n=1)
    return f'Did you mean "{parent / nearest[0]}"?' if nearest else "Check the path, or give a hub id."


@contextmanager
def readable_errors(source: Source, *, where: str, revision: str | None, part: str) -> Iterator[None]:
    """Turn what the libraries raise while reading a model into one line with a remedy.

    Args:
        source: Where it is read from.
        where: What the message begins with, e.g. ``model meta-llama/Llama-2-7b-hf``.
        revision: What the user asked for, None for the default branch.
        part: What is being read: ``configuration``, ``tokenizer``, ``weights``, ``adapter``.

    Raises:
        ModelError: In place of every error that a user can mend.
    """
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        ImportError,
        RuntimeError,
        HfHubHTTPError,
        StrictDataclassError,
    ) as error:
        if isinstance(error, LongbenchError):
            raise
        raise ModelError(_explain(error, source, where, revision, part)) from error
    except Exception as error:
        # SafetensorError derives from Exception alone: a torn or corrupt file.
        if type(error).__name__ != "SafetensorError":
            raise
        got = f"{type(error).__name__}: {error}"
        raise ModelError(
            complaint(where, part, "readable safetensors", got, "Download the files again.")
        ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _explain(error: Exception, source: Source, where: str, revision: str | None, part: str) -> str:
    """Say which of the known reasons it was; transformers wraps most of them in a plain OSError."""
    chain = list(_chain(error))
    texts = [str(link) for link in chain]
    if not source.is_local:
        for kinds, name, rule, got, remedy in _hub_reasons(source.name, revision):
            if any(isinstance(link, kinds) for link in chain):
                return complaint(where, name, rule, got, remedy)
    if any("trust_remote_code" in text for text in texts):
        remedy = "Pass --trust-remote-code after reading that code."
        got = "a model that brings code along"
        return complaint(where, part, "readable without code of its own", got, remedy)
    has_no_file = any(isinstance(link, EntryNotFoundError) for link in chain) or "file named" in texts[0]
    if part in ("weights", "adapter") and has_no_file:
        remedy = "Convert the weights with save_pretrained: other formats can run code when they are loaded."
        return complaint(where, part, "a safetensors file", "none in this model", remedy)
    said = f"{type(error).__name__}: {(texts[0].strip() or 'no message').splitlines()[0]}".rstrip(".")
    rule = f"one that transformers {version('transformers')} reads"
    return complaint(where, part, rule, said, "Check the model's files.")


def _hub_reasons(
    name: str, revision: str | None
) -> Iterator[tuple[tuple[type[BaseException], ...], str, str, str, str]]:
    """Yield (errors, name, rule, got, remedy) from the most special error to the most general one."""
    page = f"{constants.ENDPOINT}/{name}"
    login = "run `hf auth login`"
    folder = "or give a local folder."
    yield (
        (GatedRepoError,),
        "hub id",
        "one that this account may read",
        f"the gated {name!r}",
        f"Ask for access at {page}, then {login}, {folder}",
    )
    yield (
        (RepositoryNotFoundError,),
        "hub id",
        "an existing model",
        repr(name),
        f"Check the id, {login} if it is private, {folder}",
    )
    yield (
        (RevisionNotFoundError,),
        "revision",
        "a branch, tag or commit of the model",
        repr(revision),
        f"See {page}.",
    )
    yield (
        (HFValidationError,),
        "hub id",
        "name or owner/name",
        repr(name),
        f"Check the id, {folder}",
    )
    yield (
        (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError),
        "hub id",
        "in the cache or within reach",
        f"{name!r} and no answer from {constants.ENDPOINT}",
        f"Check the id and the network, {folder}",
    )
