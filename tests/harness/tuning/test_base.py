"""Weights that `tune` made of another model load where shapes agree: their recipe says it, and they are refused."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from longbench_run.harness import run as measure
from longbench_run.harness.cli import main
from longbench_run.harness.errors import LongbenchError, ModelError
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning import plan, run
from longbench_run.harness.tuning.recipe import papers
from longbench_run.harness.weights import WeightsSpec, check_base
from longbench_run.results.records import ModelIdentity
from longbench_run.results.table import load

LENGTH = 128
CELLS = {"lengths": "64", "tasks": "perplexity", "samples": 1, "device": "cpu", "baseline": False}


@pytest.fixture(scope="module")
def tuned(base, chats, tmp_path_factory):
    """Whole weights and an adapter, each by its rank."""
    spec = ModelSpec(model=str(base), dtype="float32", device="cpu")
    recipe = {"context_length": LENGTH, "samples": 4, "batch_size": 4, "epochs": 1, "precision": "float32"}
    found = {}
    for lora in (None, 4):
        output = tmp_path_factory.mktemp("variant")
        recipes = [papers(lora=lora, **recipe)]
        (planned,) = plan.plan_tuning(spec, [parse_method("pi")], recipes, data=str(chats), output=output)
        run.make_variant(planned)
        found[lora] = planned.folder
    return found


@pytest.fixture(scope="module")
def other(base, tmp_path_factory):
    """The base with one number of its weights changed."""
    folder = tmp_path_factory.mktemp("other") / base.name  # the name is the same too
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def take(weights, model, output):
    by_method = {"methods": [{"name": "pi:factor=2", "weights": str(weights)}], **CELLS}
    measure(models=str(model), output=str(output), **by_method)


@pytest.mark.parametrize("lora", [None, 4], ids=["whole", "adapter"])
def test_weights_of_another_model_are_refused_in_one_line(tuned, other, tmp_path, lora):
    with pytest.raises(LongbenchError) as caught:
        take(tuned[lora], other, tmp_path / "run")

    revision = json.loads((tuned[lora] / "recipe.json").read_text())["model"]["revision"]
    said, _, got = str(caught.value).partition(", got base at sha256:")
    assert said == (
        f"model {other}, weights {tuned[lora]}: base model must be the one that they were tuned from, base at "
        f"{revision[:19]} by their recipe.json"
    )
    assert got.endswith(". Give that model, or tune this one.")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_models_own_adapter_is_refused_too(tuned, other, tmp_path, capsys):
    words = ["--model", str(other), "--adapter", str(tuned[4]), "--methods", "pi", "--tasks", "perplexity"]

    assert main(["run", *words, "--lengths", "64", "--output", str(tmp_path / "run")]) == 2

    said = capsys.readouterr().err
    assert "base model must be the one that they were tuned from" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("lora", [None, 4], ids=["whole", "adapter"])
def test_the_place_and_name_of_the_model_do_not_count(tuned, base, tmp_path, lora):
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(base, moved)
    (moved / "README.md").write_text("Moved.\n")

    take(tuned[lora], moved, tmp_path / "run")

    assert set(load(tmp_path / "run")["status"]) == {"ok"}


def asked(weights):
    return WeightsSpec(model_label="m", asked="m", method_weights=str(weights), spec=ModelSpec(model="m"))


BASE = ModelIdentity(name="m", revision="sha256:" + 64 * "0")


@pytest.mark.parametrize("recipe", [None, "[]", '{"model": "base"}', '{"model": {"revision": 3}}', "{"])
def test_weights_that_do_not_say_pass(tmp_path, recipe, caplog):
    if recipe is not None:
        (tmp_path / "recipe.json").write_text(recipe)

    check_base(asked(tmp_path), BASE)
    check_base(asked("owner/on-the-hub"), BASE)

    assert not caplog.text


def test_a_folder_and_a_hub_revision_cannot_be_held_against_each_other(tmp_path, caplog):
    (tmp_path / "recipe.json").write_text(json.dumps({"model": {"name": "o/m", "revision": "1" * 40}}))

    check_base(asked(tmp_path), BASE)

    assert "whether they were tuned from this model cannot be told" in caplog.text
    hub = {"name": "o/m", "adapter": None, "quantization": None}
    check_base(asked(tmp_path), ModelIdentity(revision="1" * 40, **hub))
    with pytest.raises(
        ModelError, match=f"o/m at {'1' * 12} by their recipe.json, got o/m at {'2' * 12}. Give"
    ):
        check_base(asked(tmp_path), ModelIdentity(revision="2" * 40, **hub))
