"""What can be known of a model without its weights: enough for a plan and every cell's identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from transformers import (
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from longbench_run.harness.attention import original_window, rope_facts
from longbench_run.harness.errors import ConfigError, ModelError
from longbench_run.harness.methods.base import RopeFacts
from longbench_run.harness.models.adapter import find_adapter
from longbench_run.harness.models.hub import Source, find_source, readable_errors
from longbench_run.harness.models.identity import folder_revision, tokenizer_identity
from longbench_run.harness.models.skeleton import build_skeleton, read_config
from longbench_run.harness.models.spec import ModelSpec, complaint
from longbench_run.results.records import ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model's part of every cell's identity, and what methods and tasks need to be resolved."""

    label: str
    """What the user calls it; runs are compared by labels."""
    identity: ModelIdentity
    family: str
    """``config.model_type``."""
    dtype: str
    """``float32``, ``bfloat16`` or ``float16``: never ``auto``."""
    attention: str
    """Attention kernel that transformers chooses for the family: ``sdpa`` or ``eager``."""
    device: str
    """``cpu``, ``cuda:0``, ... or, with a device map, ``cuda``."""
    original_context_length: int
    """Window of pretraining, L, in tokens."""
    original_context_length_source: str
    """Where the window was read, e.g. ``config: max_position_embeddings``."""
    rope: RopeFacts
    vocabulary: int
    """Rows of the embedding; token ids are below it."""
    parameters: int
    """Number of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedModel:
    """Configuration and tokenizer of a model whose weights were not read."""

    spec: ModelSpec
    source: Source
    facts: ModelFacts
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tokenizer_identity: str
    """The same for tokenizers that are known to do the same; else the model's."""


def inspect_model(spec: ModelSpec, *, device: str | None = None) -> InspectedModel:
    """Read configuration and tokenizer; build the architecture without memory to see whether it has RoPE.

    A local folder's weights are read once, for their hash.

    Args:
        spec: The model as asked for.
        device: What it will be computed on, where that is another machine's; default: what the spec says of this one.

    Returns:
        Everything that a plan needs.

    Raises:
        ModelError: If the model cannot be reached, holds no context window, or has no RoPE.
        ConfigError: If the device is not on this machine, or an option does not fit the model.
    """
    where = f"model {spec.model}"
    device = resolve_device(spec) if device is None else device
    source = find_source(spec.model, where=where)
    config = read_config(spec, source, where=where)
    revision = _revision(spec, source, where)
    skeleton = build_skeleton(
        config,
        source=source,
        trust_remote_code=spec.trust_remote_code,
        where=where,
        revision=spec.revision,
    )
    rope = _rope_facts(skeleton, spec, where)
    tokenizer = _tokenizer(spec, source, revision, where)
    adapter = find_adapter(spec.adapter, where=where) if spec.adapter is not None else None
    identity = ModelIdentity(
        name=source.name,
        revision=revision,
        adapter=adapter.identity if adapter is not None else None,
        quantization=spec.quantization,
    )
    label = "+".join(part for part in (source.name, adapter and adapter.name, spec.quantization) if part)
    facts = ModelFacts(
        label=spec.label or label,
        identity=identity,
        family=config.model_type,
        dtype=_dtype(spec, config, device),
        attention=str(skeleton.config._attn_implementation),
        device=device,
        original_context_length=rope.original_context_length,
        original_context_length_source=_window_source(config, spec),
        rope=rope,
        vocabulary=next(skeleton.get_input_embeddings().parameters()).shape[0],
        parameters=sum(p.numel() for p in skeleton.parameters()),
    )
    return InspectedModel(
        spec=spec,
        source=source,
        facts=facts,
        config=config,
        tokenizer=tokenizer,
        tokenizer_identity=tokenizer_identity(tokenizer) or identity.model_dump_json(),
    )


def resolve_device(spec: ModelSpec) -> str:
    """Return the device's name as torch spells it.

    Raises:
        ConfigError: If it is not on this machine.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if spec.device_map is not None:
        return "cuda" if count else "cpu"
    if spec.device == "auto":
        return "cuda:0" if count else "cpu"
    if spec.device == "cpu":
        return "cpu"
    index = int(spec.device.partition(":")[2] or 0)
    if index >= count:
        have = f"{count} GPUs" if count else "no GPU"
        raise ConfigError(
            complaint(
                f"model {spec.model}",
                "device",
                "one that torch sees",
                f"{spec.device!r} with {have}",
                "Pass --device cpu or install a CUDA build of torch."
                if not count
                else f"Pass cuda:0 to cuda:{count - 1}.",
            )
        )
    return f"cuda:{index}"


def _revision(spec: ModelSpec, source: Source, where: str) -> str:
    if source.is_local:
        return folder_revision(source.folder, with_code=spec.trust_remote_code)
    # Read a moment ago, so this comes from the cache, which files a snapshot under its commit.
    with readable_errors(source, where=where, revision=spec.revision, part="configuration"):
        return Path(hf_hub_download(source.location, "config.json", revision=spec.revision)).parent.name


def _rope_facts(skeleton: Any, spec: ModelSpec, where: str) -> RopeFacts:
    try:
        return rope_facts(skeleton, original_context_length=spec.original_context_length)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None


def _window_source(config: PreTrainedConfig, spec: ModelSpec) -> str:
    found = original_window(config)
    if spec.original_context_length is not None or found is None:
        return "--original-context-length"
    return found[1]


def _dtype(spec: ModelSpec, config: PreTrainedConfig, device: str) -> str:
    """Resolve ``auto``: the checkpoint's on a GPU, float32 on a CPU.

    On one CPU core with a 4-layer model of width 256, bfloat16 took 0.4 to 0.7 of float32's time in prefill
    where the CPU multiplies bfloat16 itself (AVX512-BF16), 2.3 to 3.2 times it where not (AVX2), in decode
    1.0 to 2.1 times it on both; float16 took 2.5 to 3.2 times it in prefill. A dtype changes scores, so it
    must not depend on a CPU's instruction set.
    """
    if spec.dtype != "auto":
        return spec.dtype
    checkpoint = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    if device == "cpu" or checkpoint is None:
        return "float32"
    return str(checkpoint).removeprefix("torch.")


def _tokenizer(spec: ModelSpec, source: Source, revision: str, where: str) -> PreTrainedTokenizerBase:
    with readable_errors(source, where=where, revision=spec.revision, part="tokenizer"):
        # Inputs beyond the window are what is measured here: the tokenizer's own limit would warn about them.
        tokenizer = AutoTokenizer.from_pretrained(
            source.location,
            revision="main" if source.is_local else revision,
            trust_remote_code=spec.trust_remote_code,
            model_max_length=VERY_LARGE_INTEGER,
        )
    return tokenizer
