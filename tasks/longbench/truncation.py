"""Ways to make a prompt fit: it loses its middle (the authors'), its context's middle (exact), or its context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from longbench_run.tasks.base import Reference, TaskError, Tokenizer
from longbench_run.tasks.haystacks import largest
from longbench_run.tasks.longbench.datasets import PROTOCOL, Dataset
from longbench_run.tasks.longbench.prompts import PromptParts

EXACT = "exact"
CLOSED_BOOK = "closed-book"
_BLOCK = 1024
_UNDECODABLE = "\ufffd"
"""What half a character decodes to."""
_MOST_BYTES = 4
"""Of one character in UTF-8."""

Encode = Callable[[str], list[int]]
"""From a prompt's text to what the model reads, chat template and special tokens included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPrompt:
    """A prompt that was cut, or did not have to be."""

    text: str
    """Before any chat template."""
    prompt_ids: tuple[int, ...]
    tokens_truncated: int | None
    """None where nothing had to be cut: leaving it out is what is measured."""
    truncated_at: int | None
    """Tokens before the cut, None where nothing was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """A way to make prompts fit."""

    limit: Callable[[str, int, int, int | None], int]
    """From task, context length, answer budget and ``max_length`` to the tokens that `fit` may use."""
    fit: Callable[[PromptParts, Tokenizer, Encode, int], FittedPrompt]
    """From a prompt, its tokenizer, how it is encoded and the limit to the prompt that fits."""
    never_cut: Callable[[PromptParts, Encode], int]
    """Tokens of a prompt that `fit` cannot do without."""
    shortest: int
    """Smallest context length, whatever the prompts."""
    takes_max_length: bool = False
    """Whether ``max_length`` means anything."""
    drops_context: bool = False
    """Whether the context is left out whole: only questions can be asked so."""


def _authors_limit(task: str, context_length: int, max_new_tokens: int, max_length: int | None) -> int:
    """Return what the authors' table of models gives: 3500 for 4k, 7500 for 8k, 15500 for 16k, 31500 for 32k.

    Source: THUDM/LongBench, ``config/model2maxlen.json``.
    """
    if max_length is not None:
        return max_length
    if context_length % _BLOCK:
        raise TaskError(
            f"{task}: context_length must be a multiple of {_BLOCK} with protocol {PROTOCOL}, got {context_length!r}. "
            f"Choose another, name max_length, or use protocol {EXACT}."
        )
    return 1000 * (context_length // _BLOCK) - 500


def _whole_budget(task: str, context_length: int, max_new_tokens: int, max_length: int | None) -> int:
    return context_length - max_new_tokens


def _tokens_without_context(parts: PromptParts, encode: Encode) -> int:
    return len(encode(parts.with_context("")))


def _cut_middle(parts: PromptParts, tokenizer: Tokenizer, encode: Encode, limit: int) -> FittedPrompt:
    """Cut the middle of the filled prompt as the authors do: halves are decoded, joined and encoded again.

    Source: THUDM/LongBench, ``pred.py``, ``get_pred``: what a chat template adds comes on top of the limit, and
    characters that the cut goes through are lost.
    """
    text = parts.text
    token_ids = tokenizer.encode(text)
    half = limit // 2
    cut = len(token_ids) > limit
    if cut:
        halves = (token_ids[:half], token_ids[-half:])
        text = "".join(tokenizer.decode(part, skip_special_tokens=True) for part in halves)
    return FittedPrompt(
        text=text,
        prompt_ids=tuple(encode(text)),
        tokens_truncated=len(token_ids) - 2 * half if cut else 0,
        truncated_at=half if cut else None,
    )


def _cut_context(parts: PromptParts, tokenizer: Tokenizer, encode: Encode, limit: int) -> FittedPrompt:
    """Cut the middle of the context alone, so that what the model reads has ``limit`` tokens or just below.

    As many of the context's tokens are kept as fit; text around them is encoded anew, and one token more would be
    too many.
    """
    whole = encode(parts.text)
    if len(whole) <= limit:
        return FittedPrompt(text=parts.text, prompt_ids=tuple(whole), tokens_truncated=0, truncated_at=None)
    context = tokenizer.encode(parts.context, add_special_tokens=False)

    def text_of(kept: int) -> str:
        head, tail = context[: (kept + 1) // 2], context[len(context) - kept // 2 :]
        return parts.with_context(_beginning(tokenizer, head) + _end(tokenizer, tail))

    kept = largest(
        lambda kept: kept < len(context) and len(encode(text_of(kept))) <= limit,
        at_least=0,
        guess=max(0, len(context) - (len(whole) - limit)),
    )
    text = text_of(kept)
    return FittedPrompt(
        text=text,
        prompt_ids=tuple(_checked(encode(text), limit)),
        tokens_truncated=len(context) - kept,
        truncated_at=len(tokenizer.encode(parts.before)) + (kept + 1) // 2,
    )


def _leave_out_context(parts: PromptParts, tokenizer: Tokenizer, encode: Encode, limit: int) -> FittedPrompt:
    """Return the authors' prompt with nothing where its context stands: all that differs is the context."""
    text = parts.with_context("")
    token_ids = _checked(encode(text), limit)
    return FittedPrompt(text=text, prompt_ids=tuple(token_ids), tokens_truncated=None, truncated_at=None)


def _checked(token_ids: list[int], limit: int) -> list[int]:
    """Return a prompt of which nothing more can be cut.

    Raises:
        TaskError: If it is too long.
    """
    if len(token_ids) > limit:
        raise TaskError(
            f"longbench: prompt without its context must be at most {limit} tokens, got {len(token_ids)}. Ask for a "
            "longer context length."
        )
    return token_ids


def _beginning(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """Return the text of tokens that may end within a character: without it."""
    # Byte tokens that are no whole characters can spoil the whole run of them that they end.
    text = ""
    for left_out in range(_MOST_BYTES):
        text = tokenizer.decode(token_ids[: len(token_ids) - left_out], skip_special_tokens=True)
        if not text.endswith(_UNDECODABLE):
            return text
    return text.rstrip(_UNDECODABLE)


def _end(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """Return the text of tokens that may begin within a character: without it."""
    text = ""
    for left_out in range(_MOST_BYTES):
        text = tokenizer.decode(token_ids[left_out:], skip_special_tokens=True)
        if not text.startswith(_UNDECODABLE):
            return text
    return text.lstrip(_UNDECODABLE)


TRUNCATIONS: Mapping[str, Truncation] = {
    PROTOCOL: Truncation(
        limit=_authors_limit,
        fit=_cut_middle,
        never_cut=lambda parts, encode: 0,
        shortest=_BLOCK,
        takes_max_length=True,
    ),
    EXACT: Truncation(limit=_whole_budget, fit=_cut_context, never_cut=_tokens_without_context, shortest=1),
    CLOSED_BOOK: Truncation(
        limit=_whole_budget,
        fit=_leave_out_context,
        never_cut=_tokens_without_context,
        shortest=1,
        drops_context=True,
    ),
}
"""Protocol -> how it cuts."""
REFERENCES: Mapping[str, Reference] = {CLOSED_BOOK: "floor"}
"""Protocol -> what it is to the others."""


def protocols_of(dataset: Dataset, among: Iterable[str] = TRUNCATIONS) -> tuple[str, ...]:
    """Return the protocols that a dataset can be asked by, the default first.

    Args:
        dataset: Only questions can be asked without any context.
        among: Protocols of the task.
    """
    return tuple(
        name for name in among if dataset.is_question_answering or not TRUNCATIONS[name].drops_context
    )
