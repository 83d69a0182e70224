"""The authors' prompts in parts: a template around its context, filled as their ``pred.py`` fills it."""

from __future__ import annotations

from dataclasses import dataclass

from longbench_run.tasks.longbench.templates import TEMPLATES

_CONTEXT, _INPUT = "{context}", "{input}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptParts:
    """A filled template around its context, before any chat template."""

    before: str
    """What stands before the context: the instruction."""
    context: str
    after: str
    """What stands after it: the instruction again, and the question."""

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.with_context(self.context)

    def with_context(self, context: str) -> str:
        """Return the prompt with another context."""
        return f"{self.before}{context}{self.after}"


def filled(dataset: str, *, context: str, question: str) -> PromptParts:
    """Return the filled template of a dataset.

    Args:
        dataset: Its name, without LongBench-E's ending.
        context: Field ``context`` of a row.
        question: Field ``input`` of a row; some datasets have none in their template.
    """
    before, _, after = TEMPLATES[dataset].partition(_CONTEXT)
    return PromptParts(before=before, context=context, after=after.replace(_INPUT, question))
