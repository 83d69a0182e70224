"""PEFT adapters: where their files are, which they are, and putting them on a loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError, ModelError
from longbench_run.harness.models.hub import Source, find_source, readable_errors
from longbench_run.harness.models.identity import folder_revision
from longbench_run.harness.models.spec import complaint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter whose files are on this machine."""

    name: str
    """Hub id, or the folder's name."""
    revision: str
    folder: Path

    @property
    def identity(self) -> str:
        """Name and revision as results carry them."""
        return f"{self.name}@{self.revision}"


def find_adapter(text: str, *, where: str) -> Adapter:
    """Locate an adapter, downloading its two files if it is on the hub.

    Args:
        text: Local folder, hub id, or ``id@revision``.
        where: What error messages begin with.

    Raises:
        ModelError: If it cannot be reached or its weights are no safetensors file.
        ConfigError: If the extra that reads adapters is not installed.
    """
    require_extra("peft", "adapter", where=where, option="adapter", value=text)
    location, revision = (
        (text, None) if Path(text).is_dir() else (text.partition("@")[0], text.partition("@")[2] or None)
    )
    source = find_source(location, where=f"{where}, adapter {location}", marker=_CONFIG)
    if not source.is_local:
        return _download(source, revision, where=f"{where}, adapter {location}")
    if not (source.folder / _WEIGHTS).is_file():
        rule, remedy = f"a folder with {_WEIGHTS}", "Save the adapter with safe_serialization=True."
        raise ModelError(complaint(f"{where}, adapter {location}", "path", rule, repr(text), remedy))
    return Adapter(name=source.name, revision=folder_revision(source.folder), folder=source.folder)


def _download(source: Source, revision: str | None, *, where: str) -> Adapter:
    from huggingface_hub import hf_hub_download

    with readable_errors(source, where=where, revision=revision, part="adapter"):
        config = Path(hf_hub_download(source.location, _CONFIG, revision=revision))
        commit = config.parent.name  # the cache files a snapshot under its commit
        hf_hub_download(source.location, _WEIGHTS, revision=commit)
    return Adapter(name=source.name, revision=commit, folder=config.parent)


def attach_adapter(model: PreTrainedModel, adapter: Adapter, *, where: str) -> None:
    """Put the adapter's layers into the model.

    Raises:
        ModelError: If it does not fit the model.
    """
    source = Source(location=str(adapter.folder), name=adapter.name, is_local=True)
    with readable_errors(source, where=f"{where}, adapter {adapter.name}", revision=None, part="adapter"):
        info = model.load_adapter(str(adapter.folder), use_safetensors=True)
    if info.missing_keys or info.unexpected_keys:
        example = sorted(info.missing_keys or info.unexpected_keys)[0]
        remedy = "Give the model that the adapter was trained on."
        raise ModelError(
            complaint(where, "adapter", "one for this model", f"no match for {example!r}", remedy)
        )


def require_extra(package: str, extra: str, *, where: str, option: str, value: str) -> None:
    """Raise the user's error for an option whose package is not installed.

    Raises:
        ConfigError: If ``package`` cannot be imported.
    """
    if find_spec(package) is None:
        remedy = f'Run pip install "longbench-run[{extra}]".'
        rule = f"left out where {package} is not installed"
        raise ConfigError(complaint(where, option, rule, repr(value), remedy))
