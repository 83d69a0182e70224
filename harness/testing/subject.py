"""What the checks of a contract share: a method as a value, a model, and logits under the method."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from longbench_run.harness.attention import rope_facts
from longbench_run.harness.methods import Component, Method, parse_method
from longbench_run.harness.testing.formula import Axes, axes, unchanged
from longbench_run.harness.testing.models import draw_tokens, tiny_llama

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Int
    from torch import Tensor

    from longbench_run.harness.attention import Applied


class Subject:
    """A method under test, on a model that is made anew for every check."""

    method: ClassVar[str | Component | Method]
    """What is tested: a text that `parse_method` knows, or a value."""
    identities: ClassVar[Sequence[str | Component | Method]] = ()
    """The method with parameters that must change nothing at any length, e.g. factor 1 or group 1."""
    context_length: ClassVar[int] = 256
    """Target length in tokens that parameters follow from where they were left out."""
    tokens: ClassVar[int] = 150
    """Length of most samples; the models' window is 64."""
    long_tokens: ClassVar[int] = 272
    """Length of those compared with the formula: beyond 256 queries, which are halved where a band needs a mask."""
    interleaved: ClassVar[bool] = False
    """Whether the model's family holds a pair's two dimensions side by side, and not in two halves."""
    layers_without_rope: ClassVar[frozenset[int]] = frozenset()
    """Layers of the model that do not rotate."""
    layers_left: ClassVar[frozenset[int]] = frozenset()
    """Layers of the model that keep frequencies of their own, because a window keeps all distances small."""

    def make_model(self) -> Any:
        """Return the model, in fp32 and for inference; the same one at each call. Override it for another family."""
        return tiny_llama()

    @property
    def value(self) -> Method:
        """The method as a value."""
        return as_method(self.method)

    @contextmanager
    def applied(self, model: Any, *, sample: int | None = None) -> Iterator[Applied]:
        """Apply the method; ``sample`` announces the one sample that is computed inside, in tokens."""
        with self.value.applied_to(model, context_length=self.context_length) as applied:
            if sample is None:
                yield applied
            else:
                with applied.sample(sample):
                    yield applied

    def axes(self, model: Any, tokens: int, method: str | Component | Method | None = None) -> Axes:
        """Return what the method does to a sample of so many tokens, read from its axes."""
        facts = rope_facts(model)
        value = as_method(self.method if method is None else method)
        return axes(value.resolve(facts, context_length=self.context_length), facts, tokens)

    def exact_up_to(self, model: Any, method: str | Component | Method | None = None) -> int:
        """Return up to how many tokens the method's axes are those of the unmodified model, at most `tokens`."""
        facts = rope_facts(model)
        low, high = 0, self.tokens
        while low < high:  # what changes nothing at one length changes nothing at a smaller one
            middle = (low + high + 1) // 2
            if unchanged(self.axes(model, middle, method), facts):
                low = middle
            else:
                high = middle - 1
        return low

    def ids(self, tokens: int | None = None, *, seed: int = 0) -> Int[Tensor, "1 n"]:
        """Return one row of random tokens; a shorter row begins a longer one of the same seed."""
        return draw_tokens(self.long_tokens, seed=seed)[:, : self.tokens if tokens is None else tokens]


def as_method(method: str | Component | Method) -> Method:
    """Return a text, a component or a method as a method."""
    if isinstance(method, str):
        return parse_method(method)
    return Method(components=(method,), text=method.text()) if isinstance(method, Component) else method


def logits(model: Any, ids: Tensor, **arguments: Any) -> Tensor:
    """Return the logits of one forward, without a gradient."""
    with torch.no_grad():
        found: Tensor = model(ids, use_cache=False, **arguments).logits
    return found


def logits_in_parts(model: Any, ids: Tensor, sizes: list[int]) -> Tensor:
    """Return the logits of forwards over so many tokens each, through the model's own cache."""
    found, cache = [], None
    with torch.no_grad():
        for part in ids.split(sizes, dim=1):
            output = model(part, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            found.append(output.logits)
    return torch.cat(found, dim=1)
