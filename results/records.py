"""What is written down: one record per sample, one header per run; no torch, no sibling package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from longbench_run.results.foreign_text import ForeignText

SCHEMA_VERSION = 3
CELL_ID_VERSION = 1

Status = Literal["ok", "error", "out_of_memory", "not_applicable"]
Parameter = str | int | float | bool | None


class ResultsError(ValueError):
    """Stored results cannot be used as asked; the message is one line for the user."""


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: If the value holds a NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(value: object) -> str:
    """Return the hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Row(BaseModel):
    """Strict, immutable base of everything stored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelIdentity(Row):
    """Which weights: never a path of this machine."""

    name: str
    """Hub id, or the folder's name."""
    revision: str
    """Hub commit, or ``sha256:...`` over a local folder's files."""
    adapter: str | None = None
    """Name and revision of a PEFT adapter, as ``name@revision``."""
    quantization: str | None = None
    """``4bit`` or ``8bit``; None where weights are as released."""


class MethodIdentity(Row):
    """Which method, every parameter resolved."""

    resolved: str
    """Canonical text with every parameter, e.g. ``self_extend:group=16:window=1024``."""
    versions: Mapping[str, int]
    """Component name -> version of its implementation."""


class TaskIdentity(Row):
    """Which task, as it can change a score."""

    name: str
    """As written in ``--tasks``, without parameters; one dataset of several is ``longbench_hotpotqa``."""
    version: int
    """Raised whenever prompts, data or scoring change."""
    protocol: str
    """Named way to truncate, prompt, decode and score."""
    parameters: Mapping[str, Parameter]
    """Every parameter that can change a score."""


class CellIdentity(Row):
    """All that can change a score, and nothing else: not the factor policy, count, batch, chunk or device."""

    model: ModelIdentity
    """Which weights."""
    dtype: str
    """``float32``, ``bfloat16`` or ``float16``."""
    attention: str
    """Attention kernel of the model, e.g. ``sdpa``."""
    original_context_length: int
    """Window of pretraining, L, in tokens."""
    method: MethodIdentity
    """Which method, resolved."""
    task: TaskIdentity
    """Which task."""
    context_length: int
    """Tokens asked for: prompt and answer, unless the protocol says otherwise."""
    seed: int
    """Seed of the samples."""
    decoding: str
    """E.g. ``greedy``."""
    chat_template: str | None = None
    """Name of the template that prompts went through; None where none did."""

    def cell_id(self) -> str:
        """Return the key for resume: sha256 over canonical JSON, versioned."""
        return sha256_of({"cell_id_version": CELL_ID_VERSION, **self._content()})

    def setup_id(self) -> str:
        """Return the key of all but the seed: samples of two setups are never averaged."""
        content = self._content()
        del content["seed"]
        return sha256_of({"setup_id_version": CELL_ID_VERSION, **content})

    def _content(self) -> dict[str, Any]:
        """Return what keys are made of; without a template, that of cells from before there was the field."""
        content = self.model_dump(mode="json")
        if self.chat_template is None:
            del content["chat_template"]
        return content


def sample_key(task: TaskIdentity, *, context_length: int, seed: int, index: int, prompt_sha256: str) -> str:
    """Return the key by which samples of two methods or models are paired.

    Args:
        task: The task as it can change a score.
        context_length: Tokens asked for.
        seed: Seed of the samples.
        index: Number of the sample in its cell.
        prompt_sha256: Hex sha256 of the token ids computed by the model, in order.
    """
    return sha256_of(
        {
            "task": task.model_dump(mode="json"),
            "context_length": context_length,
            "seed": seed,
            "index": index,
            "prompt_sha256": prompt_sha256,
        }
    )


class Failure(Row):
    """Why a sample has no score."""

    type: str
    """Class of the exception."""
    message: ForeignText
    """What it said."""
    traceback: ForeignText | None = None
    """Where it was raised; None where the message says it all."""


class Bucket(Row):
    """Sum of nll (nats) and count of tokens over scored positions ``[start, stop)``."""

    start: int
    """First position."""
    stop: int
    """The one after the last."""
    nll_sum: float
    """Nats."""
    tokens: int
    """Tokens scored."""


class EntropyBucket(Row):
    """Mean entropy of the attention of one layer, over the queries at positions ``[start, stop)``."""

    layer: int
    """Number of the layer, from 0."""
    start: int
    """First position."""
    stop: int
    """The one after the last."""
    heads: tuple[float, ...]
    """Nats, of each head."""


class CellPart(Row):
    """The fields of a record that all records of a cell have in common; they are written first."""

    schema_version: int = SCHEMA_VERSION
    """Version of this format; older ones are migrated when they are read."""
    cell_id: str
    """Key for resume: `CellIdentity.cell_id`."""
    cell: CellIdentity
    """All that can change a score."""
    model_label: str
    """What the run calls the model; runs are compared by labels."""
    method_label: str
    """What the user called it; runs are compared by labels."""
    factor_policy: str
    """``fixed``, ``per-length`` or the number given."""


class SamplePart(Row):
    """The fields of a record that are of its sample alone."""

    index: int | None
    """Sample number in the cell; None for a ``not_applicable`` cell."""
    sample_key: str | None = None
    status: Status
    failure: Failure | None = None
    """Why there is no score; None where there is one."""
    prompt_tokens: int | None = None
    """Tokens that went in, special tokens counted."""
    tokens_reused: int | None = None
    """Of those, tokens that another sample had computed; None where windows were scored as a whole."""
    prefill_chunk: int | None = None
    """Tokens per forward pass where what went in took several; None where one did it."""
    prompt_head: ForeignText | None = None
    """What the prompt begins with, or all of it where it is short."""
    prompt_tail: ForeignText | None = None
    """What it ends with; None where ``prompt_head`` is all of it."""
    generated_tokens: int | None = None
    scored_tokens: int | None = None
    depth: float | None = None
    document: ForeignText | None = None
    source_length: int | None = None
    """Length of the source in the unit that its data counts in."""
    tokens_truncated: int | None = None
    truncated_at: int | None = None
    """Tokens of the uncut prompt before those that were cut; None where nothing was."""
    evidence_survived: bool | None = None
    prediction: ForeignText | None = None
    prediction_ids: tuple[int, ...] | None = None
    """Token ids that were generated; `prediction` is their text."""
    target: ForeignText | None = None
    answers: tuple[ForeignText, ...] = ()
    """Every right answer, where there are several; ``target`` is the first."""
    scores: Mapping[str, float] = Field(default_factory=dict)
    """Metric -> value of this sample; empty unless status is ``ok``."""
    weight: float | None = None
    """Scored tokens, where the metric is a mean over tokens."""
    nll_buckets: tuple[Bucket, ...] = ()
    """Nll by position, where tokens were scored."""
    entropy_buckets: tuple[EntropyBucket, ...] = ()
    """Attention entropy by layer, head and position, where it was taken."""
    seconds_prefill: float | None = None
    seconds_decode: float | None = None
    peak_bytes: int | None = None
    applied_hash: str | None = None
    """sha256 of what was really applied to the model: inverse frequencies, scale, layers touched."""


class Record(SamplePart, CellPart):
    """One sample, or (status ``not_applicable``) one row for a whole cell.

    Fields are in the order of the bases from the last one: those of the cell, then those of the sample.
    """


class MetricInfo(Row):
    """What a report must know of a metric when the task that made it is gone."""

    name: str
    """Key of `Record.scores`."""
    higher_is_better: bool
    """Its direction."""
    minimum: float | None = None
    """Smallest possible score; None where there is none."""
    maximum: float | None = None
    """Largest possible score; None where there is none."""
    chance: float | None = None
    """What guessing scores, where that is known."""
    is_binary: bool = False
    """Whether every score is 0 or 1."""


Reference = Literal["floor", "ceiling"]


class SuiteAverageInfo(Row):
    """A mean over groups of tasks, each of which is the mean over its tasks."""

    name: str
    groups: Mapping[str, tuple[str, ...]]
    """Group -> all of its tasks, whether the run has them or not."""


class SuiteInfo(Row):
    """Tasks whose scores are read together: 100 x their mean, rounded to two decimals before it is averaged."""

    name: str
    averages: tuple[SuiteAverageInfo, ...]
    buckets: Mapping[str, float | None] = Field(default_factory=dict)
    """Bucket of samples -> the `Record.source_length` that it ends before, ascending; None where it has no end."""


class TaskSummary(Row):
    """A task as the run used it."""

    name: str
    """The label used in records' ``cell.task.name``."""
    protocol: str
    """As in records."""
    metrics: tuple[MetricInfo, ...]
    """What its samples are scored with, in the order shown."""
    source: str
    """Paper, repository and data that it follows."""
    licence: str
    """Of its data and prompts."""
    reference: Reference | None = None
    """What this protocol is to the task's others."""


class ModelSummary(Row):
    """A model as the run used it."""

    label: str
    """As in records."""
    original_context_length: int
    """Window of pretraining, L, in tokens."""
    original_context_length_source: str
    """Where the window was read, e.g. ``config.json: max_position_embeddings``."""
    unscaled: Mapping[str, str] = Field(default_factory=dict)
    """Method label -> label of the method of the run that is the same without its logit scale, where there is one."""


class TuningSummary(Row):
    """How the weights that a method brings were tuned, where `longbench-run tune` wrote them."""

    method_label: str
    """Label of the method in this run."""
    asked: str
    """The method attached while tuning, as it was asked for: the same for every seed and number of samples."""
    canonical: str
    """The same with every parameter resolved."""
    samples: int
    """Samples learnt from, in each epoch."""
    steps: int
    """Steps of the optimizer."""
    seed: int
    """Seed of the choice and the order of the samples."""
    context_length: int
    """Tokens that the method was configured for, and the longest sample could have."""
    learning_rate: float
    """Peak of the schedule."""
    composition: str
    """Which samples were taken by length, as ``--composition`` says it."""
    data_sha256: str
    """Hex sha256 of the file of conversations."""
    samples_sha256: str
    """Hex sha256 of the token ids learnt, in order: equal for methods that learnt the same."""
    losses: tuple[float | None, ...]
    """Nats per response token of each step's batch; None where it was no number."""


class RunHeader(Row):
    """``run.json``: what was asked, with what, and how far it got."""

    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    run_key: str
    """sha256 over what makes two commands the same run; another key in the folder is another run."""
    command: tuple[str, ...]
    """The command line as typed."""
    config: Mapping[str, Any]
    """The resolved configuration, JSON-ready."""
    models: tuple[ModelSummary, ...]
    """In the order asked for."""
    methods: tuple[str, ...]
    """Method labels in the order asked for: colours and rows follow it."""
    tasks: tuple[TaskSummary, ...]
    """In the order asked for: enough for a report without the packages that made them."""
    suites: tuple[SuiteInfo, ...] = ()
    """What tasks of the run are parts of."""
    tuned: tuple[TuningSummary, ...] = ()
    """Methods whose weights `longbench-run tune` wrote, in the order asked for."""
    lengths: tuple[int, ...]
    """Context lengths in tokens, ascending."""
    versions: Mapping[str, str]
    """Package -> version."""
    git_revision: str | None = None
    """Commit of this program's source, ``-dirty`` where files differ; None where there is none."""
    device: str
    """What it ran on."""
    started: str
    """UTC, ISO 8601."""
    finished: str | None = None
    """UTC, ISO 8601; None until the end."""
    status: Literal["running", "complete", "interrupted", "failed"] = "running"
    """How far the run got."""
