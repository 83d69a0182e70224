"""Every figure in every style: the size that the style says, nothing over anything else, the same bytes each time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longbench_run.reports.cost import cost_figure, costs_of
from longbench_run.reports.curves import robustness_figure
from longbench_run.reports.figures import STYLES, house_style, save_figure
from longbench_run.reports.forest import forest_figure, forest_of
from longbench_run.reports.heat_map import heat_map_figure
from longbench_run.reports.panels import panels
from longbench_run.reports.positions import position_figure
from longbench_run.results.table import load

_HERE = Path(__file__).parent
WIDTHS = {"report": 7.0, "paper": 3.3, "slides": 10.0}
LONG = (
    "none",
    "self_extend:group_size=16:window=1024",
    "abf:base=1000000+self_extend:group=4:window=1024+log_n",
    "dca:chunk=384:largest_position=511:variant=released",
    "dynamic_ntk:variant=transformers",
    *("pi", "ntk", "yarn", "llama3", "longrope", "string", "rerope+log_n", "leaky_rerope", "lm_infinite"),
    *("streaming_llm", "entropy_abf"),
)
LENGTHS = (512, 1024, 2048, 4096)
RENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_figure_styles import KINDS, draw, shown
from longbench_run.reports.figures import save_figure
of = shown(sys.argv[1])
for kind in KINDS:
    save_figure(draw(kind, of, "paper"), Path(sys.argv[2]) / kind, title="t", description="d")
"""


def records(make, methods, *, samples):
    """Yield passkeys at three depths; the third method runs out of memory at 2k, the fourth applies at 512 alone."""
    for place, method in enumerate(methods):
        for step, length in enumerate(LENGTHS):
            if place == 3 and step > 0:
                yield make.failed(method=method, length=length, index=None, status="not_applicable")
                continue
            for index in range(samples):
                if place == 2 and step > 1:
                    yield make.failed(method=method, length=length, index=index, status="out_of_memory")
                    continue
                yield make.passkey(
                    method=method,
                    length=length,
                    index=index,
                    right=(index * (place + 3)) % 7 > step,
                    depth=index % 3 / 2,
                    sample_key=f"{length}-{index}",
                    seconds_prefill=length / 5000 * (1 + place / 10),
                    seconds_decode=0.1,
                    generated_tokens=7,
                    peak_bytes=2**29 + place * 2**20,
                )


def shown(run):
    """Return what figures of a run's first panel are drawn of."""
    header, (panel, *_) = panels(run)
    frame = load(run)
    return {
        "curves": panel,
        "positions": panel,
        "heat_map": panel,
        "forest": forest_of(panel, frame),
        "cost": costs_of(panel, header, frame),
    }


def draw(kind, of, style):
    """Return a figure."""
    figures = {
        "curves": robustness_figure,
        "positions": position_figure,
        "heat_map": heat_map_figure,
        "forest": forest_figure,
        "cost": cost_figure,
    }
    return figures[kind](of[kind], style)


KINDS = ("curves", "positions", "heat_map", "forest", "cost")


@pytest.fixture(scope="module", params=[2, 16], ids=lambda count: f"{count}-methods")
def of_run(request, tmp_path_factory, make):
    methods = LONG[: request.param]
    folder = tmp_path_factory.mktemp("run") / "run"
    return shown(make.run(folder, records(make, methods, samples=30), methods=methods, lengths=LENGTHS))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_covers_anything_and_the_width_is_that_of_the_style(
    of_run, assert_nothing_covers_anything, kind, style
):
    figure = draw(kind, of_run, style)
    assert_nothing_covers_anything(figure)
    assert figure.get_figwidth() == WIDTHS[style]


@pytest.mark.parametrize("kind", ["curves", "heat_map", "forest", "cost"])
def test_a_single_sample_is_drawn(make, tmp_path, assert_nothing_covers_anything, kind):
    one = [
        make.passkey(
            method=m, length=512, index=i, right=True, depth=i / 1, sample_key=f"{i}", seconds_prefill=1.0
        )
        for m in ("none", "pi")
        for i in (0, 1)
    ]
    of = shown(make.run(tmp_path / "run", one, methods=("none", "pi"), lengths=(512,)))
    for style in STYLES:
        assert_nothing_covers_anything(draw(kind, of, style))


def test_slides_are_16_to_9(of_run):
    figure = draw("curves", of_run, "slides")
    if len(of_run["curves"].methods) <= 6:
        assert figure.get_figwidth() * 9 == figure.get_figheight() * 16


def test_a_paper_has_letters_of_6_5_to_8_points(of_run):
    for kind in KINDS:
        figure = draw(kind, of_run, "paper")
        sizes = {text.get_fontsize() for text in figure.texts}
        sizes |= {text.get_fontsize() for legend in figure.legends for text in legend.get_texts()}
        for axes in figure.axes:
            if axes.axison:
                sizes |= {
                    axes.yaxis.label.get_fontsize(),
                    *(t.get_fontsize() for t in axes.get_xticklabels()),
                }
        assert 6.5 <= min(sizes) <= max(sizes) <= 8


def test_a_figure_is_saved_as_it_was_drawn_whatever_style_is_in_force(of_run, tmp_path):
    found = []
    for style in STYLES:
        with house_style(style):
            figure = draw("curves", of_run, "paper")
            found.append(save_figure(figure, tmp_path / style, title="t", description="d").png.read_bytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_axes_stay_where_the_solvers_last_digits_cannot_move_them(of_run, kind, tmp_path):
    figure = draw(kind, of_run, "paper")
    before = [axes.get_position(original=True).bounds for axes in figure.axes]
    steps = np.array(before) / (np.pi * 1e-6)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    figure.savefig(tmp_path / "figure.png")
    assert [axes.get_position(original=True).bounds for axes in figure.axes] == before


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, make):
    """Return the files of two renders by two processes with other seeds of hashes."""
    methods, folder = LONG[:4], tmp_path_factory.mktemp("renders")
    run = make.run(folder / "run", records(make, methods, samples=30), methods=methods, lengths=LENGTHS)
    for name in ("a", "b"):
        (folder / name).mkdir()
        subprocess.run(
            [sys.executable, "-c", RENDER, str(run), str(folder / name), str(_HERE)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(ord(name)), "MPLBACKEND": "template"},
        )
    return folder


def test_two_renders_are_equal_byte_by_byte(rendered):
    names = sorted(path.name for path in (rendered / "a").iterdir())
    assert len(names) == 3 * len(KINDS)
    different = [n for n in names if (rendered / "a" / n).read_bytes() != (rendered / "b" / n).read_bytes()]
    assert not different


def test_pdf_has_truetype_fonts_and_no_date(rendered):
    for path in (rendered / "a").glob("*.pdf"):
        data = path.read_bytes()
        assert b"/FontFile2" in data
        assert b"/Type3" not in data
        assert not re.search(rb"CreationDate|ModDate|Producer", data)
        assert b"/Title" in data
