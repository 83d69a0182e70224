"""A model's configuration, and its architecture without weights."""

from __future__ import annotations

from importlib.metadata import version

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from longbench_run.harness.errors import ConfigError, ModelError
from longbench_run.harness.models.hub import Source, readable_errors
from longbench_run.harness.models.spec import ModelSpec, complaint


def read_config(spec: ModelSpec, source: Source, *, where: str) -> PreTrainedConfig:
    """Read a model's configuration.

    Args:
        spec: The model as asked for.
        source: Where it lies.
        where: What errors begin with.

    Raises:
        ModelError: If it cannot be read.
        ConfigError: If a revision is asked of a local folder.
    """
    if source.is_local and spec.revision is not None:
        remedy = "Leave --revision out: the folder's content is its revision."
        raise ConfigError(
            complaint(where, "revision", "left out for a local folder", repr(spec.revision), remedy)
        )
    with readable_errors(source, where=where, revision=spec.revision, part="configuration"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source.location, revision=spec.revision or "main", trust_remote_code=spec.trust_remote_code
        )
    return config


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
        ModelError: If transformers cannot build it, does not know its rope type, or it is no causal language model.
    """
    try:
        with torch.device("meta"):
            skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=trust_remote_code
            )
            return skeleton
    except KeyError as error:
        kind = error.args[0]
        if kind not in str(getattr(config.get_text_config(), "rope_parameters", None)):
            raise
        rule = f"of a rope type that transformers {version('transformers')} knows"
        remedy = "Take rope_scaling out of the config.json of a copy: methods bring their own frequencies."
        raise ModelError(complaint(where, "configuration", rule, repr(kind), remedy)) from error
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            with readable_errors(source, where=where, revision=revision, part="configuration"):
                raise
        remedy = "Give a decoder-only language model."
        raise ModelError(
            complaint(where, "family", "a causal language model", repr(config.model_type), remedy)
        ) from error
