"""The attention and mask functions that carry a method into a model, through transformers' own registries."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longbench_run.harness.attention.bands import RotatedBand, attend_bands
from longbench_run.harness.attention.layout import Layout, Row, read_layout
from longbench_run.harness.attention.scales import Scales
from longbench_run.harness.attention.turned import Rotations, TurnedBands
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from longbench_run.harness.attention.rotary import Rotary
    from longbench_run.harness.methods import Band

_HARMLESS = frozenset(
    {"position_ids", "position_embeddings", "cache_position", "use_cache", "past_key_values", "is_causal"}
    | {"output_attentions", "output_hidden_states", "return_dict", "layer_idx", "logits_to_keep"}
)
"""Keyword arguments that an attention function may ignore: they say nothing about which keys count or how much."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Where a forward pass stood."""

    layout: Layout | None
    rotations: Rotations


class AttentionRoute:
    """What a registered attention function does in place of the model's own.

    The mask function runs once before the layers of a forward pass and reads where the pass stands; the layers
    take it from here. `generate` with a static cache makes the mask before the pass, so a 4-D mask is taken if it
    is the one made last, and refused if it is somebody else's.
    """

    def __init__(
        self,
        *,
        family: str,
        previous: str,
        scales: Scales,
        bands: tuple[Band, ...] | None,
        rotary: Rotary,
        layers_without_rope: frozenset[int],
    ) -> None:
        """Keep what to compute.

        Args:
            family: The model's family, for errors.
            previous: Name of the model's own attention implementation.
            scales: Axis 2.
            bands: Axes 3 and 4.
            rotary: The family's rotary module, and the layers that attend as the method says; others as they would.
            layers_without_rope: Layers whose keys and queries are not rotated.
        """
        self._family = family
        self._previous = previous
        self._scales = scales
        self._bands = bands
        self._turned = TurnedBands(
            bands or (), family=family, rotary=rotary, layers_without_rope=layers_without_rope
        )
        self._layout: Layout | None = None
        self._made: dict[int | None, Tensor | None] = {}
        """Masks made last, by the sliding window of the layers that they are for."""
        self._rotary = rotary
        self.layers_touched: set[int] = set()

    def begin(self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forget the last pass, unless its mask was made for this one: a hook before every forward pass."""
        self._turned.begin(kwargs.get("past_key_values"))
        given = kwargs.get("attention_mask")
        # A mask for each kind of layer, None among them, is made before the pass and by nobody else during it.
        ready_made = list(given.values()) if isinstance(given, dict) else [given]
        if not isinstance(given, dict) and (not isinstance(given, torch.Tensor) or given.ndim != 4):
            self.forget()
            return
        made = list(self._made.values())
        if any(all(mask is not ours for ours in made) for mask in ready_made):
            raise MethodNotApplicable(
                "position maps and per-query scales need an attention mask of shape (batch, tokens), got one with 4 "
                "dimensions. Pass a 2-D attention_mask, or none."
            )

    def end(self) -> Pass:
        """Take no mask of this pass for another one's; return what it stood at, for its backward."""
        self._made.clear()
        return Pass(self._layout, dict(self._turned.rotations))

    def resume(self, earlier: Pass) -> None:
        """Stand where an earlier pass stood: its layers are computed again."""
        self._layout, self._turned.rotations = earlier.layout, dict(earlier.rotations)

    def forget(self) -> None:
        """Drop what the last forward pass left."""
        self._layout = None
        self._made.clear()
        self._turned.rotations.clear()

    def mask(
        self,
        batch_size: int,
        q_length: int,
        kv_length: int,
        q_offset: Any = 0,
        kv_offset: int = 0,
        **rest: Any,
    ) -> Any:
        """Read the layout; return the model's own mask, or for bands the key positions, which stay O(n)."""
        # Layers with a window of their own that the method leaves alone also make a mask: their own one.
        window = rest.get("local_size")
        theirs = window is not None and self._rotary.kind is not None
        if not theirs and (self._bands is not None or self._scales.per_query):
            self._turned.rotations.clear()
            self._layout = read_layout(
                batch_size=batch_size,
                q_length=q_length,
                kv_length=kv_length,
                q_offset=q_offset,
                kv_offset=kv_offset,
                attention_mask=rest.get("attention_mask"),
                mask_function=rest.get("mask_function"),
                local_size=window,
                family=self._family,
                kinds=frozenset(getattr(rest.get("config"), "layer_types", None) or ()),
            )
        if not theirs and self._bands is not None and self._layout is not None:
            self._made[window] = torch.from_numpy(self._layout.key_positions())[:, None, None, :].to(
                rest.get("device") or "cpu"
            )
        else:
            self._made[window] = ALL_MASK_ATTENTION_FUNCTIONS[self._previous](
                batch_size=batch_size,
                q_length=q_length,
                kv_length=kv_length,
                q_offset=q_offset,
                kv_offset=kv_offset,
                **rest,
            )
        return self._made[window]

    def attention(  # noqa: PLR0917  # transformers calls every attention function with these positions
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        **rest: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as the method says; same contract as every function of transformers' attention registry."""
        layer = int(module.layer_idx)  # type: ignore[arg-type]  # an int on every family, typed Tensor | Module
        if layer not in self._rotary.layers:
            untouched: tuple[Tensor, Tensor | None] = own_attention(module, self._previous)(
                module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **rest
            )
            return untouched
        self.layers_touched.add(layer)
        scaling = (query.shape[-1] ** -0.5 if scaling is None else scaling) * self._scales.constant(layer)
        if self._scales.per_query:
            query = self._scales.scaled(query, layer, self._current(query))
        if self._bands is None:
            own = own_attention(module, self._previous)
            result: tuple[Tensor, Tensor | None] = own(
                module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **rest
            )
            return result
        self._refuse_what_bands_do_not_know(module, attention_mask, key, dropout, rest)
        layout = self._current(query)
        output = query.new_zeros((*query.shape[:-1], value.shape[-1]))  # padding attends to nothing
        for members, row in _equal_rows(layout):
            queries = layout.queries(row)
            keys = slice(row.first, row.query_last)
            states = query[members][:, :, queries], key[members][:, :, keys], value[members][:, :, keys]
            if states[0].shape[2]:
                rotated = self._turned.bands(
                    module,
                    layer,
                    row,
                    states[0],
                    states[1],
                    whole=key if len(states[0]) == len(key) else None,
                )
                output[members, :, queries] = attend_bands(rotated, states[2], scaling=scaling)
        return output.transpose(1, 2).contiguous(), None

    def logits(
        self, module: nn.Module, query: Tensor, key: Tensor, *, scaling: float | None
    ) -> tuple[list[RotatedBand], float]:
        """Return what the logits of a layer are made of: queries and keys band by band, and the factor on their products.

        Args:
            module: The model's attention.
            query: Of one sample without padding or cache, as the model rotated it, shape (1, heads, n, head_dim).
            key: Likewise, shape (1, kv_heads, n, head_dim).
            scaling: The model's own factor; None for 1/sqrt(d).
        """
        layer = int(module.layer_idx)  # type: ignore[arg-type]  # an int on every family, typed Tensor | Module
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        row = Row(first=0, last=query.shape[2], query_first=0, query_last=query.shape[2])
        positions = row.query_positions
        whole = RotatedBand(query=query, key=key, start=np.zeros_like(positions), stop=positions + 1)
        if layer not in self._rotary.layers:
            return [whole], scaling
        scaling *= self._scales.constant(layer)
        if self._scales.per_query:
            query = self._scales.scaled(query, layer, self._current(query))
        if self._bands is None:
            return [replace(whole, query=query)], scaling
        return self._turned.bands(module, layer, row, query, key, whole=None), scaling

    def _current(self, query: Tensor) -> Layout:
        layout = self._layout
        if layout is None or (len(layout.rows), layout.query_length) != (query.shape[0], query.shape[2]):
            raise MethodNotApplicable(
                "position maps and per-query scales need to know where a forward pass stands, got one that made no mask "
                "for its queries. Call the model with input_ids and a 2-D attention_mask, or none."
            )
        return layout

    def _refuse_what_bands_do_not_know(
        self, module: nn.Module, mask: Tensor | None, key: Tensor, dropout: float, rest: dict[str, Any]
    ) -> None:
        family = type(module).__name__
        for name, argument in rest.items():
            if (
                name not in _HARMLESS
                and argument is not None
                and argument is not False
                and not _is_zero(argument)
            ):
                raise MethodNotApplicable(
                    f"position maps cannot serve {family}: its attention takes {name}={argument!r}. "
                    "Use a method that changes frequencies or the logit scale only."
                )
        if dropout:
            raise MethodNotApplicable(
                f"position maps need attention dropout 0, got {dropout} in {family}. Call model.eval()."
            )
        if mask is None or mask.dtype != torch.int64 or mask.shape[-1] < key.shape[2]:
            raise MethodNotApplicable(
                f"position maps cannot serve {family}: it changes the attention mask on its way to the layers. "
                "Use a method that changes frequencies or the logit scale only."
            )


def _equal_rows(layout: Layout) -> Iterator[tuple[slice | list[int], Row]]:
    """Yield each distinct row with its members: rows that stand alike are computed together."""
    if len(set(layout.rows)) == 1:
        yield slice(None), layout.rows[0]
        return
    for row in dict.fromkeys(layout.rows):
        yield [index for index, other in enumerate(layout.rows) if other == row], row


def _is_zero(argument: Any) -> bool:
    return isinstance(argument, int | float) and argument == 0


def own_attention(module: nn.Module, name: str) -> Callable[..., Any]:
    """Return the attention function that a name stands for in a module's family; ``eager`` is each file's own."""
    found: Callable[..., Any] = (
        ALL_ATTENTION_FUNCTIONS[name]
        if name in ALL_ATTENTION_FUNCTIONS
        else sys.modules[type(module).__module__].eager_attention_forward
    )
    return found


@contextmanager
def registered(
    model: Any, name: str, attention: Callable[..., Any], mask: Callable[..., Any]
) -> Iterator[None]:
    """Make a model use an attention function inside the block; afterwards neither model nor registries remember it."""
    previous = model.config._attn_implementation
    AttentionInterface.register(name, attention)
    # A name that is missing here means no mask at all: padding would be ignored without a word.
    AttentionMaskInterface.register(name, mask)
    try:
        model.set_attn_implementation(name)
        yield
    finally:
        model.set_attn_implementation(previous)
        AttentionInterface._global_mapping.pop(name, None)
        AttentionMaskInterface._global_mapping.pop(name, None)
