"""Curves by position: what they show, where they are left out, and the table beside them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from longbench_run.reports.figures import method_styles, save_figure
from longbench_run.reports.panels import panels
from longbench_run.reports.positions import (
    fewest_samples,
    has_position_figure,
    position_alt_text,
    position_figure,
    position_notes,
    position_table,
)
from longbench_run.reports.report import write_report
from longbench_run.results.positions import position_curves
from longbench_run.results.table import load

METHODS = ("none", "yarn")
LENGTHS = (512, 1024, 2048)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def records(make, *, questions=12, lengths=LENGTHS, methods=METHODS):
    """Yield records of questions asked at five positions; `none` is right at the ends only, and ever less."""
    for method in methods:
        for place, length in enumerate(lengths):
            for index in range(5 * questions):
                question, depth = index // 5, DEPTHS[index % 5]
                right = depth in {0.0, 1.0} if method == "none" else question % (place + 2) > 0
                yield make.passkey(
                    method=method,
                    length=length,
                    index=index,
                    right=right,
                    depth=depth,
                    document=f"question-{question}",
                )


def panel_of(make, folder, **shape):
    lengths, methods = shape.get("lengths", LENGTHS), shape.get("methods", METHODS)
    run = make.run(folder, records(make, **shape), methods=methods, lengths=lengths)
    return panels(run)[1][0]


@pytest.fixture
def panel(make, tmp_path):
    return panel_of(make, tmp_path / "run")


def test_one_panel_per_length_and_one_line_per_method(panel):
    figure = position_figure(panel)
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in drawn] == [
        "512 tokens (1x)",
        "1k tokens (2x)",
        "2k tokens (4x)",
    ]
    styles = method_styles(METHODS)
    for axes, length in zip(drawn, LENGTHS, strict=True):
        for method, line in zip(METHODS, axes.lines, strict=True):
            curve = panel.curves[method, length]
            np.testing.assert_allclose(line.get_xdata(), DEPTHS)
            np.testing.assert_allclose(line.get_ydata(), [point.mean.value for point in curve.points])
            assert line.get_color() == styles[method].colour


def test_bands_are_the_intervals(panel):
    axes = position_figure(panel).axes[1]
    for method, band in zip(METHODS, axes.collections, strict=True):
        points = panel.curves[method, 1024].points
        corners = band.get_paths()[0].vertices
        for point in points:
            heights = corners[np.isclose(corners[:, 0], point.depth), 1]
            assert (heights.min(), heights.max()) == pytest.approx(point.mean.interval)


def test_axes_are_labelled_in_words_and_share_their_range(panel):
    figure = position_figure(panel)
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_ylabel() for axes in drawn] == [
        "accuracy\n(higher is better)",
        "",
        "accuracy\n(higher is better)",
    ]
    texts = [text.get_text() for text in figure.texts]
    assert "position of what is asked for (0: beginning, 1: end of the context)" in texts
    assert {axes.get_ylim() for axes in drawn} == {(-0.04, 1.04)}
    assert texts[:2] == [
        "passkey: accuracy by position",
        "bundled · protocol passkey-v1 · factor fixed · n = 12 at each position · 95 % interval: Wilson",
    ]


@pytest.mark.parametrize(
    "lengths", [(512,), (512, 1024), (512, 1024, 2048, 4096), tuple(range(512, 3584, 512))]
)
def test_nothing_covers_anything(make, assert_nothing_covers_anything, tmp_path, lengths):
    assert_nothing_covers_anything(position_figure(panel_of(make, tmp_path / "run", lengths=lengths)))


def test_so_many_methods_have_no_bands_and_the_figure_says_so(make, tmp_path):
    methods = tuple(f"abf:base={n}" for n in range(7))
    figure = position_figure(panel_of(make, tmp_path / "run", lengths=(512,), methods=methods))
    assert not figure.axes[0].collections
    assert any("Intervals stand in the table" in text.get_text() for text in figure.texts)


def test_figure_is_the_same_each_time(panel, tmp_path):
    found = []
    for name in ("a", "b"):
        paths = save_figure(position_figure(panel), tmp_path / name, title="t", description="d")
        found.append([path.read_bytes() for path in paths])
    assert found[0] == found[1]


def test_table_holds_means_u_worst_and_spread_beside_what_a_flat_curve_has(panel):
    head, *rows = position_table(panel)
    assert head == [
        "context length",
        "method",
        *(f"at {depth:g}" for depth in DEPTHS),
        "depth of the U",
        "worst (if flat)",
        "spread (if flat)",
    ]
    assert [row[:2] for row in rows] == [
        [length, method] for length in ("512 (1x)", "1k (2x)", "2k (4x)") for method in METHODS
    ]
    # `none` is right at both ends and nowhere else, so every question has the same U: no interval.
    expected = panel.curves["none", 512].spread_if_flat
    assert rows[0][2:] == [
        "1.00 [0.76, 1.00]",
        *["0.00 [0.00, 0.24]"] * 3,
        "1.00 [0.76, 1.00]",
        "1.00 [-]",
        f"0.00 ({panel.curves['none', 512].worst_if_flat:.2f})",
        f"1.00 ({expected:.2f})",
    ]
    assert 0.1 < expected < 0.5
    # `yarn` is right in every second question, wherever the answer stands.
    assert rows[1][2:] == [*["0.50 [0.25, 0.75]"] * 5, "0.00 [-]", "0.50 (0.50)", "0.00 (0.00)"]
    assert "n = 12 at each position" in position_notes(panel)


def test_alt_text_says_ends_and_worst_position(panel):
    assert position_alt_text(panel) == (
        "passkey: accuracy of bundled by position. none at 512: 1.00 at 0, worst 0.00 at 0.25, 1.00 at 1; "
        "yarn at 512: 0.50 at 0, worst 0.50 at 0, 0.50 at 1; none at 2k: 1.00 at 0, worst 0.00 at 0.25, 1.00 at 1; "
        "yarn at 2k: 0.75 at 0, worst 0.75 at 0, 0.75 at 1."
    )


def test_report_has_figure_and_table(make, tmp_path):
    run = make.run(tmp_path / "run", records(make), methods=METHODS, lengths=LENGTHS)
    text = write_report([run], tmp_path / "report")[0].read_text()
    assert text.count("#### passkey: accuracy by position\n") == 1
    (figure,) = re.findall(r"\(figures/(\S*by-position\S*)\.png\)", text)
    assert (tmp_path / "report/figures" / f"{figure}.png").stat().st_size > 10_000
    assert "| 512 (1x) | `none` | 1.00 \\[0.76, 1.00\\] |" in text


def test_too_few_samples_for_intervals_are_said_and_not_drawn(make, tmp_path):
    run = make.run(tmp_path / "run", records(make, questions=9), methods=METHODS, lengths=LENGTHS)
    panel = panels(run)[1][0]
    assert (fewest_samples(panel), has_position_figure(panel)) == (9, False)
    text = write_report([run], tmp_path / "report")[0].read_text()
    assert (
        "Curves by position take at least 10 samples at every position, and there are 9: ask for more samples."
        in text
    )
    assert not list((tmp_path / "report/figures").glob("*by-position*"))


def test_task_without_positions_has_no_section(make, tmp_path):
    found = [make.perplexity(method="none", length=512, index=index, nll=2.0) for index in range(12)]
    run = make.run(tmp_path / "run", found, methods=("none",), lengths=(512,))
    assert "by position" not in write_report([run], tmp_path / "report")[0].read_text()


def with_protocol(record, protocol, **changes):
    """Return a record as another protocol of its task would have made it."""
    cell = record.cell.model_copy(update={"task": record.cell.task.model_copy(update={"protocol": protocol})})
    return record.model_copy(update={"cell": cell, "cell_id": cell.cell_id(), **changes})


def test_protocols_of_one_task_are_apart_and_a_floor_is_a_column_and_a_row_of_the_others(make, tmp_path):
    open_book = list(records(make))
    closed = [
        with_protocol(record, "closed-book", depth=None, scores={"accuracy": 0.0})
        for record in open_book
        if record.depth == 0
    ]
    header = make.header()
    tasks = (
        header.tasks[0],
        header.tasks[0].model_copy(update={"protocol": "closed-book", "reference": "floor"}),
    )
    run = make.run(tmp_path / "run", [*open_book, *closed], methods=METHODS, lengths=LENGTHS, tasks=tasks)
    opened, floor = panels(run)[1]
    assert {cell.n for cell in opened.cells.values()} == {60}
    assert {cell.n for cell in floor.cells.values()} == {12}
    assert (len(opened.curves), len(floor.curves)) == (6, 0)
    head, *rows = position_table(opened)
    assert head[-1] == "closed-book"
    assert {row[-1] for row in rows} == {"0.00 [0.00, 0.24]"}
    text = write_report([run], tmp_path / "report")[0].read_text()
    assert "### passkey: accuracy (`passkey-v1`)\n" in text
    assert "### passkey: accuracy (`closed-book`)\n" in text
    of_opened, of_floor = text.split("### passkey: accuracy (`closed-book`)\n")
    floors = " | ".join(["0.000 \\[0.000, 0.242\\]"] * 3)
    for method in METHODS:
        assert f"| `{method}`, `closed-book` | {floors} |\n" in of_opened
    assert "Protocol `closed-book`: the floor, over the same questions.\n" in of_opened
    assert "the floor" not in of_floor


def test_curve_of_an_older_version_is_not_shown(make, tmp_path):
    old = list(records(make, lengths=(512,), methods=("yarn",)))
    newer = [
        record.model_copy(update={"cell": cell, "cell_id": cell.cell_id(), "scores": {"accuracy": 1.0}})
        for record in old
        for cell in [record.cell.model_copy(update={"dtype": "bfloat16"})]
    ]
    run = make.run(tmp_path / "run", [*old, *newer], methods=("yarn",), lengths=(512,))
    assert len(position_curves(load(run))) == 2
    (curve,) = panels(run)[1][0].curves.values()
    assert {point.mean.value for point in curve.points} == {1.0}
