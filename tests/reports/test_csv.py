"""CSV that reads back as what was measured, and that no spreadsheet computes."""

import csv
import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longbench_run.reports.content import LoadedRun, report_blocks
from longbench_run.reports.csv import safe, write_csv
from longbench_run.reports.document import Table, cell, code, text
from longbench_run.reports.report import with_file_names
from longbench_run.results.store import read_header
from longbench_run.results.table import load, summarize


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def test_results_read_back_as_what_was_summarized(realistic_run, tmp_path):
    frame = load(realistic_run)
    path = write_csv([], [frame], tmp_path)
    back, expected = pd.read_csv(path, keep_default_na=False, na_values=[""]), summarize(frame)
    assert list(back.columns) == list(expected.columns)
    assert len(back) == len(expected) > 40
    for column in ("n", "clusters", "context_length", "ok", "value", "low", "high"):
        assert back[column].tolist() == pytest.approx(expected[column].tolist(), rel=0, abs=0)
    for column in (
        "task",
        "protocol",
        "metric",
        "method_label",
        "interval",
        "factor_policy",
        "higher_is_better",
    ):
        assert back[column].tolist() == expected[column].tolist()


def test_runs_stand_one_below_the_other_under_one_head(realistic_run, make, tmp_path):
    other = make.run(tmp_path / "other", [make.passkey(method="none", length=512, index=0, right=True)])
    rows = rows_of(write_csv([], [load(realistic_run), load(other)], tmp_path))
    head, *body = rows
    assert body.count(head) == 0
    assert {len(row) for row in rows} == {len(head)}
    assert {row[head.index("run")] for row in body} == {str(realistic_run), str(other)}


def test_failures_are_rows_without_a_value_and_with_their_reason(make, tmp_path):
    records = [
        make.failed(method="pi", length=512, index=0, status="out_of_memory", message="=cmd|' /C calc'!A0")
    ]
    frame = load(make.run(tmp_path / "run", records))
    head, row, *_ = rows_of(write_csv([], [frame], tmp_path))
    found = dict(zip(head, row, strict=True))
    assert (found["value"], found["low"], found["n"], found["out_of_memory"]) == ("", "", "0", "1")
    assert found["failure"] == "OutOfMemoryError: =cmd|' /C calc'!A0"


def test_no_run_is_an_empty_file(tmp_path):
    assert write_csv([], [], tmp_path).read_text() == ""


def test_every_table_of_a_report_is_a_file_and_the_bytes_are_the_same_each_time(realistic_run, tmp_path):
    frame = load(realistic_run)
    blocks = tuple(with_file_names(report_blocks([LoadedRun("run", read_header(realistic_run), frame)])))
    folders = tmp_path / "first", tmp_path / "again"
    for folder in folders:
        folder.mkdir()
        write_csv(blocks, [frame], folder)
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(tables) >= 4
    for table in tables:
        rows = rows_of(folders[0] / "tables" / f"{table.name}.csv")
        assert len(rows) == 1 + len(table.rows)
        assert {len(row) for row in rows} == {len(table.head)}
    for path in folders[0].rglob("*.csv"):
        assert path.read_bytes() == (folders[1] / path.relative_to(folders[0])).read_bytes()


HOSTILE = (
    "=HYPERLINK(1)",
    "+1+1",
    "-2+3+cmd",
    "@SUM(A1)",
    "  =1",
    "\t=1",
    "\r\n=1",
    '"=1"',
    'a"b,c\nd',
    "\uff1d1+1",
    "lone \ud800",
    "\u202e rtl",
    "\x1b[31m",
    "x" * 1_000_000,
)


def test_hostile_text_stays_one_field_on_one_line(tmp_path):
    rows = tuple((cell(code(content)), cell(f"{content}!")) for content in HOSTILE)
    table = Table(name="t", caption=text("c"), head=(text("=a"), text("b")), rows=rows)
    write_csv([table], [], tmp_path)
    path = tmp_path / "tables" / "t.csv"
    found = rows_of(path)
    assert len(path.read_text().splitlines()) == len(found) == 1 + len(HOSTILE)
    assert {len(row) for row in found} == {2}
    assert not any(re.match(r"\s*[=+\-@\uff1d]", field) for row in found for field in row)
    assert found[0] == ["'=a", "b"]
    assert found[-1][0] == "x" * 32_000 + "... (968000 characters more)"


@given(st.text(st.characters()))
@example("-1e5")
@example("-0.5 [-1, 0]")
def test_only_a_plain_number_begins_like_a_formula(content):
    shown = safe(content)
    if shown[:1] in tuple("=+-@"):
        assert shown == "-" or float(shown) == float(content)
    assert shown.isprintable()


@pytest.mark.parametrize("content", ["-", "-0.25", "1.5", "+3", "-1e-05", "yarn:factor=4", "a-b"])
def test_harmless_text_is_as_it_was(content):
    assert safe(content) == content
