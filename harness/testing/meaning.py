"""Promises about what is computed: the limits, the position map, the formula, its gradient, narrow dtypes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from longbench_run.harness.attention import rope_facts
from longbench_run.harness.attention.entropy import entropy_taken
from longbench_run.harness.errors import LongbenchError, MethodNotApplicable
from longbench_run.harness.testing.formula import by_formula
from longbench_run.harness.testing.models import tiny_llama
from longbench_run.harness.testing.positions import recovered_distances
from longbench_run.harness.testing.promises import CHANGED, distance, require_same
from longbench_run.harness.testing.subject import Subject, as_method, logits
from longbench_run.tasks.testing.promises import require

_NARROW = (torch.bfloat16, torch.float16)
_ENTROPY = 1e-3
"""Nats, with a model in float64, whose angles are in fp32 all the same, and whose logits are some tens."""
_GRADIENT = 1e-3
"""Of a parameter's largest gradient: attention in bands is computed in fp32 whatever the model's dtype."""


class MeaningPromises(Subject):
    """A method computes what its axes say."""

    def test_it_changes_the_model_beyond_its_limits_and_not_within(self) -> None:
        """Up to the length at which the axes are the unmodified model's the logits are too, and beyond they are not."""
        model = self.make_model()
        exact = self.exact_up_to(model)
        plain, plain_within = logits(model, self.ids()), logits(model, self.ids(exact)) if exact else None
        with self.applied(model, sample=self.tokens):
            beyond = distance(logits(model, self.ids()), plain)
        if plain_within is not None:
            with self.applied(model, sample=exact):
                within = logits(model, self.ids(exact))
            require_same(within, plain_within, f"Its axes change nothing up to {exact} tokens.")
        if self.value.as_released:
            require(beyond == 0, "It leaves the model as released.", f"logits {beyond:.2g} apart.")
            return
        require(
            exact < self.tokens,
            f"It must change something within {self.tokens} tokens, or nothing is tested.",
            "axes of the unmodified model. Choose parameters for a window of 64.",
        )
        require(
            beyond > CHANGED,
            f"Its axes change the model beyond {exact} tokens.",
            f"logits only {beyond:.2g} apart.",
        )

    def test_its_identities_change_nothing(self) -> None:
        """What is named in `identities` gives the unmodified model's logits at every length, by its axes as well."""
        model = self.make_model()
        plain = logits(model, self.ids())
        for identity in self.identities:
            name = as_method(identity).text
            exact = self.exact_up_to(model, identity)
            require(exact == self.tokens, f"{name} changes nothing.", f"axes that do beyond {exact} tokens.")
            with (
                as_method(identity).applied_to(model, context_length=self.context_length) as applied,
                applied.sample(self.tokens),
            ):
                require_same(logits(model, self.ids()), plain, f"{name} changes nothing.")

    def test_the_model_sees_every_key_at_the_distance_that_the_bands_say(self) -> None:
        """The position map is read back from the attention weights of a Llama and held against the bands."""
        model = tiny_llama()
        expected = self.axes(model, self.tokens)
        with self.applied(model, sample=self.tokens):
            found = recovered_distances(model, expected)
        once = np.isfinite(found)
        whole = np.array_equal(expected.rho, np.rint(expected.rho))
        for layer, shown in enumerate(once):
            rho = np.rint(found[layer]) if whole else found[layer]
            wrong = shown & (np.abs(rho - expected.rho) > (0 if whole else 0.05))
            if wrong.any():
                p, j = (int(i) for i in np.argwhere(wrong)[0])
                require(
                    False,
                    f"The query at {p} sees the key at {j} {_seen(expected.times_seen[p, j], expected.rho[p, j])}.",
                    f"{_found(found[layer, p, j])}, in layer {layer}; {wrong.sum()} pairs are wrong.",
                )

    def test_logits_equal_the_float64_formula(self) -> None:
        """The whole model computes what the axes say as full matrices."""
        self._require_formula(self.make_model(), self.long_tokens, **self._family())

    def test_attention_entropy_equals_the_float64_formula(self) -> None:
        """The entropy of every query's attention, in nats, is that of the formula's probabilities, in every layer taken."""
        model, ids = self.make_model(), self.ids()
        with by_formula(model, self.axes(model, self.tokens), **self._family()) as reference:
            expected = _entropies(reference, ids)
        found: dict[int, torch.Tensor] = {}
        double = copy.deepcopy(model).double()
        try:
            with self.applied(double, sample=self.tokens), entropy_taken(double, found.__setitem__):
                logits(double, ids)
        except MethodNotApplicable:  # a family whose logits are not only products of queries and keys
            return
        require(
            bool(found) and not set(found) & self.layers_left,
            "Entropy is taken in the layers that see all keys.",
            f"layers {sorted(found)}.",
        )
        for layer, entropy in found.items():
            apart = distance(entropy.double(), expected[layer])
            require(
                apart <= _ENTROPY,
                f"Entropy in layer {layer} equals the formula's.",
                f"a difference of {apart:.2g} nats.",
            )

    def test_tied_weights_change_nothing_about_it(self) -> None:
        """A Llama whose embedding is also its output matrix computes the formula as well."""
        self._require_formula(tiny_llama(tied=True), self.tokens)

    def _require_formula(self, model: Any, n: int, **family: Any) -> None:
        with by_formula(model, self.axes(model, n), **family) as reference:
            expected = logits(reference, self.ids(n))
        with self.applied(model, sample=n):
            found = logits(model, self.ids(n))
        require_same(found.double(), expected, "The logits equal the float64 formula's.")

    def test_the_gradient_equals_the_formulas_or_training_is_refused(self) -> None:
        """Every parameter gets the gradient of the float64 formula; a method that cannot must raise, not mislead."""
        model, n = self.make_model(), self.long_tokens
        ids = self.ids(n)
        with by_formula(model, self.axes(model, n), **self._family()) as reference:
            expected = _gradients(reference, ids)
        double = copy.deepcopy(model).double()
        try:
            with self.applied(double, sample=n):
                found = _gradients(double, ids)
        except LongbenchError:
            return
        for name, gradient in expected.items():
            largest = float(gradient.abs().max())
            apart = distance(found[name], gradient) / max(largest, 1e-9)
            require(
                apart <= _GRADIENT,
                f"The gradient of {name} equals the float64 formula's.",
                f"{apart:.2g} of its largest value away.",
            )

    def test_narrow_dtypes_are_as_near_to_fp32_as_the_plain_route(self) -> None:
        """Positions and scales stay in fp32: in bf16 and fp16 a method adds no rounding of its own."""
        model, ids = self.make_model(), self.ids()
        plain = logits(model, ids)
        with self.applied(model, sample=self.tokens):
            extended = logits(model, ids)
        for dtype in _NARROW:
            narrow = copy.deepcopy(model).to(dtype)
            allowed = (logits(narrow, ids).float() - plain).abs().mean().item()
            with self.applied(narrow, sample=self.tokens):
                error = (logits(narrow, ids).float() - extended).abs().mean().item()
            require(
                error <= 2 * allowed,
                f"In {dtype} it is as near to fp32 as the unmodified model.",
                f"a mean error of {error:.2g}, the unmodified model's is {allowed:.2g}.",
            )

    def test_the_layers_named_are_all_that_attend(self) -> None:
        """What was applied names every layer that a method may change, and those without RoPE."""
        model = self.make_model()
        with self.applied(model) as applied:
            served = sorted(set(range(rope_facts(model).layers)) - self.layers_left)
            expected = () if self.value.as_released else tuple(served)
            require(
                applied.layers == expected, f"It serves the layers {expected}.", f"layers {applied.layers}."
            )
            without = () if self.value.as_released else tuple(sorted(self.layers_without_rope))
            require(
                applied.layers_without_rope == without,
                f"Layers {without} are without RoPE.",
                f"{applied.layers_without_rope}.",
            )

    def _family(self) -> dict[str, Any]:
        return {"interleaved": self.interleaved, "layers_without_rope": self.layers_without_rope}


def _entropies(model: Any, ids: torch.Tensor) -> dict[int, torch.Tensor]:
    """Return the entropies of a model whose layers return their attention probabilities, shape (heads, n)."""
    found = {}

    def keep(module: Any, _arguments: object, output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, torch.Tensor) and weights.ndim == 4:  # batch, heads, queries, keys
            found[int(module.layer_idx)] = torch.special.entr(weights[0]).sum(dim=-1)

    numbered = [module for module in model.modules() if hasattr(module, "layer_idx")]
    handles = [module.register_forward_hook(keep) for module in numbered]
    logits(model, ids)
    for handle in handles:
        handle.remove()
    return found


def _gradients(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    model(ids, labels=ids, use_cache=False).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _seen(times: int, rho: float) -> str:
    return f"at distance {rho:g}" if times == 1 else f"{times} times"


def _found(rho: float) -> str:
    if abs(rho) == 1e9:
        return "no weight" if rho > 0 else "some weight"
    return f"distance {rho:.2f}"
