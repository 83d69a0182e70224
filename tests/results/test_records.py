"""Keys and texts of records."""

import pytest
from pydantic import ValidationError

from longbench_run.results.lines import encoded
from longbench_run.results.records import Failure, Record, TaskIdentity, canonical_json, sample_key


def test_cell_id_is_pinned(make):
    assert make.cell().cell_id() == "fc4ae01e751d223807bee315cc308a40e5b94df5435f4dbe810cd1c4f96970e8"


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "bfloat16"},
        {"attention": "eager"},
        {"original_context_length": 1024},
        {"context_length": 2048},
        {"seed": 1},
        {"decoding": "sampled"},
        {"chat_template": "own"},
        {"task": TaskIdentity(name="passkey", version=2, protocol="passkey-v1", parameters={"depths": 10})},
        {"task": TaskIdentity(name="passkey", version=1, protocol="passkey-v1", parameters={"depths": 11})},
    ],
)
def test_all_that_can_change_a_score_changes_the_cell_id(make, change):
    assert make.cell(**change).cell_id() != make.cell().cell_id()


def test_cell_id_does_not_depend_on_the_order_of_parameters(make):
    forward, backward = (
        make.cell(task=TaskIdentity(name="t", version=1, protocol="p", parameters=parameters))
        for parameters in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    )
    assert forward.cell_id() == backward.cell_id()


def test_a_setup_is_all_but_the_seed(make):
    assert make.cell(seed=1).setup_id() == make.cell().setup_id()
    for change in ({"dtype": "bfloat16"}, {"chat_template": "own"}):
        assert make.cell(**change).setup_id() != make.cell().setup_id()


def test_sample_key_pairs_methods_but_not_prompts():
    task = TaskIdentity(name="t", version=1, protocol="p", parameters={})
    key = sample_key(task, context_length=512, seed=0, index=3, prompt_sha256="00")
    assert key == sample_key(task, context_length=512, seed=0, index=3, prompt_sha256="00")
    assert key != sample_key(task, context_length=512, seed=0, index=3, prompt_sha256="01")
    assert key != sample_key(task, context_length=512, seed=0, index=4, prompt_sha256="00")


def test_canonical_json_refuses_what_json_cannot_say():
    assert canonical_json({"b": 1, "a": [None, "é"]}) == '{"a":[null,"é"],"b":1}'
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        canonical_json(float("nan"))


def test_a_score_that_is_not_finite_is_refused(make):
    with pytest.raises(ValidationError, match="finite number"):
        make.record(0, scores={"nll": float("inf")})


@pytest.mark.parametrize(
    "text",
    [
        "line\nend",
        "\u2028 and \x85 and \x00",
        "\x1b[31m",
        "\u202eright to left",
        "é𝄞",
        '"quoted" \\',
        "x" * 1_000_000,
    ],
)
def test_text_survives_a_line_of_json(make, text):
    record = make.record(0, prediction=text, failure=Failure(type="E", message=text))
    line = encoded(record)
    assert line.count(b"\n") == 1
    assert Record.model_validate_json(line) == record


def test_lone_surrogates_are_replaced_and_pairs_joined(make):
    record = make.record(0, prediction="a\ud800b\ud834\udd1e", document="file-\udcff.txt")
    assert record.prediction == "a\ufffdb𝄞"
    assert record.document == "file-\ufffd.txt"
    assert Record.model_validate_json(encoded(record)) == record
