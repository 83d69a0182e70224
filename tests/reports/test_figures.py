"""Robustness curves: what they show, that nothing covers anything, and that they are the same each time."""

import hashlib
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from longbench_run.reports.curves import alt_text, robustness_figure
from longbench_run.reports.figures import method_styles, save_figure
from longbench_run.reports.panels import panels

METHODS = ("none", "pi", "yarn", "abf", "entropy_abf", "self_extend")


@pytest.fixture(scope="module")
def passkey(realistic_run):
    return panels(realistic_run)[1][0]


@pytest.fixture(scope="module")
def perplexity(realistic_run):
    return panels(realistic_run)[1][1]


def curves(figure):
    """Return the data of each method's line, in the order in which they were drawn."""
    return [container.lines[0] for container in figure.axes[0].containers]


def test_every_method_has_its_values_where_they_were_measured(passkey):
    lines = curves(robustness_figure(passkey))
    assert len(lines) == len(METHODS)
    for method, line in zip(METHODS, lines, strict=True):
        values = [passkey.cells[method, length].value for length in passkey.lengths]
        np.testing.assert_allclose(line.get_ydata(orig=False), values)
        # Side by side, and never nearer to another length than to its own.
        assert np.all(np.abs(np.log2(line.get_xdata(orig=False) / np.array(passkey.lengths))) < 0.25)


def test_bars_are_the_intervals(passkey):
    container = robustness_figure(passkey).axes[0].containers[2]
    (segments,) = [bars.get_segments() for bars in container.lines[2]]
    for length, segment in zip(passkey.lengths, segments, strict=True):
        cell = passkey.cells["yarn", length]
        np.testing.assert_allclose(segment[:, 1], [cell.low, cell.high])


def test_perplexity_is_drawn_as_exp_of_nll_on_a_log_axis(perplexity):
    figure = robustness_figure(perplexity)
    axes = figure.axes[0]
    values = [perplexity.cells["none", length].value for length in perplexity.lengths]
    np.testing.assert_allclose(curves(figure)[0].get_ydata(orig=False), np.exp(values))
    assert axes.get_yscale() == "log"
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["3", "10", "30", "100", "300", "1000", "3000", "10⁴"]


def test_perplexity_that_hardly_moves_has_a_linear_axis(make, tmp_path):
    records = [
        make.perplexity(method="none", length=length, index=index, nll=2 + index / 50)
        for length in (512, 1024)
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=(512, 1024))
    assert robustness_figure(panels(run)[1][1]).axes[0].get_yscale() == "linear"


def test_perplexity_beyond_all_bounds_is_still_drawn(make, tmp_path):
    records = [
        make.perplexity(method="none", length=length, index=index, nll=nll + index / 50)
        for length, nll in ((512, 2), (1024, 900))
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=(512, 1024))
    panel = panels(run)[1][1]
    figure = robustness_figure(panel)
    assert np.isfinite(curves(figure)[0].get_ydata(orig=False)).all()
    save_figure(figure, tmp_path / "figure", title="t", description=alt_text(panel))


def test_the_axis_is_log2_with_lengths_and_windows(passkey):
    axes = robustness_figure(passkey).axes[0]
    assert (axes.get_xscale(), axes.xaxis.get_transform().base) == ("log", 2)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["512\n1x", "1k\n2x", "2k\n4x", "4k\n8x"]


def test_a_line_stands_at_the_original_window_and_says_so(passkey):
    axes = robustness_figure(passkey).axes[0]
    assert [512, 512] in [list(line.get_xdata()) for line in axes.lines]
    assert "original window (512)" in [text.get_text() for text in axes.texts]


def test_a_window_far_from_every_length_does_not_empty_the_figure(make, tmp_path):
    records = [make.passkey(method="none", length=16_384, index=index, right=True) for index in range(12)]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=(16_384,))
    axes = robustness_figure(panels(run)[1][0]).axes[0]
    assert axes.get_xlim()[0] > 8192
    assert not [text for text in axes.texts if "window" in text.get_text()]


def test_the_figure_says_model_protocol_policy_n_and_interval(passkey):
    texts = [text.get_text() for text in robustness_figure(passkey).axes[0].texts]
    assert "bundled · protocol passkey-v1 · factor fixed · n = 20 · 95 % interval: Wilson" in texts


def test_a_line_is_broken_where_nothing_was_measured_and_the_figure_says_why(make, tmp_path):
    records = [
        make.passkey(method="none", length=length, index=index, right=True)
        for length in (512, 2048)
        for index in range(12)
    ]
    records += [
        make.failed(method="none", length=1024, index=index, status="out_of_memory") for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=(512, 1024, 2048, 4096))
    figure = robustness_figure(panels(run)[1][0])
    assert np.isnan(curves(figure)[0].get_ydata(orig=False)).tolist() == [False, True, False, True]
    assert figure.get_supxlabel() == "out of memory: none at 1k\nnot measured: none at 4k"


@pytest.mark.parametrize("count", [1, 6, 12])
def test_nothing_covers_anything(make, tmp_path, count):
    names = [
        "none",
        *(f"abf:base=1000000+self_extend:group={n}:window=1024+log_n" for n in range(2, count + 1)),
    ]
    records = [
        make.passkey(method=method, length=length, index=index, right=index < 7)
        for method in names
        for length in (512, 1024)
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=tuple(names), lengths=(512, 1024))
    figure = robustness_figure(panels(run)[1][0])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # lays it out
    renderer = canvas.get_renderer()
    axes, legend = figure.axes[0], figure.legends[0]
    box = legend.get_window_extent(renderer)
    assert not box.overlaps(axes.get_window_extent(renderer))
    for other in (axes.title, *axes.texts):
        assert not box.overlaps(other.get_window_extent(renderer))
    for artist in (legend, axes.title, *axes.texts, axes.xaxis.label, axes.yaxis.label):
        inside = artist.get_window_extent(renderer)
        assert inside.x0 >= -1
        assert inside.y0 >= -1
        assert inside.x1 <= figure.bbox.x1 + 1
        assert inside.y1 <= figure.bbox.y1 + 1


def test_a_label_longer_than_any_figure_is_cut(make, tmp_path):
    records = [make.passkey(method="x" * 500, length=512, index=index, right=True) for index in range(12)]
    run = make.run(tmp_path / "run", records, methods=("x" * 500,), lengths=(512,))
    (label,) = [text.get_text() for text in robustness_figure(panels(run)[1][0]).legends[0].get_texts()]
    assert max(map(len, label.split("\n"))) <= 26
    assert label.endswith("\n  ...")


def test_a_label_with_dollar_signs_is_no_formula(make, tmp_path):
    method = r"$\frac$"
    records = [make.passkey(method=method, length=512, index=index, right=True) for index in range(12)]
    run = make.run(tmp_path / "run", records, methods=(method,), lengths=(512,))
    figure = robustness_figure(panels(run)[1][0])
    save_figure(figure, tmp_path / "figure", title=method, description=method)


def test_colours_follow_the_order_of_the_run_and_none_is_black():
    styles = method_styles(METHODS)
    assert styles["none"].colour == "#222222"
    assert len({style.colour for style in styles.values()}) == len(METHODS)
    # What else is in the run, and whether it has values, changes no colour.
    assert method_styles(METHODS[:3])["yarn"] == styles["yarn"]
    many = method_styles([f"method{index}" for index in range(20)])
    assert len({(style.colour, str(style.line)) for style in many.values()}) == 21


def test_alt_text_says_what_is_to_be_seen(passkey):
    assert alt_text(passkey) == (
        "passkey: accuracy of bundled over context length, original window 512 tokens. "
        "none 1.00 at 512, 0.00 at 4k; pi 0.65 at 512, 0.00 at 4k; yarn 1.00 at 512, 0.35 at 4k; "
        "abf 1.00 at 512, 0.10 at 4k; entropy_abf 0.90 at 512, 0.10 at 4k; self_extend 1.00 at 512, 0.65 at 4k."
    )


RENDER = """
import sys
from pathlib import Path
from longbench_run.reports.curves import robustness_figure
from longbench_run.reports.figures import save_figure
from longbench_run.reports.panels import panels
for place, panel in enumerate(panels(sys.argv[1])[1]):
    save_figure(robustness_figure(panel), Path(sys.argv[2]) / str(place), title="t", description="d")
"""


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_two_renders_are_equal_byte_by_byte(realistic_run, tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "lines.linewidth: 9\naxes.facecolor: yellow\nsavefig.bbox: tight\n"
    )
    for name, settings in (("a", {}), ("b", {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")})):
        (tmp_path / name).mkdir()
        subprocess.run(
            [sys.executable, "-c", RENDER, str(realistic_run), str(tmp_path / name)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(ord(name)), **settings},
        )
    found = digests(tmp_path / "a")
    assert set(found) == {"0.png", "0.svg", "1.png", "1.svg"}
    assert found == digests(tmp_path / "b")


def test_a_figure_has_its_title_and_words_in_the_svg(passkey, tmp_path):
    _, svg = save_figure(
        robustness_figure(passkey), tmp_path / "figure", title="a <title>", description="in & out"
    )
    text = svg.read_text(encoding="utf-8")
    assert "a &lt;title&gt;" in text
    assert "in &amp; out" in text
    assert "dc:date" not in text


def test_drawing_changes_no_setting_of_matplotlib(passkey, tmp_path):
    before = mpl.rcParams.copy()
    save_figure(robustness_figure(passkey), tmp_path / "figure", title="t", description="d")
    assert mpl.rcParams == before
    assert "matplotlib.pyplot" not in sys.modules


def test_importing_the_reports_imports_no_matplotlib():
    code = (
        "import sys, longbench_run.reports.markdown, longbench_run.reports.terminal, longbench_run.reports.samples;"
        "assert not {'matplotlib', 'pandas', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
