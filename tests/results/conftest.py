"""Small records and headers for the store's tests."""

import types

import pytest

from longbench_run.results.records import (
    CellIdentity,
    MethodIdentity,
    MetricInfo,
    ModelIdentity,
    ModelSummary,
    Record,
    RunHeader,
    TaskIdentity,
    TaskSummary,
)


def make_cell(**changes):
    values = {
        "model": ModelIdentity(name="m", revision="sha256:" + "ab" * 32),
        "dtype": "float32",
        "attention": "sdpa",
        "original_context_length": 512,
        "method": MethodIdentity(resolved="pi:factor=2.0", versions={"pi": 1}),
        "task": TaskIdentity(name="passkey", version=1, protocol="passkey-v1", parameters={"depths": 10}),
        "context_length": 1024,
        "seed": 0,
        "decoding": "greedy",
    }
    return CellIdentity(**{**values, **changes})


CELL = make_cell()
CELL_ID = CELL.cell_id()


def make_record(index, *, cell=None, **changes):
    values = {
        "cell_id": cell.cell_id() if cell else CELL_ID,
        "cell": cell or CELL,
        "model_label": "m",
        "method_label": "pi",
        "factor_policy": "fixed",
        "index": index,
        "status": "ok",
        "prediction": f"answer {index}",
        "scores": {"accuracy": float(index is not None and index % 2 == 0)},
    }
    return Record(**{**values, **changes})


def make_header(**changes):
    values = {
        "run_key": "a" * 64,
        "command": ("longbench-run", "--methods", "pi"),
        "config": {"seed": 0},
        "models": (
            ModelSummary(label="m", original_context_length=512, original_context_length_source="flag"),
        ),
        "methods": ("none", "pi"),
        "tasks": (
            TaskSummary(
                name="passkey",
                protocol="passkey-v1",
                metrics=(
                    MetricInfo(
                        name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True
                    ),
                ),
                source="s",
                licence="l",
            ),
        ),
        "lengths": (512, 1024),
        "versions": {"longbench-run": "0.1.0"},
        "device": "cpu",
        "started": "2026-01-02T03:04:05Z",
    }
    return RunHeader(**{**values, **changes})


@pytest.fixture
def make():
    """Builders; import-mode importlib gives tests no way to import this module."""
    return types.SimpleNamespace(
        cell=make_cell, record=make_record, header=make_header, cell_id=CELL_ID, conftest=__file__
    )
