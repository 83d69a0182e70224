"""Which method is another one without its logit scale is told from what both compute."""

import json
import shutil

import pytest

from longbench_run.harness import reference_model
from longbench_run.harness.choices import choose
from longbench_run.harness.config_build import load_config
from longbench_run.harness.header import run_header
from longbench_run.harness.methods.base import Band, Interval
from longbench_run.harness.preparation import prepare
from longbench_run.harness.unscaled import _same_keys, unscaled_methods


@pytest.fixture
def counterparts(tmp_path):
    def of(methods, *, without=None, **settings):
        loaded = load_config(
            {
                "methods": methods,
                "tasks": [{"name": "passkey", "samples": 1}],
                "lengths": [1024, 4096],
                "output": str(tmp_path / "run"),
                **settings,
            }
        )
        cells = [
            cell for cell in prepare(loaded).plan.cells if (cell.method_label, cell.target_length) != without
        ]
        (found,) = unscaled_methods(cells).values()
        return dict(found)

    return of


def test_methods_that_differ_in_their_logit_scale_alone_are_found(counterparts):
    assert counterparts(
        [
            "none",
            "log_n",
            "pi",
            "abf",
            "entropy_abf",
            "entropy_abf:skip_layers=0",
            "ntk_by_parts",
            "yarn",
            "rerope",
            "rerope+log_n",
            "self_extend",
            "string",
            "string+log_n",
            "dynamic_ntk",
            "dynamic_ntk:variant=transformers",
            "dynamic_ntk:variant=transformers+log_n",
        ]
    ) == {
        "log_n": "none",
        "entropy_abf": "abf",
        "entropy_abf:skip_layers=0": "abf",
        "yarn": "ntk_by_parts",
        "rerope+log_n": "rerope",
        "string+log_n": "string",
        "dynamic_ntk:variant=transformers+log_n": "dynamic_ntk:variant=transformers",
    }


@pytest.mark.parametrize(
    "methods",
    [
        ["abf:base=20000", "entropy_abf"],
        ["none", "pi+log_n"],
        ["rerope:window=128", "rerope:window=256+log_n"],
        ["self_extend:group=2", "rerope+log_n"],
        ["pi+log_n", "entropy_abf"],
        ["pi", "none"],
        ["dynamic_ntk", "dynamic_ntk:variant=transformers+log_n"],
    ],
)
def test_methods_that_differ_in_more_or_in_nothing_are_not(counterparts, methods):
    assert counterparts(methods) == {}


def test_a_method_must_be_its_counterpart_at_every_length(counterparts):
    pair = ["pi:factor=4", "pi+log_n"]
    assert counterparts(pair, factor="per-length", lengths=[8192]) == {"pi+log_n": "pi:factor=4"}
    assert counterparts(pair, factor="per-length", lengths=[4096, 8192]) == {}

    # Where one of them does not serve every length, they are not compared at the others.
    pair, lengths = ["pi", "pi+log_n"], [4096, 8192]
    assert counterparts(pair, factor="per-length", lengths=lengths) == {"pi+log_n": "pi"}
    for label in pair:
        assert counterparts(pair, factor="per-length", lengths=lengths, without=(label, 8192)) == {}


def test_keys_that_one_sees_without_a_cache_alone_tell_methods_apart():
    keys = Interval(start=lambda p: 0 * p, stop=lambda p: p + 1)
    always, at_first = Band(keys=keys), Band(keys=keys, prefill_only=True)
    assert _same_keys((always,), (Band(keys=keys),), 64)
    assert not _same_keys((always,), (at_first,), 64)
    assert not _same_keys((always,), None, 64)
    shifted = Band(keys=keys, query_map=lambda p: p + 1)
    assert not _same_keys((always,), (shifted,), 64)
    nearer = Band(keys=Interval(start=lambda p: p - 8, stop=lambda p: p + 1))
    assert not _same_keys((always,), (nearer,), 64)
    assert _same_keys((always,), (nearer,), 8)


def test_a_scaling_that_the_model_ships_with_is_no_part_of_a_method(counterparts, tmp_path):
    # As released it scales its frequencies; log_n, as every method, begins with those before the scaling.
    model = tmp_path / "model"
    shutil.copytree(reference_model.path(), model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert counterparts(["none", "log_n"], models=[{"name": str(model)}]) == {"log_n": "none"}
    config["rope_parameters"] = {**config["rope_parameters"], "rope_type": "linear", "factor": 2.0}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert counterparts(["none", "log_n"], models=[{"name": str(model)}]) == {}


def test_a_header_says_it(tmp_path):
    settings = {"methods": ["none", "log_n"], "tasks": ["passkey"], "lengths": [1024]}
    loaded = load_config({**settings, "output": str(tmp_path / "run")})
    choices = choose(loaded)
    prepared = prepare(loaded, choices=choices)
    header = run_header(loaded, choices, prepared, ("longbench-run",), device="cpu")
    assert [model.unscaled for model in header.models] == [{"log_n": "none"}]
