"""Promises about samples: through chunks, decode, batches, generation, and whatever came before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
from transformers import StaticCache

from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.models.generate import generate
from longbench_run.harness.models.load import LoadedModel
from longbench_run.harness.testing.models import draw_tokens
from longbench_run.harness.testing.promises import distance, require_declared, require_same
from longbench_run.harness.testing.subject import Subject, logits, logits_in_parts
from longbench_run.tasks.base import GenerateRequest
from longbench_run.tasks.testing.promises import require

_BUDGET = 6


class SamplePromises(Subject):
    """A sample's logits do not depend on how, beside what, and after what it is computed, unless declared."""

    static_cache = True
    """Whether the model's family supports transformers' static cache."""

    def test_prefill_equals_chunks_equals_decode(self) -> None:
        """One forward, chunks, and single tokens through the cache give the same logits; declared both ways."""
        model, ids, n = self.make_model(), self.ids(), self.tokens
        with self.applied(model, sample=n):
            whole = logits(model, ids)
        worst = 0.0
        for sizes in ([37, 1, 60, n - 98], [*[1] * 10, 45, *[1] * 25, n - 80]):
            with self.applied(model, sample=n):
                worst = max(worst, distance(logits_in_parts(model, ids, sizes), whole))
        require_declared(
            worst,
            declared=self.value.prefill_equals_decode,
            name="prefill_equals_decode",
            what="one forward equals chunks and single tokens through the cache",
        )

    def test_logits_depend_on_earlier_tokens_only(self) -> None:
        """The logits at a position are the same in a shorter input; declared both ways."""
        model = self.make_model()
        with self.applied(model, sample=self.tokens):
            whole = logits(model, self.ids())
        worst = 0.0
        for n in (40, 70, self.tokens - 1):
            with self.applied(model, sample=n):
                worst = max(worst, distance(logits(model, self.ids(n)), whole[:, :n]))
        require_declared(
            worst,
            declared=self.value.prefix_causal,
            name="prefix_causal",
            what="logits depend on tokens up to theirs, not on the input's length",
        )

    def test_what_ran_before_leaves_no_mark(self) -> None:
        """A long sample before a short one changes nothing, and neither does a short one before a long one."""
        model, short, long = self.make_model(), self.ids(70, seed=1), self.ids()
        found = []
        for order in ((short, long), (long, short)):
            with self.applied(model) as applied:
                results = {}
                for ids in order:
                    with applied.sample(ids.shape[1]):
                        results[ids.shape[1]] = logits(model, ids)
                found.append(results)
        require_declared(
            max(distance(found[0][n], found[1][n]) for n in found[0]),
            declared=self.value.order_independent,
            name="order_independent",
            what="a sample's logits do not depend on what ran before it",
        )

    def test_a_padded_batch_equals_single_samples(self) -> None:
        """Padding on either side, with and without position ids, and rows of several lengths, change nothing.

        Frequencies that follow a sample's length cannot serve several at once: such a batch must be refused, and
        rows of one length with padding equal single samples. Where they follow a running length, nothing is promised.
        """
        if self.value.length_rule == "running":
            return
        model = self.make_model()
        follows = self.value.length_rule == "sample"
        lengths = (90, 90) if follows else (self.tokens, 90, 33)
        width = self.tokens - 20 if follows else self.tokens
        rows = [self.ids(n, seed=index + 1) for index, n in enumerate(lengths)]
        singles = []
        for row in rows:
            with self.applied(model, sample=row.shape[1]):
                singles.append(logits(model, row)[0])
        for side in ("left", "right"):
            ids, mask = padded(rows, width, side=side)
            for extra in ({}, {"position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}):
                with self.applied(model):
                    found = logits(model, ids, attention_mask=mask, **extra)
                for index, single in enumerate(singles):
                    promise = f"Row {index} of a batch padded on the {side} {'with' if extra else 'without'} position ids"
                    require_same(
                        found[index][mask[index] == 1], single, f"{promise} equals the single sample."
                    )
        if follows:
            ids, mask = padded([self.ids(90), self.ids(70)], 90, side="left")
            refused = "nothing was raised."
            with self.applied(model):
                try:
                    logits(model, ids, attention_mask=mask)
                except MethodNotApplicable:
                    refused = ""
            require(
                not refused, "A batch of several lengths is refused: frequencies follow the length.", refused
            )

    def test_generate_equals_the_engine_whatever_the_cache(self) -> None:
        """`model.generate` and this package's engine give the same ids, with every kind of cache and in a batch."""
        model = self.make_model()
        prompts = [self.ids(n, seed=n)[0] for n in (100, 100 if self.value.length_rule == "sample" else 60)]
        expected = [self._engine(model, prompt) for prompt in prompts]
        length = len(prompts[0]) + _BUDGET
        ways: dict[str, Any] = {"a dynamic cache": {}}
        if self.value.prefill_equals_decode:
            ways |= {"no cache": {"use_cache": False}, "prefill in chunks": {"prefill_chunk_size": 16}}
        if self.static_cache:
            ways["a static cache"] = {
                "past_key_values": StaticCache(config=model.config, max_cache_len=length + 8)
            }
        for way, options in ways.items():
            with self.applied(model, sample=length):
                found = _generated(model, prompts[0][None], torch.ones_like(prompts[0][None]), options)[0]
            require(
                found == expected[0],
                f"generate() with {way} equals the engine.",
                f"{found}, not {expected[0]}.",
            )
        if self.value.length_rule != "running":
            ids, mask = padded([prompt[None] for prompt in prompts], length - _BUDGET, side="left")
            with self.applied(model, sample=length):
                together = _generated(model, ids, mask, {})
            require(
                together == expected,
                "generate() of a padded batch equals the engine on each.",
                f"{together}, not {expected}.",
            )

    def _engine(self, model: Any, prompt: torch.Tensor) -> list[int]:
        vocabulary = model.get_input_embeddings().weight.shape[0]
        # A real one is loaded from files; generation reads no more than these.
        loaded = LoadedModel(
            facts=cast("Any", SimpleNamespace(vocabulary=vocabulary)),
            model=model,
            tokenizer=cast("Any", SimpleNamespace(decode=lambda ids, **_: " ".join(map(str, ids)))),
            end_ids=frozenset(),
        )
        request = GenerateRequest(prompt_ids=tuple(prompt.tolist()), max_new_tokens=_BUDGET)
        with self.applied(model, sample=len(prompt) + _BUDGET):
            return list(generate(loaded, request).token_ids)


def padded(rows: list[torch.Tensor], width: int, *, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch of rows padded to one width with random tokens, which must not matter, and its mask."""
    ids = draw_tokens(width, rows=len(rows), seed=99)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        place = slice(width - row.shape[1], None) if side == "left" else slice(0, row.shape[1])
        ids[index, place], mask[index, place] = row[0], 1
    return ids, mask


def _generated(model: Any, ids: torch.Tensor, mask: torch.Tensor, options: dict[str, Any]) -> list[list[int]]:
    out = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=_BUDGET,
        min_new_tokens=_BUDGET,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **options,
    )
    rows: list[list[int]] = out[:, ids.shape[1] :].tolist()
    return rows
