"""Small random models and a tokenizer, made in code; those shared by tests are checked to leave unchanged."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, PreTrainedTokenizerFast

from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.testing.models import VOCABULARY, WINDOW, randomised


def state_hash(model):
    """Hash everything that a test could leave behind: parameters, buffers, configuration, hooks."""
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(name.encode())
        digest.update(tensor.detach().double().numpy().tobytes())
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    digest.update(f"{model.config.to_json_string()}{model.config._attn_implementation}{hooks}".encode())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def make_model():
    """Give `randomised`, for tests that need a family or a configuration of their own."""
    return randomised


@pytest.fixture(scope="session")
def llama_config():
    """A Llama of two layers with a window of 64 tokens; copy it before changing it."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=WINDOW,
        bos_token_id=256,
        eos_token_id=257,
        tie_word_embeddings=False,
    )


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """One token per byte, `<s>` (256) before every text, `</s>` (257)."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 256)])
    ends = {"bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=WINDOW, **ends)


@pytest.fixture(scope="session")
def tiny_llama(llama_config):
    """A random Llama in float32, shared: apply, run, restore."""
    model = randomised(copy.deepcopy(llama_config))
    before = state_hash(model)
    yield model
    assert state_hash(model) == before, "a test changed the shared model"


@pytest.fixture(scope="session")
def tiny_folder(tiny_llama, tiny_tokenizer, tmp_path_factory):
    """The same model and tokenizer as a folder; copy it before changing it."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    copy.deepcopy(tiny_llama).save_pretrained(folder)  # which writes into the configuration
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(tiny_folder):
    """The folder's model as the engine takes it, shared: apply, run, restore."""
    loaded = load_model(ModelSpec(model=str(tiny_folder), device="cpu"))
    before = state_hash(loaded.model)
    yield loaded
    assert state_hash(loaded.model) == before, "a test changed the shared model"


@pytest.fixture(scope="session")
def token_ids():
    """Give reproducible token ids: `token_ids(n, seed=0)`."""

    def draw(n, *, seed=0, vocabulary=VOCABULARY - 2):
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randint(0, vocabulary, (n,), generator=generator).tolist())

    return draw
