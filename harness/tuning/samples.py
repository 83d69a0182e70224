"""Conversations as token ids: cut between exchanges, with the responses marked, chosen and put in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jinja2 import TemplateError

from longbench_run.harness.chat import ChatTemplate
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.tuning.conversations import ASSISTANT, Conversation, DataFile
from longbench_run.harness.tuning.recipe import Recipe

IGNORED = -100
"""Label of a token that is not learnt; transformers' own."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation, or whole exchanges of one."""

    token_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """The token id where it belongs to a response, else `IGNORED`; the first token has nothing before it."""

    def __len__(self) -> int:
        """Return the length in tokens."""
        return len(self.token_ids)

    @property
    def responses(self) -> int:
        """How many tokens are learnt."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What a data file becomes at a context length."""

    samples: tuple[Sample, ...]
    template: str
    """``own``: the tokenizer's; ``plain``: USER: and ASSISTANT: where it has none."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Why exchanges or conversations are not among the samples -> how many."""


def encode_all(data: DataFile, tokenizer: Any, *, context_length: int) -> Encoded:
    """Encode conversations and split them between exchanges where they are longer than the context.

    Args:
        data: The conversations.
        tokenizer: A fast Hugging Face tokenizer.
        context_length: Most tokens of a sample.

    Raises:
        ConfigError: If nothing is left.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            f"model: tokenizer must be a fast one, which tells responses from prompts, got {type(tokenizer).__name__}. "
            "Give a model with a tokenizer.json."
        )
    template = _Template(tokenizer)
    found: list[Sample] = []
    dropped = {"too_long": 0, "refused_by_template": 0}
    refusal = ""
    for conversation in data.conversations:
        try:
            found += _pieces(conversation, template, context_length, dropped)
        except (TemplateError, _NotInPlace) as error:
            dropped["refused_by_template"] += 1
            refusal = " ".join(str(error).split())
    if not found and dropped["too_long"]:
        raise ConfigError(
            f"{data.name}: data must hold an exchange of at most {context_length} tokens, got longer ones alone. "
            "Pass a larger --context-length: turns are not broken."
        )
    if not found:
        raise ConfigError(
            f"{data.name}: conversations must be such as the chat template takes, got {refusal!r}. "
            "Begin with the user and let the two alternate."
        )
    return Encoded(samples=tuple(found), template=template.name, dropped=dropped)


class _NotInPlace(ValueError):
    """A template changes what was said before a response."""


class _Template:
    """How a tokenizer's conversations are written: by its own template, or plainly."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.name = "plain" if getattr(tokenizer, "chat_template", None) is None else "own"

    def render(self, turns: Conversation, *, asks: bool) -> str:
        """Return the text of turns; where it asks, with what begins a response."""
        if self.name == "own":
            messages = [turn.message for turn in turns]
            own = ChatTemplate(name="own")
            return own.render(self._tokenizer, messages, add_generation_prompt=asks, is_closed=True)
        end = self._tokenizer.eos_token or ""
        shapes = {"system": "{}\n", "user": "USER: {}\n", ASSISTANT: f"ASSISTANT: {{}}{end}\n"}
        return "".join(shapes[turn.role].format(turn.text) for turn in turns) + ("ASSISTANT:" if asks else "")

    def encode(self, turns: Conversation) -> tuple[list[int], list[int], list[int]]:
        """Return token ids, labels, and the number of tokens up to the end of each response."""
        text = self.render(turns, asks=False)
        spans = []
        for place, turn in enumerate(turns):
            if turn.role != ASSISTANT:
                continue
            # What a template writes after a response, but not between two turns, belongs to none.
            start = _shared(text, self.render(turns[:place], asks=True))
            stop = _shared(text, self.render(turns[: place + 1], asks=False))
            if turn.text.strip() not in text[start:stop]:
                raise _NotInPlace("a template that rewrites earlier turns")
            spans.append((start, stop))
        encoded = self._tokenizer(
            text,
            # A model's own template writes the special tokens itself.
            add_special_tokens=self.name == "plain",
            return_offsets_mapping=True,
        )
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        labels = [IGNORED] * len(ids)
        ends = []
        for start, stop in spans:
            inside = [i for i, (begin, end) in enumerate(offsets) if start <= begin < stop and end <= stop]
            for i in inside:
                labels[i] = ids[i]
            ends.append(inside[-1] + 1 if inside else 0)
        labels[0] = IGNORED
        return ids, labels, ends


def _shared(text: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    if text.startswith(other):
        return len(other)
    pairs = enumerate(zip(text, other, strict=False))
    return next((i for i, (one, two) in pairs if one != two), min(len(text), len(other)))


def _pieces(
    conversation: Conversation, template: _Template, context_length: int, dropped: dict[str, int]
) -> list[Sample]:
    """Cut a conversation behind the last response that fits, and go on with the next exchange, the system's turn first."""
    system = tuple(turn for turn in conversation[:1] if turn.role == "system")
    rest = conversation[len(system) :]
    found = []
    while any(turn.role == ASSISTANT for turn in rest):
        ids, labels, ends = template.encode(system + rest)
        fit = sum(end <= context_length for end in ends)
        if fit:
            sample = Sample(tuple(ids[: ends[fit - 1]]), tuple(labels[: ends[fit - 1]]))
            if sample.responses:
                found.append(sample)
        else:
            dropped["too_long"] += 1
            fit = 1
        answers = [place for place, turn in enumerate(rest) if turn.role == ASSISTANT]
        rest = rest[answers[fit - 1] + 1 :]
    return found


def choose_samples(encoded: Encoded, recipe: Recipe, *, window: int, where: str) -> tuple[Sample, ...]:
    """Return the samples of every step, one after the other: ``steps * batch_size`` of them.

    Which samples are taken depends on the seed alone, and fewer are always among more; every epoch has its own order.

    Args:
        encoded: What there is.
        recipe: How many, which, in what order.
        window: The model's window of pretraining, L, in tokens.
        where: What errors call the data.

    Raises:
        ConfigError: If there are too few, or none goes beyond the window although the context does.
    """
    short = [sample for sample in encoded.samples if len(sample) <= window]
    long = [sample for sample in encoded.samples if len(sample) > recipe.context_length / 2]
    if (
        recipe.composition != "short"
        and recipe.context_length > window
        and len(short) == len(encoded.samples)
    ):
        raise ConfigError(
            f"{where}: data must hold a sample longer than the window of {window} tokens, got none of more than "
            f"{max(map(len, short))}. Give longer conversations, or pass --composition short."
        )
    half = recipe.samples // 2
    stages: Mapping[str, list[tuple[str, Sequence[Sample], int]]] = {
        "none": [("", encoded.samples, recipe.samples)],
        "short": [("short ", short, recipe.samples)],
        "long": [("long ", long, recipe.samples)],
        "short_then_long": [("short ", short, half), ("long ", long, recipe.samples - half)],
    }
    random = np.random.default_rng(recipe.seed)
    order: list[Sample] = []
    for name, there, count in stages[recipe.composition]:
        if len(there) < count:
            raise ConfigError(
                f"--samples: number must be at most the {len(there)} {name}samples that {where} gives at context length "
                f"{recipe.context_length}, got {count}. Ask for fewer, or give more data."
            )
        chosen = [there[i] for i in random.permutation(len(there))[:count]]
        for _ in range(recipe.epochs):
            order += [chosen[i] for i in random.permutation(count)]
    return tuple(order[: recipe.steps * recipe.batch_size])
