"""Load a model's weights: safetensors only, every parameter present, nothing global changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from longbench_run.harness.errors import ModelError
from longbench_run.harness.models.adapter import attach_adapter, find_adapter, require_extra
from longbench_run.harness.models.facts import InspectedModel, ModelFacts, inspect_model
from longbench_run.harness.models.hub import readable_errors
from longbench_run.harness.models.memory import is_out_of_memory
from longbench_run.harness.models.spec import ModelSpec, complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that is ready to run."""

    facts: ModelFacts
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    """Tokens that end a generated text."""

    @property
    def input_device(self) -> torch.device:
        """Where token ids go; with a device map, the embedding's device."""
        return next(self.model.get_input_embeddings().parameters()).device

    @property
    def devices(self) -> frozenset[torch.device]:
        """Every device that holds weights."""
        return frozenset(parameter.device for parameter in self.model.parameters())


def load_model(spec: ModelSpec, inspected: InspectedModel | None = None) -> LoadedModel:
    """Load weights and tokenizer.

    Args:
        spec: The model as asked for.
        inspected: What `inspect_model` returned for the same spec, to save reading it again.

    Returns:
        The model in evaluation mode on its device.

    Raises:
        ModelError: If the weights cannot be read, do not fit the configuration, or do not fit the memory.
        ConfigError: If an option needs a package that is not installed.
    """
    where = f"model {spec.model}"
    options = _placement(spec, where)
    inspected = inspected or inspect_model(spec)
    facts, source = inspected.facts, inspected.source
    try:
        with readable_errors(source, where=where, revision=spec.revision, part="weights"):
            pair: Any = AutoModelForCausalLM.from_pretrained(
                source.location,
                revision="main" if source.is_local else facts.identity.revision,
                dtype=getattr(torch, facts.dtype),
                use_safetensors=True,
                trust_remote_code=spec.trust_remote_code,
                output_loading_info=True,
                **options,
            )
            model, info = pair
            if "device_map" not in options:
                model = model.to(facts.device)
    except ModelError as error:
        if error.__cause__ is not None and is_out_of_memory(error.__cause__):
            got = f"{facts.parameters:,} weights in {facts.dtype} on {facts.device}"
            remedy = "Pass --dtype bfloat16, --quantization 4bit or --device-map auto."
            raise ModelError(
                complaint(where, "weights", "small enough for the memory", got, remedy)
            ) from error
        raise
    _check_complete(info, where)
    if spec.adapter is not None:
        attach_adapter(model, find_adapter(spec.adapter, where=where), where=where)
    model.eval()
    return LoadedModel(
        facts=facts,
        model=model,
        tokenizer=inspected.tokenizer,
        end_ids=_end_ids(model, inspected.tokenizer),
    )


def _placement(spec: ModelSpec, where: str) -> dict[str, Any]:
    """Return transformers' options for quantization and placement; their packages are known to be there."""
    options: dict[str, Any] = {}
    if spec.device_map is not None:
        require_extra("accelerate", "device-map", where=where, option="device_map", value=spec.device_map)
        options["device_map"] = spec.device_map
    if spec.quantization is not None:
        require_extra(
            "bitsandbytes", "quantization", where=where, option="quantization", value=spec.quantization
        )
        require_extra(
            "accelerate", "quantization", where=where, option="quantization", value=spec.quantization
        )
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=spec.quantization == "4bit", load_in_8bit=spec.quantization == "8bit"
        )
        if spec.device_map is None and spec.device != "auto":
            options["device_map"] = {"": spec.device}
        elif spec.device_map is None:
            options["device_map"] = "auto"
    return options


def _check_complete(info: dict[str, Any], where: str) -> None:
    """Refuse a checkpoint that leaves parameters at random values: transformers only warns."""
    missing = sorted(info["missing_keys"]) or sorted(str(entry[0]) for entry in info["mismatched_keys"])
    if missing:
        got = f"none for {len(missing)} parameters, the first {missing[0]!r}"
        remedy = "Give the checkpoint that belongs to this config.json."
        raise ModelError(complaint(where, "weights", "there for every parameter", got, remedy))


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return what ``generate()`` stops at, or the tokenizer's end token where the checkpoint names none."""
    generation = getattr(model, "generation_config", None)
    ends = generation.eos_token_id if generation is not None else None
    if ends is None:
        ends = tokenizer.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)
