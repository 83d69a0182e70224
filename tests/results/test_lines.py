"""The lines of a run, as whole records and as the table reads them: the same values, the same errors."""

import json

import pytest

from longbench_run.results.columns import OF_SAMPLE
from longbench_run.results.lines import encoded, read_lines, read_parts
from longbench_run.results.records import Failure, ResultsError, TaskIdentity

READ = (*OF_SAMPLE, "scores", "failure")


@pytest.fixture
def write(tmp_path):
    def to_file(*lines):
        path = tmp_path / "records.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    return to_file


def edited(record, **changes):
    return json.dumps({**json.loads(encoded(record)), **changes}).encode() + b"\n"


def assert_same(path):
    records = [line.record for line in read_lines(path)]
    parts = list(read_parts(path))
    assert [part.of_cell.cell for part in parts] == [record.cell for record in records]
    for name in READ:
        assert [part.of_sample[name] for part in parts] == [getattr(record, name) for record in records]
    return parts


def error_of(reader, path):
    with pytest.raises(ResultsError) as caught:
        list(reader(path))
    return str(caught.value)


def test_parts_are_the_fields_of_the_records_and_cells_are_shared(make, write):
    failure = Failure(type="E", message="a\\b \u202e")
    records = [
        make.record(0, prediction='{"index":1},"index":2', answers=("a", "b"), weight=2.0),
        make.record(1, scores={}, status="error", failure=failure),
        make.record(0, cell=make.cell(seed=1)),
        make.record(2, prediction_ids=(1, 2), document="d"),
        make.record(None, cell=make.cell(context_length=4096), status="not_applicable", scores={}),
    ]
    parts = assert_same(write(*map(encoded, records)))
    assert parts[0].of_cell is parts[1].of_cell is parts[3].of_cell
    assert parts[0].of_cell is not parts[2].of_cell


def test_a_label_of_the_user_ends_no_part(make, write):
    cell = make.cell(
        task=TaskIdentity(name="passkey", version=1, protocol="p", parameters={"a": 1, "index": 2})
    )
    records = [make.record(index, cell=cell, method_label='x,"index":7') for index in range(3)]
    assert len(assert_same(write(*map(encoded, records)))) == 3


def test_lines_of_an_older_schema_and_of_other_hands_are_read_alike(make, write):
    record = make.record(0)
    turned = dict(reversed(json.loads(encoded(record)).items()))
    lines = [edited(make.record(index), schema_version=1) for index in range(3)]
    parts = assert_same(write(*lines, json.dumps(turned, indent=None).encode() + b"\n", encoded(record)))
    assert len(parts) == 5


def test_a_torn_last_line_is_left_out(make, write):
    whole, last = encoded(make.record(0)), encoded(make.record(1))
    for cut in (1, 10, len(last) // 2, len(last) - 2, len(last) - 1):
        assert len(assert_same(write(whole, whole, last[:cut]))) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "fine"},
        {"index": "first"},
        {"scores": {"accuracy": "high"}},
        {"prompt_tokens": 1.5},
        {"failure": {"type": "E"}},
        {"schema_version": 99},
        {"cell_id": None},
    ],
)
def test_what_is_wrong_is_said_in_the_same_words(make, write, changes):
    lines = [encoded(make.record(0)), edited(make.record(1), **changes), encoded(make.record(2))]
    path = write(*lines)
    message = error_of(read_parts, path)
    assert message == error_of(read_lines, path)
    assert "records.jsonl line 2" in message


def test_a_line_that_is_cut_in_the_middle_of_the_file_is_an_error(make, write):
    line = encoded(make.record(1))
    path = write(encoded(make.record(0)), line[: len(line) // 2] + b"\n", encoded(make.record(2)))
    assert error_of(read_parts, path) == error_of(read_lines, path)


def test_a_line_with_two_parts_of_a_cell_is_not_taken_for_a_sample(make, write):
    first = encoded(make.record(0))
    start, _, rest = first.partition(b',"index":')
    doubled = start + b',"index":' + rest.rstrip()[:-1] + b"}}\n"
    path = write(first, doubled, encoded(make.record(2)))
    assert error_of(read_parts, path) == error_of(read_lines, path)


def test_a_line_that_ends_a_sample_where_another_began_a_parameter_is_an_error(make, write):
    cell = make.cell(
        task=TaskIdentity(name="passkey", version=1, protocol="p", parameters={"a": 1, "index": 2})
    )
    first = encoded(make.record(0, cell=cell))
    start, _, _ = first.partition(b',"index":')
    path = write(first, start + b',"index":5,"status":"ok"}\n', encoded(make.record(2)))
    assert error_of(read_parts, path) == error_of(read_lines, path)
