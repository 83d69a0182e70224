"""How much of a sample is computed at a time, and how much less once memory ran out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from longbench_run.harness.attention.room import grows
from longbench_run.harness.attention.rotary import rotary_modules
from longbench_run.harness.models.load import LoadedModel

LOGITS_BYTES = 64 * 2**20
"""Size of one piece of fp32 logits; about three of them exist at a time."""
LEAST_LOGITS_BYTES = 4 * 2**20
"""The same once memory ran out: what smaller pieces would save is nothing beside a layer's activations."""
LEAST_CHUNK = 256
"""Tokens per forward pass below which only the time grows: the cache and the weights are what is left."""
CHUNKS = {"cpu": 2048}
"""Tokens per forward pass of a prefill, by type of device: the activations of longer ones come on top of the cache and
save no time. On a device that is not here it takes one pass until memory runs out."""
MOST_ROWS = 8
"""Samples that are decoded together at most: with more, attending to each one's own keys is what takes the time."""
BYTES_FOR_ROWS = 512 * 2**20
"""What their caches may take, keys and values, where a device does not tell how much is free."""
_SIMILAR = 0.75
"""What a length taught holds from this share of it on: samples of one cell differ by a few tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What one sample is cut into."""

    chunk: int | None
    """Tokens per forward pass; None for all of them."""
    rows: int
    """Positions whose logits exist at a time."""
    shares_prefix: bool = True
    """Whether what the sample before it left in the cache may be kept for it."""

    def chunk_of(self, tokens: int) -> int | None:
        """Return the tokens per forward pass of an input of so many; None where one pass does it."""
        return self.chunk if self.chunk is not None and self.chunk < tokens else None


@dataclass(slots=True, kw_only=True)
class Learning:
    """The pieces to begin with, and those that lengths were seen to need."""

    start: Pieces
    splits: bool
    """Whether several forward passes through the cache give what one gives."""
    least_rows: int
    _from: dict[int, Pieces] = field(default_factory=dict)

    def of(self, tokens: int) -> Pieces:
        """Return the pieces to try for an input of so many tokens."""
        learnt = [length for length in self._from if length <= tokens]
        return self._from[max(learnt)] if learnt else self.start

    def smaller(self, tokens: int, pieces: Pieces, *, has_prefix: bool) -> Pieces | None:
        """Return the pieces to try after memory ran out, and remember them; None where nothing is left to try.

        Args:
            tokens: Length of the input.
            pieces: What did not fit.
            has_prefix: Whether what another sample left was in memory.
        """
        chunk = _halved(tokens if pieces.chunk is None else min(pieces.chunk, tokens))
        if has_prefix and pieces.shares_prefix:
            pieces = replace(pieces, shares_prefix=False)
        elif self.least_rows < min(pieces.rows, tokens):
            pieces = replace(pieces, rows=self.least_rows)
        elif self.splits and chunk >= LEAST_CHUNK:
            pieces = replace(pieces, chunk=chunk)
        else:
            return None
        self._from[int(_SIMILAR * tokens)] = pieces
        return pieces


@dataclass(slots=True, kw_only=True)
class Rows:
    """How many samples are decoded together, which learns as `Learning` does."""

    most: int
    bytes_of_token: int
    """What a token takes in the cache."""
    bytes_of_all: int
    """What the caches of samples that are decoded together may take."""
    _from: dict[int, int] = field(default_factory=dict)

    def of(self, tokens: int) -> int:
        """Return how many samples of so many tokens may be decoded together, at least 1."""
        fit = self.bytes_of_all // max(1, self.bytes_of_token * tokens)
        learnt = [rows for length, rows in self._from.items() if length <= tokens]
        return max(1, min(self.most, fit, *learnt))

    def halve(self, tokens: int, rows: int) -> None:
        """Remember that memory ran out with so many samples."""
        self._from[int(_SIMILAR * tokens)] = (rows + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What samples of one model with one method are cut into; lives as long as both, and learns."""

    splits: bool
    """Whether several forward passes through the cache give what one gives."""
    generating: Learning
    scoring: Learning
    together: Rows

    @classmethod
    def of(cls, loaded: LoadedModel, *, prefill_equals_decode: bool = True) -> Limits:
        """Return the limits of a model with whatever method is applied to it.

        Args:
            loaded: The model.
            prefill_equals_decode: What the method declares: one forward pass equals token by token.
        """
        cache = _cache_of_a_token(loaded)
        device = loaded.input_device
        splits = prefill_equals_decode and _goes_on(loaded, cache)
        together = Rows(
            most=MOST_ROWS if splits and grows(cache) else 1,
            bytes_of_token=_size(cache),
            bytes_of_all=_bytes_for_rows(device),
        )
        chunk = CHUNKS.get(device.type) if splits else None
        return cls._starting(loaded, splits=splits, chunk=chunk, together=together)

    @classmethod
    def fixed(cls, loaded: LoadedModel, *, prefill_chunk: int | None) -> Limits:
        """Return limits of one sample at a time, cut into chunks; for callers who know that their method can be cut."""
        alone = Rows(most=1, bytes_of_token=0, bytes_of_all=0)
        return cls._starting(loaded, splits=True, chunk=prefill_chunk, together=alone)

    @classmethod
    def _starting(cls, loaded: LoadedModel, *, splits: bool, chunk: int | None, together: Rows) -> Limits:
        least = logits_rows(loaded, LEAST_LOGITS_BYTES)
        return cls(
            splits=splits,
            generating=Learning(start=Pieces(chunk=chunk, rows=1), splits=splits, least_rows=least),
            scoring=Learning(
                start=Pieces(chunk=None, rows=logits_rows(loaded)), splits=splits, least_rows=least
            ),
            together=together,
        )


def logits_rows(loaded: LoadedModel, size: int = LOGITS_BYTES) -> int:
    """Return how many positions' fp32 logits fit into ``size`` bytes, at least 1."""
    return max(1, size // (4 * loaded.facts.vocabulary))


def follows_length(loaded: LoadedModel) -> bool:
    """Return whether a model, as it is, updates its frequencies by the length of a pass, as transformers does it."""
    for rotary in rotary_modules(loaded.model):
        types = getattr(rotary, "rope_type", None)
        kinds = types.values() if isinstance(types, dict) else [types]
        if any(kind == "longrope" or "dynamic" in str(kind) for kind in kinds):
            return True
    return False


def _halved(tokens: int) -> int:
    """Return the largest power of two below a number of tokens; 0 where there is none."""
    return 1 << (tokens - 1).bit_length() - 1 if tokens > 1 else 0


@torch.inference_mode()
def _cache_of_a_token(loaded: LoadedModel) -> object:
    token = torch.zeros((1, 1), dtype=torch.int64, device=loaded.input_device)
    output = loaded.model(input_ids=token, use_cache=True, return_dict=True)
    return getattr(output, "past_key_values", None)


def _goes_on(loaded: LoadedModel, cache: object) -> bool:
    """Return whether several tokens at a time may follow what is in the model's cache.

    Layers that mix tokens into a state begin it anew with every pass of more than one token, and frequencies that
    a model ships with may follow the length of each pass.
    """
    return (
        isinstance(cache, DynamicCache)
        and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
        and not follows_length(loaded)
    )


def _size(cache: object) -> int:
    """Return the bytes of the keys and values that a cache holds."""
    layers = cache.layers if isinstance(cache, DynamicCache) else []
    held = (getattr(layer, name, None) for layer in layers for name in ("keys", "values"))
    return sum(states.nbytes for states in held if states is not None)


def _bytes_for_rows(device: torch.device) -> int:
    """Return what the caches of samples that are decoded together may take on a device, beside the weights."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return BYTES_FOR_ROWS
