"""Text as LaTeX that shows it letter by letter, in plain ASCII: nothing in it is a command, whatever it holds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from longbench_run.reports.document import Kind, Text
from longbench_run.reports.text import visible

_LETTERS: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "§": r"\S{}",
    "·": r"\textperiodcentered{}",
    "±": r"\textpm{}",
    "\u00d7": r"\texttimes{}",
    "µ": r"\textmu{}",
    "°": r"\textdegree{}",
    "\u2013": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "≈": r"\ensuremath{\approx}",
    "→": r"\ensuremath{\rightarrow}",
    "\u2212": r"\ensuremath{-}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "\u0131": r"\i{}",
}
_ACCENTS: Mapping[str, str] = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0328": "k",
}
_WRAPPED: Mapping[Kind, str] = {"plain": "{}", "code": r"\texttt{{{}}}", "strong": r"\textbf{{{}}}"}
_BREAKS: Mapping[Kind, re.Pattern[str]] = {
    "plain": re.compile(r"(?<=\w/)(?=\w)"),
    "code": re.compile(r"(?<=[:/=+,@])(?=.)|(?<=\w{30})(?=\w)"),
    "strong": re.compile(r"(?<=\w/)(?=\w)"),
}
"""Where a line may end that has no spaces there."""


def latex(text: Text) -> str:
    """Return a line as LaTeX.

    Args:
        text: Anything.
    """
    shown = "".join(
        _WRAPPED[span.kind].format(
            r"\allowbreak{}".join(map(escaped, _BREAKS[span.kind].split(visible(span.text))))
        )
        for span in text
        if span.text
    )
    # At the start of a row or an item these would be read as part of the command before it.
    return f"{{}}{shown}" if shown.startswith(("[", "*")) else shown


def escaped(text: str) -> str:
    r"""Return text as LaTeX that prints it, in ASCII.

    What has no letter in the fonts that every LaTeX has is spelled out: an ideograph becomes ``U+4E2D``.

    Args:
        text: Anything; made visible first.

    Example:
        >>> escaped(r"\input{x} 50% naïve")
        '\\textbackslash{}input\\{x\\} 50\\% na\\"{i}ve'
    """
    # Two of them in a row would become a dash, or a quotation mark.
    return re.sub(r"([-,])(?=\1)", r"\1{}", "".join(map(_letter, visible(text))))


def _letter(char: str) -> str:
    if char in _LETTERS:
        return _LETTERS[char]
    if char.isascii():
        return char
    base, *accents = list(unicodedata.normalize("NFD", char))
    if len(accents) == 1 and accents[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[accents[0]]}{{{base}}}"
    return f"U+{ord(char):04X}"
