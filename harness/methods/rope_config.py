"""What a model's config tells transformers about its rotary embedding, as a value that components transform."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from longbench_run.harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Setting = int | float | list[float]

_COMMUTES_WITH_BASE = ("default", "linear")
"""Types whose frequencies are those of the base, or all of them divided by one number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """``rope_parameters`` and ``max_position_embeddings`` of a config, without what a family adds to them.

    Source:
        transformers 5.23, ``modeling_rope_utils``.
    """

    theta: float
    """RoPE base b (``rope_theta``)."""
    rotary_dim: int
    """Rotated dimensions per head, d."""
    max_position_embeddings: int
    """Length in tokens that the config promises; what ``dynamic`` takes for the window of pretraining."""
    rope_type: str = "default"
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Keys of the rope type."""
    scaled_by: str | None = None
    """Name of the component that set the rope type."""

    def rebased(self, theta: float, *, by: str) -> RopeConfig:
        """Return the config with another base.

        Args:
            theta: New base b'.
            by: Name of the component that asks for it.

        Raises:
            ConfigError: If the type's scaling was computed from the base before.
        """
        if self.rope_type not in _COMMUTES_WITH_BASE:
            raise ConfigError(
                f"{by}: a new base must come before the scaling that uses it in a transformers config, got "
                f"'{self.scaled_by}+{by}'. Write {by}+{self.scaled_by}, which is another method, or leave one out."
            )
        return replace(self, theta=theta)

    def scaled(self, rope_type: str, *, by: str, **settings: Setting) -> RopeConfig:
        """Return the config with a rope type.

        Args:
            rope_type: A type of transformers.
            by: Name of the component that asks for it.
            **settings: The keys of the type.

        Raises:
            ConfigError: If it has one already.
        """
        if self.scaled_by is not None:
            raise ConfigError(
                f"{by}: scaling must be the only one in a transformers config, which has one rope_type, got "
                f"'{self.scaled_by}+{by}'. Leave one out."
            )
        return replace(self, rope_type=rope_type, settings=settings, scaled_by=by)
