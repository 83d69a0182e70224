"""Frequencies that follow a length: one for each sample, or one that runs along with the forward passes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from longbench_run.harness.attention.rotary import Rotary, fp32_frequencies
from longbench_run.harness.errors import MethodNotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longbench_run.harness.methods import Method, RopeFacts


@dataclass(slots=True)
class FollowedLength:
    """Sets a rotary module's frequencies to those of the length that a method follows."""

    method: Method
    rotary: Rotary
    facts: RopeFacts
    _tokens: int | None = None
    """The length that the module's frequencies belong to; None before the first."""
    _announced: int | None = None

    @contextmanager
    def announced(self, tokens: int) -> Iterator[None]:
        """Hold the frequencies of samples at a length inside the block."""
        if tokens < 1:
            raise ValueError(f"tokens must be at least 1, got {tokens}.")
        if self._announced is not None:
            raise RuntimeError("A sample is announced already: leave its block first.")
        self._announced = tokens
        try:
            yield
        finally:
            self._announced = None

    def before_sample(self, _model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Move to a new sample's length: a hook before every forward pass of the decoder."""
        cache = kwargs.get("past_key_values")
        if cache is not None and int(cache.get_seq_length()) > 0:
            return  # the sample goes on: its keys lie in the cache, rotated
        if self._announced is not None:
            self._move(self._announced)
            return
        self._move(self._length_of_rows(args, kwargs))

    def before_rotation(self, _rotary: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Update the running length: a hook before every call of the rotary module."""
        positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        self._move(self.method.length_after(self._tokens, int(positions.max()) + 1))

    def _length_of_rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        mask = kwargs.get("attention_mask")
        if mask is None:
            inputs = (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args[:1])
            return int(next(tensor for tensor in inputs if tensor is not None).shape[1])
        if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
            raise MethodNotApplicable(
                f"{self.method.canonical}: the length of a sample must be known, got an attention mask that does not show "
                "it. Announce it: `with applied.sample(tokens)`."
            )
        lengths = sorted({int(row) for row in mask.sum(dim=1)})
        if len(lengths) > 1:
            raise MethodNotApplicable(
                f"{self.method.canonical}: a batch must hold samples of one length, got {' and '.join(map(str, lengths))} "
                "tokens. Its frequencies follow the length: compute them one by one."
            )
        return lengths[0]

    def _move(self, tokens: int) -> None:
        if tokens == self._tokens:
            return
        wanted = fp32_frequencies(self.method.at_length(tokens), self.facts)
        setattr(self.rotary.module, self.rotary.name("inv_freq"), wanted.to(self.rotary.inv_freq.device))
        self._tokens = tokens


@contextmanager
def follow_length(model: Any, rotary: Rotary, method: Method, facts: RopeFacts) -> Iterator[FollowedLength]:
    """Let a rotary module follow a method's length inside the block."""
    followed = FollowedLength(method, rotary, facts)
    hooked, hook = (
        (model.base_model, followed.before_sample)
        if method.length_rule == "sample"
        else (rotary.module, followed.before_rotation)
    )
    handle = hooked.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield followed
    finally:
        handle.remove()
