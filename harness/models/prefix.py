"""Prompts that begin alike: what they share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import Cache

from longbench_run.harness.attention.room import grows


@dataclass(slots=True)
class SharedPrefix:
    """The cache of the prompt computed last, for the next one to go on from where they part.

    In the order of `sharing_order` every token that some prompt shares with an earlier one is computed once.
    """

    _ids: tuple[int, ...] = ()
    """Tokens whose keys and values the cache holds."""
    _cache: Cache | None = None

    @property
    def is_held(self) -> bool:
        """Whether there is a cache to go on from."""
        return self._cache is not None

    def take(self, prompt_ids: Sequence[int]) -> tuple[Cache | None, int]:
        """Hand out the cache, cut to what a prompt shares with the last one.

        Args:
            prompt_ids: The prompt, at least one token.

        Returns:
            The cache and the tokens in it, fewer than the prompt has: its last token's logits are wanted. None and 0
            where nothing is shared.
        """
        cache, held = self._cache, self._ids
        self.forget()
        if cache is None:
            return None, 0
        shared = common_prefix(held, prompt_ids)
        shared = min(shared, len(prompt_ids) - 1)
        if not shared:
            return None, 0
        if shared < len(held):
            cache.crop(shared - len(held))
        return cache, shared

    def keep(self, token_ids: Sequence[int], cache: Cache | None) -> None:
        """Keep what a finished prompt left, if it can be cut: caches that drop or mix tokens cannot.

        Args:
            token_ids: Tokens whose keys and values the cache holds, generated ones among them.
            cache: As the model made it.
        """
        self.forget()
        if grows(cache) and cache.get_seq_length() == len(token_ids):
            self._ids, self._cache = tuple(token_ids), cache

    def forget(self) -> None:
        """Free the cache."""
        self._ids, self._cache = (), None


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    for place, (token, its) in enumerate(zip(one, other, strict=False)):
        if token != its:
            return place
    return min(len(one), len(other))


def sharing_order(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return the prompts' places in an order in which those that begin alike follow each other."""
    return sorted(range(len(prompts)), key=lambda place: (tuple(prompts[place]), place))
