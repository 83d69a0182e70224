"""What is measured on which device: the two columns of the table, their models, and the sizes of every row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from longbench_run.harness import reference_model
from longbench_run.harness.methods.base import RopeFacts
from longbench_run.harness.models.load import LoadedModel, load_model
from longbench_run.harness.models.spec import ModelSpec

VOCABULARY = 131072
"""Rows of an output head whose logits must not exist all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large each row is, in tokens unless said otherwise."""

    prefill: int = 32768
    """Also of a text whose attention entropy is taken."""
    full_form: int = 8192
    """Queries and keys of the call that is compared with n x n scores."""
    scoring: int = 32768
    """Also of a text that is learnt in a step of tuning."""
    full_logits: int = 2048
    """Length at which peers' scoring is measured: at ``scoring`` its logits alone take 16 GiB."""
    plain: tuple[int, ...] = (4096, 8192, 16384, 32768)
    windowed_window: int = 4096
    windowed_document: int = 8192
    stride: int = 256
    passkey: int = 8192
    decode_prompt: int = 16384
    decode_samples: int = 8
    decode_tokens: int
    """Tokens that each of the samples decodes."""
    step_tokens: int = 16
    """Decode steps per round where a single step is the figure."""
    matmul: int
    """Rows and columns of the square matrices whose product gives the matrix rate."""
    copied: int
    """Bytes that are copied to find the memory bandwidth."""
    matrix_samples: int = 2
    """Samples per cell in the cut of the default matrix."""
    matrix_lengths: str = "1x,2x,4x,8x"
    """Its context lengths, original windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table: a device, a model and the sizes."""

    name: str
    """``cpu`` or ``gpu``."""
    title: str
    """Device, model and dtype in words."""
    device: str
    dtype: str
    shape: LlamaConfig
    load: Callable[[], LoadedModel]
    scorer: LlamaConfig
    """Shape of the model that scores with a large vocabulary."""
    sizes: Sizes


@cache
def bundled() -> LoadedModel:
    """Return the model that the package carries, in float32 on the CPU."""
    return load_model(ModelSpec(device="cpu", dtype="float32"))


def llama_2_7b(vocabulary: int = 32000) -> LlamaConfig:
    """Return the shape of Llama-2-7B: transformers' defaults, apart from its window."""
    return LlamaConfig(vocab_size=vocabulary, max_position_embeddings=4096, pad_token_id=None)


@cache
def random_7b() -> LoadedModel:
    """Return random weights of Llama-2-7B's shape in bfloat16 on the GPU, with the bundled model's tokenizer."""
    return random_model(llama_2_7b(), device="cuda:0", dtype="bfloat16")


def random_model(config: LlamaConfig, *, device: str, dtype: str) -> LoadedModel:
    """Build a model with random weights where it is needed: 7B weights pass through no other memory.

    Args:
        config: Its shape.
        device: As torch spells it.
        dtype: ``float32`` or ``bfloat16``.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
    known = bundled()
    facts = replace(
        known.facts,
        label="random weights",
        dtype=dtype,
        device=device,
        attention=str(model.config._attn_implementation),
        original_context_length=config.max_position_embeddings,
        rope=rope(config),
        vocabulary=config.vocab_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    return replace(known, facts=facts, model=model, end_ids=frozenset())


def rope(config: LlamaConfig) -> RopeFacts:
    """Return what methods may know of a Llama without a scaling of its own."""
    parameters: dict[str, Any] = dict(config.rope_parameters or {})
    base = float(parameters["rope_theta"])
    dim = config.head_dim or config.hidden_size // config.num_attention_heads
    return RopeFacts(
        family=config.model_type,
        base=base,
        inv_freq=tuple(base ** (-place / dim) for place in range(0, dim, 2)),
        original_context_length=config.max_position_embeddings,
        layers=config.num_hidden_layers,
    )


def token_ids(length: int, *, seed: int = 0) -> tuple[int, ...]:
    """Return random token ids, none special, that every model here knows."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, 2048, (length,), generator=generator).tolist())


@cache
def columns() -> dict[str, Column]:
    """Return both columns by name."""
    sizes = {
        "cpu": Sizes(decode_tokens=64, matmul=2048, copied=2**28),
        "gpu": Sizes(decode_tokens=128, passkey=16384, matmul=8192, copied=2**32),
    }
    return {
        "cpu": Column(
            name="cpu",
            title="CPU, bundled model, float32",
            device="cpu",
            dtype="float32",
            shape=LlamaConfig.from_pretrained(reference_model.path()),
            load=bundled,
            scorer=LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=1,
                num_attention_heads=2,
            ),
            sizes=sizes["cpu"],
        ),
        "gpu": Column(
            name="gpu",
            title="GPU, Llama-2-7B's shape, bfloat16",
            device="cuda:0",
            dtype="bfloat16",
            shape=llama_2_7b(),
            load=random_7b,
            scorer=llama_2_7b(VOCABULARY),
            sizes=sizes["gpu"],
        ),
    }
