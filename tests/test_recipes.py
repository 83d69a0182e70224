"""Every recipe can be planned as it stands, and costs what it says: on small models in the place of the hub's."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config

from longbench_run.harness import reference_model
from longbench_run.harness.cli import main
from longbench_run.harness.yaml_file import read_yaml
from longbench_run.recipes import config_path, description, recipe_names
from longbench_run.results.published import published_names
from longbench_run.results.store import read_header
from longbench_run.tasks.longbench.datasets import DATASETS

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHRUNK = 16
"""Windows of the sweep's models are this many times smaller here: generating 128k tokens takes its time."""
LLAMA_2 = "meta-llama/Llama-2-7b-hf"
WINDOWS = {
    LLAMA_2: (LlamaConfig, 4096),
    "meta-llama/Llama-2-7b-chat-hf": (LlamaConfig, 4096),
    "meta-llama/Meta-Llama-3-8B-Instruct": (LlamaConfig, 8192 // SHRUNK),
    "Qwen/Qwen2.5-7B-Instruct": (Qwen2Config, 32768 // SHRUNK),
    "mistralai/Mistral-7B-Instruct-v0.2": (MistralConfig, 32768 // SHRUNK),
    "Leooyii/PI_32k_Slimpajama_1B": (LlamaConfig, 32768),
    "Leooyii/YaRN_32k_Slimpajama_1B": (LlamaConfig, 32768),
    "Leooyii/NTK_32k_Slimpajama_1B": (LlamaConfig, 32768),
    "Leooyii/NTK_64k_Slimpajama_1B": (LlamaConfig, 65536),
}
FLAGS = {"recipes/deploy-32k.yaml": ["--model", LLAMA_2]}


def model_folder(folder: Path, family: type, window: int) -> None:
    """Write the configuration and the tokenizer of a small model: all that a plan reads."""
    folder.mkdir(parents=True)
    for file in reference_model.path().glob("tokenizer*"):
        shutil.copy(file, folder)
    vocabulary = json.loads((reference_model.path() / "config.json").read_text())["vocab_size"]
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": vocabulary}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": None}
    family(max_position_embeddings=window, **sizes, **heads).save_pretrained(folder)


def cached(folder: Path, family: type, window: int) -> Path:
    """Write a model folder into the hub's cache and return it."""
    snapshot = folder / "snapshots" / COMMIT
    model_folder(snapshot, family, window)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return snapshot


def released_eabf(folder: Path) -> None:
    """Write a checkpoint as the authors released it: a rope type that transformers does not know, and no base."""
    snapshot = cached(folder, LlamaConfig, 4096)
    config = LlamaConfig.from_pretrained(snapshot)
    LlamaForCausalLM(config).save_pretrained(snapshot)
    text = json.loads((snapshot / "config.json").read_text())
    del text["rope_parameters"]
    text["rope_scaling"] = {"type": "eabf", "factor": 4.0}
    (snapshot / "config.json").write_text(json.dumps(text))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a folder with all that recipes read: models in the hub's cache, checkpoints, LongBench's rows, books."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, (family, window) in WINDOWS.items():
        cached(folder / "hub" / f"models--{name.replace('/', '--')}", family, window)
    for size in ("0.1k", "1k", "3.5k"):
        released_eabf(folder / "hub" / f"models--Arist12--eabf-llama2-7b-chat-{size}")
    for method in read_yaml(config_path("recipes/entropy-abf-tuned.yaml"))["methods"]:
        model_folder(folder / method["weights"], LlamaConfig, 4096)
    (folder / "rows").mkdir()
    for name, dataset in DATASETS.items():
        answer = {"retrieval": "Paragraph 1", "retrieval_zh": "段落1"}.get(dataset.metric, "1")
        row = {
            "input": "?",
            "context": "Paragraph 1: x",
            "answers": [answer],
            "length": 1,
            "all_classes": ["1"],
        }
        (folder / "rows" / f"{name}.jsonl").write_text(f"{json.dumps(row)}\n" * dataset.size)
    (folder / "pg19").mkdir()
    for number in range(10):
        (folder / "pg19" / f"{number}.txt").write_text(f"The year {number} was long. " * 12000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.chdir(folder)
        page = (ROOT / "docs" / "recipes.md").read_text()
        (code,) = re.findall(
            r'^```python title="convert.py"\n(.*?)^```$', page, flags=re.MULTILINE | re.DOTALL
        )
        exec(compile(code, "convert.py", "exec"), {})  # noqa: S102
        yield folder


def paragraph(name: str, begin: str) -> str:
    (found,) = [text for text in description(name) if text.startswith(begin)]
    return found


def planned(name: str, capsys) -> dict:
    tasks = str(read_yaml(config_path(name)).get("tasks"))
    data = ["--data-dir", "rows"] if "longbench" in tasks else []
    status = main(["--config", name, *FLAGS.get(name, []), *data, "--dry-run", "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_costs_what_it_says(name, workspace, capsys):
    plan = planned(name, capsys)
    cells = plan["cells"]
    tokens = float(re.search(r"about ([\d.]+) million tokens", paragraph(name, "Costs: "))[1]) * 1e6
    asked = sum(cell["samples"] * cell["context_length"] for cell in cells)
    computed = sum(cell["tokens"] for cell in cells)
    shrunk = SHRUNK if any("Qwen" in cell["model"] for cell in cells) else 1

    assert [cell for cell in cells if cell["not_applicable"]] == []
    assert paragraph(name, "Costs: ").startswith(
        f"Costs: {len(cells)} cells, {sum(cell['samples'] for cell in cells)} samples, "
    )
    if any(cell["task"].startswith("longbench_") for cell in cells):
        # Its texts have lengths of their own, and what is too long is cut.
        assert 0.3 * asked < tokens < asked
    else:
        assert tokens == pytest.approx(computed * shrunk, rel=0.08)
    assert plan["folder"] == f"runs/{Path(name).stem}"


def test_a_checkpoint_of_the_authors_is_refused_until_it_is_converted(workspace, capsys):
    plan = ["--methods", "entropy_abf", "--lengths", "4k", "--dry-run"]

    assert main(["--model", "Arist12/eabf-llama2-7b-chat-1k", *plan]) == 2
    assert "of a rope type that transformers" in capsys.readouterr().err
    assert main(["--model", "./eabf-1k", *plan]) == 0
    assert LlamaConfig.from_pretrained("eabf-1k").rope_parameters["rope_theta"] == 10000.0


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_names_the_table_that_it_sits_beside(name):
    beside = paragraph(name, "Beside: ")
    papers = re.findall(r"--against (\S+?)[`. ]", beside)

    assert set(papers) <= set(published_names())
    assert papers or "no paper" in beside
    if papers and "no paper" not in beside:
        assert f"report runs/{Path(name).stem} --against" in beside


def test_the_smoke_recipe_is_the_run_of_the_committed_baseline(workspace, capsys, root):
    plan = planned("recipes/smoke.yaml", capsys)
    baseline = read_header(root / "results" / "baselines" / "smoke")

    assert plan["run_key"] == baseline.run_key


def test_the_methods_to_deploy_can_be_exported_as_the_recipe_says(workspace, capsys):
    from longbench_run.harness.methods import parse_method

    config = LlamaConfig.from_pretrained(workspace / "eabf-1k")
    methods = read_yaml(config_path("recipes/deploy-32k.yaml"))["methods"]
    said = " ".join(description("recipes/deploy-32k.yaml"))

    def exports(method):
        try:
            parse_method(method).export(config, context_length=32768)
        except ValueError:
            return False
        return True

    assert "The first four methods are numbers in a config.json" in said
    assert [exports(method) for method in methods] == [True] * 4 + [False] * (len(methods) - 4)


def test_a_recipe_is_found_without_the_clone_and_a_file_of_that_name_wins(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    assert config_path("recipes/smoke.yaml") == root / "recipes" / "smoke.yaml"
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "smoke.yaml").write_text("samples: 1\n")
    assert config_path("recipes/smoke.yaml") == Path("recipes/smoke.yaml")


def test_a_misspelt_recipe_gets_the_nearest_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["--config", "recipes/smok.yaml", "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        "--config: must be a readable YAML file, got 'recipes/smok.yaml' (No such file or directory). "
        'Did you mean "recipes/smoke.yaml"?\n'
    )


@pytest.mark.parametrize("verbose", [False, True])
def test_the_listing_names_every_recipe_with_what_it_is(verbose, capsys):
    assert main(["list", "recipes", *(["--verbose"] if verbose else [])]) == 0
    shown = " ".join(capsys.readouterr().out.split())

    for name in recipe_names():
        summary, *more = (" ".join(text.split()) for text in description(name))
        assert f"{name} {summary}" in shown
        assert all((text in shown) == verbose for text in more)
