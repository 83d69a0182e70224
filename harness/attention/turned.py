"""Queries and keys turned further to the positions of each band."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from longbench_run.harness.attention.bands import RotatedBand
from longbench_run.harness.attention.kept import KeptKeys
from longbench_run.harness.attention.rotary import FamilyRotary, Rotation, family_apply
from longbench_run.harness.methods.base import PositionMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Int
    from torch import Tensor, nn

    from longbench_run.harness.attention.layout import Row
    from longbench_run.harness.attention.rotary import Rotary
    from longbench_run.harness.methods import Band

Rotations = dict[tuple[PositionMap, int, int, int], Rotation]
"""By the map that they turn to, the first and last position that they turn from, and the device."""


class TurnedBands:
    """What the bands of a method make of the queries and keys that a model rotated.

    Keys lie in the cache at their own positions. Bands with another map for them are served by a copy turned further,
    which a decode step would make anew of the whole cache: it is kept, see `KeptKeys`.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        *,
        family: str,
        rotary: Rotary,
        layers_without_rope: frozenset[int],
    ) -> None:
        """Keep what to turn, and by what.

        Args:
            bands: Axes 3 and 4.
            family: The model's family, for errors.
            rotary: The family's rotary module.
            layers_without_rope: Layers whose keys and queries are not rotated.
        """
        self._bands = tuple(bands)
        self._family = family
        self._rotary = rotary
        self._layers_without_rope = layers_without_rope
        self._kept = KeptKeys()
        self.rotations: Rotations = {}
        """Made once per forward pass for all layers; whoever begins one clears them."""

    def begin(self, cache: object) -> None:
        """Note the cache, if any, of a forward pass that is about to begin."""
        self._kept.begin(cache)

    def bands(
        self, module: nn.Module, layer: int, row: Row, query: Tensor, key: Tensor, *, whole: Tensor | None
    ) -> list[RotatedBand]:
        """Return the bands of rows that stand alike.

        Args:
            module: Attention of the model's own.
            layer: Its number.
            row: Where the rows stand.
            query: Their queries without padding, shape (batch, heads, n, head_dim).
            key: Their keys without padding, shape (batch, kv_heads, m, head_dim).
            whole: The layer's keys as the cache has them, where these rows are all there are.
        """
        positions = row.query_positions
        goes_on = row.query_first > row.first
        family = FamilyRotary(self._rotary, family_apply(module, family=self._family))
        if not goes_on or whole is None or not self._kept.can_keep(layer, whole):
            whole = None
        found = []
        for band in self._bands:
            if band.prefill_only and goes_on:
                continue
            start, stop = (end(positions).clip(0, positions + 1) for end in (band.keys.start, band.keys.stop))
            band_query, band_key = query, key
            if layer not in self._layers_without_rope:
                if band.query_map is not None:
                    band_query = self._turned(family, band.query_map, query, int(positions[0]))
                if band.key_map is not None:
                    turn = partial(self._turned, family, band.key_map)
                    band_key = (
                        turn(key, 0)
                        if whole is None
                        else self._kept.turned(
                            (layer, band.key_map), whole, row.first, self._rotary.inv_freq, turn
                        )
                    )
            found.append(
                RotatedBand(query=band_query, key=band_key, start=start.astype(int), stop=stop.astype(int))
            )
        return found

    def _turned(self, family: FamilyRotary, new: PositionMap, states: Tensor, first: int) -> Tensor:
        """Return states, whose positions count up from ``first``, turned to those of a map."""
        old: Int[np.ndarray, " n"] = np.arange(first, first + states.shape[2])
        name = (new, first, len(old), states.device.index or 0)
        if name not in self.rotations:
            self.rotations[name] = family.rotation((new(old) - old).astype(float), states.device)
        return family.rotate(states, self.rotations[name])
