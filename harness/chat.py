"""What a prompt is wrapped into before a chat model reads it, and the tokenizer that tasks see; knows no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from longbench_run.harness.errors import ConfigError, unknown_name

AUTO, NONE = "auto", "none"
TEMPLATES: Mapping[str, str] = {
    "llama2": "[INST]{prompt}[/INST]",
    "vicuna": (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. "
        "USER: {prompt} ASSISTANT:"
    ),
}
"""Name -> text around a prompt, as LongBench's authors write it (`pred.py`, ``build_chat``): no system prompt for Llama 2,
the conversation ``vicuna`` of FastChat for Vicuna and LongChat."""
OWN: Mapping[str, bool] = {"own": False, "thinking": True}
"""Name of the tokenizer's own template -> whether a model that can think before it answers does."""
NAMES = (AUTO, NONE, *OWN, *TEMPLATES)
"""What can be asked for; ``auto`` is ``own`` where the tokenizer has a template, else ``none``."""

_DAY = {
    "%d": "26",
    "%b": "Jul",
    "%B": "July",
    "%m": "07",
    "%Y": "2024",
    "%y": "24",
    "%A": "Friday",
    "%H": "12",
    "%M": "00",
}
_FIXED_DAY = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f'|replace("{code}", "{text}")' for code, text in _DAY.items())
    + " }}{%- endmacro -%}"
)
"""What templates are told of the time: with the day of the run, no prompt could be made again.

The day is the one that Llama 3's template names where it cannot ask.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """A template that was found for a model."""

    name: str
    """One of `OWN` or `TEMPLATES`."""

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """Return the token ids of a user's turn with what begins the answer.

        Args:
            tokenizer: A Hugging Face tokenizer.
            prompt: What the user says.
        """
        text = self.render(tokenizer, [{"role": "user", "content": prompt}])
        # A model's own template writes the special tokens itself.
        ids: list[int] = tokenizer.encode(text, add_special_tokens=self.name in TEMPLATES)
        return ids

    def render(
        self,
        tokenizer: Any,
        messages: Sequence[Mapping[str, str]],
        *,
        add_generation_prompt: bool = True,
        is_closed: bool = False,
    ) -> str:
        """Return the text of a conversation.

        Args:
            tokenizer: A Hugging Face tokenizer.
            messages: Turns with ``role`` and ``content``, the last of them the user's or the beginning of an answer.
            add_generation_prompt: Whether what begins an answer follows; otherwise the last turn goes on.
            is_closed: Whether the last turn is at its end and does not go on.

        Raises:
            ConfigError: If the template is one for a single turn, and there are more.
        """
        if self.name in TEMPLATES:
            if [message["role"] for message in messages] != ["user"]:
                raise ConfigError(
                    f"--chat-template: must be one for several turns, got {self.name!r}. Choose own, or no examples."
                )
            return TEMPLATES[self.name].format(prompt=messages[0]["content"])
        return str(
            tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not (add_generation_prompt or is_closed),
                enable_thinking=OWN[self.name],
                chat_template=_FIXED_DAY + tokenizer.get_chat_template(),
            )
        )


def find_template(asked: str, tokenizer: Any, *, where: str) -> ChatTemplate | None:
    """Return the template that holds for a model, None where prompts are read as they are.

    Args:
        asked: One of `NAMES`.
        tokenizer: The model's Hugging Face tokenizer.
        where: Flag or file and key that errors name, and the model.

    Raises:
        ConfigError: If the tokenizer has no template of its own and one was asked for, or it cannot be used.
        UnknownName: If there is no such name.
    """
    if asked not in NAMES:
        raise unknown_name("chat template", asked, NAMES, where=where, see="`longbench-run run --help`")
    has_own = getattr(tokenizer, "chat_template", None) is not None
    name = {AUTO: "own" if has_own else NONE}.get(asked, asked)
    if name == NONE:
        return None
    if name in OWN and not has_own:
        raise ConfigError(
            f"{where}: chat template must be one that there is, got {asked!r} and a tokenizer without one. "
            f"Choose {NONE} or {', '.join(TEMPLATES)}."
        )
    template = ChatTemplate(name=name)
    try:
        template.encode(tokenizer, "Hello.")
    except Exception as error:  # a template is a program of the model's: it can fail in any way
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{where}: chat template must be one that takes a user's turn, got an error ({reason}). "
            f"Choose {NONE} or {', '.join(TEMPLATES)}."
        ) from error
    return template


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTokenizer:
    """A Hugging Face tokenizer as tasks see it."""

    tokenizer: Any
    chat: ChatTemplate | None = None

    @property
    def bos_token_id(self) -> int | None:
        """Id of the beginning-of-sequence token, or None."""
        found: int | None = self.tokenizer.bos_token_id
        return found

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end-of-sequence token, or None."""
        found: int | None = self.tokenizer.eos_token_id
        return found

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of ``text``."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of ``token_ids``, no blank before punctuation removed: prompts are made of it."""
        return str(
            self.tokenizer.decode(
                token_ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )

    def encode_chat(self, text: str) -> list[int]:
        """Return the token ids of a user's turn, ready for the answer; of ``text`` alone without a template."""
        return self.encode(text) if self.chat is None else self.chat.encode(self.tokenizer, text)

    def render_chat(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool
    ) -> str | None:
        """Return the text of a conversation, None without a template; one that knows no system has none of it."""
        if self.chat is None:
            return None
        try:
            return self.chat.render(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)
        except TemplateError:
            others = [message for message in messages if message["role"] != "system"]
            return self.chat.render(self.tokenizer, others, add_generation_prompt=add_generation_prompt)
