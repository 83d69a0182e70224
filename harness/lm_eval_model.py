"""Models under a method as a model of lm-eval, `hf-extended`: what its tasks ask is computed by this package's engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import LM, TemplateLM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.chat import AUTO, TaskTokenizer, find_template
from longbench_run.harness.errors import ConfigError, unknown_name
from longbench_run.harness.lengths import Length, parse_length
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import iterate_group
from longbench_run.harness.models.limits import Limits
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import REFERENCE, ModelSpec, complaint
from longbench_run.tasks.lm_eval.prompts import CUTS, not_greedy, prompt_of, responses_of

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from longbench_run.harness.attention import Applied

logger = logging.getLogger(__name__)

NAME = "hf-extended"
_WHERE = f"--model_args of {NAME}"


@register_model(NAME)
class ExtendedModel(LM):  # type: ignore[misc]  # lm-eval has no types
    """A Hugging Face model with a method applied, its window the extended one.

    Requests are made, cut and computed as in a run of this package: the answers are those of its records. One request
    is computed at a time; those that begin alike share what they begin with.

    Args:
        pretrained: Hub id, folder, or ``reference`` for the bundled model.
        method: One method, in the grammar of ``--methods``.
        factor: Length that the method is configured for, in original windows, at least 1; default: what
            ``context_length`` is.
        context_length: Tokens that the model may read, answer included: 16384, 16k or 4x; default: ``factor`` windows,
            or one.
        cut: What is cut of a context that is too long: ``lm-eval``, its beginning, or ``middle``.
        chat_template: Template where lm-eval applies one, as in ``--chat-template``.
        batch_size: Ignored: lm-eval passes it to every model.
        max_batch_size: Ignored as well.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; the CPU where there is no GPU.
        settings: How the model is loaded, by the names of `ModelSpec`.

    Raises:
        LongbenchError: If an argument is wrong, or the model cannot be loaded or served by the method.
    """

    def __init__(
        self,
        pretrained: str = REFERENCE,
        *,
        method: str = "none",
        factor: float | None = None,
        context_length: int | str | None = None,
        cut: str = "lm-eval",
        chat_template: str = AUTO,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: object = "auto",
        **settings: Any,
    ) -> None:
        super().__init__()
        del batch_size, max_batch_size
        length = _length(context_length)
        _check(factor, cut, settings)
        if str(device).startswith("cuda") and not torch.cuda.is_available():
            device = "auto"  # lm-eval's command line names cuda:0 on every machine
        self._loaded = load_model(ModelSpec(model=pretrained, device=str(device), **settings))
        facts = self._loaded.facts
        window = facts.original_context_length
        self.max_length = round((factor or 1) * window) if length is None else length.tokens(window)
        """Tokens that the model may read, answer included."""
        self.tokenizer = self._loaded.tokenizer
        self._cut = cut
        chat = find_template(chat_template, self.tokenizer, where=f"{_WHERE}: chat_template")
        self._tokenizer = TaskTokenizer(tokenizer=self.tokenizer, chat=chat)
        self._method = parse_method(method, where=f"{_WHERE}: method")
        self._target = self.max_length if factor is None else round(factor * window)
        with self._applied():
            pass  # a method that does not fit the model fails now, not behind the building of all requests

    chat_template = TemplateLM.chat_template
    """Which template lm-eval writes into its results; what is applied is `apply_chat_template`."""

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer, part of the name of lm-eval's caches."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the text of a conversation.

        Raises:
            ConfigError: If no template applies to the model.
        """
        text = self._tokenizer.render_chat(chat_history, add_generation_prompt=add_generation_prompt)
        if text is None:
            rule, remedy = "one that there is", "Name llama2 or vicuna, or leave --apply_chat_template out."
            raise ConfigError(complaint(_WHERE, "chat_template", rule, "none", remedy))
        return text

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation in nats, and whether it is the most probable text."""
        return self._answers("loglikelihood", requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each text in nats, over windows of the context length."""
        return self._answers("loglikelihood_rolling", requests, disable_tqdm)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the greedy continuation of each context, cut before what it is to stop at."""
        for _, parameters in (request.args for request in requests):
            asked = not_greedy(parameters)
            if asked is not None:
                remedy = "Drop it from the task or from --gen_kwargs."
                raise ConfigError(complaint(f"model {NAME}", "decoding", "greedy", asked, remedy))
        return self._answers("generate_until", requests, disable_tqdm)

    def _answers(self, kind: str, requests: Sequence[Instance], is_quiet: bool) -> list[Any]:
        """Compute all requests of a kind, those that begin alike one after the other."""
        found: dict[int, Any] = {}
        answers = self._iterate(kind, requests)
        for place, answer in tqdm(answers, total=len(requests), desc=kind, disable=is_quiet):
            found[place] = answer
            self.cache_hook.add_partial(kind, requests[place].args, answer)
        return [found[place] for place in range(len(requests))]

    def _iterate(self, kind: str, requests: Sequence[Instance]) -> Iterator[tuple[int, Any]]:
        prompts = [
            prompt_of(
                kind,
                [request.args],
                tokenizer=self._tokenizer,
                context_length=self.max_length,
                cut=self._cut,
            )
            for request in requests
        ]
        cut = [prompt.tokens_truncated for prompt in prompts if prompt.tokens_truncated]
        if cut:
            logger.warning(
                "%s: %d of %d contexts are longer than %d tokens; up to %d of theirs are cut by the rule %s.",
                NAME,
                len(cut),
                len(prompts),
                self.max_length,
                max(cut),
                self._cut,
            )
        with self._applied() as applied:
            results = iterate_group(
                self._loaded,
                [prompt.request for prompt in prompts],
                prefix_causal=applied.method.prefix_causal,
                announce=applied.sample,
                limits=Limits.of(self._loaded, prefill_equals_decode=applied.method.prefill_equals_decode),
            )
            for place, result in results:
                if result.output is None:
                    reason = result.failure.message if result.failure is not None else result.status
                    raise RuntimeError(f"{kind} request {place} has no answer: {reason}")
                yield place, responses_of(kind, result.output)[0]

    @contextmanager
    def _applied(self) -> Iterator[Applied]:
        """Compute with the method inside the block, as a run does."""
        window = self._loaded.facts.original_context_length
        with (
            continued(self._loaded.model),
            self._method.applied_to(
                self._loaded.model, original_context_length=window, context_length=self._target
            ) as applied,
        ):
            yield applied


def _length(context_length: int | str | None) -> Length | None:
    length = parse_length(context_length)
    if length is None and context_length is not None:
        rule, remedy = "a number of tokens or of original windows", "Write 16384, 16k or 4x."
        raise ConfigError(complaint(_WHERE, "context_length", rule, repr(context_length), remedy))
    return length


def _check(factor: object, cut: str, settings: Mapping[str, Any]) -> None:
    if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 1):
        remedy = "Write factor=4 for four original windows."
        raise ConfigError(complaint(_WHERE, "factor", "a number of at least 1", repr(factor), remedy))
    if cut not in CUTS:
        raise unknown_name("cut", cut, CUTS, where=_WHERE, see="docs/lm-eval.md")
    known = [field.name for field in fields(ModelSpec) if field.name not in {"model", "label", "device"}]
    for name in settings:
        if name not in known:
            raise unknown_name(
                "argument",
                name,
                [*known, "pretrained", "method", "factor", "context_length"],
                where=_WHERE,
                see="docs/lm-eval.md",
            )
