"""Keys turned to a band's positions, kept between forward passes: a decode step then turns its own key alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from transformers.cache_utils import DynamicCache

from longbench_run.harness.attention.room import GROWING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from longbench_run.harness.methods.base import PositionMap

_ROOM = 512
"""Tokens that a buffer has room for beyond those that it was made for."""


@dataclass(slots=True)
class _Kept:
    buffer: Tensor
    """Shape (batch, kv_heads, room, head_dim)."""
    count: int
    """Keys in it."""
    first: int
    """Slot of the cache that the first of them is in."""
    inv_freq: Tensor
    """Frequencies that they were turned with."""
    source: ref[Tensor]
    """The cache's keys that they are."""


class KeptKeys:
    """Turned keys by layer and position map, for as long as a cache only grows.

    A layer that only grows (`GROWING`) hands out another tensor whenever its keys change: by another token, a cut, another
    order of rows. So what was seen last and is still there, the same object, is what the next pass goes on from. Other
    caches change what they have handed out: of them nothing is kept.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._layers: list[Any] = []
        self._kept: dict[tuple[int, PositionMap], _Kept] = {}
        self._is_full = False

    def begin(self, cache: object) -> None:
        """Forget what a forward pass, which is about to begin, does not go on from.

        Args:
            cache: What the pass was given as ``past_key_values``.
        """
        self._layers = cache.layers if isinstance(cache, DynamicCache) else []
        for name, kept in list(self._kept.items()):
            source = kept.source()
            layer = self._layers[name[0]] if name[0] < len(self._layers) else None
            if source is None or getattr(layer, "keys", None) is not source:
                del self._kept[name]

    def forget(self) -> None:
        """Free the memory."""
        self._layers = []
        self._kept.clear()

    def can_keep(self, layer: int, key: Tensor) -> bool:
        """Return whether a layer's keys are those of a cache of which something can be kept."""
        if self._is_full or key.requires_grad or layer >= len(self._layers):
            return False
        held = self._layers[layer]
        return type(held) in GROWING and held.keys is key

    def turned(
        self,
        name: tuple[int, PositionMap],
        source: Tensor,
        first: int,
        inv_freq: Tensor,
        turn: Callable[[Tensor, int], Tensor],
    ) -> Tensor:
        """Return a layer's keys at the positions of a map; those that are new are turned.

        Args:
            name: Layer, and the map.
            source: The cache's keys, shape (batch, kv_heads, slots, head_dim), of which `can_keep` is true.
            first: Slot of the first key; those before it are padding.
            inv_freq: Frequencies in use.
            turn: Turns keys to the map's positions, of which the first has the position that it is told.

        Returns:
            Turned keys from slot ``first`` on.
        """
        key = source[:, :, first:]
        tokens = key.shape[2]
        kept = self._kept.get(name)
        if (
            kept is None
            or kept.first != first
            or kept.inv_freq is not inv_freq
            or (kept.buffer.is_inference() and not torch.is_inference_mode_enabled())  # not to be written to
        ):
            kept = _Kept(key[:, :, :0], 0, first, inv_freq, ref(source))
        if kept.count < tokens:  # not where another band of the same map was here before
            buffer = kept.buffer if kept.buffer.shape[2] >= tokens else self._larger(key, kept)
            if buffer is None:
                self.forget()
                return turn(key, 0)
            buffer[:, :, kept.count : tokens] = turn(key[:, :, kept.count :], kept.count)
            kept = _Kept(buffer, tokens, first, inv_freq, ref(source))
            self._kept[name] = kept
        return kept.buffer[:, :, :tokens]

    def _larger(self, key: Tensor, kept: _Kept) -> Tensor | None:
        """Return a buffer with room for some keys more; None where memory is too short for keeping any."""
        batch, heads, tokens, dim = key.shape
        try:
            larger = key.new_empty((batch, heads, tokens + _ROOM, dim))
        except torch.OutOfMemoryError:
            self._is_full = True
            return None
        larger[:, :, : kept.count] = kept.buffer[:, :, : kept.count]
        return larger
