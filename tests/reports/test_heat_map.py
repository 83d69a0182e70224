"""Heat maps: a field per depth and length, what it says, and what is hatched."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.patches import Rectangle

from longbench_run.reports.heat_map import heat_map, heat_map_blocks, heat_map_figure
from longbench_run.reports.panels import panels

LENGTHS = (512, 1024, 2048)
DEPTHS = (0.0, 0.5, 1.0)


def records(make):
    """Yield four passkeys per depth: `none` loses one more of them with each length and depth; `pi` has no memory at 1k."""
    for step, length in enumerate(LENGTHS):
        for index in range(12):
            depth, trial = index % 3, index // 3
            yield make.passkey(
                method="none", length=length, index=index, right=trial >= step + depth, depth=DEPTHS[depth]
            )
            if length == 1024:
                yield make.failed(method="pi", length=length, index=index, status="out_of_memory")
            else:
                yield make.passkey(method="pi", length=length, index=index, right=True, depth=DEPTHS[depth])


@pytest.fixture
def panel(make, tmp_path):
    return panels(make.run(tmp_path / "run", records(make), methods=("none", "pi"), lengths=LENGTHS))[1][0]


def maps(figure):
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def fields(axes):
    return {
        (round(patch.get_x() + 0.5), round(patch.get_y() + 0.5)): patch
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }


def test_fields_are_the_shares_of_right_answers(panel):
    shown = heat_map(panel)
    assert shown.depths == ("0", "0.5", "1")
    expected = {512: [1, 0.75, 0.5], 1024: [0.75, 0.5, 0.25], 2048: [0.5, 0.25, 0]}
    for length, shares in expected.items():
        assert [field.value for field in shown.fields["none", length]] == shares
        assert {field.samples for field in shown.fields["none", length]} == {4}


def test_a_map_has_a_field_of_its_colour_and_number_for_each_depth_and_length(panel):
    axes, _ = maps(heat_map_figure(panel))
    assert axes.get_title(loc="left") == "none"
    for (x, y), patch in fields(axes).items():
        value = panel.curves["none", LENGTHS[x]].points[y].mean.value
        np.testing.assert_allclose(patch.get_facecolor(), colormaps["cividis"](value), atol=1e-6)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        **{(0, 0): "1", (0, 1): ".75", (0, 2): ".5"},
        **{(1, 0): ".75", (1, 1): ".5", (1, 2): ".25"},
        **{(2, 0): ".5", (2, 1): ".25", (2, 2): "0"},
    }


def test_numbers_are_told_from_their_ground_in_grey(panel):
    for axes in maps(heat_map_figure(panel)):
        for text in axes.texts:
            if text.get_rotation() == 0:
                ground = fields(axes)[text.get_position()].get_facecolor()[:3]
                grey = float(np.dot(ground, (0.299, 0.587, 0.114)))
                assert abs(grey - (1.0 if text.get_color() == "white" else 0.0)) > 0.45


def test_what_has_no_value_is_hatched_and_says_why(panel):
    _, axes = maps(heat_map_figure(panel))
    hatched = [place for place, patch in fields(axes).items() if patch.get_hatch()]
    assert hatched == [(1, 0), (1, 1), (1, 2)]
    assert [(t.get_position(), t.get_text()) for t in axes.texts if t.get_rotation() == 90] == [
        ((1.0, 1.0), "out of memory")
    ]
    assert "Hatched: no value." in [text.get_text() for text in heat_map_figure(panel).texts]


def test_many_depths_are_put_together_in_ten_bins(make, tmp_path):
    found = [
        make.passkey(method="none", length=512, index=index, right=index >= 50, depth=index / 99)
        for index in range(100)
    ]
    panel = panels(make.run(tmp_path / "run", found, methods=("none",), lengths=(512,)))[1][0]
    shown = heat_map(panel)
    assert shown.depths[0] == "0-0.1"
    assert shown.depths[-1] == "0.9-1"
    assert [field.value for field in shown.fields["none", 512]] == [0] * 5 + [1] * 5
    assert sum(field.samples for field in shown.fields["none", 512]) == 100


def test_fields_too_small_for_numbers_have_none(make, tmp_path):
    lengths = tuple(512 * step for step in range(1, 41))
    found = [
        make.passkey(method=method, length=n, index=i, right=True, depth=float(i))
        for n in lengths
        for i in (0, 1)
        for method in ("none", "pi", "yarn")
    ]
    panel = panels(make.run(tmp_path / "run", found, methods=("none", "pi", "yarn"), lengths=lengths))[1][0]
    assert not [text for axes in maps(heat_map_figure(panel, "paper")) for text in axes.texts]


def test_a_task_without_depths_has_no_heat_map(make, tmp_path):
    found = [make.perplexity(method="none", length=512, index=index, nll=2.0) for index in range(12)]
    header, (_, perplexity) = panels(make.run(tmp_path / "run", found, methods=("none",), lengths=(512,)))
    assert list(heat_map_blocks(perplexity, header)) == []


def test_the_block_says_what_it_shows(panel, make):
    (block,) = heat_map_blocks(panel, make.header())
    caption = "".join(span.text for span in block.caption)
    assert "factor policy fixed, n = 4 in each field" in caption
    assert "Run aaaaaaaaaaaa." in caption
    assert block.alt == (
        "passkey: accuracy of bundled by depth and context length. none worst 0.00 at depth 1 at 2k; "
        "pi worst 1.00 at depth 0 at 512 and 5 more of 6 fields."
    )
