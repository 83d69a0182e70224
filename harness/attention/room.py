"""A cache with room: new keys and values are written behind those before them, and none of these is copied.

A `DynamicLayer` of transformers makes its keys and values anew for every token. At long contexts that takes longer than
attending to them.
"""

from __future__ import annotations

from copy import copy
from typing import Any, TypeGuard, TypeVar

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

C = TypeVar("C")

_SPARE = 64
"""Tokens that are given room at a time beyond those that were expected."""


class LayerWithRoom(DynamicLayer):
    """Does what a `DynamicLayer` does; its keys and values are views of buffers, new views whenever they change."""

    def __init__(self, layer: DynamicLayer) -> None:
        """Take over what a layer holds; it is copied once, when more comes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.__dict__.update(layer.__dict__)
        self._buffers: tuple[Tensor, Tensor] | None = None
        self.expected = 0
        """Tokens that it will hold, as far as is known."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values behind those held; return all of them."""
        held = self.get_seq_length()
        if not held:  # then there is nothing whose copy could be saved
            result: tuple[Tensor, Tensor] = super().update(key_states, value_states, *args, **kwargs)
            return result
        tokens = held + key_states.shape[2]
        buffers = self._buffers
        if buffers is None or not self._are_in(buffers) or buffers[0].shape[2] < tokens:
            size = self.expected if tokens <= self.expected else tokens + _SPARE
            keys, values = _states(self)
            buffers = self._buffers = _larger(keys, size), _larger(values, size)
        for buffer, states in zip(buffers, (key_states, value_states), strict=True):
            buffer[:, :, held:tokens] = states
        self.keys, self.values = (buffer[:, :, :tokens] for buffer in buffers)
        return self.keys, self.values

    def make_rows(self, rows: int, tokens: int) -> None:
        """Make room for other samples of the length that is held."""
        held = self.get_seq_length()
        keys, values = (
            states.new_empty((rows, states.shape[1], tokens, states.shape[3])) for states in _states(self)
        )
        self._buffers = keys, values
        self.expected = tokens
        self.keys, self.values = keys[:, :, :held], values[:, :, :held]

    def put(self, row: int, layer: DynamicLayer) -> None:
        """Copy the one sample of another layer into a row."""
        for states, its in zip(_states(self), _states(layer), strict=True):
            states[row] = its[0]

    def _are_in(self, buffers: tuple[Tensor, Tensor]) -> bool:
        """Return whether what is held lies in the buffers: a cut leaves it there, another choice of rows does not."""
        return all(
            held.data_ptr() == buffer.data_ptr() and held.shape[0] == buffer.shape[0]
            for held, buffer in zip(_states(self), buffers, strict=True)
        )


class SideBySide:
    """The caches of samples of one length as rows of one cache: a forward pass goes on with all of them."""

    def __init__(self, *, rows: int, tokens: int) -> None:
        """Make room.

        Args:
            rows: Samples.
            tokens: Length that each of them will have.
        """
        self._rows = rows
        self._tokens = tokens
        self._layers: list[LayerWithRoom] = []
        self._like: DynamicCache | None = None

    def put(self, row: int, cache: object) -> None:
        """Copy a sample's cache into a row.

        Raises:
            TypeError: If it does more than grow.
        """
        if not grows(cache):
            raise TypeError(f"cache must be one of layers that only grow, got {type(cache).__name__}.")
        self._like = self._like or cache
        layers: list[Any] = cache.layers
        for place, layer in enumerate(layers):
            if place == len(self._layers):
                self._layers.append(LayerWithRoom(layer))
                self._layers[place].make_rows(self._rows, self._tokens)
            self._layers[place].put(row, layer)

    def cache(self) -> DynamicCache:
        """Return the cache of all rows, once every row has its sample."""
        rows = copy(self._like or DynamicCache())
        rows.layers = list(self._layers)
        return rows


GROWING = (DynamicLayer, LayerWithRoom)
"""Layers that hold every token's key, and of which `keys` is another object whenever they change."""


def grows(cache: object) -> TypeGuard[DynamicCache]:
    """Return whether a cache holds every token's key in every layer: it can be cut, and have rows beside it."""
    return isinstance(cache, DynamicCache) and all(type(layer) in GROWING for layer in cache.layers)


def with_room(cache: C, more: int) -> C:
    """Return a cache whose layers have room for more tokens; layers that do not only grow stay as they are.

    Args:
        cache: As a model made it, changed in place; anything else is returned as it is.
        more: Tokens that are expected behind those that it holds.
    """
    if isinstance(cache, DynamicCache):
        for place, layer in enumerate(cache.layers):
            grown = LayerWithRoom(layer) if type(layer) is DynamicLayer and layer.get_seq_length() else layer
            if isinstance(grown, LayerWithRoom):
                grown.expected = grown.get_seq_length() + more
                cache.layers[place] = grown
    return cache


def _states(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.keys, layer.values


def _larger(states: Tensor, tokens: int) -> Tensor:
    buffer = states.new_empty((*states.shape[:2], tokens, states.shape[3]))
    buffer[:, :, : states.shape[2]] = states
    return buffer
