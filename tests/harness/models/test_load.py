"""Loading from a folder: identity, window, dtype, tokenizer, and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
import warnings

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import Gemma3TextConfig, GPTNeoXConfig

from longbench_run.harness.errors import ModelError
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.identity import folder_revision
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(tiny_folder, tmp_path / "tiny-llama")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def inspected(folder, **options):
    return inspect_model(ModelSpec(model=str(folder), device="cpu", **options)).facts


def test_loaded_weights_are_the_saved_ones(loaded, tiny_llama, token_ids):
    ids = torch.tensor([token_ids(30)])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, tiny_llama(ids).logits, rtol=0, atol=0)
    assert loaded.model.training is False


def test_facts_say_what_a_plan_needs(loaded, tiny_llama):
    facts = loaded.facts
    assert (facts.label, facts.identity.name, facts.family) == ("tiny-llama", "tiny-llama", "llama")
    assert (facts.dtype, facts.attention, facts.device) == ("float32", "sdpa", "cpu")
    assert (facts.original_context_length, facts.original_context_length_source) == (
        64,
        "config: max_position_embeddings",
    )
    assert facts.vocabulary == 258
    assert facts.parameters == sum(p.numel() for p in tiny_llama.parameters())
    assert loaded.end_ids == frozenset({257})


def test_facts_before_loading_are_those_after_it(tiny_folder, loaded):
    assert inspected(tiny_folder) == loaded.facts
    assert loaded.facts.dtype == str(loaded.model.dtype).removeprefix("torch.")
    assert loaded.facts.attention == loaded.model.config._attn_implementation


def test_rope_facts_are_the_family_s_own_frequencies(loaded):
    rope = loaded.facts.rope
    assert (rope.family, rope.base, rope.rotary_dim, rope.layers) == ("llama", 10000.0, 16, 2)
    assert rope.original_context_length == 64
    own = loaded.model.model.rotary_emb.inv_freq.double()
    torch.testing.assert_close(torch.tensor(rope.inv_freq, dtype=torch.float64), own, rtol=1e-6, atol=0)


def test_rope_facts_of_partial_rotary_and_of_several_layer_types(make_model, tiny_tokenizer, tmp_path):
    small = {"vocab_size": 258, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    neox = GPTNeoXConfig(**small, num_attention_heads=4, rotary_pct=0.5, max_position_embeddings=32)
    gemma = Gemma3TextConfig(
        **small,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=8,
        sliding_window_pattern=2,
    )
    for name, config in (("neox", neox), ("gemma", gemma)):
        make_model(config).save_pretrained(tmp_path / name)
        tiny_tokenizer.save_pretrained(tmp_path / name)
    nested = json.loads((tmp_path / "gemma" / "config.json").read_text())["rope_parameters"]
    edit(tmp_path / "gemma", rope_parameters=dict(sorted(nested.items(), reverse=True)))  # sliding first
    facts = [inspected(tmp_path / name).rope for name in ("neox", "gemma")]
    assert (facts[0].rotary_dim, facts[0].base) == (8, 10000.0)
    assert (facts[1].rotary_dim, facts[1].base) == (16, 1_000_000.0)  # the full-attention layers'


def test_inspection_reads_no_weights_into_memory(tiny_folder, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("weights were read")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)
    state = torch.random.get_rng_state()
    assert inspected(tiny_folder).family == "llama"
    assert torch.equal(torch.random.get_rng_state(), state)


def test_loading_takes_an_inspection_instead_of_repeating_it(tiny_folder, monkeypatch):
    spec = ModelSpec(model=str(tiny_folder), device="cpu")
    before = inspect_model(spec)
    monkeypatch.setattr("longbench_run.harness.models.load.inspect_model", None)
    assert load_model(spec, before).facts is before.facts


def test_a_hub_model_is_known_by_its_commit(tiny_folder, tmp_path, monkeypatch):
    """From the hub's cache, as transformers and huggingface_hub lay it out."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--some--model"
    shutil.copytree(tiny_folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    loaded = load_model(ModelSpec(model="some/model", device="cpu"))

    assert (loaded.facts.label, loaded.facts.identity.revision) == ("some/model", commit)
    assert inspected("some/model", revision=commit).identity == loaded.facts.identity


def test_identity_follows_content_and_not_the_place(tiny_folder, folder):
    revision = folder_revision(tiny_folder)
    assert revision.startswith("sha256:")
    assert len(revision) == len("sha256:") + 64
    (folder / "README.md").write_text("a note")
    (folder / "trainer_state.json").write_text("{}")
    assert folder_revision(folder) == revision


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
)
def test_identity_changes_with_each_file_that_counts(tiny_folder, folder, name):
    with (folder / name).open("ab") as stream:
        stream.write(b" ")
    assert folder_revision(folder) != folder_revision(tiny_folder)


def test_identity_holds_code_only_where_it_may_run(folder):
    before = folder_revision(folder, with_code=True)
    (folder / "modeling.py").write_text("x = 1")
    assert folder_revision(folder, with_code=True) != before
    assert folder_revision(folder) == before


def test_identity_holds_the_names_of_the_files(tmp_path):
    for place, name in (("a", "vocab.json"), ("b", "vocab.txt")):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text("x")
    assert folder_revision(tmp_path / "a") != folder_revision(tmp_path / "b")


def test_label_names_quantization_and_yields_to_the_user(tiny_folder):
    assert inspected(tiny_folder, quantization="4bit").label == "tiny-llama+4bit"
    assert inspected(tiny_folder, quantization="4bit").identity.quantization == "4bit"
    assert inspected(tiny_folder, label="mine").label == "mine"


def test_window_of_a_model_that_ships_scaled_is_the_unscaled_one(folder):
    edit(
        folder,
        max_position_embeddings=256,
        rope_parameters={
            "rope_type": "yarn",
            "factor": 4.0,
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 64,
        },
    )
    facts = inspected(folder)
    assert (facts.original_context_length, facts.rope.original_context_length) == (64, 64)
    assert facts.original_context_length_source == "config: rope_parameters.original_max_position_embeddings"


def test_window_given_by_flag_wins(tiny_folder):
    facts = inspected(tiny_folder, original_context_length=48)
    assert (facts.original_context_length, facts.original_context_length_source) == (
        48,
        "--original-context-length",
    )
    assert facts.rope.original_context_length == 48


def test_dtype_is_float32_on_a_cpu_and_what_is_asked_otherwise(
    llama_config, make_model, tiny_tokenizer, tmp_path
):
    make_model(copy.deepcopy(llama_config)).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    tiny_tokenizer.save_pretrained(tmp_path / "half")
    assert inspected(tmp_path / "half").dtype == "float32"
    for dtype in ("bfloat16", "float32"):
        loaded = load_model(ModelSpec(model=str(tmp_path / "half"), device="cpu", dtype=dtype))
        assert (loaded.facts.dtype, str(loaded.model.dtype)) == (dtype, f"torch.{dtype}")


def test_dtype_on_a_gpu_is_the_checkpoint_s(llama_config, make_model, tiny_tokenizer, tmp_path, monkeypatch):
    make_model(copy.deepcopy(llama_config)).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    tiny_tokenizer.save_pretrained(tmp_path / "half")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    facts = [
        inspect_model(ModelSpec(model=str(tmp_path / "half"), device=d)).facts for d in ("auto", "cuda:1")
    ]
    assert [(f.dtype, f.device) for f in facts] == [("bfloat16", "cuda:0"), ("bfloat16", "cuda:1")]


def test_texts_beyond_the_window_are_tokenized_without_a_warning(loaded, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = loaded.tokenizer.encode("x" * 500)
    assert len(ids) == 501
    assert caplog.records == []


def test_end_tokens_are_those_of_the_generation_config(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    assert load_model(ModelSpec(model=str(folder), device="cpu")).end_ids == frozenset({7, 9})


def test_end_token_is_the_tokenizer_s_where_the_model_names_none(folder):
    (folder / "generation_config.json").unlink()
    edit(folder, eos_token_id=None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    assert load_model(ModelSpec(model=str(folder), device="cpu")).end_ids == frozenset({257})


def refused(folder, **options):
    with pytest.raises(ModelError) as caught:
        load_model(ModelSpec(model=str(folder), device="cpu", **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_lack_a_parameter_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"], weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert refused(folder) == (
        f"model {folder}: weights must be there for every parameter, got none for 2 parameters, the first "
        "'model.layers.1.mlp.up_proj.weight'. Give the checkpoint that belongs to this config.json."
    )


def test_weights_of_another_shape_are_refused(folder):
    edit(folder, intermediate_size=96)
    text = refused(folder)
    assert text.startswith(f"model {folder}: weights must be ")
    assert "RuntimeError" in text


def test_pickled_weights_are_refused(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert refused(folder) == (
        f"model {folder}: weights must be a safetensors file, got none in this model. Convert the weights "
        "with save_pretrained: other formats can run code when they are loaded."
    )


def test_torn_weights_are_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    text = refused(folder)
    assert text.startswith(f"model {folder}: weights must be readable safetensors, got SafetensorError: ")
    assert text.endswith(" Download the files again.")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: not enough memory")],
)
def test_weights_that_do_not_fit_the_memory_are_refused(tiny_folder, loaded, monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    assert refused(tiny_folder) == (
        f"model {tiny_folder}: weights must be small enough for the memory, got {loaded.facts.parameters:,} "
        "weights in float32 on cpu. Pass --dtype bfloat16, --quantization 4bit or --device-map auto."
    )
