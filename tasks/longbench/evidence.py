"""Whether what an answer rests on is still in a prompt, where that can be known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from longbench_run.tasks.longbench.datasets import EvidenceKind
from longbench_run.tasks.longbench.rows import LongbenchRow

_SAID_NOWHERE = frozenset({"yes", "no", "unanswerable"})
"""Answers that follow from a text without standing in it."""
_PARAGRAPH = re.compile(r"^(?P<name>Paragraph \d+|段落\d+)[:：]", re.MULTILINE)  # noqa: RUF001


Parts = tuple[tuple[str, ...], ...]
"""All of what must be there: of each part one of several texts."""


def parts_of_evidence(row: LongbenchRow, kind: EvidenceKind | None) -> Parts | None:
    """Return what an answer rests on, None where that cannot be told.

    Args:
        row: What is asked; where it says itself what its evidence is, every text of that is a part.
        kind: What the answers of its dataset rest on, otherwise.
    """
    if row.evidence is not None:
        return tuple((text,) for text in row.evidence)
    return None if kind is None else (_TEXTS[kind](row),)


def _answers(row: LongbenchRow) -> tuple[str, ...]:
    return tuple(text for text in row.answers if _plain(text) not in _SAID_NOWHERE)


def _paragraph(row: LongbenchRow) -> tuple[str, ...]:
    """Return the paragraph that the answer names, from its number to the next one's."""
    heads = list(_PARAGRAPH.finditer(row.context))
    ends = [*(head.start() for head in heads[1:]), len(row.context)]
    return tuple(
        row.context[head.start() : end].strip()
        for head, end in zip(heads, ends, strict=bool(heads))  # a text without paragraphs has none to name
        if head["name"] in row.answers
    )


_TEXTS: Mapping[EvidenceKind, Callable[[LongbenchRow], tuple[str, ...]]] = {
    "answer": _answers,
    "paragraph": _paragraph,
    "everything": lambda row: (row.context,),
}
"""Kind -> texts one of which must be there."""


def evidence_survived(
    parts: Sequence[Sequence[str]], *, before: str, after: str, as_read: Callable[[str], str]
) -> bool | None:
    """Return whether every part is still there, None where one was not there before either.

    Letters' case and the width of white space do not count; a word or a number counts as a whole.

    Args:
        parts: Of each, one text must be there; see `parts_of_evidence`.
        before: The prompt before it was cut.
        after: The prompt as it was cut.
        as_read: From a text to what tokens leave of it: a tokenizer may lose characters.
    """
    stood = [[text for text in texts if _holds(before, text)] for texts in parts]
    if not all(stood):
        return None
    return after == before or all(
        any(_holds(after, text) or _holds(after, as_read(text)) for text in texts) for texts in stood
    )


def _holds(text: str, part: str) -> bool:
    wanted = _plain(part)
    if not wanted:
        return False
    # Texts have up to a million characters: a regular expression of a whole paragraph would take longer to build.
    text = f" {_plain(text)} "
    start = text.find(wanted, 1)
    while start > 0:
        end = start + len(wanted)
        if not (_joined(text[start - 1], wanted[0]) or _joined(wanted[-1], text[end])):
            return True
        start = text.find(wanted, start + 1)
    return False


def _joined(left: str, right: str) -> bool:
    """Return whether two characters belong to one word or number; Chinese is written without spaces."""
    return all(character.isascii() and character.isalnum() for character in (left, right))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
