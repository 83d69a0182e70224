"""Floors and ceilings: of the same questions, and of nothing else."""

from __future__ import annotations

import pandas as pd
import pytest

from longbench_run.results.references import reference_means
from longbench_run.results.statistics import wilson_interval

SHARED = {
    "run": "runs/a",
    "model_label": "m",
    "method_label": "pi",
    "task": "qa",
    "task_version": 1,
    "protocol": "open",
    "context_length": 4096,
    "metric": "accuracy",
    "setup_id": "one",
    "seed": 0,
    "reference": None,
    "weight": float("nan"),
    "is_binary": True,
    "minimum": 0.0,
    "maximum": 1.0,
}
FLOOR = {"protocol": "closed", "reference": "floor", "setup_id": "two"}


def rows(scores, *, first=0, **changes):
    return [
        {**SHARED, "index": index, "document": f"question-{index}", "score": score, **changes}
        for index, score in enumerate(scores, start=first)
    ]


def means(*groups):
    found = reference_means(pd.DataFrame([row for group in groups for row in group]))
    return {(key.protocol, key.method_label, key.context_length): value for key, value in found.items()}


def test_a_floor_is_the_mean_over_the_questions_of_the_cell():
    asked = rows([1.0] * 20)
    floor = rows([1.0] * 5 + [0.0] * 15, **FLOOR)
    more = rows([1.0] * 30, first=20, **FLOOR)
    ((place, by_protocol),) = means(asked, floor, more).items()
    assert place == ("open", "pi", 4096)
    assert list(by_protocol) == ["closed"]
    assert by_protocol["closed"].value == 5 / 20
    assert by_protocol["closed"].interval == pytest.approx(wilson_interval(5, 20))


@pytest.mark.parametrize(
    "other",
    [
        {"method_label": "yarn"},
        {"context_length": 8192},
        {"model_label": "n"},
        {"task": "other"},
        {"metric": "f1"},
        {"seed": 1},
        {"reference": None},
        {"document": None},
        {"score": float("nan")},
    ],
)
def test_what_is_not_the_same_is_no_reference(other):
    asked, floor = rows([1.0] * 3), rows([0.0] * 3, **{**FLOOR, **other})
    assert ("open", "pi", 4096) in means(asked, rows([0.0] * 3, **FLOOR))
    assert ("open", "pi", 4096) not in means(asked, floor)


def test_references_stand_beside_every_other_protocol_and_not_beside_each_other():
    found = means(
        rows([1.0] * 3),
        rows([1.0] * 3, protocol="aware", setup_id="three"),
        rows([0.0] * 3, **FLOOR),
        rows([0.5] * 3, protocol="oracle", reference="ceiling", setup_id="four"),
    )
    assert {place[0]: {name: mean.value for name, mean in of.items()} for place, of in found.items()} == {
        "open": {"closed": 0.0, "oracle": 0.5},
        "aware": {"closed": 0.0, "oracle": 0.5},
    }


def test_without_references_there_are_none():
    assert means(rows([1.0] * 3)) == {}
