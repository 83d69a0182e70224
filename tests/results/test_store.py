"""A run folder: resumed, refused, repaired, and never losing a record."""

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from longbench_run.results.lines import read_lines
from longbench_run.results.records import Bucket, ResultsError
from longbench_run.results.store import Store, check_output, read_header, read_run

# Appends the samples of one cell, says each that is on the disk, and skips those that were there before.
# It waits between samples: where the disk is fast, kills would come after all of the work.
SAMPLES = 400
WRITER = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("builders", sys.argv[2])
builders = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builders)
from longbench_run.results.store import Store
with Store.open(sys.argv[1], builders.make_header()) as store:
    print("begun", flush=True)
    done = store.finished(builders.CELL_ID)
    for index in range(int(sys.argv[3])):
        if index not in done:
            time.sleep(0.001)
            store.append(builders.make_record(index))
            print(index, flush=True)
    store.update_header(status="complete")
"""


def start_writer(folder, make):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), make.conftest, str(SAMPLES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_is_read_back_as_it_was_written(make, tmp_path):
    records = [
        make.record(0, nll_buckets=(Bucket(start=0, stop=8, nll_sum=0.1 + 0.2, tokens=8),)),
        make.record(1, prediction_ids=(1, 2), depth=1 / 3),
        make.record(None, status="not_applicable", scores={}),
    ]
    header = make.header()
    with Store.open(tmp_path / "a" / "b", header) as store:
        store.append(*records[:2])
        store.append(records[2])
        assert store.header == header
        assert store.finished(make.cell_id) == {0, 1, None}
        assert store.finished("another") == frozenset()
        assert store.statuses(make.cell_id) == {0: "ok", 1: "ok", None: "not_applicable"}
    assert read_run(tmp_path / "a" / "b") == (header, tuple(records))
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "lock",
        "records.jsonl",
        "run.json",
    ]


def test_resuming_keeps_the_records_and_the_time_of_the_start(make, tmp_path):
    with Store.open(tmp_path, make.header()) as store:
        store.append(make.record(0))
        store.update_header(status="interrupted", finished="2026-01-02T04:00:00Z")
    later = make.header(started="2026-02-02T00:00:00Z", command=("longbench-run", "--again"))
    with Store.open(tmp_path, later) as store:
        assert store.finished(make.cell_id) == {0}
        store.append(make.record(1))
    header, records = read_run(tmp_path)
    assert [record.index for record in records] == [0, 1]
    assert header == later.model_copy(update={"started": "2026-01-02T03:04:05Z"})


def test_a_header_keeps_its_key(make, tmp_path):
    with (
        Store.open(tmp_path, make.header()) as store,
        pytest.raises(ValueError, match="another run_key is another run: open a store for it"),
    ):
        store.update_header(run_key="b" * 64)


def test_a_header_with_a_file_name_in_another_encoding_is_kept(make, tmp_path):
    header = make.header(command=("longbench-run", "--data-dir", "b\udcfccher"))
    with Store.open(tmp_path, header):
        pass
    assert read_header(tmp_path) == header


def test_a_closed_store_refuses_to_write(make, tmp_path):
    with Store.open(tmp_path, make.header()) as store:
        pass
    with pytest.raises(ValueError, match="this store is closed"):
        store.append(make.record(0))
    with pytest.raises(ValueError, match="this store is closed"):
        store.update_header(status="complete")


class TestOverwrite:
    @pytest.fixture
    def folder(self, make, tmp_path):
        with Store.open(tmp_path / "run", make.header()) as store:
            store.append(
                make.record(0),
                make.record(1, status="error", scores={}),
                make.record(2, status="out_of_memory", scores={}),
                make.record(None, status="not_applicable", scores={}),
            )
        return tmp_path / "run"

    def test_missing_skips_whatever_has_a_record(self, make, folder):
        with Store.open(folder, make.header(), overwrite="missing") as store:
            assert store.finished(make.cell_id) == {0, 1, 2, None}

    def test_failed_computes_failures_again_and_the_last_record_counts(self, make, folder):
        with Store.open(folder, make.header(), overwrite="failed") as store:
            assert store.finished(make.cell_id) == {0, None}
            store.append(make.record(2))
            assert store.finished(make.cell_id) == {0, 2, None}
        _, records = read_run(folder)
        assert [(record.index, record.status) for record in records] == [
            (0, "ok"),
            (1, "error"),
            (2, "ok"),
            (None, "not_applicable"),
        ]

    def test_all_starts_anew_and_keeps_what_was_there(self, make, folder, caplog):
        before = read_run(folder)
        other = make.header(run_key="b" * 64)
        with caplog.at_level(logging.WARNING), Store.open(folder, other, overwrite="all") as store:
            assert store.finished(make.cell_id) == frozenset()
            store.append(make.record(7))
        assert read_run(folder) == (other, (make.record(7),))
        assert read_run(folder / "replaced-1") == before
        assert caplog.messages == [
            f"{folder}: the former run was moved to {folder}/replaced-1; delete it when it is not needed."
        ]
        with Store.open(folder, other, overwrite="all"):
            pass
        assert read_run(folder / "replaced-1") == before
        assert read_run(folder / "replaced-2") == (other, (make.record(7),))

    def test_all_on_a_new_folder_sets_nothing_aside(self, make, tmp_path):
        with Store.open(tmp_path / "new", make.header(), overwrite="all"):
            pass
        assert not list((tmp_path / "new").glob("replaced-*"))


class TestRefused:
    def test_a_folder_that_holds_another_run(self, make, tmp_path):
        with Store.open(tmp_path, make.header()) as store:
            store.append(make.record(0))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(ResultsError) as caught:
            Store.open(tmp_path, make.header(run_key="b" * 64))
        assert str(caught.value) == (
            f"{tmp_path}: --output must be a new folder or the same run, got a folder that holds another run "
            "(started 2026-01-02T03:04:05Z). Choose another --output or --overwrite all."
        )
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("overwrite", ["missing", "all"])
    def test_a_folder_with_other_files(self, make, tmp_path, overwrite):
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(ResultsError) as caught:
            Store.open(tmp_path, make.header(), overwrite=overwrite)
        assert str(caught.value) == (
            f"{tmp_path}: --output must be a new folder or a run, got a folder that holds other files "
            "('thesis.tex'). Choose another --output."
        )
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_file(self, make, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ResultsError) as caught:
            check_output(tmp_path / "file", "a" * 64)
        assert str(caught.value) == (
            f"{tmp_path}/file: --output must be a folder, got a file. Choose another --output."
        )

    def test_a_folder_that_cannot_be_made(self, make, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ResultsError) as caught:
            Store.open(tmp_path / "file" / "run", make.header())
        assert str(caught.value) == (
            f"{tmp_path}/file/run: --output must be writable, got Not a directory. "
            "Mend that and run the same command again: finished samples are kept."
        )

    def test_a_second_process(self, make, tmp_path):
        writer = start_writer(tmp_path, make)
        try:
            assert writer.stdout.readline() == "begun\n"
            os.kill(writer.pid, signal.SIGSTOP)
            with pytest.raises(ResultsError) as caught:
                Store.open(tmp_path, make.header())
            assert str(caught.value) == (
                f"{tmp_path}: --output must be written by one process at a time, got a run that process "
                f"{writer.pid} is writing. Wait for it to end, or choose another --output."
            )
            read_run(tmp_path)  # readers need no lock
        finally:
            writer.kill()
            writer.communicate()
        with Store.open(tmp_path, make.header()):
            pass  # the lock died with its process

    def test_a_second_store_in_the_same_process(self, make, tmp_path):
        with (
            Store.open(tmp_path, make.header()),
            pytest.raises(ResultsError, match=f"got a run that process {os.getpid()} is writing"),
        ):
            Store.open(tmp_path, make.header())

    def test_reading_a_folder_that_is_no_run(self, tmp_path):
        with pytest.raises(ResultsError) as caught:
            read_run(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: run must be a folder that longbench-run wrote, got one without run.json. "
            "See what is in runs/."
        )


class TestDamage:
    @pytest.fixture
    def folder(self, make, tmp_path):
        with Store.open(tmp_path / "run", make.header()) as store:
            store.append(*(make.record(index) for index in range(4)))
        return tmp_path / "run"

    @pytest.mark.parametrize("tail", [b'{"schema_version":3,"cell', b"\0" * 700, b"{}", b'{"cut\n'])
    def test_a_torn_last_line_is_cut_off_on_resume(self, make, folder, tail, caplog):
        path = folder / "records.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole + tail)
        assert len(read_run(folder).records) == 4
        assert path.read_bytes() == whole + tail  # readers change nothing
        with caplog.at_level(logging.WARNING), Store.open(folder, make.header()) as store:
            assert store.finished(make.cell_id) == {0, 1, 2, 3}
            store.append(make.record(4))
        assert caplog.messages == [
            f"{path} line 5: was cut off while being written. It is removed, and its sample computed again."
        ]
        assert [record.index for record in read_run(folder).records] == [0, 1, 2, 3, 4]

    def test_a_last_record_without_its_newline_is_computed_again(self, make, folder):
        path = folder / "records.jsonl"
        path.write_bytes(path.read_bytes()[:-1])
        assert [record.index for record in read_run(folder).records] == [0, 1, 2]
        with Store.open(folder, make.header()) as store:
            assert store.finished(make.cell_id) == {0, 1, 2}

    def test_every_cut_leaves_whole_records(self, make, folder):
        path = folder / "records.jsonl"
        whole = path.read_bytes()
        for size in random.Random(0).sample(range(len(whole)), 40):
            path.write_bytes(whole[:size])
            count = whole[:size].count(b"\n")
            with Store.open(folder, make.header()) as store:
                assert store.finished(make.cell_id) == set(range(count))
            assert path.read_bytes() == whole[: sum(len(line) for line in whole.splitlines(True)[:count])]

    def damaged(self, folder, change):
        path = folder / "records.jsonl"
        lines = path.read_bytes().splitlines(True)
        lines[1] = change(lines[1])
        path.write_bytes(b"".join(lines))
        return path

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda line: b"rubbish\n", "record must be one JSON object, got 'rubbish'"),
            (lambda line: b"[1]\n", "record must be one JSON object, got '[1]'"),
            (
                lambda line: line[:60] + b"\n",
                'record must be one JSON object, got \'{"schema_version":3,"cell_id":"{cell}\'',
            ),
            (
                lambda line: line.replace(b'"status":"ok"', b'"status":"fine"'),
                "status must be 'ok', 'error', 'out_of_memory' or 'not_applicable', got 'fine'",
            ),
            (lambda line: line.replace(b'"index":1,', b""), "index must be there, got nothing"),
            (
                lambda line: line.replace(b'"index":1,', b'"index":1,"colour":"red",'),
                "colour must be a field of this schema, got 'red'",
            ),
            (
                lambda line: line.replace(b'"accuracy":0.0', b'"accuracy":NaN'),
                "scores.accuracy must be a finite number, got nan",
            ),
        ],
    )
    def test_a_corrupt_line_in_the_middle_is_named(self, make, folder, change, problem):
        path = self.damaged(folder, change)
        before = path.read_bytes()
        expected = (
            f"{path} line 2: {problem.replace('{cell}', make.cell_id[:9])}. "
            "Restore the line, or delete it: its sample is then computed again."
        )
        for use in (lambda: read_run(folder), lambda: Store.open(folder, make.header())):
            with pytest.raises(ResultsError) as caught:
                use()
            assert str(caught.value) == expected
        assert path.read_bytes() == before

    def test_a_newer_schema_is_named(self, make, folder):
        path = self.damaged(folder, lambda line: line.replace(b'"schema_version":3', b'"schema_version":4'))
        with pytest.raises(ResultsError) as caught:
            Store.open(folder, make.header())
        assert str(caught.value) == (
            f"{path} line 2: schema_version 4 is newer than this program reads (3). Upgrade longbench-run."
        )

    def test_a_schema_that_is_none_is_named(self, folder):
        path = self.damaged(folder, lambda line: line.replace(b'"schema_version":3', b'"schema_version":"x"'))
        with pytest.raises(ResultsError) as caught:
            read_run(folder)
        assert str(caught.value) == (
            f"{path} line 2: schema_version must be a whole number from 1, got 'x'. "
            "The file was not written by longbench-run, or was changed; restore it."
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "header must be one JSON object, got something else"),
            ("[]", "header must be one JSON object, got something else"),
            ('{"schema_version": 1}', "run_key must be there, got nothing"),
        ],
    )
    def test_a_corrupt_header_is_named(self, make, folder, text, problem):
        (folder / "run.json").write_text(text)
        with pytest.raises(ResultsError) as caught:
            Store.open(folder, make.header())
        assert str(caught.value) == (
            f"{folder}/run.json: {problem}. Restore the file, or run again with --overwrite all."
        )
        with Store.open(folder, make.header(), overwrite="all") as store:  # the remedy works
            assert store.finished(make.cell_id) == frozenset()

    def test_a_newer_header_is_named(self, make, folder):
        header = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**header, "schema_version": 4}))
        with pytest.raises(ResultsError) as caught:
            read_run(folder)
        assert str(caught.value) == (
            f"{folder}/run.json: schema_version 4 is newer than this program reads (3). Upgrade longbench-run."
        )


class TestKilled:
    def test_nothing_is_lost_and_nothing_is_there_twice(self, make, tmp_path):
        moments = random.Random(20260102)
        folder = tmp_path / "run"
        said = set()
        for _ in range(8):
            writer = start_writer(folder, make)
            assert writer.stdout.readline() == "begun\n"
            time.sleep(moments.uniform(0, 0.03))
            writer.kill()
            out, _ = writer.communicate()
            # A line that was cut by the kill says nothing that can be relied on.
            said |= {int(line) for line in out.splitlines(keepends=True) if line.endswith("\n")}
            stored = [record.index for record in read_run(folder).records]
            assert said <= set(stored)
        assert 0 < len(said) < SAMPLES, "the kills hit before or after all of the work: they tested nothing"
        writer = start_writer(folder, make)
        _, errors = writer.communicate()
        assert (writer.returncode, errors) == (0, "")
        lines = (folder / "records.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(SAMPLES))
        header, records = read_run(folder)
        assert records == tuple(make.record(index) for index in range(SAMPLES))
        assert header.status == "complete"

    def test_a_kill_before_the_header_leaves_a_folder_that_can_be_used(self, make, tmp_path):
        (tmp_path / "lock").write_text("123 host\n")
        (tmp_path / "run.json.tmp").write_text('{"schema')
        with Store.open(tmp_path, make.header()) as store:
            store.append(make.record(0))
        assert len(read_run(tmp_path).records) == 1

    def test_a_full_disk_leaves_whole_lines(self, make, tmp_path):
        def write():
            with Store.open(tmp_path, make.header()) as store:
                store.append(make.record(0))
                size = (tmp_path / "records.jsonl").stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
                with pytest.raises(ResultsError) as caught:
                    store.append(make.record(1))
                assert str(caught.value) == (
                    f"{tmp_path}/records.jsonl: --output must be writable, got File too large. "
                    "Mend that and run the same command again: finished samples are kept."
                )
                assert (tmp_path / "records.jsonl").stat().st_size == size
                assert store.finished(make.cell_id) == {0}
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                store.append(make.record(2))

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [record.index for record in read_run(tmp_path).records] == [0, 2]


def test_cells_are_shared_between_records(make, tmp_path):
    other = make.cell(context_length=2048)
    with Store.open(tmp_path, make.header()) as store:
        store.append(make.record(0), make.record(1), make.record(0, cell=other))
    first, second, third = read_run(tmp_path).records
    assert first.cell is second.cell
    assert third.cell == other


def test_a_cell_is_shared_only_with_an_equal_one(make, tmp_path):
    other = make.cell(dtype="bfloat16")
    with Store.open(tmp_path, make.header()) as store:
        store.append(make.record(0), make.record(1).model_copy(update={"cell": other}))
    assert [record.cell.dtype for record in read_run(tmp_path).records] == ["float32", "bfloat16"]


def test_old_records_are_migrated(make, tmp_path, monkeypatch):
    with Store.open(tmp_path, make.header()) as store:
        store.append(make.record(0))
    path = tmp_path / "records.jsonl"
    old = json.loads(path.read_text())
    old["guess"] = old.pop("prediction")
    path.write_text(json.dumps(old) + "\n")

    def rename_guess(raw):
        return {**{key: value for key, value in raw.items() if key != "guess"}, "prediction": raw["guess"]}

    # As if this program wrote schema 4, where `guess` of schema 3 is called `prediction`.
    monkeypatch.setattr("longbench_run.results.lines.RECORD_MIGRATIONS", {3: rename_guess})
    monkeypatch.setattr("longbench_run.results.migrations.SCHEMA_VERSION", 4)
    (line,) = read_lines(path)
    assert (line.record.schema_version, line.record.prediction) == (4, "answer 0")


def test_records_and_headers_of_schema_1_are_read(make, tmp_path):
    with Store.open(tmp_path, make.header()) as store:
        store.append(make.record(0))
    path = tmp_path / "records.jsonl"
    first = json.loads(path.read_text())
    for name in ("source_length", "truncated_at", "answers", "prompt_head", "prompt_tail"):
        del first[name]
    del first["cell"]["chat_template"]
    path.write_text(json.dumps({**first, "schema_version": 1}) + "\n")
    header = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**header, "schema_version": 1}))
    stored = read_run(tmp_path)
    assert stored.records[0] == make.record(0)
    assert stored.records[0].cell.cell_id() == make.cell_id
    assert stored.header.schema_version == 3
