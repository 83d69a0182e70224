"""What a user reads when a model cannot be had: one line, in full."""

from __future__ import annotations

import json
import re
import shutil

import httpx2
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoConfig, GPT2Config, LlamaConfig, T5Config

from longbench_run.harness.errors import ConfigError, ModelError
from longbench_run.harness.models import adapter
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec


def message(kind, **options):
    with pytest.raises(kind) as caught:
        inspect_model(ModelSpec(**{"device": "cpu", **options}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": " "}, "name must be a hub id or a folder, got ' '. Pass --model reference."),
        (
            {"dtype": "fp8"},
            "dtype must be one of auto, float32, bfloat16, float16, got 'fp8'. Pass --dtype auto.",
        ),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, got 'gpu'. Pass --device auto."),
        ({"device": "cuda:x"}, "device must be auto, cpu, cuda or cuda:N, got 'cuda:x'. Pass --device auto."),
        ({"device": "cpu2"}, "device must be auto, cpu, cuda or cuda:N, got 'cpu2'. Pass --device auto."),
        (
            {"quantization": "3bit"},
            "quantization must be 4bit or 8bit, got '3bit'. "
            "Leave --quantization out for the weights as released.",
        ),
        (
            {"device_map": "here"},
            "device_map must be auto, balanced or sequential, got 'here'. Pass --device-map auto.",
        ),
        (
            {"device_map": "auto", "device": "cuda"},
            "device must be auto where a device map is given, got 'cuda'. "
            "Pass --device or --device-map, not both.",
        ),
        (
            {"original_context_length": 0},
            "original_context_length must be at least 1, got 0. Pass the window of pretraining in tokens.",
        ),
    ],
)
def test_a_spec_that_breaks_a_rule(options, text):
    options = {"model": "some/model", **options}
    with pytest.raises(ConfigError) as caught:
        ModelSpec(**options)
    assert str(caught.value) == f"model {options['model']}: {text}".replace("model  :", "model :")


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert message(ConfigError, model="some/model", device="cuda") == (
        "model some/model: device must be one that torch sees, got 'cuda' with no GPU. "
        "Pass --device cpu or install a CUDA build of torch."
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert message(ConfigError, model="some/model", device="cuda:2") == (
        "model some/model: device must be one that torch sees, got 'cuda:2' with 2 GPUs. "
        "Pass cuda:0 to cuda:1."
    )


def test_a_path_that_does_not_exist(tmp_path):
    (tmp_path / "llama-7b").mkdir()
    assert message(ModelError, model=f"{tmp_path}/lama-7b") == (
        f"model {tmp_path}/lama-7b: path must be an existing folder, got '{tmp_path}/lama-7b'. "
        f'Did you mean "{tmp_path}/llama-7b"?'
    )
    assert message(ModelError, model="./nowhere/at/all") == (
        "model ./nowhere/at/all: path must be an existing folder, got './nowhere/at/all'. "
        "Check the path, or give a hub id."
    )


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "model.safetensors").write_text("")
    path = f"{tmp_path}/model.safetensors"
    assert message(ModelError, model=path) == (
        f"model {path}: path must be an existing folder, got '{path}'. Check the path, or give a hub id."
    )


def test_a_folder_without_a_configuration(tmp_path):
    assert message(ModelError, model=str(tmp_path)) == (
        f"model {tmp_path}: path must be a folder with config.json, got '{tmp_path}'. "
        "Give the folder that save_pretrained wrote."
    )


def test_a_revision_of_a_local_folder(tiny_folder):
    assert message(ConfigError, model=str(tiny_folder), revision="main") == (
        f"model {tiny_folder}: revision must be left out for a local folder, got 'main'. "
        "Leave --revision out: the folder's content is its revision."
    )


@pytest.fixture
def write_config(tmp_path):
    def write(config):
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return tmp_path

    return write


def test_a_model_without_rope(write_config):
    folder = write_config(GPT2Config(n_layer=1).to_dict())
    assert message(ModelError, model=str(folder)) == (
        f"model {folder}: family must be one with rotary position embeddings (RoPE), got 'gpt2'. "
        "Extension methods change rotary embeddings; give a model that has them."
    )


def test_a_model_that_is_no_causal_language_model(write_config):
    folder = write_config(T5Config(num_layers=1).to_dict())
    assert message(ModelError, model=str(folder)) == (
        f"model {folder}: family must be a causal language model, got 't5'. "
        "Give a decoder-only language model."
    )


def test_a_family_that_transformers_does_not_know(write_config):
    folder = write_config({"model_type": "warp-drive"})
    text = message(ModelError, model=str(folder))
    assert text.startswith(f"model {folder}: configuration must be one that transformers 5.")
    assert "ValueError: The checkpoint you are trying to load has model type `warp-drive`" in text
    assert text.endswith(". Check the model's files.")


def test_a_rope_type_that_transformers_does_not_know(write_config):
    """As the authors' checkpoints of entropy-aware ABF have it."""
    config = LlamaConfig(num_hidden_layers=1).to_dict() | {"rope_scaling": {"type": "eabf", "factor": 4.0}}
    del config["rope_parameters"]
    folder = write_config(config)
    text = message(ModelError, model=str(folder))
    assert re.sub(r"5[.]\d+[.]\d+", "5.x", text) == (
        f"model {folder}: configuration must be of a rope type that transformers 5.x knows, got 'eabf'. "
        "Take rope_scaling out of the config.json of a copy: methods bring their own frequencies."
    )


def test_a_configuration_that_is_no_json(write_config):
    folder = write_config("{")
    text = message(ModelError, model=str(folder))
    assert text.startswith(f"model {folder}: configuration must be one that transformers 5.")


def test_a_configuration_without_a_window(tiny_folder, monkeypatch):
    """No family of transformers leaves it out, code that a model brings along does."""
    real = AutoConfig.from_pretrained

    def without_window(*arguments, **options):
        config = real(*arguments, **options)
        vars(config)["max_position_embeddings"] = None
        return config

    monkeypatch.setattr(AutoConfig, "from_pretrained", without_window)
    folder = tiny_folder
    assert message(ModelError, model=str(folder)) == (
        f"model {folder}: window of pretraining must be in the config, got none. "
        "Pass --original-context-length."
    )
    given = inspect_model(ModelSpec(model=str(folder), device="cpu", original_context_length=96)).facts
    assert given.original_context_length == 96


def test_a_configuration_with_a_value_of_the_wrong_kind(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    text = message(ModelError, model=str(folder))
    assert text.startswith(f"model {folder}: configuration must be one that transformers 5.")
    assert "hidden_size" in text
    assert text.endswith(". Check the model's files.")


def test_a_model_that_brings_code_along(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own"
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('this code ran')")
    assert message(ModelError, model=str(folder)) == (
        f"model {folder}: configuration must be readable without code of its own, got a model that brings "
        "code along. Pass --trust-remote-code after reading that code."
    )


def test_a_folder_without_a_tokenizer(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    text = message(ModelError, model=str(folder))
    assert text.startswith(f"model {folder}: tokenizer must be one that transformers 5.")
    assert text.endswith(". Check the model's files.")


def response(status):
    return httpx2.Response(status, request=httpx2.Request("HEAD", "https://huggingface.co/x"))


HUB = [
    (
        GatedRepoError("403", response=response(403)),
        "hub id must be one that this account may read, got the gated 'some/model'. Ask for access at "
        "https://huggingface.co/some/model, then run `hf auth login`, or give a local folder.",
    ),
    (
        RepositoryNotFoundError("404", response=response(404)),
        "hub id must be an existing model, got 'some/model'. Check the id, "
        "run `hf auth login` if it is private, or give a local folder.",
    ),
    (
        RevisionNotFoundError("404", response=response(404)),
        "revision must be a branch, tag or commit of the model, got 'v9'. See https://huggingface.co/some/model.",
    ),
    (
        LocalEntryNotFoundError("offline"),
        "hub id must be in the cache or within reach, got 'some/model' and no answer from "
        "https://huggingface.co. Check the id and the network, or give a local folder.",
    ),
]


@pytest.mark.parametrize(("error", "text"), HUB, ids=lambda value: type(value).__name__)
def test_a_hub_model_that_cannot_be_had(monkeypatch, error, text):
    """Raised where transformers asks the hub, so that its own wrapping is part of the test."""

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", fail)
    assert message(ModelError, model="some/model", revision="v9") == f"model some/model: {text}"


def test_another_answer_of_the_hub(monkeypatch):
    def fail(*_arguments, **_options):
        raise HfHubHTTPError("500 Server Error", response=response(500))

    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", fail)
    text = message(ModelError, model="some/model")
    assert text.startswith("model some/model: configuration must be one that transformers 5.")
    assert "There was a specific connection error when trying to load some/model" in text


def test_a_hub_id_that_cannot_be_one():
    assert message(ModelError, model="a b") == (
        "model a b: hub id must be name or owner/name, got 'a b'. Check the id, or give a local folder."
    )


def test_offline_and_not_in_the_cache(monkeypatch):
    """What a machine without network says, through the libraries' own offline mode."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    assert message(ModelError, model="nobody-here/nothing-there") == (
        "model nobody-here/nothing-there: hub id must be in the cache or within reach, got "
        "'nobody-here/nothing-there' and no answer from https://huggingface.co. "
        "Check the id and the network, or give a local folder."
    )


@pytest.fixture
def nothing_extra(monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda _name: None)


def test_an_extra_that_is_not_installed(tiny_folder, nothing_extra):
    def refused(**options):
        with pytest.raises(ConfigError) as caught:
            load_model(ModelSpec(model=str(tiny_folder), **options))
        return str(caught.value)

    where = f"model {tiny_folder}:"
    assert refused(device="cpu", adapter="some/lora") == (
        f"{where} adapter must be left out where peft is not installed, got 'some/lora'. "
        'Run pip install "longbench-run[adapter]".'
    )
    assert refused(device_map="auto") == (
        f"{where} device_map must be left out where accelerate is not installed, got 'auto'. "
        'Run pip install "longbench-run[device-map]".'
    )
    assert refused(device="cpu", quantization="4bit") == (
        f"{where} quantization must be left out where bitsandbytes is not installed, got '4bit'. "
        'Run pip install "longbench-run[quantization]".'
    )
