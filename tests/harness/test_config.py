"""Configuration: YAML 1.2 scalars, layers, and every error at once with its place."""

from __future__ import annotations

import pytest

from longbench_run.harness.config import MODEL_KEYS, RunConfig
from longbench_run.harness.config_build import load_config
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.lengths import Length, parse_length, short_length
from longbench_run.harness.presets import PRESETS
from longbench_run.harness.yaml_file import read_yaml


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write ``matrix.yaml`` into the working directory, which is a new folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> dict:
        (tmp_path / "matrix.yaml").write_text(text, encoding="utf-8")
        return {"config": "matrix.yaml"}

    return write


def errors_of(settings, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(settings, **options)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1e6", 1e6),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("4k", "4k"),
        ("'1e6'", "1e6"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(write, tmp_path, scalar, value):
    write(f"key: {scalar}\n")

    read = read_yaml(tmp_path / "matrix.yaml")["key"]

    assert (read, type(read)) == (value, type(value))


def test_reading_yaml_leaves_the_library_as_it_was(write, tmp_path):
    import yaml

    write("key: no\n")
    read_yaml(tmp_path / "matrix.yaml")

    assert yaml.safe_load("a: no") == {"a": False}


def test_an_empty_file_asks_for_nothing(write):
    assert load_config(write("# nothing yet\n")).config == load_config({}).config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples: 1\nfactor: 2\nsamples: 2\n", 'matrix.yaml line 3: must be YAML without doubled keys, got: key "samples" stands twice. Mend the line.'),
        ("models:\n  - name: a\n    name: b\n", 'matrix.yaml line 3: must be YAML without doubled keys, got: key "name" stands twice. Mend the line.'),
        ("a: [1\n", "matrix.yaml line 2: must be YAML without doubled keys, got: expected ',' or ']', but got '<stream end>'. Mend the line."),
        ("a: !!python/object/apply:os.system [id]\n", "matrix.yaml line 1: must be YAML without doubled keys, got: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'. Mend the line."),
        ("- a\n", "matrix.yaml: must be a mapping of keys to values, got a list. Write key: value."),
        ("? [a]\n: b\n", "matrix.yaml line 1: must be YAML without doubled keys, got: a key must be text. Mend the line."),
    ],
)  # fmt: skip
def test_a_file_that_is_no_mapping_is_named_with_its_line(write, text, message):
    assert errors_of(write(text)) == [message]


def test_a_file_that_is_not_there_is_named(write):
    write("")

    assert errors_of({"config": "absent.yaml"}) == [
        "--config: must be a readable YAML file, got 'absent.yaml' (No such file or directory). Check the path."
    ]


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("4096", Length(4096)),
        (4096, Length(4096)),
        (4096.0, Length(4096)),
        ("4k", Length(4096)),
        ("4K", Length(4096)),
        ("0.5k", Length(512)),
        ("2x", Length(2, in_windows=True)),
        ("1.5x", Length(1.5, in_windows=True)),
        ("abc", None),
        ("4kb", None),
        ("-4k", None),
        ("0", None),
        ("0x", None),
        ("", None),
        ("1.3", None),
        ("0.3k", None),
        (True, None),
        (None, None),
        (float("inf"), None),
        (1e300, Length(1e300)),
    ],
)
def test_lengths_are_tokens_or_windows(value, length):
    assert parse_length(value) == length


def test_a_length_in_windows_is_a_multiple_of_the_models_own():
    assert [parse_length(text).tokens(2048) for text in ("1x", "1.5x", "4k")] == [2048, 3072, 4096]
    assert [short_length(n) for n in (512, 1024, 4096, 4097)] == ["512", "1k", "4k", "4097"]


def test_flags_win_over_the_file_and_the_file_over_the_preset(write):
    file = write("samples: 7\nlengths: 4k\npreset: smoke\n")

    assert load_config(file).config.samples == 7
    assert load_config(file | {"samples": 9}).config.samples == 9
    assert load_config(file | {"samples": 9}).config.lengths == ("4096",)
    assert load_config({"preset": "smoke"}).config.samples == PRESETS["smoke"]["samples"]
    assert load_config({}, preset_variable="smoke").config.lengths == tuple(PRESETS["smoke"]["lengths"])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_configuration(name):
    assert load_config({"preset": name}).config != load_config({}).config


def test_a_flag_wins_over_a_models_own_setting_and_that_over_the_one_at_the_top(write):
    file = write("dtype: float16\nmodels:\n  - name: a\n    dtype: bfloat16\n  - b\n")

    assert [model.dtype for model in load_config(file).config.models] == ["bfloat16", "float16"]
    assert [m.dtype for m in load_config(file | {"dtype": "float32"}).config.models] == ["float32", "float32"]
    assert set(MODEL_KEYS) <= set(RunConfig.model_fields)


def test_lists_are_read_alike_wherever_they_stand(write):
    spelled = [
        {"methods": ["pi,yarn", "abf"], "lengths": ["4k,8k"], "seed": [0, 1]},
        {"methods": ["pi", "yarn", "abf"], "lengths": ["4k", 8192], "seed": [0, 1]},
        write("methods: pi, yarn,abf\nlengths: [4k, 8192]\nseed: [0, 1]\n"),
    ]

    assert len({load_config(settings).config.model_dump_json() for settings in spelled}) == 1


def test_entries_carry_labels_weights_parameters_and_samples(write):
    file = write(
        "methods:\n"
        "  - yarn\n"
        "  - {name: 'yarn:factor=8', label: tuned, weights: org/tuned}\n"
        "tasks:\n"
        "  - {name: perplexity, parameters: {protocol: same_tokens, last: 64}, samples: 5}\n"
    )

    config = load_config(file).config

    assert [(m.name, m.label, m.weights) for m in config.methods] == [
        ("yarn", None, None),
        ("yarn:factor=8", "tuned", "org/tuned"),
    ]
    assert [(t.name, dict(t.parameters), t.samples) for t in config.tasks] == [
        ("perplexity", {"protocol": "same_tokens", "last": 64}, 5)
    ]


def test_every_error_is_reported_at_once_each_with_its_place(write):
    file = write(
        "modles: [a]\n"
        "models:\n"
        "  - {name: a, dtype: f32}\n"
        "  - {nam: b}\n"
        "methods: [pi, yarm, {name: 'yarn:factor=0.5'}]\n"
        "tasks: [passkey, {name: passkey, parameters: {depth: 3}}]\n"
        "lengths: [4k, 4q]\n"
        "factor: 0.5\n"
        "baseline: no\n"
        "original_context_length: 1.5\n"
    )

    assert errors_of(file | {"samples": 0, "device": "gpu", "overwrite": "alll"}) == [
        'matrix.yaml: unknown key "modles". Did you mean "models"? See `longbench-run run --help`.',
        "matrix.yaml: models[0].dtype must be one of auto, float32, bfloat16, float16, got 'f32'. Choose one of them.",
        "matrix.yaml: models[1].name must be given, got nothing. Name what the entry is.",
        'matrix.yaml: models[1]: unknown key "nam". Did you mean "name"? See `longbench-run run --help`.',
        "matrix.yaml: lengths[1] must be a number of tokens (4096, 4k) or of original windows (2x), got '4q'. Write 4k,8k or 1x,2x.",
        "--samples: must be at least 1, got 0. Give a larger number.",
        "matrix.yaml: factor must be fixed, per-length or a number of at least 1, got 0.5. Leave it out to configure for the longest length.",
        "matrix.yaml: baseline must be true or false, got 'no'. Write true or false.",
        "matrix.yaml: original_context_length must be a whole number, got 1.5. Write it in digits.",
        "--device: must be auto, cpu, cuda or cuda:N, got 'gpu'. Write cpu, for instance.",
        "--overwrite: must be one of missing, failed, all, got 'alll'. Choose one of them.",
        'matrix.yaml: methods[1]: unknown method "yarm". Did you mean "yarn"? See `longbench-run list methods`.',
        "matrix.yaml: methods[2].name: yarn: factor must be at least 1, got 0.5. Leave it out for the default.",
        'matrix.yaml: tasks[1].name: passkey: has no parameter "depth" (did you mean "depths"?). Parameters: depths, max_new_tokens, protocol.',
    ]


def test_labels_that_stand_twice_are_an_error(write):
    assert errors_of({"methods": ["yarn,pi,yarn"]}) == [
        "--methods: label must be given once, got 'yarn' 2 times. Drop one, or give each its own label in a configuration file."
    ]
    file = write("models: [{name: a, label: same}, {name: b, label: same}]\n")
    assert errors_of(file) == [
        "matrix.yaml: models: label must be given once, got 'same' 2 times. Drop one, or give each its own label in a configuration file."
    ]


def test_an_error_from_python_or_a_preset_names_its_place():
    assert errors_of({"samples": 0}, caller="run()") == [
        "run(): samples must be at least 1, got 0. Give a larger number."
    ]
    assert errors_of({}, preset_variable="smok") == [
        'LONGBENCH_RUN_PRESET: unknown preset "smok". Did you mean "smoke"? See `longbench-run run --help`.'
    ]
    assert errors_of({"preset": "smok"}) == [
        '--preset: unknown preset "smok". Did you mean "smoke"? See `longbench-run run --help`.'
    ]


def test_a_long_value_is_shortened_in_its_error():
    message = errors_of({"dtype": "x" * 500})[0]

    assert len(message) < 200
    assert message.endswith("xx.... Choose one of them.")


def test_braces_in_a_value_stay_braces():
    assert errors_of({"lengths": ["{0}"]}) == [
        "--lengths: must be a number of tokens (4096, 4k) or of original windows (2x), got '{0}'. Write 4k,8k or 1x,2x."
    ]
