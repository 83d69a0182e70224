"""A comparison as text, comment and JUnit XML; what runs and models wrote stays text in each."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from longbench_run.reports.comparison import compare_markdown, compare_terminal, summary_text
from longbench_run.reports.junit import compare_junit
from longbench_run.results.comparison import ComparedCell, Comparison

CELL = ComparedCell(
    model="m",
    method="yarn",
    task="perplexity",
    protocol="plain",
    metric="nll",
    context_length=4096,
    verdict="same",
    reason=None,
    higher_is_better=False,
    baseline=2.0,
    candidate=2.001,
    difference=0.001,
    low=-0.002,
    high=0.004,
    interval="bootstrap-t",
    samples=20,
    clusters=20,
    needed=None,
    missing=0,
    added=0,
    failed=0,
    changed=20,
)
REGRESSED = replace(CELL, verdict="regressed", candidate=2.2, difference=0.2, low=0.1, high=0.3)
UNSURE = replace(CELL, verdict="inconclusive", method="pi", low=-0.1, high=0.1, needed=312)
FAILED = replace(CELL, verdict="failed", method="abf", reason="error: Boom: out (1 of 20 samples)", failed=1)
MISSING = replace(
    CELL, verdict="missing", method="ntk", reason="gone", candidate=None, difference=None, low=None, high=None,
    interval=None, samples=0, clusters=0, missing=20,
)  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "</details>|`*_[x](http://e)@everyone",
    "\x1b[31mred\x07\n\r\x00",
    "\u202eright to left",
    "]]> & \" ' <!--",
    "lone \ud800 surrogate",
    "x" * 1_000_000,
]


def parsed(text):
    return ElementTree.fromstring(text)  # noqa: S314 (written two lines before)


def comparison(*cells, **changes):
    values = {
        "baseline": "runs/a",
        "candidate": "runs/b",
        "tolerance": 0.01,
        "alpha": 0.05,
        "is_paired": True,
        "family": len(cells),
        "cells": cells,
        "unmeasured": (),
        "new_cells": 0,
        "notes": (),
    }
    return Comparison(**values | changes)


ALL = comparison(REGRESSED, FAILED, MISSING, UNSURE, replace(CELL, method="none"))


def test_the_terminal_shows_the_verdict_first_and_a_line_per_cell():
    lines = compare_terminal(ALL).splitlines()
    assert lines[0] == "Regressed: 1 regressed, 1 failed, 1 missing, 1 inconclusive, 1 same (cells: 5)."
    assert [line.split()[0] for line in lines[3:8]] == [
        "regressed",
        "failed",
        "missing",
        "inconclusive",
        "same",
    ]
    assert re.sub(" +", " ", lines[3]) == (
        "regressed perplexity nll yarn 4k 2.000 2.200 +0.200 [+0.100, +0.300] 20"
    )
    assert lines[6].endswith("20  about 312 samples would decide")
    assert lines[9] == (
        "Tolerance 0.01 in the unit of each metric; differences paired by sample; alpha 0.05 for all cells "
        "together (5, Holm), and intervals at that level."
    )


@pytest.mark.parametrize(
    ("cells", "begins"),
    [
        ((REGRESSED, FAILED), "Regressed: "),
        ((FAILED, CELL), "Not comparable in full: "),
        ((UNSURE, CELL), "No regression shown, some cells inconclusive: "),
        ((CELL,), "Holds: "),
    ],
)
def test_the_summary_says_the_worst(cells, begins):
    assert summary_text(comparison(*cells)).startswith(begins)


def test_model_and_protocol_are_named_where_there_are_several():
    one = compare_terminal(comparison(CELL))
    several = compare_terminal(comparison(CELL, replace(CELL, protocol="sliding"), replace(CELL, model="n")))
    assert "(plain)" not in one
    assert "perplexity nll (sliding) [m]" in several
    assert "perplexity nll (plain) [n]" in several


def test_documents_and_missing_samples_are_said():
    cell = replace(UNSURE, samples=200, clusters=20, missing=7, added=3)
    (line,) = (line for line in compare_terminal(comparison(cell)).splitlines() if "inconclusive  " in line)
    assert "200 (20 documents)" in line
    assert line.endswith(
        "about 312 documents would decide; samples missing in the candidate: 7; samples only in the candidate: 3"
    )


def test_a_difference_that_is_small_does_not_look_like_none():
    tiny = replace(CELL, difference=0.0, low=-3e-5, high=3e-5)
    assert "+0.000 [-3e-05, +3e-05]" in compare_terminal(comparison(tiny))


def test_a_small_tolerance_shows_more_digits():
    assert "+0.00100 [-0.00200, +0.00400]" in compare_terminal(comparison(CELL, tolerance=0.0001))


def test_the_comment_shows_what_is_bad_and_folds_the_rest():
    text = compare_markdown(ALL)
    above, folded = text.split("<details>")
    assert text.startswith("**Regressed: 1 regressed")
    assert [name in above for name in ("`yarn`", "`abf`", "`ntk`", "`pi`")] == [True, True, True, False]
    assert folded.count("\n| ") == 6
    assert text.endswith("</details>\n")


def test_the_comment_of_many_cells_fits():
    cells = [
        replace(REGRESSED, method=f"method-{number}", context_length=number + 1) for number in range(3000)
    ]
    text = compare_markdown(comparison(*cells))
    assert len(text) < 65_536
    assert "And 2975 more below." in text
    shown = text.split("<details>")[1].count("\n| ") - 1
    assert f"{3000 - shown} more cells do not fit a comment." in text
    assert shown > 300


@pytest.mark.parametrize(("is_strict", "undecided"), [(False, "skipped"), (True, "failure")])
def test_junit_has_a_case_per_cell_with_what_ci_acts_on(is_strict, undecided):
    (suite,) = parsed(compare_junit(ALL, is_strict=is_strict))
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {
        "perplexity nll: yarn at 4k": ["failure"],
        "perplexity nll: abf at 4k": ["error"],
        "perplexity nll: ntk at 4k": ["error"],
        "perplexity nll: pi at 4k": [undecided],
        "perplexity nll: none at 4k": [],
    }
    kinds = [child.tag for case in suite.iter("testcase") for child in case]
    counted = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counted == {
        "tests": 5,
        "failures": kinds.count("failure"),
        "errors": 2,
        "skipped": kinds.count("skipped"),
    }
    assert next(suite.iter("failure")).get("message") == "regressed: +0.200 [+0.100, +0.300]"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_others_wrote_is_text_in_every_format(text):
    cell = replace(FAILED, method=text, model=text, reason=text)
    found = comparison(cell, CELL, notes=(text,), unmeasured=(text,), candidate=text[:1000])

    terminal, comment = compare_terminal(found), compare_markdown(found)
    root = parsed(compare_junit(found, is_strict=False))

    assert all(char.isprintable() or char == "\n" for char in terminal + comment)
    assert len(terminal.splitlines()) == 2 + 3 + 2 + 2
    assert len(comment) < 65_536
    without_code = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", comment)
    assert re.findall(r"<[^>]*>", without_code) == ["<details>", "<summary>", "</summary>", "</details>"]
    assert "@everyone" not in without_code
    for row in comment.splitlines():
        if row.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", row)) == 10
    assert len(list(root.iter("testcase"))) == 2
