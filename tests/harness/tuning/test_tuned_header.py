"""What a run records of the variants that it measures, and of weights from elsewhere."""

from __future__ import annotations

import json
import shutil

import pytest

from longbench_run.harness import run as measure
from longbench_run.harness.choices import MethodChoice
from longbench_run.harness.cli import main
from longbench_run.harness.header import tunings_of
from longbench_run.harness.methods import parse_method
from longbench_run.results.store import read_header
from longbench_run.results.table import load
from longbench_run.results.tuned import TunedRun


@pytest.fixture(scope="module")
def output(base, chats, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "out"
    words = ["--model", str(base), "--data", str(chats), "--output", str(folder), "--device", "cpu"]
    recipe = ["--methods", "yarn", "--context-length", "128", "--samples", "8", "--batch-size", "4"]
    assert main(["tune", *words, *recipe, "--seed", "3", "--learning-rate", "1e-3"]) == 0
    return folder


@pytest.fixture(scope="module")
def recipe(output):
    return json.loads((output / "yarn-8-seed3" / "recipe.json").read_text())


def tunings(weights):
    choice = MethodChoice(label="a label", method=parse_method("yarn"), weights=weights)
    return list(tunings_of([choice]))


def test_a_run_records_how_its_variants_were_tuned_and_so_does_one_that_goes_on(output, recipe, tmp_path):
    cells = {"config": str(output / "matrix.yaml"), "lengths": "64", "tasks": "perplexity", "device": "cpu"}
    measure(output=str(tmp_path / "run"), samples=1, **cells)

    header = read_header(tmp_path / "run")
    (found,) = header.tuned  # of none and yarn
    assert found.model_dump() == {
        "method_label": "yarn-8-seed3",
        "asked": "yarn",
        "canonical": recipe["method"]["canonical"],
        "samples": 8,
        "steps": 4,
        "seed": 3,
        "context_length": 128,
        "learning_rate": 1e-3,
        "composition": "none",
        "data_sha256": recipe["data"]["sha256"],
        "samples_sha256": recipe["data"]["samples_sha256"],
        "losses": tuple(recipe["result"]["losses"]),
    }
    assert len(found.losses) == 4

    measure(output=str(tmp_path / "run"), samples=2, **cells)
    again = read_header(tmp_path / "run")
    assert (again.tuned, again.started) == (header.tuned, header.started)
    run = TunedRun(again, load(tmp_path / "run"))
    assert (run.methods, run.samples, run.lengths, run.targets) == (("none", "yarn"), (0, 8), (64,), (128,))


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[1]",
        "{}",
        '{"method": {"asked": "pi", "canonical": "pi"}}',
        # Keys of the same names with other content.
        '{"method": "pi", "recipe": "paper", "data": "chats"}',
        '{"method": {"asked": [], "canonical": 1}, "recipe": {"samples": 8, "seed": 0, "context_length": 64, '
        '"learning_rate": 1, "composition": "none"}, "steps": 1, "data": {"sha256": "a", "samples_sha256": "b"}, '
        '"result": {"losses": []}}',
    ],
)
def test_weights_from_elsewhere_have_no_entry_whatever_lies_beside_them(tmp_path, content):
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)

    assert tunings(str(tmp_path)) == []
    assert tunings("owner/name") == tunings(None) == []


def test_the_recipe_of_a_training_that_was_stopped_is_no_entry(output, recipe, tmp_path):
    shutil.copytree(output / "yarn-8-seed3", tmp_path / "whole")
    path = tmp_path / "whole" / "recipe.json"
    path.write_text(json.dumps({**recipe, "result": {**recipe["result"], "losses": [2.0, float("nan")]}}))
    (found,) = tunings(str(tmp_path / "whole"))
    assert (found.method_label, found.losses) == ("a label", (2.0, None))

    path.write_text(json.dumps({key: value for key, value in recipe.items() if key != "result"}))
    assert tunings(str(tmp_path / "whole")) == []
