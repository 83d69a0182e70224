"""Runs made of numbers that look real: passkey collapses beyond the window, perplexity explodes."""

import math
import random

import pytest

from longbench_run.reports.report import write_report
from longbench_run.results.records import (
    Bucket,
    CellIdentity,
    Failure,
    MethodIdentity,
    MetricInfo,
    ModelIdentity,
    ModelSummary,
    Record,
    RunHeader,
    TaskIdentity,
    TaskSummary,
)
from longbench_run.results.store import Store

WINDOW = 512
LENGTHS = (512, 1024, 2048, 4096)
METHODS = ("none", "pi", "yarn", "abf", "entropy_abf", "self_extend")

# Chance of a right answer and nats per token at 1x, 2x, 4x, 8x.
_ACCURACY = {
    "none": (1.0, 0.3, 0.0, 0.0),
    "pi": (0.7, 0.5, 0.3, 0.1),
    "yarn": (1.0, 0.9, 0.7, 0.35),
    "abf": (1.0, 0.8, 0.45, 0.2),
    "entropy_abf": (0.95, 0.85, 0.6, 0.25),
    "self_extend": (1.0, 1.0, 0.9, 0.6),
}
_NLL = {
    "none": (1.60, 3.40, 6.10, 7.90),
    "pi": (2.05, 2.20, 2.40, 2.60),
    "yarn": (1.65, 1.70, 1.85, 2.20),
    "abf": (1.70, 1.75, 2.10, 3.00),
    "entropy_abf": (1.72, 1.74, 1.95, 2.50),
    "self_extend": (1.62, 1.63, 1.70, 1.90),
}
_RESOLVED = {
    "none": "none",
    "pi": "pi:factor=8.0",
    "yarn": "yarn:attention_factor=1.21:beta_fast=32:beta_slow=1:factor=8.0:ramp=code:temperature=constant",
    "abf": "abf:base=500000",
    "entropy_abf": "entropy_abf:base=500000:skip_layers=2",
    "self_extend": "self_extend:group=16:window=128",
}

PASSKEY = TaskSummary(
    name="passkey",
    protocol="passkey-v1",
    metrics=(
        MetricInfo(
            name="accuracy",
            higher_is_better=True,
            minimum=0.0,
            maximum=1.0,
            chance=1 / 90_000,
            is_binary=True,
        ),
    ),
    source="Mohtashami and Jaggi 2023, arXiv:2305.16300.",
    licence="Apache-2.0",
)
PERPLEXITY = TaskSummary(
    name="perplexity",
    protocol="same_tokens",
    metrics=(MetricInfo(name="nll", higher_is_better=False, minimum=0.0),),
    source="Generated documents.",
    licence="Apache-2.0",
)


def make_cell(*, task, method, length, resolved=None, model="bundled"):
    return CellIdentity(
        model=ModelIdentity(name=model, revision="sha256:" + "ab" * 32),
        dtype="float32",
        attention="sdpa",
        original_context_length=WINDOW,
        method=MethodIdentity(resolved=resolved or _RESOLVED.get(method, method), versions={"x": 1}),
        task=TaskIdentity(name=task.name, version=1, protocol=task.protocol, parameters={}),
        context_length=length,
        seed=0,
        decoding="greedy",
    )


def make_header(**changes):
    values = {
        "run_key": "a" * 64,
        "command": ("longbench-run", "--methods", "pi,yarn,abf,entropy_abf,self_extend"),
        "config": {},
        "models": (
            ModelSummary(
                label="bundled",
                original_context_length=WINDOW,
                original_context_length_source="config.json: max_position_embeddings",
            ),
        ),
        "methods": METHODS,
        "tasks": (PASSKEY, PERPLEXITY),
        "lengths": LENGTHS,
        "versions": {"longbench-run": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "device": "cpu",
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:09:05Z",
        "status": "complete",
    }
    return RunHeader(**{**values, **changes})


def passkey_record(
    *, method, length, index, right, prediction=None, model="bundled", resolved=None, **changes
):
    cell = make_cell(task=PASSKEY, method=method, length=length, model=model, resolved=resolved)
    values = {
        "cell_id": cell.cell_id(),
        "cell": cell,
        "model_label": model,
        "method_label": method,
        "factor_policy": "fixed",
        "index": index,
        "status": "ok",
        "prompt_tokens": length - 10,
        "depth": None if index is None else index % 10 / 9,
        "prediction": prediction if prediction is not None else ("12345" if right else "54321"),
        "target": "12345",
        "scores": {"accuracy": float(right)},
    }
    return Record(**{**values, **changes})


def failed_record(*, method, length, index, status="error", message="CUDA error", model="bundled"):
    kind = {
        "error": "RuntimeError",
        "out_of_memory": "OutOfMemoryError",
        "not_applicable": "MethodNotApplicable",
    }
    return passkey_record(
        method=method,
        length=length,
        index=index,
        right=False,
        status=status,
        scores={},
        model=model,
        failure=Failure(type=kind[status], message=message),
    ).model_copy(update={"prediction": None, "target": None})


def perplexity_record(*, method, length, index, nll, tokens=256, model="bundled"):
    cell = make_cell(task=PERPLEXITY, method=method, length=length, model=model)
    return Record(
        cell_id=cell.cell_id(),
        cell=cell,
        model_label=model,
        method_label=method,
        factor_policy="fixed",
        index=index,
        status="ok",
        prompt_tokens=length,
        scored_tokens=tokens,
        document=f"document-{index}",
        scores={"nll": nll},
        weight=float(tokens),
        nll_buckets=(Bucket(start=length - tokens, stop=length, nll_sum=nll * tokens, tokens=tokens),),
    )


def realistic_records(*, passkeys=20, documents=12):
    random_state = random.Random("a realistic run")
    for method in METHODS:
        for place, length in enumerate(LENGTHS):
            for index in range(passkeys):
                right = random_state.random() < _ACCURACY[method][place]
                yield passkey_record(method=method, length=length, index=index, right=right)
            for index in range(documents):
                spread = 0.12 * math.sqrt(1 + place)
                nll = _NLL[method][place] * math.exp(random_state.gauss(0, spread / 2))
                yield perplexity_record(method=method, length=length, index=index, nll=nll)


@pytest.fixture(scope="session")
def make():
    """The builders of this module: import-mode importlib gives tests no way to import them."""
    import types

    return types.SimpleNamespace(
        header=make_header,
        passkey=passkey_record,
        failed=failed_record,
        perplexity=perplexity_record,
        realistic=realistic_records,
        run=make_run,
    )


def make_run(folder, records, **header):
    header = make_header(**header)
    with Store.open(folder, header) as store:
        store.append(*records)
    return folder


@pytest.fixture(scope="session")
def realistic_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "realistic", realistic_records())


@pytest.fixture(scope="session")
def realistic_report(realistic_run, tmp_path_factory):
    """Its report, rendered once: the folder of `report.html` and `report.md`, to read and not to change."""
    folder = tmp_path_factory.mktemp("report")
    write_report([realistic_run], folder)
    return folder


def _assert_nothing_covers_anything(figure):
    """Check that words, legend and axes with their labels lie within the figure and beside each other."""
    named = [(text.get_text()[:30], text.get_window_extent()) for text in figure.texts if text.get_text()]
    named += [
        (axes.get_title(loc="left") or "axes", axes.get_tightbbox()) for axes in figure.axes if axes.axison
    ]
    named += [("legend", legend.get_window_extent()) for legend in figure.legends]
    for place, (name, box) in enumerate(named):
        assert figure.bbox.padded(1).contains(box.x0, box.y0), name
        assert figure.bbox.padded(1).contains(box.x1, box.y1), name
        assert not [other for other, of in named[place + 1 :] if box.padded(-1).overlaps(of)], name


@pytest.fixture
def assert_nothing_covers_anything():
    return _assert_nothing_covers_anything
