"""Cost against quality: markers where the table and the timings put them, and the front around the right ones."""

import numpy as np
import pytest

from longbench_run.reports.cost import QUANTITIES, cost_blocks, cost_figure, costs_of
from longbench_run.reports.panels import panels
from longbench_run.results.table import load

# Method -> right answers of 12, seconds per sample of 1000 tokens, GiB.
MADE = {"none": (3, 0.5, 2.0), "pi": (6, 1.0, 1.0), "yarn": (12, 2.0, 3.0), "abf": (8, 2.0, 3.0)}


def records(make, *, length=1024, made=MADE):
    for method, (right, seconds, gib) in made.items():
        for index in range(12):
            yield make.passkey(
                method=method,
                length=length,
                index=index,
                right=index < right,
                prompt_tokens=990,
                generated_tokens=10,
                seconds_prefill=seconds * 0.9,
                seconds_decode=seconds * 0.1,
                peak_bytes=int(gib * 2**30),
            )


def costs(make, folder, found, **header):
    run = make.run(folder, found, methods=tuple(MADE), lengths=(512, 1024), **header)
    head, (panel, _) = panels(run)
    return costs_of(panel, head, load(run))


def markers(axes):
    return [
        (float(container.lines[0].get_xdata()[0]), float(container.lines[0].get_ydata()[0]))
        for container in axes.containers
    ]


def test_markers_stand_at_tokens_per_second_peak_and_score(make, tmp_path):
    speed, memory = cost_figure(costs(make, tmp_path / "run", records(make))).axes
    scores = [right / 12 for right, _, _ in MADE.values()]
    np.testing.assert_allclose(markers(speed), list(zip([2000, 1000, 500, 500], scores, strict=True)))
    np.testing.assert_allclose(markers(memory), list(zip([2, 1, 3, 3], scores, strict=True)))
    assert speed.get_xlim()[0] == memory.get_xlim()[0] == 0


def test_the_front_is_what_no_other_method_beats(make, tmp_path):
    found = costs(make, tmp_path / "run", records(make))
    # By hand: `abf` is as fast as `yarn` and worse; `none` is beaten by `pi` in memory and score.
    assert [found.front(quantity) for quantity in QUANTITIES] == [["yarn", "pi", "none"], ["yarn", "pi"]]
    for axes, expected in zip(cost_figure(found).axes, (3, 2), strict=True):
        (line,) = [line for line in axes.lines if line.get_label() == "front"]
        assert len(line.get_xdata()) == expected


def test_methods_that_tie_are_both_on_the_front(make, tmp_path):
    found = records(make, made={**MADE, "yarn": MADE["pi"]})
    speed, _ = QUANTITIES
    assert costs(make, tmp_path / "run", found).front(speed) == ["abf", "pi", "yarn", "none"]


def test_the_longest_length_with_a_cost_is_shown_and_who_is_missing_named(make, tmp_path):
    found = [*records(make, length=512), *records(make)]
    found = [r for r in found if (r.method_label, r.cell.context_length) != ("abf", 1024)]
    found += [
        make.failed(method="abf", length=1024, index=index, status="out_of_memory") for index in range(12)
    ]
    of = costs(make, tmp_path / "run", found)
    assert of.context_length == 1024
    assert list(of.by_method) == ["none", "pi", "yarn"]
    assert any("out of memory: abf" in text.get_text() for text in cost_figure(of).texts)


def test_a_run_without_timings_has_no_figure(make, tmp_path):
    found = [
        record.model_copy(update={"seconds_prefill": None, "seconds_decode": None, "peak_bytes": None})
        for record in records(make)
    ]
    run = make.run(tmp_path / "run", found, methods=tuple(MADE), lengths=(1024,))
    header, (panel, _) = panels(run)
    assert list(cost_blocks(panel, header, load(run))) == []


def test_without_a_measured_peak_there_is_one_panel(make, tmp_path):
    found = [record.model_copy(update={"peak_bytes": None}) for record in records(make)]
    (axes,) = cost_figure(costs(make, tmp_path / "run", found)).axes
    assert axes.get_xlabel().startswith("tokens per second")


def test_the_block_says_device_and_numbers(make, tmp_path):
    run = make.run(
        tmp_path / "run", records(make), methods=tuple(MADE), lengths=(1024,), device="cuda (a card)"
    )
    header, (panel, _) = panels(run)
    (block,) = cost_blocks(panel, header, load(run))
    caption = "".join(span.text for span in block.caption)
    assert "n = 12, 95 % interval: Wilson, device cuda (a card)" in caption
    assert "none 0.25 at 2e+03 tokens per second, 2 GiB at peak; pi 0.50" in block.alt


def test_scores_carry_their_intervals(make, tmp_path):
    found = costs(make, tmp_path / "run", records(make))
    container = cost_figure(found).axes[0].containers[1]
    (bars,) = container.lines[2]
    cell = found.cell("pi")
    assert bars.get_segments()[0][:, 1] == pytest.approx([cell.low, cell.high])
