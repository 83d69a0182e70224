"""PEFT adapters and device maps; the extras that carry them are optional."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from longbench_run.harness.errors import ModelError
from longbench_run.harness.models.adapter import find_adapter
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.identity import folder_revision
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.tasks.base import GenerateRequest

RANK, ALPHA = 4, 8
TARGETS = ("q_proj", "v_proj")


@pytest.fixture
def adapter_folder(tiny_llama, tmp_path):
    """A LoRA adapter written by hand in PEFT's format."""
    folder = tmp_path / "my-lora"
    folder.mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": list(TARGETS)}))
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, module in tiny_llama.named_modules():
        if name.endswith(TARGETS):
            rows, columns = module.weight.shape
            weights[f"base_model.model.{name}.lora_A.weight"] = torch.randn(
                RANK, columns, generator=generator
            )
            weights[f"base_model.model.{name}.lora_B.weight"] = torch.randn(rows, RANK, generator=generator)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_adds_its_product_to_the_weights(tiny_folder, adapter_folder, tiny_llama, token_ids):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    loaded = load_model(ModelSpec(model=str(tiny_folder), device="cpu", adapter=str(adapter_folder)))
    weights = {name: p.detach().clone() for name, p in tiny_llama.named_parameters()}
    lora = load_file(adapter_folder / "adapter_model.safetensors")
    for name in weights:
        key = f"base_model.model.{name.removesuffix('.weight')}.lora_{{}}.weight"
        if key.format("A") in lora:
            weights[name] += ALPHA / RANK * lora[key.format("B")] @ lora[key.format("A")]
    ids = torch.tensor([token_ids(30)])
    with torch.no_grad():
        expected = torch.func.functional_call(tiny_llama, weights, (ids,)).logits
        torch.testing.assert_close(loaded.model(ids).logits, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(tiny_llama(ids).logits, expected, atol=0.1)
    revision = folder_revision(adapter_folder)
    assert loaded.facts.identity.adapter == f"my-lora@{revision}"
    assert loaded.facts.label == "tiny-llama+my-lora"
    request = GenerateRequest(prompt_ids=token_ids(20), max_new_tokens=3)
    assert run_group(loaded, [request], prefix_causal=True)[0].status == "ok"


def test_adapter_identity_follows_its_content(adapter_folder):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    before = find_adapter(str(adapter_folder), where="model m").identity
    config = json.loads((adapter_folder / "adapter_config.json").read_text())
    (adapter_folder / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 16}))
    assert find_adapter(str(adapter_folder), where="model m").identity != before


def test_an_adapter_of_another_model_is_refused(tiny_folder, adapter_folder):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    weights = load_file(adapter_folder / "adapter_model.safetensors")
    renamed = {key.replace("layers.1.", "layers.7."): value for key, value in weights.items()}
    save_file(renamed, adapter_folder / "adapter_model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_model(ModelSpec(model=str(tiny_folder), device="cpu", adapter=str(adapter_folder)))
    assert re.fullmatch(
        rf"model {tiny_folder}: adapter must be one for this model, got no match for '.*layers\.[17]\..*'\. "
        r"Give the model that the adapter was trained on\.",
        str(caught.value),
    )


def test_an_adapter_without_safetensors_is_refused(adapter_folder):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    (adapter_folder / "adapter_model.safetensors").rename(adapter_folder / "adapter_model.bin")
    with pytest.raises(ModelError) as caught:
        find_adapter(str(adapter_folder), where="model m")
    assert str(caught.value) == (
        f"model m, adapter {adapter_folder}: path must be a folder with adapter_model.safetensors, "
        f"got '{adapter_folder}'. Save the adapter with safe_serialization=True."
    )


def test_a_hub_adapter_is_known_by_its_commit(adapter_folder, tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "snapshots" / commit
    shutil.copytree(adapter_folder, snapshot)
    asked = []

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        return str(snapshot / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = find_adapter("some/lora@v2", where="model m")
    assert (found.identity, found.folder) == (f"some/lora@{commit}", snapshot)
    assert asked == [
        ("some/lora", "adapter_config.json", "v2"),
        ("some/lora", "adapter_model.safetensors", commit),
    ]


def test_a_device_map_gives_the_same_tokens(tiny_folder, loaded, token_ids):
    pytest.importorskip("accelerate", reason="the extra `device-map` is not installed")
    spread = load_model(ModelSpec(model=str(tiny_folder), device_map="sequential"))
    assert spread.facts == dataclasses.replace(loaded.facts, device=spread.facts.device)
    request = GenerateRequest(prompt_ids=token_ids(40), max_new_tokens=6)
    results = [run_group(m, [request], prefix_causal=True)[0].output for m in (spread, loaded)]
    assert results[0] == results[1]


def test_inspection_does_not_need_the_adapter_on_the_model(tiny_folder, adapter_folder):
    pytest.importorskip("peft", reason="the extra `adapter` is not installed")
    facts = inspect_model(ModelSpec(model=str(tiny_folder), device="cpu", adapter=str(adapter_folder))).facts
    assert facts.identity.adapter == f"my-lora@{folder_revision(adapter_folder)}"
