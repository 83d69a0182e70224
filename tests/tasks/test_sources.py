"""Documents from folders, JSON Lines files and data sets, and what is said where there are none."""

from __future__ import annotations

import json
import sys
import types

import pytest

from longbench_run.tasks import sources
from longbench_run.tasks.base import TaskError
from longbench_run.tasks.sources import GeneratedDocuments, data_set, text_folder


def names(source):
    found = []
    while (document := source.document(index=len(found), seed=0)) is not None:
        found.append(document.name)
    return found


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_folder_is_read_in_order_of_names_without_what_is_blank_or_no_text(tmp_path):
    for name, text in (
        ("b.txt", "bee"),
        ("a.txt", "ay"),
        ("c.txt", " \n"),
        ("d.md", "dee"),
        ("10.txt", "ten"),
    ):
        (tmp_path / name).write_text(text)
    source = text_folder(str(tmp_path), task="perplexity")
    assert names(source) == ["10.txt", "a.txt", "b.txt"]
    assert source.document(index=2, seed=5).opening(2) == "be"


def test_fingerprint_is_of_the_content_not_of_the_path(tmp_path):
    fingerprints = []
    for folder, texts in (
        ("x", ["one", "two"]),
        ("y", ["one", "two"]),
        ("z", ["one", "two."]),
        ("w", ["onetwo"]),
    ):
        (tmp_path / folder).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / folder / f"{number}.txt").write_text(text)
        fingerprints.append(text_folder(str(tmp_path / folder), task="perplexity").fingerprint)
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


def test_line_ends_and_byte_order_marks_change_nothing(tmp_path):
    for folder, content in (("unix", b"a\nb"), ("windows", b"\xef\xbb\xbfa\r\nb")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_bytes(content)
    unix, windows = (
        text_folder(str(tmp_path / "unix"), task="perplexity"),
        text_folder(str(tmp_path / "windows"), task="perplexity"),
    )
    assert unix.fingerprint == windows.fingerprint
    assert windows.document(index=0, seed=0).opening(9) == "a\nb"


def test_missing_folder_is_named(tmp_path):
    path = str(tmp_path / "none")
    with pytest.raises(TaskError) as error:
        text_folder(path, task="perplexity")
    assert str(error.value) == (
        f"perplexity: text must be a folder of .txt files, got {path!r}. Name an existing folder."
    )


def test_folder_with_nothing_readable_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    (tmp_path / "b.md").write_text("text")
    with pytest.raises(TaskError) as error:
        text_folder(str(tmp_path), task="perplexity")
    assert str(error.value) == (
        f"perplexity: text must hold at least one .txt file that is not blank, got none in "
        f"{str(tmp_path)!r}. Name a folder with text files in it."
    )


def test_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(TaskError) as error:
        text_folder(str(tmp_path), task="perplexity")
    assert str(error.value) == (
        f"perplexity: text must hold UTF-8 files, got byte 0xe9 at offset 3 of {str(tmp_path / 'b.txt')!r}. "
        "Convert the file or take it out."
    )


def test_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(TaskError) as error:
        text_folder(str(tmp_path), task="perplexity")
    assert str(error.value) == (
        f"perplexity: text must hold readable files, got {str(tmp_path / 'a.txt')!r}: "
        "No such file or directory. Mend the file or take it out."
    )


def test_rows_of_a_file_are_read_without_blank_ones(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "one"}, {"text": ""}, {"text": "three"}])
    source = data_set(path, task="perplexity", field="text")
    assert names(source) == ["row-0", "row-2"]
    assert source.document(index=1, seed=0).opening(3) == "thr"


def test_no_more_rows_are_read_than_the_documented_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_ROWS", 3)
    path = tmp_path / "a.jsonl"
    write_rows(path, [{"text": str(n)} for n in range(3)])
    with path.open("a") as file:
        file.write("not JSON, and never reached")
    assert names(data_set(str(path), task="perplexity", field="text")) == ["row-0", "row-1", "row-2"]


@pytest.mark.parametrize("line", ["{", '["a"]', "\xff"])
def test_torn_line_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n\n' + line.encode("latin-1"))
    with pytest.raises(TaskError) as error:
        data_set(str(path), task="perplexity", field="text")
    assert str(error.value) == (
        "perplexity: dataset must hold a JSON object on every line, got another thing on line 3 "
        f"of {str(path)!r}. Mend the line or take it out."
    )


@pytest.mark.parametrize("row", [{"body": "x", "id": 1}, {"text": 3, "body": "x", "id": 1}])
def test_field_that_holds_no_text_is_named(tmp_path, row):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "one"}, row])
    with pytest.raises(TaskError) as error:
        data_set(path, task="perplexity", field="text")
    assert str(error.value) == (
        f"perplexity: field must name a text of every row, got 'text', which row 1 of {path} does not have. "
        f"Fields: {', '.join(sorted(row))}."
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "none.jsonl",
            {},
            "perplexity: dataset must be an existing .jsonl file, got 'none.jsonl'. Check the path.",
        ),
        (
            "none.jsonl",
            {"split": "train"},
            "perplexity: split must be left out for a local file, got 'train'. none.jsonl has no splits.",
        ),
    ],
)
def test_file_that_cannot_be_had_is_named(name, options, message):
    with pytest.raises(TaskError) as error:
        data_set(name, task="perplexity", field="text", **options)
    assert str(error.value) == message


def test_rows_without_text_are_named(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": " "}])
    with pytest.raises(TaskError) as error:
        data_set(path, task="perplexity", field="text")
    assert str(error.value) == (
        f"perplexity: dataset must hold at least one row with text, got none in {path!r}. Name another one."
    )


def test_extra_that_reads_the_hub_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(TaskError) as error:
        data_set("org/books", task="perplexity", field="text")
    assert str(error.value) == (
        "perplexity: dataset=org/books must be read with the package datasets, which is not installed. "
        'Install it: pip install "longbench-run[datasets]".'
    )


class HubRows(list):
    """What `datasets.load_dataset` gives, as far as it is used."""

    @property
    def column_names(self):
        return list(self[0])

    def select(self, numbers):
        return HubRows(self[number] for number in numbers)

    def select_columns(self, names):
        return HubRows({name: row[name] for name in names} for row in self)


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the package `datasets`; returns what was asked of it."""
    asked = []

    def load_dataset(name, subset=None, *, split, revision):
        asked.append((name, subset, split, revision))
        if split == "validation":
            raise ValueError("Unknown split \"validation\". Should be one of ['test'].\nmore")
        if name == "org/gated":
            raise ConnectionError("Couldn't reach 'org/gated' on the Hub (OfflineModeIsEnabled)")
        return HubRows([{"text": "one", "ids": [1]}, {"text": "two", "ids": [2]}])

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_hub_data_set_is_asked_for_as_named(hub):
    source = data_set("org/books", task="perplexity", field="text", subset="long", revision="abc")
    assert hub == [("org/books", "long", "test", "abc")]
    assert [source.document(index=i, seed=0).opening(9) for i in range(2)] == ["one", "two"]


def test_hub_data_set_and_local_copy_have_one_fingerprint(hub, tmp_path):
    local = write_rows(tmp_path / "a.jsonl", [{"body": "one"}, {"body": "two"}])
    assert (
        data_set("org/books", task="perplexity", field="text").fingerprint
        == data_set(local, task="perplexity", field="body").fingerprint
    )


def test_hub_data_set_without_the_field_lists_those_it_has(hub):
    with pytest.raises(TaskError, match=r"Fields: ids, text\.$"):
        data_set("org/books", task="perplexity", field="body")


@pytest.mark.parametrize(
    ("name", "split", "reason"),
    [
        ("org/books", "validation", "Unknown split \"validation\". Should be one of ['test']."),
        ("org/gated", None, "Couldn't reach 'org/gated' on the Hub (OfflineModeIsEnabled)."),
    ],
)
def test_hub_data_set_that_cannot_be_had_is_named(hub, name, split, reason):
    with pytest.raises(TaskError) as error:
        data_set(name, task="perplexity", field="text", split=split)
    assert str(error.value) == (
        f"perplexity: dataset must be a .jsonl file or a readable data set of the Hugging Face Hub, got "
        f"{name!r} (split {split or 'test'!r}): {reason} Check name, subset and split, and the access of "
        "your token."
    )


def test_generated_documents_never_end_and_are_named_by_seed_and_index():
    document = GeneratedDocuments().document(index=10_000, seed=7)
    assert document.name == "generated-7-10000"
    assert len(document.opening(5000)) >= 5000
