"""A model's architecture without its weights."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from longbench_run.harness.errors import ModelError
from longbench_run.harness.models.hub import Source, readable_errors
from longbench_run.harness.models.spec import complaint


def build_skeleton(
    config: PreTrainedConfig,
    *,
    source: Source,
    trust_remote_code: bool,
    where: str,
    revision: str | None = None,
) -> PreTrainedModel:
    """Build the architecture on the meta device: shapes and modules, no memory, no random numbers.

    Args:
        config: The model's config; it stays as it is.
        source: Where it was read from, for the error.
        trust_remote_code: Whether code that the model brings along may run.
        where: What the error begins with.
        revision: What the user asked for, for the error.

    Raises:
        ModelError: If transformers cannot build it, or it is no causal language model.
    """
    try:
        with torch.device("meta"):
            skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=trust_remote_code
            )
            return skeleton
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            with readable_errors(source, where=where, revision=revision, part="configuration"):
                raise
        remedy = "Give a decoder-only language model."
        raise ModelError(
            complaint(where, "family", "a causal language model", repr(config.model_type), remedy)
        ) from error
