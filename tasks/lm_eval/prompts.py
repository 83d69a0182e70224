"""From lm-eval's requests to this package's, and from its outputs to lm-eval's responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from longbench_run.tasks.base import (
    ChooseRequest,
    Chosen,
    Generated,
    GenerateRequest,
    Output,
    Request,
    Scored,
    ScoreRequest,
    ScoreWindow,
    TaskError,
    Tokenizer,
)

UNCUT = 2**62
"""A context length that everything fits into, in tokens."""

_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks call the answer budget, the first that is given counts."""
_MOST_NEW_TOKENS = 256
"""Answer budget of a task that names none, as lm-eval's models have it."""
_OF_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Parameters that change nothing where nothing is sampled."""
_SERVED = frozenset({"until", "do_sample", *_LENGTH_NAMES, *_OF_SAMPLING})


@runtime_checkable
class PromptTokenizer(Tokenizer, Protocol):
    """What lm-eval's prompts need of a tokenizer beside what every task does."""

    def __hash__(self) -> int:
        """Return the same for the same tokenizer."""
        ...

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end-of-sequence token, or None."""
        ...

    def render_chat(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool
    ) -> str | None:
        """Return the text of a conversation, special tokens written out; None where no chat template applies."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request, and what was cut to make it fit."""

    request: Request
    tokens_truncated: int = 0
    truncated_at: int | None = None
    """Tokens of the uncut context before those that were cut; None where nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is left of a context that is too long."""

    head: int
    """Tokens kept of its beginning."""
    tail: int
    """Tokens kept of its end."""


CUTS: Mapping[str, Callable[[int], Cut]] = {
    "lm-eval": lambda budget: Cut(head=0, tail=budget),
    "middle": lambda budget: Cut(head=budget // 2, tail=budget - budget // 2),
}
"""Rule -> what is kept of a context, given how many tokens it may have."""


def prompt_of(
    kind: str,
    arguments: Sequence[Sequence[Any]],
    *,
    tokenizer: PromptTokenizer,
    context_length: int,
    cut: str,
) -> Prompt:
    """Return the request for one document's requests to lm-eval's models.

    The model reads at most ``context_length`` tokens; what is predicted last is not read, so that a context and its
    continuation may have one token more, as with lm-eval's own models of that ``max_length``.

    Args:
        kind: ``generate_until``, ``loglikelihood`` or ``loglikelihood_rolling``.
        arguments: For each request its arguments: context and generation parameters, context and continuation, or a
            text alone. Several only of ``loglikelihood``.
        tokenizer: The model's.
        context_length: Tokens that the model may read, answer included, n.
        cut: One of `CUTS`; what does not fit is cut by it.

    Raises:
        TaskError: If there is nothing to predict, or no room for a context.

    Source: lm-eval 0.4.13, `TemplateLM.loglikelihood` and `HFLM`, whose tokens and left truncation are the same.
    """
    return _KINDS[kind](arguments, tokenizer, context_length, cut)


def responses_of(kind: str, output: Output) -> list[Any]:
    """Return what lm-eval's models would have answered, one response for each request of a document.

    Args:
        kind: Of the requests.
        output: What the model made of them.

    Raises:
        TypeError: If the output is not of that kind.
    """
    if isinstance(output, _OUTPUTS[kind]):
        if isinstance(output, Generated):
            return [output.text]
        if isinstance(output, Chosen):
            return [(-sum(nll), greedy) for nll, greedy in zip(output.nll, output.greedy, strict=True)]
        if isinstance(output, Scored):
            return [-sum(sum(nll) for nll in output.nll)]
    raise TypeError(f"{kind} is answered by {_OUTPUTS[kind].__name__}, got {type(output).__name__}")


def needed_length(request: Request) -> int:
    """Return the context length, in tokens, that a request needs to be left as it is."""
    if isinstance(request, GenerateRequest):
        return len(request.prompt_ids) + request.max_new_tokens
    return max(len(ids) - 1 for ids in request.inputs)


def shortest_length(request: Request) -> int:
    """Return the context length, in tokens, that leaves a token of context; a text scored as a whole needs none."""
    if isinstance(request, GenerateRequest):
        return request.max_new_tokens + 1
    if isinstance(request, ChooseRequest):
        return max(len(window.token_ids) - window.first_scored for window in request.windows)
    return 1


def new_tokens(parameters: Mapping[str, Any]) -> int:
    """Return the answer budget that generation parameters name, in tokens."""
    given = (parameters[name] for name in _LENGTH_NAMES if parameters.get(name) is not None)
    return int(next(given, _MOST_NEW_TOKENS))


def not_greedy(parameters: Mapping[str, Any]) -> str | None:
    """Return the first generation parameter that asks for more than greedy decoding, None where none does."""
    given = {name: value for name, value in parameters.items() if value is not None}
    sampled = given.get("do_sample", bool(given.get("temperature")))
    asks = [
        name for name in given if name not in _SERVED or (sampled and name in {"do_sample", "temperature"})
    ]
    return f"{asks[0]}={given[asks[0]]!r}" if asks else None


def prefix_token(tokenizer: PromptTokenizer) -> int:
    """Return the token that stands before a text without context.

    Raises:
        TaskError: If the tokenizer has neither a beginning nor an end of a sequence.
    """
    found = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if found is None:
        raise TaskError(
            "lm_eval: tokenizer must have a token that begins or ends a sequence, got neither. Use another one."
        )
    return found


def _generate(
    arguments: Sequence[Sequence[Any]], tokenizer: PromptTokenizer, context_length: int, cut: str
) -> Prompt:
    ((context, parameters),) = arguments
    most = new_tokens(parameters)
    begin = None if tokenizer.bos_token_id is None else tokenizer.decode([tokenizer.bos_token_id])
    ids, cut_tokens, at = _cut(_encoded(context, begin, tokenizer), context_length - most, cut)
    stop = parameters.get("until") or []
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.decode([tokenizer.eos_token_id])]
    request = GenerateRequest(
        prompt_ids=ids,
        max_new_tokens=most,
        stop=tuple(text for text in [*([stop] if isinstance(stop, str) else stop), *ends] if text),
    )
    return Prompt(request=request, tokens_truncated=cut_tokens, truncated_at=at)


def _choose(
    arguments: Sequence[Sequence[Any]], tokenizer: PromptTokenizer, context_length: int, cut: str
) -> Prompt:
    windows, longest, place = [], 0, None
    for context, continuation in arguments:
        before, scored = _pair(context, continuation, tokenizer)
        if not scored:
            raise TaskError(
                f"lm_eval: continuation must have a token, got {continuation!r}. Mend the task's target or choices."
            )
        ids, cut_tokens, at = _cut(before, context_length + 1 - len(scored), cut)
        windows.append(ScoreWindow(token_ids=(*ids, *scored), first_scored=len(ids)))
        if cut_tokens > longest:
            longest, place = cut_tokens, at
    return Prompt(request=ChooseRequest(windows=tuple(windows)), tokens_truncated=longest, truncated_at=place)


def _roll(
    arguments: Sequence[Sequence[Any]], tokenizer: PromptTokenizer, context_length: int, _cut: str
) -> Prompt:
    """Cut a text into windows that are scored one after the other: nothing is lost."""
    lm_eval = import_module("lm_eval.utils")
    ((text,),) = arguments
    prefix = prefix_token(tokenizer)
    ids = _encoded(text, tokenizer.decode([prefix]), tokenizer)
    pairs = lm_eval.get_rolling_token_windows(ids, prefix, max_seq_len=context_length, context_len=1)
    windows = [
        ScoreWindow(token_ids=(*before, *scored), first_scored=len(before))
        for before, scored in map(lm_eval.make_disjoint_window, pairs)
    ]
    if not windows:
        raise TaskError("lm_eval: document must have a token, got an empty text. Leave it out of the data.")
    return Prompt(request=ScoreRequest(windows=tuple(windows)))


_OUTPUTS: Mapping[str, type[Output]] = {
    "generate_until": Generated,
    "loglikelihood": Chosen,
    "loglikelihood_rolling": Scored,
}
_KINDS = {"generate_until": _generate, "loglikelihood": _choose, "loglikelihood_rolling": _roll}


def _encoded(text: str, begin: str | None, tokenizer: PromptTokenizer) -> list[int]:
    """Return the token ids of a text; special tokens are not added to one that has the first of them already."""
    written = begin is not None and text.startswith(begin)
    return tokenizer.encode(text, add_special_tokens=not written)


def _pair(context: str, continuation: str, tokenizer: PromptTokenizer) -> tuple[list[int], list[int]]:
    """Return the tokens of a context and of what continues it; blanks at its end belong to the continuation."""
    prefix = prefix_token(tokenizer)
    if not context:
        scored = tokenizer.encode(continuation, add_special_tokens=False)
        return (scored[:1], scored[1:]) if scored[:1] == [prefix] else ([prefix], scored)
    stripped = context.rstrip()
    begin = tokenizer.decode([prefix])
    # An empty context keeps nothing: what is left of blanks alone is read as the tokenizer begins a text.
    before = _encoded(stripped, begin, tokenizer)
    whole = _encoded(context + continuation, begin, tokenizer)
    return before, whole[len(before) :]


def _cut(ids: Sequence[int], budget: int, rule: str) -> tuple[tuple[int, ...], int, int | None]:
    """Return the ids that fit, how many were cut, and after how many of them.

    Raises:
        TaskError: If there is no room for any.
    """
    if budget < 1:
        raise TaskError(
            f"lm_eval: context_length must leave room for a context, got {1 - budget} tokens too few. Ask for a longer "
            "one."
        )
    if len(ids) <= budget:
        return tuple(ids), 0, None
    kept = CUTS[rule](budget)
    return (*ids[: kept.head], *ids[len(ids) - kept.tail :]), len(ids) - budget, kept.head
