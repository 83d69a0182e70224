"""Robustness curves: what they show, that nothing covers anything, and that they are the same each time."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from longbench_run.reports.curves import alt_text, curve_blocks, robustness_figure
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
    texts = [text.get_text() for text in robustness_figure(passkey).texts]
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
    assert "out of memory: none at 1k\nnot measured: none at 4k" in [text.get_text() for text in figure.texts]


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
    many = method_styles([f"method{index}" for index in range(32)])
    assert len({(style.colour, str(style.line)) for style in many.values()}) == 33
    # What is left in grey.
    assert len({(style.marker, style.face == "white", str(style.line)) for style in many.values()}) == 33


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
    assert set(found) == {f"{panel}.{suffix}" for panel in (0, 1) for suffix in ("png", "svg", "pdf")}
    assert found == digests(tmp_path / "b")


def test_a_figure_has_its_title_and_words_in_the_svg(passkey, tmp_path):
    found = save_figure(
        robustness_figure(passkey), tmp_path / "figure", title="a <title>", description="in & out"
    )
    text = found.svg.read_text(encoding="utf-8")
    assert "a &lt;title&gt;" in text
    assert "in &amp; out" in text
    assert "dc:date" not in text


def test_drawing_changes_no_setting_of_matplotlib(passkey, tmp_path):
    before = mpl.rcParams.copy()
    save_figure(robustness_figure(passkey), tmp_path / "figure", title="t", description="d")
    assert mpl.rcParams == before
    assert "matplotlib.pyplot" not in sys.modules


def test_few_lines_have_bands_between_their_intervals_and_many_have_none(passkey, make, tmp_path):
    assert not robustness_figure(passkey).axes[0].findobj(FillBetweenPolyCollection)
    records = [
        make.passkey(method=method, length=length, index=index, right=index < 7)
        for method in ("none", "pi")
        for length in (512, 1024)
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=("none", "pi"), lengths=(512, 1024))
    panel = panels(run)[1][0]
    bands = robustness_figure(panel).axes[0].findobj(FillBetweenPolyCollection)
    assert len(bands) == 2
    for band, method in zip(bands, ("none", "pi"), strict=True):
        cell = panel.cells[method, 512]
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx((cell.low, cell.high))


def test_labels_that_would_lie_on_each_other_are_left_out_and_the_longest_length_keeps_its_own(
    make, tmp_path
):
    lengths = (512, 520, 528, 536, 544, 552, 8192)
    records = [make.passkey(method="none", length=n, index=i, right=True) for n in lengths for i in range(12)]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=lengths)
    labels = robustness_figure(panels(run)[1][0], "paper").axes[0].get_xticklabels()
    shown = [label for label in labels if label.get_text()]
    assert 1 <= len(shown) < len(lengths)
    assert shown[-1].get_text() == "8k\n16x"
    boxes = [label.get_window_extent() for label in shown]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_the_caption_says_what_the_figure_is_about_and_names_the_run(passkey, make):
    (block,) = curve_blocks(passkey, make.header())
    assert "".join(span.text for span in block.caption) == (
        "passkey: accuracy over context length (higher is better). Model bundled, protocol passkey-v1, factor policy fixed, "
        "n = 20, 95 % interval: Wilson. Original window: 512 tokens. Run aaaaaaaaaaaa."
    )
    assert block.draw("paper").get_figwidth() == 3.3


def test_importing_the_reports_imports_no_matplotlib():
    code = (
        "import sys, longbench_run.reports.markdown, longbench_run.reports.terminal, longbench_run.reports.samples;"
        "assert not {'matplotlib', 'pandas', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
