"""How text and numbers are written: untrusted text made harmless, lengths as the field writes them."""

from __future__ import annotations

import math
import re

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""Return text on one line, with everything that does not print spelled out.

    Escape sequences of terminals, text direction marks and line ends become ``\x1b``, ``\u202e``, ``\n``.

    Args:
        text: Anything, e.g. what a model wrote.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else _SHORT_ESCAPES.get(char) or _spelled(char) for char in text
    )


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, and how many more there are.

    Args:
        text: Anything.
        limit: Characters kept, at least 1.
    """
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit} characters more)"


def markdown_code(text: str, *, in_table: bool = False) -> str:
    """Return text as a Markdown code span: nothing in it is a link, a tag or a mention.

    Args:
        text: Anything; made visible first.
        in_table: True in a cell of a table, where a bar must be escaped even in code.
    """
    text = visible(text)
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    span = f"{fence}{pad}{text}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def markdown_text(text: str) -> str:
    """Return text as Markdown that shows it as it is: every mark of the language is escaped.

    Args:
        text: Anything; made visible first.
    """
    text = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#!|~$@]|^[+-](?=\s)|:(?=[^\s\d])|(?<=www)\.)", r"\\\1", text)


def length_label(tokens: int) -> str:
    """Return a context length as the field writes it: 512, 1k, 1.5k, 32k, 1M.

    Args:
        tokens: Context length, at least 1. ``k`` is 1024 tokens, ``M`` 1024 k.

    Example:
        >>> [length_label(tokens) for tokens in (512, 1000, 1536, 32768, 1048576)]
        ['512', '1000', '1.5k', '32k', '1M']
    """
    for unit, name in ((1024 * 1024, "M"), (1024, "k")):
        if tokens >= unit and tokens * 4 % unit == 0:
            return f"{tokens / unit:g}{name}"
    return str(tokens)


def multiple_label(tokens: int, original_context_length: int) -> str:
    """Return a context length in original windows, e.g. ``2x``.

    Args:
        tokens: Context length.
        original_context_length: Original window, L, in tokens.

    Example:
        >>> multiple_label(4096, 512), multiple_label(700, 512)
        ('8x', '1.37x')
    """
    multiple = tokens / original_context_length
    return f"{multiple:.3g}x" if multiple < 100 else f"{multiple:.0f}x"


def score_text(value: float, *, digits: int = 2) -> str:
    """Return a score with a fixed number of decimals.

    Args:
        value: The score.
        digits: Decimals.
    """
    return f"{value:.{digits}f}"


def perplexity_text(nll: float) -> str:
    """Return exp(nll) with three significant digits, or as a power where nobody reads digits any more.

    Args:
        nll: Nats per token.

    Example:
        >>> [perplexity_text(math.log(value)) for value in (1.5, 23.456, 345.6, 6789, 1234567)]
        ['1.50', '23.5', '346', '6789', '1.2e6']
        >>> perplexity_text(100.0)
        'exp(100)'
    """
    if nll > math.log(1e15):
        return f"exp({nll:.0f})"
    value = math.exp(nll)
    if value >= 9999.5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def _spelled(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
