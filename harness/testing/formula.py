"""What a method means, computed the slow way: full matrices in float64, from its axes alone.

Nothing of the route through which a method reaches a model is used: the model's own rotation is switched off,
and an attention function here rotates every pair of a query and a key by rho(p, j) itself.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from longbench_run.harness.attention.functions import registered
from longbench_run.harness.attention.rotary import rotary_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Bool, Float
    from torch import Tensor

    from longbench_run.harness.methods import Method, RopeFacts

_NAME = "longbench_run_formula"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What a method does to a sample of n tokens."""

    inv_freq: Float[np.ndarray, " half_dim"]
    tau: Float[np.ndarray, "layers n"]
    bands: tuple[tuple[Float[np.ndarray, "n n"], Bool[np.ndarray, "n n"]], ...]
    """rho(p, j) and whether j counts for p, band by band; a key counts once for each band that shows it."""

    @property
    def times_seen(self) -> np.ndarray:
        """How often the key j counts for the query at p."""
        return np.asarray(np.sum([visible for _, visible in self.bands], axis=0))

    @property
    def rho(self) -> np.ndarray:
        """The distance at which the query at p sees the key at j; meaningful where it counts once."""
        return np.asarray(np.sum([np.where(visible, rho, 0.0) for rho, visible in self.bands], axis=0))

    def merged(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Return the bands as one where no key counts twice."""
        seen = self.times_seen
        return ((self.rho, seen == 1),) if seen.max() == 1 else self.bands


def axes(method: Method, facts: RopeFacts, tokens: int) -> Axes:
    """Return what a resolved method does to one sample that is computed in one forward.

    Args:
        method: With every parameter filled in.
        facts: The model's rotary facts.
        tokens: Length of the sample n.
    """
    positions = np.arange(tokens)
    p, j = np.meshgrid(positions, positions, indexing="ij")
    causal = j <= p
    tau = np.ones((facts.layers, tokens))
    for scale in method.logit_scales():
        for layer in range(scale.skip_layers, facts.layers):
            tau[layer] *= 1.0 if scale.constant is None else scale.constant
            if scale.values is not None:
                tau[layer] *= scale.values(positions, tokens)
    bands = []
    for band in method.bands() or ():
        start, stop = band.keys.start(positions)[:, None], band.keys.stop(positions)[:, None]
        query = positions if band.query_map is None else band.query_map(positions)
        key = positions if band.key_map is None else band.key_map(positions)
        bands.append((np.subtract.outer(query, key).astype(float), causal & (j >= start) & (j < stop)))
    frequencies = np.array(facts.inv_freq)
    if not method.as_released:
        frequencies = _at_length(method, tokens).frequencies(frequencies, facts.base)
    return Axes(inv_freq=frequencies, tau=tau, bands=tuple(bands) or every_key(tokens))


def every_key(tokens: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return the one band of a model as it is: every earlier key at its distance."""
    positions = np.arange(tokens)
    delta = np.subtract.outer(positions, positions)
    return ((delta.astype(float), delta >= 0),)


def _at_length(method: Method, tokens: int) -> Method:
    """Return the method with the frequencies of a first forward over so many tokens."""
    return method.at_length(method.length_after(None, tokens) if method.length_rule == "running" else tokens)


def unchanged(found: Axes, facts: RopeFacts) -> bool:
    """Return whether these axes are those of the unmodified model."""
    positions = np.arange(found.tau.shape[1])
    plain = np.subtract.outer(positions, positions)
    seen = found.times_seen
    return bool(
        np.allclose(found.inv_freq, facts.inv_freq, rtol=1e-6)
        and np.allclose(found.tau, 1)
        and np.array_equal(seen, plain >= 0)
        and np.allclose(np.where(seen, found.rho - plain, 0), 0)
    )


@contextmanager
def by_formula(
    model: Any,
    found: Axes,
    *,
    interleaved: bool = False,
    layers_without_rope: frozenset[int] = frozenset(),
) -> Iterator[Any]:
    """Yield a float64 copy of a model that computes one sample by these axes; it can be differentiated.

    Args:
        model: With nothing applied to it. Where kinds of layers have frequencies of their own, those with a sliding
            window keep theirs, and nothing else changes in them.
        found: The axes for exactly as many tokens as will be passed, in one row without padding.
        interleaved: Whether the family holds a pair's two dimensions side by side, and not in two halves.
        layers_without_rope: Layers that do not rotate.
    """
    double = copy.deepcopy(model).double()
    left = _layers_left(double)
    for module in rotary_modules(double):
        # Cosines of 1 and sines of 0: queries and keys arrive as they were before any rotation.
        for name, buffer in module._buffers.items():
            if buffer is not None and name.endswith("inv_freq"):
                module._buffers[name] = torch.zeros_like(buffer)
        for name in [name for name in vars(module) if name.endswith("attention_scaling")]:
            setattr(module, name, 1.0)
        if isinstance(getattr(module, "rope_type", None), str):
            module.rope_type = "default"  # type: ignore[assignment]  # of a copy: lengths move nothing in it
    layers = [replace(found, tau=found.tau[layer : layer + 1]) for layer in range(len(found.tau))]
    plain = Axes(
        inv_freq=found.inv_freq, tau=np.ones_like(found.tau[:1]), bands=every_key(found.tau.shape[1])
    )
    for layer, inv_freq in left.items():
        layers[layer] = replace(plain, inv_freq=inv_freq)
    for layer in layers_without_rope:
        layers[layer] = replace(layers[layer], inv_freq=np.zeros_like(found.inv_freq))
    attention = _attention(layers, interleaved=interleaved)
    with registered(double, _NAME, attention, lambda *_, **__: None):
        yield double


def _layers_left(model: Any) -> dict[int, np.ndarray]:
    """Return the layers whose kind has frequencies of its own that no method changes, with these frequencies."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    buffers = {name: b for module in rotary_modules(model) for name, b in module._buffers.items()}
    return {
        layer: buffers[f"{kind}_inv_freq"].double().numpy()  # type: ignore[union-attr]  # is there, by its name
        for layer, kind in enumerate(kinds)
        if kind != "full_attention" and f"{kind}_inv_freq" in buffers
    }


def _attention(layers: list[Axes], *, interleaved: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return an attention function that rotates unrotated queries and keys by each layer's axes."""
    half = len(layers[0].inv_freq)
    real, imaginary = (
        (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
        if interleaved
        else (slice(0, half), slice(half, 2 * half))
    )

    def attention(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        _mask: Tensor | None,
        scaling: float | None = None,
        **rest: Any,
    ) -> tuple[Tensor, Tensor]:
        found = layers[int(module.layer_idx)]
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        still = query[..., 2 * half :] @ key[..., 2 * half :].transpose(-1, -2)
        tau = torch.from_numpy(found.tau[0])[:, None] * (
            query.shape[-1] ** -0.5 if scaling is None else scaling
        )
        scores = []
        for distances, shown in (
            (torch.from_numpy(rho), torch.from_numpy(shown)) for rho, shown in found.merged()
        ):
            score = still
            for pair, theta in enumerate(found.inv_freq.tolist()):
                q_real, q_imaginary = (query[..., part][..., pair, None] for part in (real, imaginary))
                k_real, k_imaginary = (key[..., part][..., pair][..., None, :] for part in (real, imaginary))
                # Re(q conj(k) e^(i theta rho)), pair by pair.
                score = score + (q_real * k_real + q_imaginary * k_imaginary) * torch.cos(theta * distances)
                score = score - (q_imaginary * k_real - q_real * k_imaginary) * torch.sin(theta * distances)
            score = score * tau
            if rest.get("softcap"):
                score = torch.tanh(score / rest["softcap"]) * rest["softcap"]
            near = torch.ones_like(shown)
            if rest.get("sliding_window"):
                positions = torch.arange(len(shown))
                near = positions[:, None] - positions < rest["sliding_window"]
            scores.append(score.masked_fill(~(shown & near), -torch.inf))
        weights = torch.cat(scores, dim=-1).softmax(dim=-1)
        mixed = weights @ torch.cat([value] * len(scores), dim=2)
        return mixed.transpose(1, 2).contiguous(), weights

    return attention
