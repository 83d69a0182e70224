"""What the position does: against plain formulas, on curves that are flat or a U by construction."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.results import by_position, load, position_curves, position_effects
from longbench_run.results.statistics import wilson_interval
from longbench_run.results.store import Store

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def rows(chance, *, questions=40, depths=DEPTHS, seed=0, named=True, **shared):
    """Return rows of `load` for questions asked at every position; ``chance`` is that of a right answer."""
    draw = random.Random(f"rows {seed}")
    for question in range(questions):
        hardness = draw.random()
        for place, depth in enumerate(depths):
            yield {
                "run": "runs/a",
                "model_label": "m",
                "method_label": "pi",
                "task": "multidoc_qa",
                "task_version": 1,
                "protocol": "litm-v1",
                "context_length": 4096,
                "metric": "best_subspan_em",
                "setup_id": "one",
                "seed": 0,
                "index": question * len(depths) + place,
                "document": f"question-{question}" if named else None,
                "depth": depth,
                "reference": None,
                "score": float(draw.random() < chance(depth, hardness)),
                "weight": np.nan,
                "higher_is_better": True,
                "is_binary": True,
                "minimum": 0.0,
                "maximum": 1.0,
                **shared,
            }


def flat(depth, hardness):
    return 1 - hardness


def u_shape(depth, hardness):
    return 0.9 if depth in {0.0, 1.0} else 0.4


def curve_of(found):
    (curve,) = position_curves(pd.DataFrame(found))
    return curve


def test_points_are_plain_means_with_wilsons_interval():
    found = list(rows(u_shape))
    curve = curve_of(found)
    assert [point.depth for point in curve.points] == list(DEPTHS)
    for point in curve.points:
        scores = [row["score"] for row in found if row["depth"] == point.depth]
        assert point.mean.value == pytest.approx(sum(scores) / 40)
        assert (point.mean.samples, point.mean.kind) == (40, "wilson")
        assert point.mean.interval == pytest.approx(wilson_interval(sum(scores), 40))


@given(seed=st.integers(0, 1000), questions=st.integers(1, 30), depths=st.integers(2, 11))
def test_depth_of_the_u_is_ends_minus_middle_by_question(seed, questions, depths):
    grid = [step / (depths - 1) for step in range(depths)]
    found = list(rows(flat, questions=questions, depths=grid, seed=seed))
    by_question = defaultdict(dict)
    for row in found:
        by_question[row["document"]][row["depth"]] = row["score"]
    middle = [depth for depth in grid if 0.25 <= depth <= 0.75]
    curve = curve_of(found)
    assert curve.questions == questions
    if not middle:
        assert curve.u_depth.value is None
        return
    differences = [
        (scores[0.0] + scores[1.0]) / 2 - sum(scores[depth] for depth in middle) / len(middle)
        for scores in by_question.values()
    ]
    assert curve.u_depth.value == pytest.approx(sum(differences) / questions)
    assert curve.u_depth.clusters == questions
    assert (curve.u_depth.interval is None) == (questions < 10 or len(set(differences)) == 1)


@given(seed=st.integers(0, 1000), higher=st.booleans())
def test_worst_position_and_spread_are_of_the_means(seed, higher):
    found = list(rows(flat, questions=15, seed=seed, higher_is_better=higher))
    means = {depth: sum(row["score"] for row in found if row["depth"] == depth) / 15 for depth in DEPTHS}
    curve = curve_of(found)
    worst = min(means.values()) if higher else max(means.values())
    assert curve.worst == pytest.approx(worst)
    assert means[curve.worst_depth] == pytest.approx(worst)
    assert curve.spread == pytest.approx(max(means.values()) - min(means.values()))


def test_a_u_is_found_and_its_interval_is_above_zero():
    curve = curve_of(rows(u_shape, questions=100))
    assert curve.u_depth.value == pytest.approx(0.5, abs=0.12)
    assert curve.u_depth.kind == "bca"
    assert curve.u_depth.interval.low > 0.3
    assert curve.worst < curve.worst_if_flat - 0.1
    assert curve.spread > 2 * curve.spread_if_flat


def test_of_flat_curves_the_interval_covers_zero_and_spread_and_worst_are_as_expected():
    """200 curves of 30 questions, some of which are hard at every position: pairing must keep that."""
    curves = [curve_of(rows(flat, questions=30, seed=seed)) for seed in range(200)]
    covered = sum(curve.u_depth.interval.low <= 0 <= curve.u_depth.interval.high for curve in curves)
    assert 180 <= covered <= 198  # nominal: 190
    for name in ("worst", "spread"):
        values = np.array([getattr(curve, name) for curve in curves])
        expected = np.array([getattr(curve, f"{name}_if_flat") for curve in curves])
        error = (values - expected).std() / np.sqrt(len(curves))
        assert abs((values - expected).mean()) < 3 * error
    assert np.mean([curve.spread for curve in curves]) > 0.1, "a flat curve has a spread, and it must be said"


def test_samples_without_a_document_are_put_together_by_trial():
    named = curve_of(rows(u_shape, questions=20))
    unnamed = curve_of(rows(u_shape, questions=20, named=False))
    assert unnamed == named


def test_a_question_that_misses_a_position_is_left_out_of_what_is_paired():
    found = list(rows(u_shape, questions=20))
    found[3]["score"] = np.nan
    curve = curve_of(found)
    assert curve.questions == 19
    assert sorted(point.mean.samples for point in curve.points) == [19, 20, 20, 20, 20]


def test_one_question_of_several_seeds_is_one_cluster():
    found = [*rows(u_shape, questions=12), *rows(u_shape, questions=12, seed=1)]
    for row in found[60:]:
        row["seed"] = 1
    curve = curve_of(found)
    assert (curve.questions, curve.u_depth.samples, curve.u_depth.clusters) == (24, 24, 12)
    unnamed = curve_of([{**row, "document": None} for row in found])
    assert (unnamed.questions, unnamed.u_depth.clusters) == (24, 24)


def test_positions_that_cannot_tell_a_u_give_none():
    two = curve_of(rows(flat, depths=(0.0, 1.0)))
    assert two.u_depth.value is None
    assert two.spread is not None
    assert position_curves(pd.DataFrame(rows(flat, depths=(0.5,)))) == ()
    assert position_curves(pd.DataFrame([{**row, "depth": np.nan} for row in rows(flat)])) == ()


def test_positions_all_of_their_own_give_no_paired_number():
    """Some tasks draw a depth for each sample: there is nothing to compare by question."""
    draw = random.Random(1)
    curve = curve_of([{**row, "depth": draw.random()} for row in rows(flat)])
    assert (curve.questions, curve.worst, curve.spread_if_flat) == (0, None, None)


def test_cells_are_kept_apart_and_floors_stand_beside_their_questions():
    closed = [
        {
            **row,
            "protocol": "closed",
            "reference": "floor",
            "setup_id": "two",
            "depth": np.nan,
            "score": float(row["index"] < 25),
        }
        for row in rows(flat)
        if row["depth"] == 0.0
    ]
    others = [{**row, "document": f"another {row['document']}"} for row in closed]
    elsewhere = [{**row, "method_label": "yarn"} for row in closed]
    longer = list(rows(u_shape, context_length=8192))
    frame = pd.DataFrame([*rows(u_shape), *longer, *closed, *others, *elsewhere])
    short, long = position_curves(frame)
    assert (short.key.context_length, long.key.context_length) == (4096, 8192)
    assert list(short.references) == ["closed"]
    assert long.references == {}
    reference = short.references["closed"]
    assert (reference.samples, reference.value) == (40, 5 / 40)
    assert reference.interval == pytest.approx(wilson_interval(5, 40))


def test_tables_hold_the_curves():
    frame = pd.DataFrame([*rows(u_shape), *rows(flat, context_length=8192)])
    points, effects = by_position(frame), position_effects(frame)
    assert len(points) == 10
    assert len(effects) == 2
    for curve, (_, of_curve), (_, effect) in zip(
        position_curves(frame), points.groupby("context_length"), effects.iterrows(), strict=True
    ):
        assert of_curve["value"].tolist() == [point.mean.value for point in curve.points]
        assert of_curve["low"].tolist() == [point.mean.interval.low for point in curve.points]
        assert (effect["u_depth"], effect["u_depth_low"]) == (
            curve.u_depth.value,
            curve.u_depth.interval.low,
        )
        assert (effect["spread"], effect["worst_if_flat"]) == (curve.spread, curve.worst_if_flat)
    empty = frame[frame["depth"] > 1]
    assert list(position_effects(empty).columns) == list(effects.columns)
    assert list(by_position(empty).columns) == list(points.columns)


def test_what_load_gives_is_understood(make, tmp_path):
    run = tmp_path / "run"
    with Store.open(run, make.header()) as store:
        store.append(*(make.record(index, depth=index % 5 / 4) for index in range(60)))
    (curve,) = position_curves(load(run))
    assert (curve.key.run, curve.key.method_label, curve.questions) == (str(run), "pi", 12)
    assert [point.mean.value for point in curve.points] == [0.5] * 5
