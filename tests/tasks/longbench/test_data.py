"""Data files: where they may lie, what is wrong with them, and an archive that can do no harm."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile

import pytest

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.longbench import archive, data
from longbench_run.tasks.longbench.archive import unpack
from longbench_run.tasks.longbench.data import data_file
from longbench_run.tasks.longbench.rows import fingerprint, rows_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_zip(path, *entries, **options):
    """Write an archive of (name, text) and (ZipInfo, text)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as opened:
        for name, text in entries:
            opened.writestr(name, text)
    return path


def message(call, *arguments, **options):
    with pytest.raises(TaskError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("place", ["hotpotqa.jsonl", "data/hotpotqa.jsonl", "data/hotpotqa.jsonl.gz"])
def test_a_folder_holds_files_or_the_layout_of_the_archive(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("{}")
    assert data_file("hotpotqa", str(tmp_path)) == tmp_path / place


def test_what_is_missing_is_said_with_where_to_put_it(tmp_path):
    (tmp_path / "qasper.jsonl").write_text("{}")
    assert message(data_file, "hotpotqa", str(tmp_path)) == (
        "longbench: data_dir must hold hotpotqa.jsonl, data/hotpotqa.jsonl or data.zip, got none of them in "
        f"'{tmp_path}'. Put {archive.URL} there, or name other datasets."
    )
    assert message(data_file, "hotpotqa", f"{tmp_path}/absent") == (
        f"longbench: data_dir must be a folder, got nothing at '{tmp_path}/absent'. "
        "Name one that holds hotpotqa.jsonl or data.zip."
    )
    assert "got a file at" in message(data_file, "hotpotqa", f"{tmp_path}/qasper.jsonl")


def test_without_network_the_message_says_which_file_to_put_where():
    """The hub's library is offline in tests."""
    found = message(data_file, "hotpotqa", None)
    assert found.startswith("longbench: data.zip must be in the cache or within reach, got: ")
    assert found.endswith(
        f". Put {archive.URL} (sha256 cb45b11a4133c6bc...) or its files NAME.jsonl into a folder, and pass "
        "--data-dir FOLDER."
    )
    assert "\n" not in found


def pinned(monkeypatch, path):
    monkeypatch.setattr(archive, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_archive_with_the_right_hash_is_unpacked_once(tmp_path, cache, monkeypatch):
    pinned(monkeypatch, write_zip(tmp_path / "data.zip", ("data/hotpotqa.jsonl", '{"a": 1}')))
    found = data_file("hotpotqa", str(tmp_path))
    assert found == data.cache_folder() / f"longbench-{archive.SHA256[:16]}" / "data/hotpotqa.jsonl"
    assert found.read_text() == '{"a": 1}'
    monkeypatch.setattr(archive, "unpack", lambda *_: pytest.fail("unpacked again"))
    assert data_file("hotpotqa", str(tmp_path)) == found
    assert message(data_file, "qasper", str(tmp_path)).endswith(
        "must hold data/qasper.jsonl, got no such file. Delete the folder and run again."
    )


def test_a_download_is_pinned_and_taken_from_the_cache_after_it(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "downloaded", ("data/hotpotqa.jsonl", "{}"))
    pinned(monkeypatch, path)
    asked = []

    def download(*arguments, **options):
        asked.append((arguments, options))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert data_file("hotpotqa", None) == data_file("hotpotqa", None)
    assert asked == [
        (
            ("zai-org/LongBench", "data.zip"),
            {"repo_type": "dataset", "revision": "5e628be450b7e67fb7ae6e201bd6d8f7056f7672"},
        )
    ]


def test_an_archive_with_another_hash_is_refused_even_where_the_right_one_is_unpacked(tmp_path, cache):
    (data.cache_folder() / f"longbench-{archive.SHA256[:16]}" / "data").mkdir(parents=True)
    path = write_zip(tmp_path / "data.zip", ("data/hotpotqa.jsonl", "{}"))
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    assert message(data_file, "hotpotqa", str(tmp_path)) == (
        f"{path}: sha256 must be cb45b11a4133c6bc1d6a44b0f8e701335ff1e543195db1103472e575857f7f64, got {got}. "
        f"Delete it, and get it again from {archive.URL}."
    )


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


CLIMBING = (
    "../climbs.jsonl",
    "data/../../climbs.jsonl",
    "/absolute.jsonl",
    "..\\climbs.jsonl",
    "C:/drive.jsonl",
    ".",
)


@pytest.mark.parametrize("name", CLIMBING)
def test_an_entry_that_climbs_out_is_refused_and_nothing_is_written(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", ("data/good.jsonl", "{}"), (name, "evil"))
    folder = tmp_path / "deep/er/folder"
    assert message(unpack, path, folder) == (
        f"{path}: entries must stay in their folder, got {name!r}. Do not use this archive."
    )
    assert [p for p in (tmp_path / "deep").rglob("*") if p.is_file()] == []
    assert not folder.exists()


def test_a_link_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", (link("data/link.jsonl"), "/etc/passwd"))
    assert message(unpack, path, tmp_path / "out") == (
        f"{path}: entries must be files and folders, got 'data/link.jsonl', which is a link or a device. "
        "Do not use this archive."
    )


def test_an_archive_that_grows_is_stopped_whatever_it_says_of_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_BYTES", 1000)
    path = write_zip(tmp_path / "a.zip", ("data/a.jsonl", "x" * 600), ("data/b.jsonl", "x" * 600))
    assert message(unpack, path, tmp_path / "out") == (
        f"{path}: must unpack to at most 1000 bytes, got more. Do not use this archive."
    )
    assert not (tmp_path / "out").exists()


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_ENTRIES", 2)
    path = write_zip(tmp_path / "a.zip", *((f"{i}.jsonl", "") for i in range(3)))
    assert "must hold at most 2 entries, got 3" in message(unpack, path, tmp_path / "out")


def damaged(content):
    return content[: len(content) // 2]


def flipped(content):
    at = content.index(b"data/a.jsonl") + len(b"data/a.jsonl") + 5
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("change", [lambda _: b"no archive", damaged, flipped])
def test_what_is_no_whole_archive_is_refused(tmp_path, change):
    buffer = io.BytesIO()
    write_zip(buffer, ("data/a.jsonl", "".join(map(str, range(2000)))))
    path = tmp_path / "a.zip"
    path.write_bytes(change(buffer.getvalue()))
    found = message(unpack, path, tmp_path / "out")
    assert found.startswith(f"{path}: must be a zip archive, got one that cannot be read (")
    assert not (tmp_path / "out").exists()


def test_rows_are_read_as_the_authors_write_them(write_rows):
    folder = write_rows(
        "trec", {"answers": ["Other"], "all_classes": ["Other", "Date"], "length": 7, "input": "Q"}
    )
    (found,) = rows_of(folder / "trec.jsonl", "trec")
    assert (found.question, found.answers, found.classes, found.length) == (
        "Q",
        ("Other",),
        ("Other", "Date"),
        7,
    )


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("hotpotqa", {"answers": []}, "line 2: field 'answers' must be a list of at least one text, got []."),
        ("hotpotqa", {"context": 3}, "line 2: field 'context' must be a text, got 3."),
        ("hotpotqa", {"length": "7"}, "line 2: field 'length' must be a whole number, got '7'."),
        (
            "trec",
            {"all_classes": None},
            "line 2: field 'all_classes' must be a list of texts for a dataset of classes",
        ),
        (
            "passage_retrieval_en",
            {"answers": ["7"]},
            "line 2: field 'answers' must hold texts like 'Paragraph 7'",
        ),
    ],
)
def test_a_field_that_is_wrong_is_named_with_file_and_line(write_rows, name, change, expected):
    good = {"answers": ["Paragraph 1"], "all_classes": ["a"]}
    folder = write_rows(name, good, {**good, **change})
    found = message(rows_of, folder / f"{name}.jsonl", name)
    assert found.startswith(f"{folder}/{name}.jsonl, {expected}")


def test_another_content_is_another_fingerprint(write_rows):
    path = write_rows("hotpotqa", {}) / "hotpotqa.jsonl"
    first = fingerprint(path)
    assert first == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    write_rows("hotpotqa", {"input": "Another question?"})
    assert fingerprint(path) != first
    assert rows_of(path, "hotpotqa")[0].question == "Another question?"


@pytest.mark.network
def test_the_archive_that_is_pinned_is_there_and_has_every_dataset():
    from longbench_run.tasks.longbench.datasets import VARIANTS

    files = {name: rows_of(data_file(name, None), name) for name in VARIANTS}
    assert sum(len(files[name]) for name in VARIANTS) == 8418
