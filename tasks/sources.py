"""Where documents come from: generated, a folder of text files, a JSON Lines file, a Hub data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.documents import GENERATOR_VERSION, generate_document

MOST_ROWS = 1000
"""A data set is its first rows, at most this many: hashing its content must end in reasonable time."""


class Document(Protocol):
    """A text that can be read from its beginning, as far as it is needed."""

    @property
    def name(self) -> str:
        """What records call it; no path."""
        ...

    def opening(self, characters: int) -> str:
        """Return the first ``characters`` characters or a few more; all there are where it has fewer."""
        ...


class Rows(Protocol):
    """A table that gives a row for its number: a list of mappings, or a memory-mapped data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Mapping[str, object]: ...


class DocumentSource(Protocol):
    """Documents in a fixed order."""

    @property
    def fingerprint(self) -> str:
        """Text that changes when any document does."""
        ...

    @property
    def parameter(self) -> str:
        """Parameter that named this source, for messages."""
        ...

    def document(self, *, index: int, seed: int) -> Document | None:
        """Return document ``index``, None behind the last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedDocument:
    """A document of any length, made from a seed."""

    seed: int
    index: int

    @property
    def name(self) -> str:
        """Seed and index."""
        return f"generated-{self.seed}-{self.index}"

    def opening(self, characters: int) -> str:
        """Return whole paragraphs, at least ``characters`` characters."""
        return generate_document(self.seed, self.index, characters=characters)


@dataclass(frozen=True, slots=True)
class GeneratedDocuments:
    """Endlessly many generated documents; the seed of the run makes them."""

    fingerprint: str = f"generated-{GENERATOR_VERSION}"
    parameter: str = "text"

    def document(self, *, index: int, seed: int) -> Document:
        """Return document ``index`` of a seed."""
        return GeneratedDocument(seed=seed, index=index)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A UTF-8 text file."""

    path: Path

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.name

    def opening(self, characters: int) -> str:
        """Return the file's first ``characters`` characters, without a byte-order mark."""
        with self.path.open(encoding="utf-8-sig") as file:
            return file.read(characters)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a table, one of whose fields is the text."""

    rows: Rows
    number: int
    field: str

    @property
    def name(self) -> str:
        """Row number, from 0."""
        return f"row-{self.number}"

    def opening(self, characters: int) -> str:
        """Return the first ``characters`` characters of the field."""
        return str(self.rows[self.number][self.field])[:characters]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDocuments:
    """Documents that are what they are, whatever the seed."""

    documents: Sequence[Document]
    fingerprint: str
    parameter: str

    def document(self, *, index: int, seed: int) -> Document | None:
        """Return document ``index``, None behind the last."""
        return self.documents[index] if index < len(self.documents) else None


def text_folder(path: str, *, task: str) -> FixedDocuments:
    """Read a folder: each ``.txt`` file in it that is not blank is a document, in order of the names.

    Args:
        path: The folder.
        task: Name of the task, for errors.

    Raises:
        TaskError: If there is no such folder, a file is no UTF-8, or nothing readable is in it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise TaskError(
            f"{task}: text must be a folder of .txt files, got {path!r}. Name an existing folder."
        )
    documents = []
    texts = []
    for file in sorted(folder.glob("*.txt"), key=lambda file: file.name):
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise TaskError(
                f"{task}: text must hold UTF-8 files, got byte 0x{error.object[error.start]:02x} at "
                f"offset {error.start} of {str(file)!r}. Convert the file or take it out."
            ) from None
        except OSError as error:
            raise TaskError(
                f"{task}: text must hold readable files, got {str(file)!r}: {error.strerror}. "
                "Mend the file or take it out."
            ) from None
        if text.strip():
            documents.append(TextFile(path=file))
            texts.append(_sha256(text))
    if not documents:
        raise TaskError(
            f"{task}: text must hold at least one .txt file that is not blank, got none in {path!r}. "
            "Name a folder with text files in it."
        )
    return FixedDocuments(documents=documents, fingerprint=_sha256_of_all(texts), parameter="text")


def data_set(
    name: str,
    *,
    task: str,
    field: str,
    subset: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> FixedDocuments:
    """Read a JSON Lines file or a data set of the Hugging Face Hub: a document per row, blank ones left out.

    Args:
        name: Path of a ``.jsonl`` file, or the name of a data set.
        task: Name of the task, for errors.
        field: Field of a row that holds the text.
        subset: Configuration of a Hub data set.
        split: Split of a Hub data set; ``test`` where None.
        revision: Commit, branch or tag of a Hub data set.

    Raises:
        TaskError: If it cannot be read, a row lacks the field, or no row holds text.
    """
    if name.endswith(".jsonl"):
        for option, value in (("subset", subset), ("split", split), ("revision", revision)):
            if value is not None:
                raise TaskError(
                    f"{task}: {option} must be left out for a local file, got {value!r}. "
                    f"{name} has no {option}s."
                )
        rows: Rows = list(_json_lines(name, task=task))
    else:
        rows = _hub_rows(
            name, task=task, field=field, subset=subset, split=split or "test", revision=revision
        )
    documents = []
    hashes = []
    for number in range(len(rows)):
        text = rows[number].get(field)
        if not isinstance(text, str):
            raise TaskError(
                f"{task}: field must name a text of every row, got {field!r}, which row {number} of "
                f"{name} does not have. Fields: {', '.join(sorted(rows[number]))}."
            )
        if text.strip():
            documents.append(TableRow(rows=rows, number=number, field=field))
            hashes.append(_sha256(text))
    if not documents:
        raise TaskError(
            f"{task}: dataset must hold at least one row with text, got none in {name!r}. Name another one."
        )
    return FixedDocuments(documents=documents, fingerprint=_sha256_of_all(hashes), parameter="dataset")


def _json_lines(name: str, *, task: str) -> Iterator[Mapping[str, object]]:
    """Yield the first rows of a JSON Lines file; blank lines are no rows."""
    path = Path(name)
    if not path.is_file():
        raise TaskError(f"{task}: dataset must be an existing .jsonl file, got {name!r}. Check the path.")
    found = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise TaskError(
                    f"{task}: dataset must hold a JSON object on every line, got another thing on line "
                    f"{number} of {name!r}. Mend the line or take it out."
                )
            yield row
            found += 1
            if found == MOST_ROWS:
                return


def _hub_rows(
    name: str, *, task: str, field: str, subset: str | None, split: str, revision: str | None
) -> Rows:
    """Return the first rows of a data set, memory-mapped."""
    try:
        datasets: Any = import_module("datasets")
    except ImportError:
        raise TaskError(
            f"{task}: dataset={name} must be read with the package datasets, which is not installed. "
            'Install it: pip install "longbench-run[datasets]".'
        ) from None
    try:
        rows: Any = datasets.load_dataset(name, subset, split=split, revision=revision)
    # Missing, gated and offline are OSErrors, an unknown subset or split is a ValueError.
    except (OSError, ValueError) as error:
        first_line = str(error).strip().partition("\n")[0].rstrip(".")
        raise TaskError(
            f"{task}: dataset must be a .jsonl file or a readable data set of the Hugging Face Hub, got "
            f"{name!r} (split {split!r}): {first_line}. Check name, subset and split, and the access of your "
            "token."
        ) from error
    if field in rows.column_names:
        # Other columns can be far larger than the text, and every one of them would be decoded with it.
        rows = rows.select_columns([field])
    first: Rows = rows.select(range(min(len(rows), MOST_ROWS)))
    return first


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sha256_of_all(hashes: Iterable[str]) -> str:
    return f"sha256:{_sha256(' '.join(hashes))}"
