"""The table as data: what is measured, how peers do it, and what is to be reached on either device."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import measures, rates
from benchmarks.measures import Measure
from benchmarks.memory import ENTROPY_METHOD


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure is to reach."""

    value: float
    at_least: bool = False

    def is_reached(self, figure: float) -> bool:
        """Return whether a figure is on the right side."""
        return figure >= self.value if self.at_least else figure <= self.value

    def __str__(self) -> str:
        """Write it as the page does."""
        return f"{'>=' if self.at_least else '<='} {self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    peers: str
    """What the figure is a ratio to, or how others do it."""
    cpu: Limit | None = None
    """None where the figure is for context."""
    gpu: Limit | None = None
    unit: str = ""
    """Empty for a ratio."""
    measure: Measure

    def limit(self, column: str) -> Limit | None:
        """Return what is to be reached in a column, ``cpu`` or ``gpu``."""
        return {"cpu": self.cpu, "gpu": self.gpu}[column]


_UNMODIFIED = "the unmodified model with SDPA"
_SCORES = "two n x n score matrices merged by a mask, as Self-Extend's and ReRoPE's code has it"

ROWS = (
    Row(
        name="single-band-prefill",
        what="yarn, 32k prefill of the whole model",
        peers=_UNMODIFIED,
        cpu=Limit(1.03),
        gpu=Limit(1.02),
        measure=measures.prefill("yarn"),
    ),
    *(
        Row(
            name=f"{method}-attention",
            what=f"{method}, the attention calls alone at 32k",
            peers="causal SDPA, same queries, keys and layers",
            cpu=Limit(1.25),
            gpu=Limit(1.25),
            measure=measures.attention_call(method),
        )
        for method in ("self_extend", "rerope")
    ),
    *(
        Row(
            name=f"{method}-prefill",
            what=f"{method}, 32k prefill of the whole model",
            peers=_UNMODIFIED,
            cpu=Limit(1.25),
            gpu=Limit(1.1),
            measure=measures.prefill(method),
        )
        for method in ("self_extend", "rerope")
    ),
    Row(
        name="full-form-time",
        what="self_extend, one attention call at 8k: time",
        peers=_SCORES,
        cpu=Limit(1 / 4),
        gpu=Limit(1 / 4),
        measure=measures.full_form_time("self_extend"),
    ),
    Row(
        name="full-form-memory",
        what="self_extend, one attention call at 8k: memory above inputs",
        peers=_SCORES,
        cpu=Limit(1 / 8),
        gpu=Limit(1 / 8),
        measure=measures.memory_ratio("self_extend in blocks", "self_extend in full"),
    ),
    Row(
        name="scoring-memory",
        what="memory above weights, scoring 32k tokens with a vocabulary of 128k, a random model",
        peers="(no ratio)",
        cpu=Limit(1),
        gpu=Limit(1),
        unit="GiB",
        measure=measures.memory_gib("scoring streamed"),
    ),
    Row(
        name="scoring-memory-peers",
        what="for context: the same model scoring 2k tokens, a sixteenth, through the logits of all positions",
        peers="(no ratio)",
        unit="GiB",
        measure=measures.memory_gib("scoring full logits"),
    ),
    Row(
        name="plain-perplexity",
        what="perplexity `plain` at 4k, 8k, 16k and 32k",
        peers="one 32k forward of the unmodified model, logits at all positions",
        cpu=Limit(1.1),
        gpu=Limit(1.1),
        measure=measures.plain_perplexity,
    ),
    Row(
        name="windowed-perplexity",
        what="for context: windows of 4k with stride 256 over a document of 8k, as peers measure perplexity",
        peers="one forward over the same 8k; at a window of 32k each token would be computed 128 times",
        measure=measures.windowed_perplexity,
    ),
    Row(
        name="entropy-memory",
        what=f"memory above weights, attention entropy of 32k tokens, {ENTROPY_METHOD} (three bands of keys)",
        peers="(no ratio; probabilities of all layers, as `output_attentions` returns them: see details)",
        cpu=Limit(1),
        unit="GiB",
        measure=measures.memory_gib("attention entropy", measures.all_attentions),
    ),
    Row(
        name="entropy-time",
        what=f"attention entropy of 32k tokens, {ENTROPY_METHOD}",
        peers="the engine's nll of the same tokens, unmodified model",
        cpu=Limit(2.5),
        measure=measures.entropy_time,
    ),
    Row(
        name="tuning-memory",
        what=(
            "memory above weights, gradients and optimizer states, a step of tuning on 32k tokens, entropy_abf, bundled "
            "model in float32, all layers computed again"
        ),
        peers="(no ratio; logits of all positions: see details)",
        cpu=Limit(1.5),
        unit="GiB",
        measure=measures.memory_gib("tuning step", measures.all_logits),
    ),
    Row(
        name="passkey-tokens",
        what="passkey, grid of 10 depths in one haystack: prefilled tokens",
        peers="every prompt computed on its own",
        cpu=Limit(0.65),
        gpu=Limit(0.65),
        measure=measures.passkey_tokens,
    ),
    Row(
        name="passkey-time",
        what="for context: time of the same grid, answers included",
        peers="every prompt computed on its own",
        measure=measures.passkey_time,
    ),
    Row(
        name="matrix-rate",
        what="unmodified model, 32k prefill: share of the measured matrix rate",
        peers="(no ratio)",
        gpu=Limit(0.6, at_least=True),
        measure=rates.matrix_rate,
    ),
    Row(
        name="decode",
        what="yarn, decode of 8 samples after a 16k prefill, decode time only",
        peers="eight `generate` calls with batch 1 of the unmodified model",
        cpu=Limit(0.6),
        gpu=Limit(0.4),
        measure=rates.decode_samples,
    ),
    Row(
        name="decode-bandwidth",
        what="the same decode: share of the measured memory bandwidth",
        peers="(no ratio)",
        gpu=Limit(0.4, at_least=True),
        measure=rates.decode_bandwidth,
    ),
    *(
        Row(
            name=f"{method}-decode-step",
            what=f"{method}, a decode step at 16k",
            peers=_UNMODIFIED,
            cpu=Limit(1.5),
            gpu=Limit(1.5),
            measure=rates.decode_step(method),
        )
        for method in ("self_extend", "rerope")
    ),
    Row(
        name="outside-forward",
        what="share of a run's time outside the model's modules, a cut of the default matrix",
        peers="(no ratio)",
        cpu=Limit(0.05),
        gpu=Limit(0.05),
        measure=measures.outside_forward,
    ),
)
