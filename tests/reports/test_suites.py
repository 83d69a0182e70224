"""Tables of suites: one per model and length, complete where it can be, and harmless."""

from __future__ import annotations

import csv
import re

import pytest

from longbench_run.reports.report import write_report
from longbench_run.reports.suites import SUITE_NOTE, suite_tables
from longbench_run.results.records import SuiteAverageInfo, SuiteInfo
from longbench_run.results.store import read_header
from longbench_run.results.suites import scores_of_suites
from longbench_run.results.table import load

GROUPS = {"reading": ("qa", "summaries"), "code": ("lines",)}
EN = SuiteAverageInfo(name="en", groups=GROUPS)
ZH = SuiteAverageInfo(name="zh", groups={"reading": ("other",), "code": ("lines",)})
SUITE = SuiteInfo(name="Suite", averages=(EN, ZH))


def tables_of(run):
    header = read_header(run)
    return list(suite_tables(header.suites[0], header, scores_of_suites(header, load(run))))


@pytest.fixture
def write(make, tmp_path):
    """Give `write(by_task, ...)`: a run whose samples are right so many times of twelve, in each task and method."""

    def written(by_task, *, suite=SUITE, methods=("none", "pi"), lengths=(512,), protocols=("p",), source=0):
        passkey = make.header().tasks[0]
        tasks = tuple(
            passkey.model_copy(update={"name": name, "protocol": protocol})
            for name in by_task
            for protocol in protocols
        )
        records = []
        for task in tasks:
            for method in methods:
                for length in lengths:
                    for index in range(12):
                        record = make.passkey(
                            method=method, length=length, index=index, right=index < by_task[task.name]
                        )
                        identity = record.cell.task.model_copy(
                            update={"name": task.name, "protocol": task.protocol}
                        )
                        cell = record.cell.model_copy(update={"task": identity})
                        changes = {"cell": cell, "cell_id": cell.cell_id(), "depth": None}
                        records.append(record.model_copy(update={**changes, "source_length": source}))
        return make.run(
            tmp_path / "run", records, methods=methods, lengths=lengths, tasks=tasks, suites=(suite,)
        )

    return written


def test_one_table_of_averages_and_one_of_tasks_for_each_length(write):
    tables = tables_of(write({"qa": 12, "summaries": 6, "lines": 3}, lengths=(512, 1024)))
    assert [table.title for table in tables] == [
        "Suite at 512 (1x), en",
        "Suite at 512 (1x), by task",
        "Suite at 1k (2x), en",
        "Suite at 1k (2x), by task",
    ]
    averages, tasks = tables[:2]
    assert averages.head == ("method", "protocol", "reading", "code", "average", "n")
    assert [row[:2] for row in averages.rows] == [("none", "p"), ("pi", "p")]
    for row in averages.rows:
        assert [cell.split()[0] for cell in row[2:]] == ["75.00", "25.00", "50.00", "36"]
        assert all("[-]" not in cell for cell in row)
    assert tasks.head == ("task", "none", "pi", "n")
    assert [(row[0], row[1].split()[0], row[3]) for row in tasks.rows] == [
        ("qa", "100.00", "12"),
        ("summaries", "50.00", "12"),
        ("lines", "25.00", "12"),
    ]


def test_what_lacks_a_part_says_how_many_there_are(write):
    averages, _ = tables_of(write({"qa": 12, "lines": 3}))
    assert averages.rows[0][2:] == ("- (1 of 2)", "25.00 [8.9, 53.2]", "- (1 of 2)", "24")


def test_without_a_complete_group_there_are_only_tasks(write):
    (table,) = tables_of(write({"qa": 12}))
    assert table.title == "Suite at 512 (1x), by task"


def test_an_average_that_adds_nothing_is_left_out(write):
    titles = [table.title for table in tables_of(write({"qa": 1, "lines": 3, "other": 4}))]
    assert titles == ["Suite at 512 (1x), en", "Suite at 512 (1x), zh", "Suite at 512 (1x), by task"]


def test_protocols_have_rows_and_columns_of_their_own(write):
    averages, tasks = tables_of(write({"lines": 3}, protocols=("p", "closed-book"), methods=("none",)))
    assert [row[:2] for row in averages.rows] == [("none", "p"), ("none", "closed-book")]
    assert tasks.head == ("task", "none, p", "none, closed-book", "n")


def test_buckets_have_rows_of_their_own(write):
    suite = SUITE.model_copy(update={"buckets": {"short": 100.0, "long": None}})
    averages, tasks = tables_of(write({"lines": 3}, suite=suite, source=100, methods=("none",)))
    assert averages.head[:3] == ("method", "protocol", "length of the source")
    assert [row[:3] for row in averages.rows] == [("none", "p", "long")]
    assert [row[:2] for row in tasks.rows] == [("lines", "long")]


def test_the_report_begins_with_the_suite(write, tmp_path):
    run = write({"qa": 12, "summaries": 6, "lines": 3}, methods=("none", "a|b"))
    text = write_report([run], tmp_path / "out")[0].read_text()
    suite, _ = text.split("### qa: accuracy\n")
    assert "### Suite\n" in suite
    assert SUITE_NOTE.splitlines()[0][:40] in suite
    assert "| `a\\|b` | `p` | 75.00 \\[" in suite
    head = next(line for line in suite.splitlines() if line.startswith("| task |"))
    assert head == "| task | none | a\\|b | n |"


def test_a_run_without_suites_has_no_such_section(make, realistic_run, tmp_path):
    assert "by task" not in write_report([realistic_run], tmp_path / "out")[0].read_text()


def test_latex_and_csv_have_the_same_tables(write, tmp_path):
    run = write({"qa": 12, "summaries": 6, "lines": 3})
    write_report([run], tmp_path / "out", formats=["latex", "csv"])
    folder = tmp_path / "out" / "tables"
    for table in tables_of(run):
        stem = "-".join(re.findall(r"\w+", table.title))
        with (folder / f"{stem}.csv").open(newline="") as lines:
            assert list(csv.reader(lines)) == [list(row) for row in (table.head, *table.rows)]
        latex = (folder / f"{stem}.tex").read_text()
        values = [cell for row in table.rows for cell in row[table.labels :]]
        assert values
        assert all(value in latex for value in values)
