"""Which model a user asks for, checked as far as text goes; imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from longbench_run.harness.errors import ConfigError

REFERENCE = "reference"
"""Name of the model that the package carries."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("4bit", "8bit")

_DEVICE = re.compile(r"(auto|cpu|cuda(:\d+)?)\Z")


def complaint(where: str, name: str, rule: str, got: str, remedy: str) -> str:
    """Return the one line that every user error has; line breaks in what a library said become blanks."""
    return " ".join(f"{where}: {name} must be {rule}, got {got}. {remedy}".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as asked for: where its weights lie and how they are loaded.

    Raises:
        ConfigError: If a value breaks its rule; nothing is read or loaded.
    """

    model: str = REFERENCE
    """Hub id, local folder, or ``reference`` for the bundled model."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    adapter: str | None = None
    """PEFT adapter: local folder, hub id or ``id@revision``."""
    quantization: str | None = None
    """``4bit`` or ``8bit``, through bitsandbytes."""
    dtype: str = "auto"
    """``auto`` is the checkpoint's on a GPU and float32 on a CPU."""
    device: str = "auto"
    """``auto`` is the first GPU where there is one, else the CPU."""
    device_map: str | None = None
    """``auto``, ``balanced`` or ``sequential``: spread over devices by accelerate."""
    original_context_length: int | None = None
    """Window of pretraining in tokens, at least 1; wins over the model's config."""
    trust_remote_code: bool = False
    """Whether code that the model brings along may run."""
    label: str | None = None
    """What the user calls it; default: its name."""

    def __post_init__(self) -> None:
        """Check what needs neither network nor torch."""
        self._require(
            "name", self.model.strip() != "", "a hub id or a folder", self.model, "Pass --model reference."
        )
        self._require(
            "dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}", self.dtype, "Pass --dtype auto."
        )
        self._require(
            "device",
            _DEVICE.match(self.device) is not None,
            "auto, cpu, cuda or cuda:N",
            self.device,
            "Pass --device auto.",
        )
        self._require(
            "quantization",
            self.quantization is None or self.quantization in QUANTIZATIONS,
            "4bit or 8bit",
            self.quantization,
            "Leave --quantization out for the weights as released.",
        )
        self._require(
            "device_map",
            self.device_map in (None, "auto", "balanced", "sequential"),
            "auto, balanced or sequential",
            self.device_map,
            "Pass --device-map auto.",
        )
        self._require(
            "device",
            self.device_map is None or self.device == "auto",
            "auto where a device map is given",
            self.device,
            "Pass --device or --device-map, not both.",
        )
        self._require(
            "original_context_length",
            self.original_context_length is None or self.original_context_length >= 1,
            "at least 1",
            self.original_context_length,
            "Pass the window of pretraining in tokens.",
        )

    def _require(self, name: str, condition: bool, rule: str, value: object, remedy: str) -> None:
        if not condition:
            raise ConfigError(complaint(f"model {self.model}", name, rule, repr(value), remedy))
