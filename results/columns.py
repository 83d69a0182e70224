"""Columns of the table of samples."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS: Mapping[str, str] = {
    "run": "folder of the run, as given (categorical)",
    "model_label": "model, as the run named it (categorical, in the run's order)",
    "method_label": "method, as the user named it (categorical, in the run's order)",
    "task": "task (categorical, in the run's order)",
    "task_version": "version of the task's prompts, data and scoring",
    "protocol": "named way to truncate, prompt, decode and score",
    "context_length": "tokens asked for",
    "metric": "metric of `score`",
    "score": "value of this sample; missing unless `status` is ok",
    "weight": "scored tokens, where the metric is a mean over tokens; else missing",
    "status": "ok, error, out_of_memory or not_applicable",
    "index": "number of the sample in its cell; missing where the whole cell is not applicable",
    "seed": "seed of the samples",
    "method": "the method with every parameter resolved",
    "factor_policy": "fixed, per-length or a number",
    "original_context_length": "pretraining window, tokens",
    "reference": "floor or ceiling where the protocol is one to the task's others; else missing",
    "document": "document of the sample: the unit of resampling",
    "depth": "place of the needle, 0 to 1",
    "source_length": "length of the source, in the unit that its data counts in",
    "prompt_tokens": "tokens that went in",
    "tokens_reused": "of those, tokens that another sample had computed",
    "prefill_chunk": "tokens per forward pass where what went in took several; else missing",
    "prompt_head": "what the prompt begins with, or all of it where it is short",
    "prompt_tail": "what the prompt ends with; missing where its head is all of it",
    "generated_tokens": "tokens that came out",
    "scored_tokens": "tokens whose nll was taken",
    "tokens_truncated": "tokens of the source that were cut to fit",
    "truncated_at": "tokens of the uncut prompt before those that were cut",
    "evidence_survived": "whether what is asked for is still in the prompt",
    "prediction": "what the model said, untrusted text",
    "target": "the right answer",
    "answers": "every right answer, where there are several: a tuple, empty where there is one",
    "failure": "type and message of what went wrong",
    "seconds_prefill": "time of the prefill",
    "seconds_decode": "time of the decoding; of samples decoded together, an equal share for each",
    "peak_bytes": "peak memory of the device",
    "cell_id": "key of the cell",
    "setup_id": "key of all of the cell but its seed: rows with different ones are never pooled",
    "sample_key": "key that pairs samples of two methods or models",
    "higher_is_better": "direction of the metric; missing where the run does not say",
    "is_binary": "whether every score is 0 or 1",
    "minimum": "smallest possible score",
    "maximum": "largest possible score",
}
"""Columns of `load`, with their meaning."""

WHOLE_NUMBERS = (
    "index",
    "source_length",
    "prompt_tokens",
    "tokens_reused",
    "prefill_chunk",
    "generated_tokens",
    "scored_tokens",
    "tokens_truncated",
    "truncated_at",
    "peak_bytes",
)
"""Columns of whole numbers that may be missing."""
NUMBERS = ("score", "weight", "depth", "minimum", "maximum", "seconds_prefill", "seconds_decode")
"""Columns of other numbers that may be missing."""
STRINGS = ("status", "document", "prompt_head", "prompt_tail", "prediction", "target", "sample_key")
"""Columns of a sample's texts that may be missing."""
TEXTS = ("prompt_head", "prompt_tail", "prediction", "target", "answers")
"""Columns of what was asked and said: what is computed does without them, and they are most of a large run."""
OF_SAMPLE = (
    "weight",
    "status",
    "index",
    "document",
    "depth",
    "source_length",
    "prompt_tokens",
    "tokens_reused",
    "prefill_chunk",
    "prompt_head",
    "prompt_tail",
    "generated_tokens",
    "scored_tokens",
    "tokens_truncated",
    "truncated_at",
    "evidence_survived",
    "prediction",
    "target",
    "answers",
    "seconds_prefill",
    "seconds_decode",
    "peak_bytes",
    "sample_key",
)
"""Columns that are fields of a sample's part of a record, of the same name."""
