"""Untrusted text is shown as text; lengths and values as the field writes them."""

import pytest

from longbench_run.reports.text import (
    length_label,
    markdown_code,
    markdown_text,
    multiple_label,
    perplexity_text,
    shortened,
    visible,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 𝄞", "plain é 漢 𝄞"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\u202egnirts", "\\u202egnirts"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_does_not_print_is_spelled_out(text, shown):
    assert visible(text) == shown


def test_shortened_text_says_how_much_is_missing():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 3) == "abc... (4 characters more)"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ""),
        ("a", "`a`"),
        ("<script>alert(1)</script>", "`<script>alert(1)</script>`"),
        ("a `b` c", "``a `b` c``"),
        ("`", "`` ` ``"),
        ("a\n\n# b", "`a\\n\\n# b`"),
        (" ", "`   `"),
    ],
)
def test_a_code_span_holds_whatever_is_in_it(text, code):
    assert markdown_code(text) == code


def test_a_bar_does_not_end_a_cell_of_a_table():
    assert markdown_code("a|b", in_table=True) == "`a\\|b`"
    assert markdown_code("a|b") == "`a|b`"


def test_markdown_text_has_no_markup_of_its_own():
    assert markdown_text("[x](http://e) <b> *y* _z_ `c` a|b") == (
        "\\[x\\](http\\://e) &lt;b&gt; \\*y\\* \\_z\\_ \\`c\\` a\\|b"
    )
    assert markdown_text("see www.evil.example, mail a@b.c") == "see www\\.evil.example, mail a\\@b.c"
    assert markdown_text("passkey: accuracy, arXiv:2305.16300") == "passkey: accuracy, arXiv:2305.16300"


@pytest.mark.parametrize(
    ("tokens", "label"),
    [(1, "1"), (512, "512"), (1000, "1000"), (1024, "1k"), (1280, "1.25k"), (1536, "1.5k"), (1300, "1300"),
     (4096, "4k"), (131072, "128k"), (1048576, "1M")],
)  # fmt: skip
def test_length_label(tokens, label):
    assert length_label(tokens) == label


def test_multiple_label():
    assert [multiple_label(tokens, 512) for tokens in (256, 512, 1024, 700, 1_048_576)] == [
        "0.5x",
        "1x",
        "2x",
        "1.37x",
        "2048x",
    ]


@pytest.mark.parametrize(
    ("nll", "text"),
    [
        (0.0, "1.00"),
        (2.302585093, "10.0"),
        (4.605170186, "100"),
        (9.2102, "9999"),
        (9.2104, "1.0e4"),
        (14.0, "1.2e6"),
        (34.0, "5.8e14"),
        (40.0, "exp(40)"),
        (1e6, "exp(1000000)"),
    ],
)
def test_perplexity_text(nll, text):
    assert perplexity_text(nll) == text
