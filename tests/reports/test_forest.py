"""Forest plots: what is drawn is the table of differences, and what is not told apart is hollow."""

import numpy as np
import pytest

from longbench_run.reports.forest import forest_blocks, forest_figure, forest_of
from longbench_run.reports.panels import panels
from longbench_run.results.method_differences import method_differences
from longbench_run.results.table import load

METHODS = ("none", "pi", "yarn")
LENGTHS = (512, 1024)


def records(make):
    """Yield 20 samples: at 512 all are alike; at 1k `none` is right in 10, `pi` in 9 of them, `yarn` in all or failed."""
    for length in LENGTHS:
        for index in range(20):
            for method in METHODS:
                right = length == 512 or {"none": index < 10, "pi": index < 9, "yarn": True}[method]
                yield make.passkey(
                    method=method, length=length, index=index, right=right, sample_key=f"{length}-{index}"
                )
                nll = 2 + index / 20 + (length == 1024) * {"none": 20.0, "pi": 0.1, "yarn": 0.2}[method]
                found = make.perplexity(method=method, length=length, index=index, nll=nll)
                yield found.model_copy(update={"sample_key": f"{length}-{index}"})


@pytest.fixture
def run(make, tmp_path):
    return make.run(tmp_path / "run", records(make), methods=METHODS, lengths=LENGTHS)


@pytest.fixture
def forests(run):
    frame = load(run)
    return [forest_of(panel, frame) for panel in panels(run)[1]]


def drawn(axes):
    """Return marker and bar of each row, by height."""
    found = {}
    for container in axes.containers:
        marker, _, (bars,) = container.lines
        found[float(marker.get_ydata()[0])] = (marker, bars.get_segments()[0][:, 0])
    return dict(sorted(found.items()))


@pytest.mark.parametrize("place", [0, 1])
def test_rows_are_the_differences_and_their_intervals(forests, run, place):
    frame = load(run)
    rows = frame[frame["task"] == ("passkey", "perplexity")[place]]
    expected = {(d.method_label, d.context_length): d for d in method_differences(rows)}
    for axes, length in zip(forest_figure(forests[place]).axes, LENGTHS, strict=True):
        for method, (marker, bar) in zip(("pi", "yarn"), drawn(axes).values(), strict=True):
            difference = expected[method, length]
            assert marker.get_xdata()[0] == difference.value
            np.testing.assert_allclose(bar, difference.interval)
            assert (marker.get_markerfacecolor() == "white") == (difference.effect == "not shown")
    shown = {place: difference.effect for place, difference in expected.items()}
    assert shown["pi", 512] == shown["yarn", 512] == "not shown"
    assert shown["yarn", 1024] == "better"


def test_axes_name_methods_and_lengths(forests):
    first, second = forest_figure(forests[0]).axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["512 (1x)", "1k (2x)"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["pi", "yarn"]
    low, high = first.get_ylim()
    assert low > high  # the first method stands at the top


def test_a_difference_of_rounding_does_not_fill_the_axis(forests):
    low, high = forest_figure(forests[1]).axes[0].get_xlim()
    assert low <= -0.01
    assert high >= 0.01


def test_cells_without_a_difference_say_why(make, tmp_path):
    found = [
        record
        for record in records(make)
        if (record.method_label, record.cell.context_length) != ("yarn", 1024)
    ]
    found += [make.failed(method="yarn", length=1024, index=i, status="out_of_memory") for i in range(20)]
    run = make.run(tmp_path / "run", found, methods=METHODS, lengths=(*LENGTHS, 2048))
    forest = forest_of(panels(run)[1][0], load(run))
    figure = forest_figure(forest)
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes if axes.axison] == [
        [],
        ["out of memory"],
    ]
    # Planned comparisons count, whether they were measured or not.
    assert forest.family == 6


def test_without_the_unmodified_model_there_is_no_forest(make, tmp_path):
    found = [record for record in records(make) if record.method_label != "none"]
    run = make.run(tmp_path / "run", found, methods=METHODS[1:], lengths=LENGTHS)
    header, (panel, _) = panels(run)
    assert list(forest_blocks(panel, header, load(run))) == []


def test_the_block_says_what_it_shows(run):
    header, (panel, perplexity) = panels(run)
    (block,) = forest_blocks(panel, header, load(run))
    caption = "".join(span.text for span in block.caption)
    assert "factor policy fixed, n = 20 pairs, 95 % interval: Tango." in caption
    assert "for all 4 comparisons together (Holm's correction)" in caption
    assert block.alt == (
        "passkey: accuracy less that of none, bundled. no difference at 512: pi +0, yarn +0; "
        "no difference at 1k: pi -0.05; better at 1k: yarn +0.5."
    )
    (block,) = forest_blocks(perplexity, header, load(run))
    assert "".join(span.text for span in block.caption).startswith(
        "nll, nats per token: each method less none"
    )
