"""From what the engine returns to records."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING

from longbench_run.harness.sample_cache import request_tokens
from longbench_run.results.records import Bucket, EntropyBucket, Failure, Record, sample_key
from longbench_run.tasks.base import Entropies, Generated

if TYPE_CHECKING:
    from longbench_run.harness.models.engine import EngineResult
    from longbench_run.harness.plan import PlannedCell
    from longbench_run.results.records import Status
    from longbench_run.tasks.base import Output, Request, Sample, Score, Tokenizer

HEAD_TOKENS, TAIL_TOKENS = 48, 96
"""Tokens of a prompt's ends that are kept to read: what is asked for mostly stands at its end."""


def sample_record(
    cell: PlannedCell, sample: Sample, result: EngineResult, *, factor_policy: str, applied_hash: str
) -> Record:
    """Return the record of one sample, scored where the engine has an output.

    Args:
        cell: The cell it counts for.
        sample: What was asked.
        result: What the engine made of it.
        factor_policy: ``fixed``, ``per-length`` or the number given.
        applied_hash: Hash of what was applied to the model.
    """
    base = _base(cell, sample, factor_policy=factor_policy, prompt_sha256=result.prompt_sha256).model_copy(
        update={
            "applied_hash": applied_hash,
            "tokens_reused": result.tokens_reused,
            "prefill_chunk": result.prefill_chunk,
            "seconds_prefill": result.seconds_prefill,
            "seconds_decode": result.seconds_decode,
            "peak_bytes": result.peak_bytes,
        }
    )
    output = result.output
    if output is None:
        return base.model_copy(update={"status": result.status, "failure": result.failure})
    update = _of_output(output)
    try:
        score = cell.choice.task.score(sample, output)
        _require_finite(score)
    except Exception as error:  # a task's own bug must not stop the other cells: it is in the record
        return _checked(base, {**update, "status": "error", "failure": failure_of(error)})
    return _checked(
        base,
        {
            **update,
            "status": "ok",
            "scores": dict(score.scores),
            "weight": score.weight,
            "nll_buckets": tuple(
                Bucket(start=b.start, stop=b.stop, nll_sum=b.nll_sum, tokens=b.tokens)
                for b in score.nll_buckets
            ),
            "entropy_buckets": tuple(
                EntropyBucket(layer=b.layer, start=b.start, stop=b.stop, heads=b.heads)
                for b in score.entropy_buckets
            ),
        },
    )


def _of_output(output: Output) -> dict[str, object]:
    """Return the fields that say what the model did."""
    if isinstance(output, Generated):
        return {
            "prediction": output.text,
            "prediction_ids": output.token_ids,
            "generated_tokens": len(output.token_ids),
        }
    if isinstance(output, Entropies):
        return {}
    return {"scored_tokens": sum(len(nll) for nll in output.nll)}


def failed_record(
    cell: PlannedCell,
    sample: Sample,
    *,
    prompt_sha256: str,
    status: Status,
    failure: Failure,
    factor_policy: str,
) -> Record:
    """Return the record of a sample that never reached the engine."""
    base = _base(cell, sample, factor_policy=factor_policy, prompt_sha256=prompt_sha256)
    return base.model_copy(update={"status": status, "failure": failure})


def not_applicable_record(cell: PlannedCell, reason: str, *, factor_policy: str) -> Record:
    """Return the one row of a cell whose method cannot serve its model."""
    return Record(
        cell_id=cell.cell_id,
        cell=cell.identity,
        model_label=cell.weights.model_label,
        method_label=cell.method_label,
        factor_policy=factor_policy,
        index=None,
        status="not_applicable",
        failure=Failure(type="MethodNotApplicable", message=reason),
    )


def failure_of(error: Exception) -> Failure:
    """Return what is kept of an error: not the error itself, whose frames hold tensors."""
    return Failure(
        type=type(error).__name__, message=str(error), traceback="".join(traceback.format_exception(error))
    )


def _base(cell: PlannedCell, sample: Sample, *, factor_policy: str, prompt_sha256: str) -> Record:
    key = sample_key(
        cell.identity.task,
        context_length=cell.context_length,
        seed=cell.seed,
        index=sample.index,
        prompt_sha256=prompt_sha256,
    )
    head, tail = prompt_ends(sample.request, cell.weights.tokenizer)
    return Record(
        cell_id=cell.cell_id,
        cell=cell.identity,
        model_label=cell.weights.model_label,
        method_label=cell.method_label,
        factor_policy=factor_policy,
        index=sample.index,
        sample_key=key,
        status="error",
        prompt_tokens=request_tokens(sample.request),
        prompt_head=head,
        prompt_tail=tail,
        depth=sample.depth,
        document=sample.document,
        source_length=sample.source_length,
        tokens_truncated=sample.tokens_truncated,
        truncated_at=sample.truncated_at,
        evidence_survived=sample.evidence_survived,
        target=sample.target,
        answers=sample.answers,
    )


def prompt_ends(request: Request, tokenizer: Tokenizer) -> tuple[str, str | None]:
    """Return the text that a prompt begins with, and the text that it ends with; None where the first is all of it.

    Args:
        request: What the model computes; of several windows, the first one's beginning and the last one's end.
        tokenizer: Of the model.
    """
    first, last = request.inputs[0], request.inputs[-1]
    if first == last and len(first) <= HEAD_TOKENS + TAIL_TOKENS:
        return tokenizer.decode(first), None
    return tokenizer.decode(first[:HEAD_TOKENS]), tokenizer.decode(last[-TAIL_TOKENS:])


def _checked(base: Record, update: dict[str, object]) -> Record:
    """Return the record with more fields, validated: these come from models and tasks."""
    return Record.model_validate({**dict(base), **update})


def _require_finite(score: Score) -> None:
    """Refuse a score that is no number: a mean over it would hide every other sample.

    Raises:
        FloatingPointError: If one is NaN or infinite.
    """
    for name, value in score.scores.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} must be a finite number, got {value!r}")
    if any(not math.isfinite(bucket.nll_sum) for bucket in score.nll_buckets):
        raise FloatingPointError("nll must be finite at every position, got a value that is not")
