"""Tiny models of many families, for checks that must hold whatever the family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from longbench_run.harness.testing.contract import MethodContract, contract_checks
from longbench_run.harness.testing.models import VOCABULARY, WINDOW, randomised

if TYPE_CHECKING:
    from longbench_run.harness.methods import Component, Method

_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,  # some families' default is 256
    "max_position_embeddings": WINDOW,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 0,
}
_BASE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
"""For families whose own base is larger than the one that abf raises it to."""
_BASES = {
    "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyFamily:
    """How a tiny model of a family is made, and what the formula must know of the family."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Configuration beyond what all have in common."""
    interleaved: bool = False
    """Whether the two dimensions of a pair stand side by side."""
    layers_without_rope: frozenset[int] = frozenset()
    layers_left: frozenset[int] = frozenset()
    """Layers with a window and frequencies of their own, which methods leave alone."""

    def build(self, family: str, **changes: Any) -> Any:
        """Return a random model of two layers with a window of 64 tokens."""
        config = AutoConfig.for_model(family, **(_SMALL | self.changes | changes))
        # The fused kernel of mixtures of experts knows no float64, which the formula needs.
        config._experts_implementation = "eager"
        return randomised(config)


FAMILIES: dict[str, TinyFamily] = {
    "llama": TinyFamily(),
    "mistral": TinyFamily(changes={"sliding_window": None}),
    "qwen2": TinyFamily(),
    "qwen3": TinyFamily(),
    "gemma": TinyFamily(),
    "gpt_neox": TinyFamily(),
    "olmo2": TinyFamily(),
    "cohere": TinyFamily(changes=_BASE, interleaved=True),
    "phi": TinyFamily(),
    "phi3": TinyFamily(changes={"original_max_position_embeddings": WINDOW}),
    "stablelm": TinyFamily(),
    "starcoder2": TinyFamily(changes={"sliding_window": None}),
    "granite": TinyFamily(),
    "mixtral": TinyFamily(changes=_BASE | {"num_local_experts": 4}),
    "qwen3_moe": TinyFamily(changes=_EXPERTS),
    "smollm3": TinyFamily(changes=_BASE | {"no_rope_layers": [1, 0]}, layers_without_rope=frozenset({1})),
    "glm": TinyFamily(interleaved=True),
    "glm4": TinyFamily(interleaved=True),
    "gemma2": TinyFamily(changes=_SLIDING),
    "gemma3_text": TinyFamily(changes=_SLIDING | {"rope_parameters": _BASES}, layers_left=frozenset({0})),
    "cohere2": TinyFamily(changes=_SLIDING, interleaved=True, layers_without_rope=frozenset({1})),
    "olmo3": TinyFamily(changes=_SLIDING, layers_left=frozenset({0})),
}
"""Family (``config.model_type``) -> its tiny model, with a sliding window where the family cannot do without."""

_WHATEVER_THE_FAMILY = {
    "test_it_says_what_it_is",
    "test_its_text_gives_the_same_value_back",
    "test_the_model_sees_every_key_at_the_distance_that_the_bands_say",  # looks into a Llama
    "test_tied_weights_change_nothing_about_it",  # of a Llama
}


def family_checks() -> tuple[str, ...]:
    """Return the names of the checks of `MethodContract` whose result depends on the family."""
    return tuple(name for name in contract_checks() if name not in _WHATEVER_THE_FAMILY)


def family_contract(family: str, method: str | Component | Method) -> MethodContract:
    """Return the contract of a method on a family's tiny model."""
    tiny = FAMILIES[family]

    class Contract(MethodContract):
        long_tokens = 150  # blocks of queries are the same whatever the family
        interleaved = tiny.interleaved
        layers_without_rope = tiny.layers_without_rope
        layers_left = tiny.layers_left

        def make_model(self) -> Any:
            return tiny.build(family)

    Contract.method = method
    return Contract()
