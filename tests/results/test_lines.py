"""The lines of a run, as whole records and as the table reads them: the same values, the same errors."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.results.lines import encoded, read_lines, read_parts
from longbench_run.results.records import Bucket, Failure, Record, ResultsError, Row, SamplePart, TaskIdentity


@pytest.fixture
def write(tmp_path):
    def to_file(*lines):
        path = tmp_path / "records.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    return to_file


def edited(record, **changes):
    fields = {**json.loads(encoded(record)), **changes}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def plain(value):
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {name: plain(of_name) for name, of_name in value.items()}
    names = type(value).model_fields if isinstance(value, Row) else getattr(value, "__struct_fields__", None)
    return (type(value), value) if names is None else {name: plain(getattr(value, name)) for name in names}


def assert_same(path):
    records = [line.record for line in read_lines(path)]
    parts = list(read_parts(path))
    assert [of_cell.cell for of_cell, _ in parts] == [record.cell for record in records]
    for (_, of_sample), record in zip(parts, records, strict=True):
        for name in SamplePart.model_fields:
            assert plain(getattr(of_sample, name)) == plain(getattr(record, name)), name
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
    assert parts[0][0] is parts[1][0] is parts[3][0]
    assert parts[0][0] is not parts[2][0]


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
        {"prediction_ids": [1, "two"]},
        {"nll_buckets": [{"start": 0}]},
        {"colour": "red"},
        {"failure": {"type": "E", "message": "m", "colour": "red"}},
        {"weight": float("nan")},
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


def test_a_field_of_the_cell_after_the_sample_is_that_of_its_line_alone(make, write):
    line = encoded(make.record(1)).replace(b'"index":1', b'"index":1,"method_label":"other"')
    path = write(encoded(make.record(0)), line, encoded(make.record(2)))
    assert [of_cell.method_label for of_cell, _ in assert_same(path)] == ["pi", "other", "pi"]
    path = write(line, encoded(make.record(0)), encoded(make.record(2)))
    assert [of_cell.method_label for of_cell, _ in assert_same(path)] == ["other", "pi", "pi"]


def test_a_schema_version_after_the_sample_is_that_of_its_line_alone(make, write):
    newer = edited(make.record(0), schema_version=99)
    named_again = newer.replace(b'"index":0', b'"index":0,"schema_version":3')
    assert len(assert_same(write(named_again, encoded(make.record(1))))) == 2
    path = write(named_again, newer, encoded(make.record(1)))
    assert error_of(read_parts, path) == error_of(read_lines, path)
    assert "line 2: schema_version 99" in error_of(read_parts, path)


def test_the_fields_of_a_sample_have_no_rules_but_their_types():
    # A rule that pydantic checks and the class of msgspec does not would let in what `read_lines` refuses.
    for model in (SamplePart, Failure, Bucket):
        rules = [type(rule) for field in model.model_fields.values() for rule in field.metadata]
        assert rules in ([], [type] * len(rules))
        decorators = model.__pydantic_decorators__
        assert (decorators.field_validators, decorators.model_validators) == ({}, {})


TEXTS = st.one_of(
    st.text(), st.sampled_from(['{"index":1}', ',"index":', '\u2028\x00\x7f\\"', "\U0001f600", "\ud800a"])
)
COUNTS = st.none() | st.integers(-(2**70), 2**70)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
SAMPLES = st.fixed_dictionaries(
    {"status": st.sampled_from(["ok", "error", "out_of_memory", "not_applicable"])},
    optional={
        "sample_key": st.none() | st.from_regex("[0-9a-f]{1,8}", fullmatch=True),
        "failure": st.none()
        | st.builds(Failure, type=st.just("E"), message=TEXTS, traceback=st.none() | TEXTS),
        **dict.fromkeys(
            ("prompt_head", "prompt_tail", "prediction", "target", "document"), st.none() | TEXTS
        ),
        **dict.fromkeys(
            ("prompt_tokens", "generated_tokens", "scored_tokens", "truncated_at", "peak_bytes"), COUNTS
        ),
        **dict.fromkeys(("depth", "weight", "seconds_prefill", "seconds_decode"), NUMBERS),
        "evidence_survived": st.none() | st.booleans(),
        "prediction_ids": st.none() | st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
        "answers": st.lists(TEXTS, max_size=3).map(tuple),
        "scores": st.dictionaries(
            st.text('af1\\"', max_size=3), NUMBERS.filter(lambda x: x is not None), max_size=3
        ),
        "nll_buckets": st.lists(
            st.builds(Bucket, start=st.just(0), stop=st.just(9), nll_sum=st.floats(0, 9), tokens=st.just(9)),
            max_size=2,
        ).map(tuple),
    },
)
VALUES = [
    *(
        b"null",
        b"true",
        b"1",
        b"-0",
        b"1.0",
        b"-0.0",
        b"1e3",
        b"1e400",
        b"01",
        b"1.",
        b"9" * 30,
        b"NaN",
        b"-Infinity",
    ),
    *(
        b'"1"',
        b'"null"',
        b'"true"',
        b'"ok"',
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"a\tb"',
        b'"\\q"',
        b'""',
    ),
    *(
        b"[]",
        b"[1]",
        b'["a"]',
        b'["a",null]',
        b"[1,]",
        b"{}",
        b'{"a":1}',
        b'{"a":"1"}',
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
    ),
    *(
        b'{"type":"E","message":"m"}',
        b'{"type":"E"}',
        b'[{"start":0,"stop":1,"nll_sum":1,"tokens":1}]',
        b"[" * 300,
    ),
]
FIELDS = [*SamplePart.model_fields, "colour", "cell_id", "schema_version", "method_label"]


def outcome(reader, path, fields):
    try:
        return [plain(fields(item)) for item in reader(path)]
    except ResultsError as error:
        return str(error)


def both(path):
    return (
        outcome(
            read_lines, path, lambda line: tuple(getattr(line.record, name) for name in Record.model_fields)
        ),
        outcome(
            read_parts,
            path,
            lambda parts: tuple(
                getattr(parts[name in SamplePart.model_fields], name) for name in Record.model_fields
            ),
        ),
    )


FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(samples=st.lists(SAMPLES, min_size=1, max_size=4))
def test_any_record_is_read_alike(make, write, samples):
    records = [make.record(index, **{"scores": {}, **sample}) for index, sample in enumerate(samples)]
    assert len(assert_same(write(encoded(make.record(9)), *map(encoded, records)))) == len(records) + 1


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_with_another_value_is_read_alike_or_refused_alike(make, write, name):
    first, line, last = (encoded(make.record(index)) for index in range(3))
    for value in VALUES:
        changed = (
            line[:-2] + b',"' + name.encode() + b'":' + value + b"}\n"
        )  # of a field named twice, the last counts
        for lines in ([first, changed, last], [changed, first, last]):
            slow, fast = both(write(*lines))
            assert fast == slow, (name, value)


@FEW
@given(
    sample=SAMPLES,
    place=st.floats(0, 1, exclude_max=True),
    removed=st.integers(0, 3),
    put=st.one_of(
        st.binary(max_size=2), st.sampled_from([b'"', b"}", b"{", b",", b"\\", b"\n", b"\xc0", b"0", b"]"])
    ),
)
def test_a_line_with_other_bytes_is_read_alike_or_refused_alike(make, write, sample, place, removed, put):
    line = encoded(make.record(1, **sample))
    at = int(place * len(line))
    slow, fast = both(
        write(encoded(make.record(0)), line[:at] + put + line[at + removed :], encoded(make.record(2)))
    )
    assert fast == slow
