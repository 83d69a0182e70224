"""The page says what the figures say, and nothing of what was not measured."""

from __future__ import annotations

import pytest

from benchmarks.page import NOT_MEASURED, page, spread
from benchmarks.rows import ROWS, Limit

ROW = next(row for row in ROWS if row.name == "single-band-prefill")
RATE = next(row for row in ROWS if row.name == "matrix-rate")


def column(**rows):
    circumstances = {
        "others_busy": 0.25,
        "seconds": 12.0,
        "measured": "2026-01-01T00:00:00+00:00",
        "revision": "abc",
        "command": "python -m benchmarks cpu",
    }
    machine = {
        "device": "cpu (Some Processor)",
        "cores": 2,
        "threads": 1,
        "title": "CPU, bundled model, float32",
        "versions": {"torch": "2.0"},
        "sizes": {},
    }
    stored = {name.replace("_", "-"): {**row, **circumstances} for name, row in rows.items()}
    return {"machine": machine, "rows": stored, "pending": []}


def line(text, row):
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {row.what} |")]
    return [cell.strip() for cell in found.strip("|").split("|")][2:]


def test_a_figure_is_the_median_of_the_rounds_with_their_quartiles():
    text = page({"cpu": column(single_band_prefill={"values": [1.2, 1.0, 1.01], "note": "2 s / 2 s"})})
    assert line(text, ROW) == ["1.01 (1 to 1.1)", "<= 1.03", "yes", NOT_MEASURED, "<= 1.02", "-"]


def test_a_figure_of_one_round_has_no_quartiles():
    text = page({"gpu": column(matrix_rate={"values": [0.614], "note": ""})})
    assert line(text, RATE) == [NOT_MEASURED, "-", "-", "0.614", ">= 0.6", "yes"]


@pytest.mark.parametrize(("value", "reached"), [(1.03, "yes"), (1.031, "no")])
def test_a_figure_over_its_limit_is_not_reached(value, reached):
    text = page({"cpu": column(single_band_prefill={"values": [value], "note": ""})})
    assert line(text, ROW)[2] == reached


def test_a_share_under_its_limit_is_not_reached():
    assert not Limit(0.6, at_least=True).is_reached(0.59)
    assert Limit(0.6, at_least=True).is_reached(0.6)


def test_a_row_that_failed_is_not_reached_and_says_why():
    text = page({"cpu": column(single_band_prefill={"failed": "RuntimeError: out | of memory"})})
    assert line(text, ROW)[:3] == ["failed", "<= 1.03", "no"]
    assert "RuntimeError: out / of memory" in text


def test_nothing_measured_is_said_in_every_cell():
    text = page({})
    assert all(line(text, row)[0] == line(text, row)[3] == NOT_MEASURED for row in ROWS)
    assert text.count("Not measured.") == 2


def test_the_page_names_machine_versions_command_and_load():
    text = page({"cpu": column(single_band_prefill={"values": [1.0], "note": "2 s / 2 s"})})
    assert "cpu (Some Processor), 2 cores; threads: 1" in text
    assert "torch 2.0" in text
    assert "`python -m benchmarks cpu`; revision abc" in text
    assert "| single-band-prefill | 1 | 2 s / 2 s | 0.25 | 12 | 2026-01-01T00:00:00+00:00 |" in text


def test_a_stopped_benchmark_names_what_it_owes():
    owing = {**column(), "pending": ["matrix-rate", "decode"]}
    assert "Stopped before: matrix-rate, decode." in page({"cpu": owing})


def test_quartiles_lie_within_the_rounds():
    assert spread([3.0, 1.0, 2.0]) == (1.5, 2.0, 2.5)
    assert spread([1.0]) == (1.0, 1.0, 1.0)
