"""How a variant is tuned: the paper's recipe, and where this one differs from it; imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from longbench_run.harness.errors import ConfigError

Composition = Literal["none", "short", "long", "short_then_long"]
COMPOSITIONS: tuple[Composition, ...] = get_args(Composition)
"""Which samples are taken: any, those within the window, those over half the context, or half of each one after
the other."""

_LARGE = 3500
"""Samples from which on the paper takes its larger batch."""


@dataclass(frozen=True, kw_only=True)  # no slots: its defaults are read from the class
class Recipe:
    """Everything that decides the weights beside the model, the method and the data.

    The defaults are those of Entropy-aware ABF.

    Raises:
        ConfigError: If a value breaks its rule.

    Source: arXiv 2401.07004, appendix A. What it does not say: `max_grad_norm`, and how the loss is averaged (here over
    the response tokens of a batch); transformers' defaults hold there. Its split of long conversations is here between
    exchanges, never inside a turn.
    """

    context_length: int = 16384
    """Longest sample in tokens, for which the method is configured too."""
    samples: int = 100
    seed: int = 0
    composition: Composition = "none"
    learning_rate: float = 2e-5
    """Peak; after the warm-up it falls along a cosine to 0."""
    batch_size: int = 32
    """Samples per step."""
    epochs: int = 2
    warmup_steps: int = 0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_grad_norm: float = 1.0
    """Norm that gradients are clipped to."""
    lora: int | None = None
    """Rank of a LoRA adapter on every linear layer but the head, alpha twice the rank; None: all weights."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """What is computed in; the weights and the optimizer's states are float32."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        self._require("--context-length", "context length", self.context_length, 2)
        self._require("--samples", "number", self.samples, 1)
        self._require("--seed", "seed", self.seed, 0)
        self._require("--batch-size", "number", self.batch_size, 1)
        self._require("--epochs", "number", self.epochs, 1)
        self._require("--warmup-steps", "number", self.warmup_steps, 0)
        self._require("--learning-rate", "rate", self.learning_rate, 0)
        self._require("--weight-decay", "rate", self.weight_decay, 0)
        if self.lora is not None:
            self._require("--lora", "rank", self.lora, 1)
        if self.samples * self.epochs < self.batch_size:
            raise ConfigError(
                f"--batch-size: number must be at most samples times epochs ({self.samples * self.epochs}), so that "
                f"there is a step, got {self.batch_size}. Pass a smaller one, or more samples."
            )

    @staticmethod
    def _require(flag: str, name: str, value: float, least: int) -> None:
        if not least <= value < float("inf"):
            raise ConfigError(f"{flag}: {name} must be at least {least}, got {value!r}. Write a larger one.")

    @property
    def steps(self) -> int:
        """Steps of the optimizer: 100 samples, two epochs and batches of 32 are 6."""
        return self.samples * self.epochs // self.batch_size

    def deviations(self) -> dict[str, dict[str, Any]]:
        """Return what differs from the paper's recipe for this many samples: name -> paper's and own value.

        Samples, seed and composition are what the paper varies itself.
        """
        paper = {each.name: each.default for each in fields(Recipe)} | _by_samples(self.samples)
        own = asdict(self)
        varied = {"samples", "seed", "composition"}
        return {
            name: {"paper": paper[name], "here": value}
            for name, value in own.items()
            if name not in varied and value != paper[name]
        }


def papers(**given: Any) -> Recipe:
    """Return the paper's recipe with some values given: its batch and warm-up depend on the number of samples.

    Args:
        given: Field of `Recipe` -> value; None leaves the paper's.

    Raises:
        ConfigError: If a value breaks its rule.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    return Recipe(**_by_samples(asked.get("samples", Recipe.samples)) | asked)


def _by_samples(samples: int) -> dict[str, Any]:
    return {"batch_size": 128, "warmup_steps": 10} if samples >= _LARGE else {}
