"""Tasks of lm-eval as tasks of this package: its prompts and its scores, under every method and length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from random import Random
from typing import Any, Self

from longbench_run.tasks.base import Output, Sample, Score, TaskError, TaskInfo, Tokenizer
from longbench_run.tasks.checks import check_protocol, unknown
from longbench_run.tasks.lm_eval.loading import LoadedTask, load
from longbench_run.tasks.lm_eval.measures import Measures
from longbench_run.tasks.lm_eval.prompts import (
    CUTS,
    UNCUT,
    Prompt,
    PromptTokenizer,
    needed_length,
    prompt_of,
    responses_of,
    shortest_length,
)

_NAME = "lm_eval"
_REFUSE = "refuse"
_EXAMPLES_SEED = 1234
"""Seed of the examples before a question, as lm-eval has it: that of seed 0."""
_GROUP = 8
"""Documents that are computed together, so that examples before their questions are computed once."""

_INFO = TaskInfo(
    name=_NAME,
    version=1,
    summary="Any task of lm-eval: lm_eval/NAME, a task, group or tag, its own or of --include-path.",
    source=(
        "Gao et al., EleutherAI/lm-evaluation-harness: prompts, examples, filters and metrics are computed by the "
        "installed lm_eval; requests by this package. Differs: greedy decoding alone; what is cut is written down."
    ),
    licence="MIT (lm-eval); each task's data keeps its own",
    metrics=(),
    protocols=(*CUTS, _REFUSE),
    default_count=100,
    parameters={
        "protocol": "What becomes of a prompt that is too long; lm-eval (default): its beginning is cut, as there; "
        "middle: its middle is; refuse: the context length is refused.",
        "name": "A task, group or tag of lm-eval; lm_eval/NAME is short for it.",
        "member": "One task of those that the name stands for; default: all, each on its own.",
        "include_path": "Folder with task files beside lm-eval's own.",
        "metadata": "JSON object for tasks that make their data, e.g. RULER's max_seq_lengths and tokenizer.",
        "num_fewshot": "Examples before each question; at least 0, default: the task's. A task that has none stays so.",
        "metrics": "Those of lm-eval's metrics that are recorded, joined by /; default: all that have a value for every "
        "document.",
        "chat": "Whether prompts go through the model's chat template; true or false (default), as in lm-eval.",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LmEvalTask:
    """One of lm-eval's tasks, or several: `parts` makes one of each.

    Sample i is document i of the task's test split, or of its validation split where it has no other. The context
    length stands for lm-eval's ``max_length``: the model reads at most so many tokens, the answer budget included. A
    continuation's last token is predicted and not read.

    Args:
        protocol: ``lm-eval``: of a context that is too long the end is kept; ``middle``: both ends; ``refuse``: the
            context length is, unless every document fits. Texts that are scored as a whole are cut into windows.
        name: A task, group or tag.
        member: One task of those.
        include_path: Folder with task files.
        metadata: JSON object, given to tasks that make their data.
        num_fewshot: Examples before each question, at least 0; None for the task's own number.
        metrics: Those that are recorded, joined by ``/``.
        chat: Whether prompts are conversations in the model's chat template.

    Raises:
        TaskError: If a parameter is out of range. lm-eval and data are read when a task is asked for.
    """

    protocol: str = "lm-eval"
    name: str | None = None
    member: str | None = None
    include_path: str | None = None
    metadata: str | None = None
    num_fewshot: int | None = None
    metrics: str | None = None
    chat: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without lm-eval."""
        check_protocol(_INFO, self.protocol)
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise TaskError(
                f"{_NAME}: num_fewshot must be at least 0, got {self.num_fewshot!r}. Leave it out for the task's own."
            )

    def parts(self) -> Sequence[Self]:
        """Return one task for each of lm-eval's that the name stands for."""
        return [dataclasses.replace(self, member=member) for member in self._members()]

    @property
    def info(self) -> TaskInfo:
        """Name, version, metrics and source; those of lm-eval's task where it is one."""
        if self.member is None:
            return _INFO
        loaded = self._loaded()
        return dataclasses.replace(
            _INFO,
            name=f"{_NAME}/{self.member}",
            summary=f"lm-eval's {self.member}, version {loaded.task.VERSION}.",
            metrics=self._measures(loaded).metrics(),
            default_count=len(loaded.docs),
            uses_chat_template=self.chat,
        )

    def parameters(self) -> Mapping[str, str | int | float | bool | None]:
        """Return lm-eval's version, its task's settings and documents as a hash, and what was asked of prompts."""
        loaded = self._loaded()
        examples = self._examples(loaded)
        return {
            "lm_eval": version("lm_eval"),
            "task_version": str(loaded.task.VERSION),
            "content": loaded.fingerprint(has_examples=examples > 0),
            "num_fewshot": examples,
        }

    def minimum_length(self, tokenizer: Tokenizer) -> int:
        """Return what the longest answer or continuation leaves no more than a token for; for ``refuse``, no cut."""
        return _minimum_length(self, _chat_ready(tokenizer))

    def samples(
        self, *, context_length: int, count: int, seed: int, tokenizer: Tokenizer
    ) -> Iterator[Sample]:
        """Return an iterator over the first ``count`` documents, fewer where there are fewer.

        Args:
            context_length: Tokens that the model may read, answer budget included.
            count: Samples wanted.
            seed: Of the examples before a question; those of 0 are lm-eval's own.
            tokenizer: The model's.

        Raises:
            TaskError: If ``context_length`` is below `minimum_length`, or prompts are to be conversations and the
                model has no chat template.
        """
        loaded, reader = self._loaded(), _chat_ready(tokenizer)
        minimum = self.minimum_length(tokenizer)
        if context_length < minimum:
            raise TaskError(
                f"{self.info.name}: context_length must be at least {minimum} with protocol {self.protocol} and this "
                f"tokenizer, got {context_length!r}. Ask for a longer one."
            )
        prompts = self._prompts(loaded, seed, reader, context_length, min(count, len(loaded.docs)))
        return (_sample(loaded, index, context_length, prompt) for index, prompt in enumerate(prompts))

    def score(self, sample: Sample, output: Output) -> Score:
        """Compute the document's metrics by lm-eval's own filters and code."""
        loaded = self._loaded()
        responses = responses_of(loaded.kind, output)
        return self._measures(loaded).score(loaded.docs[sample.index], loaded.kind, responses)

    def group_key(self, *, context_length: int, index: int) -> str:
        """A few documents after each other: the same examples may stand before them."""
        return f"{context_length}:{index // _GROUP}"

    def _members(self) -> tuple[str, ...]:
        if self.name is None:
            raise TaskError(f"{_NAME}: name must be given, got none. Write {_NAME}/NAME.")
        names = tuple(load(self.name, self.include_path, self.metadata))
        if self.member is not None and self.member not in names:
            raise TaskError(
                f"{_NAME}/{self.name}: member must be one of {', '.join(names)}, got {self.member!r}. Leave it out for "
                "all."
            )
        return names if self.member is None else (self.member,)

    def _loaded(self) -> LoadedTask:
        (member,) = self._members() if self.member is not None else (None,)
        if self.name is None or member is None:
            raise TaskError(
                f"{_NAME}: member must be given where samples are made, got none. Take its parts()."
            )
        return load(self.name, self.include_path, self.metadata)[member]

    def _measures(self, loaded: LoadedTask) -> Measures:
        known = [str(metric) for metric in loaded.task.aggregation()]
        asked = tuple(self.metrics.split("/")) if self.metrics is not None else ()
        for name in asked:
            if name not in known:
                raise unknown(f"{_NAME}/{loaded.name}", "metric", name, known)
        return Measures(loaded.task, asked)

    def _examples(self, loaded: LoadedTask) -> int:
        """Return the examples before a question: a task that is said to have none keeps none, as in lm-eval."""
        own: int | None = loaded.task.config.num_fewshot
        return (own or 0) if own == 0 or self.num_fewshot is None else self.num_fewshot

    def _prompts(
        self, loaded: LoadedTask, seed: int, tokenizer: PromptTokenizer, context_length: int, count: int
    ) -> Iterator[Prompt]:
        """Return the prompts of the first documents; that there is a template for conversations is known at the call."""
        render = partial(_render, tokenizer, loaded.name) if self.chat else None
        if render is not None:
            render([{"role": "user", "content": "Hello."}])
        # Examples are drawn document after document: those of one depend on its place alone, as in lm-eval.
        random_state = Random(_EXAMPLES_SEED + seed)

        def prompt(index: int) -> Prompt:
            doc, task = loaded.docs[index], loaded.task
            if loaded.has_sampler:
                task.sampler.rnd = random_state
            context = task.fewshot_context(
                doc,
                num_fewshot=self._examples(loaded),
                apply_chat_template=self.chat,
                fewshot_as_multiturn=True,
                chat_template=render,
                gen_prefix=task.doc_to_prefix(doc),
            )
            instances = task.construct_requests(
                doc,
                context,
                apply_chat_template=self.chat,
                chat_template=render,
                metadata=(loaded.name, index, 1),
            )
            return prompt_of(
                loaded.kind,
                [one.args for one in (instances if isinstance(instances, list) else [instances])],
                tokenizer=tokenizer,
                context_length=context_length,
                cut=self.protocol,
            )

        return map(prompt, range(count))


@lru_cache(maxsize=64)  # every document has to be read for it
def _minimum_length(task: LmEvalTask, tokenizer: PromptTokenizer) -> int:
    loaded = task._loaded()
    room = needed_length if task.protocol == _REFUSE else shortest_length
    prompts = task._prompts(loaded, 0, tokenizer, UNCUT, len(loaded.docs))
    return max(room(prompt.request) for prompt in prompts)


def _chat_ready(tokenizer: Tokenizer) -> PromptTokenizer:
    if not isinstance(tokenizer, PromptTokenizer):
        raise TypeError(
            f"{_NAME} needs eos_token_id and render_chat of a tokenizer, got {type(tokenizer).__name__}"
        )
    return tokenizer


def _render(
    tokenizer: PromptTokenizer,
    name: str,
    messages: Sequence[Mapping[str, str]],
    add_generation_prompt: bool = True,
) -> str:
    text = tokenizer.render_chat(messages, add_generation_prompt=add_generation_prompt)
    if text is None:
        raise TaskError(
            f"{_NAME}/{name}: chat must be false where no chat template applies, got True. Choose a model that has one, "
            "or --chat-template."
        )
    return text


def _sample(loaded: LoadedTask, index: int, context_length: int, prompt: Prompt) -> Sample:
    answers = _answers(loaded.task, loaded.docs[index])
    return Sample(
        index=index,
        context_length=context_length,
        request=prompt.request,
        target=answers[0] if answers else None,
        answers=answers if len(answers) > 1 else (),
        tokens_truncated=prompt.tokens_truncated,
        truncated_at=prompt.truncated_at,
    )


def _answers(task: Any, doc: Any) -> tuple[str, ...]:
    """Return the right answers as texts, to read: scores come from lm-eval."""
    found = task.doc_to_target(doc)
    choices = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else ()
    return tuple(
        str(choices[gold]) if isinstance(gold, int) and 0 <= gold < len(choices) else str(gold)
        for gold in (found if isinstance(found, list) else [found])
    )
