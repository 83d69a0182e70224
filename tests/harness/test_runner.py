"""The runner: what is computed, recorded, skipped and tried again, and what each failure becomes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
import torch

from longbench_run.harness import compute, run
from longbench_run.harness.errors import ConfigError, MethodNotApplicable, ModelError
from longbench_run.harness.methods import Method
from longbench_run.harness.models import engine, limits
from longbench_run.harness.runner import Interrupted
from longbench_run.results.records import ResultsError
from longbench_run.results.store import read_run
from longbench_run.tasks.passkey import Passkey

MATRIX = {"methods": "pi,self_extend:group=8:window=16", "lengths": "512,640", "samples": 2, "device": "cpu"}
CELLS, SAMPLES = 3 * 2 * 2, 3 * 2 * 2 * 2


@pytest.fixture
def matrix(tiny_folder, tmp_path, monkeypatch):
    """The settings of a small matrix whose runs go below a new folder."""
    monkeypatch.chdir(tmp_path)
    return {"models": str(tiny_folder), "output": "out", **MATRIX}


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """The records of one uninterrupted run."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    run(models=str(tiny_folder), output=folder, **MATRIX)
    return by_place(folder)


def by_place(folder):
    return {
        (r.method_label, r.cell.task.name, r.cell.context_length, r.index): r
        for r in read_run(folder).records
    }


def lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def outcome(record):
    """Return what must not depend on when and with what else a sample was computed."""
    kept = record.model_dump(
        exclude={"seconds_prefill", "seconds_decode", "peak_bytes", "tokens_reused", "scores", "nll_buckets"}
        | {"factor_policy"}
    )
    return kept | {"scores": {k: pytest.approx(v, rel=1e-5) for k, v in record.scores.items()}}


@pytest.fixture
def count_loads(monkeypatch):
    """Count how often weights are read."""
    loads = []
    load = compute.load_model
    monkeypatch.setattr(compute, "load_model", lambda *a: loads.append(a[0].model) or load(*a))
    return loads


def test_every_sample_has_one_record_that_says_what_was_computed(finished):
    assert len(finished) == SAMPLES
    assert Counter(r.status for r in finished.values()) == {"ok": SAMPLES}
    record = finished["self_extend:group=8:window=16", "passkey", 640, 1]
    assert record.cell.method.resolved == "self_extend:group=8:original_context_length=64:window=16"
    assert record.cell.method.versions == {"self_extend": 2}
    assert (record.cell.dtype, record.cell.seed, record.cell.decoding) == ("float32", 0, "greedy")
    assert record.cell.original_context_length == 64
    assert record.cell.model.name == "tiny-llama"
    assert record.cell.model.revision.startswith("sha256:")
    assert record.prompt_tokens + 10 <= 640
    assert "pass key" in record.prompt_tail
    assert record.depth == 1.0
    assert len(record.target) == 5
    assert record.generated_tokens == len(record.prediction_ids) <= 10
    assert record.seconds_prefill > 0
    assert record.seconds_decode > 0
    of_grid = [finished["self_extend:group=8:window=16", "passkey", 640, i].tokens_reused for i in (0, 1)]
    assert min(of_grid) == 0
    assert max(of_grid) > 20
    assert record.cell_id == record.cell.cell_id()
    scored = finished["pi", "perplexity", 640, 0]
    assert (scored.prompt_tokens, scored.scored_tokens, scored.weight) == (640, 639, 639.0)
    assert scored.tokens_reused is None
    assert sum(b.nll_sum for b in scored.nll_buckets) == pytest.approx(639 * scored.scores["nll"])
    assert scored.document == "generated-0-0"


def test_methods_see_the_same_samples_and_leave_their_mark(finished):
    for task, length, index in {(t, n, i) for _, t, n, i in finished}:
        records = [r for (_, *place), r in finished.items() if place == [task, length, index]]
        assert len({r.sample_key for r in records}) == 1
        assert len({r.applied_hash for r in records}) == 3
    assert len({r.sample_key for r in finished.values()}) == SAMPLES / 3
    nll = {m: r.scores["nll"] for (m, t, n, i), r in finished.items() if (t, n, i) == ("perplexity", 640, 0)}
    assert len(set(nll.values())) == 3


def test_the_header_says_what_was_asked_and_that_it_is_complete(matrix, tmp_path):
    summary = run(**matrix | {"methods": "pi", "tasks": "passkey", "lengths": "512", "samples": 1})

    header = read_run(summary.folder).header
    assert (header.status, header.methods, header.lengths) == ("complete", ("none", "pi"), (512,))
    assert header.finished >= header.started
    assert header.config["samples"] == 1
    assert header.config["resolved"][0]["dtype"] == "float32"
    assert [t.name for t in header.tasks] == ["passkey"]
    assert [(m.label, m.original_context_length) for m in header.models] == [("tiny-llama", 64)]
    assert set(header.versions) >= {"longbench-run", "torch", "transformers", "python"}
    assert header.device.startswith("cpu (")
    assert header.command[0].startswith("longbench_run.harness.run(models=")
    assert (summary.cells, summary.samples, summary.computed, summary.failed_cells) == (2, 2, 2, 0)


def test_a_second_run_reads_neither_weights_nor_torch(matrix, tmp_path):
    run(**matrix)
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.is_file()}
    code = (
        "import json, sys\n"
        "from longbench_run.harness import run\n"
        f"summary = run(**json.loads({json.dumps(json.dumps(matrix))}))\n"
        "print(summary.computed, summary.samples, 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    second = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert second.stdout.split() == ["0", str(SAMPLES), "False", "False"]
    assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.is_file()} == before


def test_another_weight_makes_another_run(matrix, tiny_folder, tmp_path):
    import shutil

    matrix |= {"tasks": "passkey", "lengths": "512", "samples": 1}
    model = tmp_path / "tiny-llama"
    shutil.copytree(tiny_folder, model)
    run(**matrix | {"models": str(model)})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))

    with pytest.raises(ResultsError, match="got a folder that holds another run"):
        run(**matrix | {"models": str(model)})


def test_more_samples_extend_a_run_by_what_is_missing(matrix, finished, tmp_path):
    run(**matrix | {"samples": 1})
    summary = run(**matrix)

    assert summary.computed == SAMPLES / 2
    assert len(lines(tmp_path / "out")) == SAMPLES
    assert {k: outcome(r) for k, r in by_place(summary.folder).items()} == {
        k: outcome(r) for k, r in finished.items()
    }


def test_a_missing_record_is_computed_again_within_its_whole_group(matrix, finished, tmp_path, monkeypatch):
    """Of a document's two lengths one is stored: the forward pass is still that of both."""
    run(**matrix)
    stored = (tmp_path / "out" / "records.jsonl").read_text().splitlines(keepends=True)
    wanted = next(
        n for n, line in enumerate(map(json.loads, stored))
        if (line["cell"]["task"]["name"], line["cell"]["context_length"], line["method_label"]) == ("perplexity", 512, "pi")
    )  # fmt: skip
    (tmp_path / "out" / "records.jsonl").write_text("".join(stored[:wanted] + stored[wanted + 1 :]))
    sizes = []
    iterate = compute.iterate_group
    monkeypatch.setattr(
        compute,
        "iterate_group",
        lambda m, requests, **k: sizes.append(len(requests)) or iterate(m, requests, **k),
    )

    summary = run(**matrix)

    assert (summary.computed, sizes) == (1, [2])
    assert {k: outcome(r) for k, r in by_place(summary.folder).items()} == {
        k: outcome(r) for k, r in finished.items()
    }


def test_weights_are_read_once_for_all_methods_and_tasks(matrix, count_loads):
    run(**matrix)

    assert len(count_loads) == 1


def test_a_sample_that_fails_is_a_row_and_is_tried_again_only_when_asked(matrix, monkeypatch, count_loads):
    matrix |= {"tasks": "passkey", "lengths": "512"}
    generate = engine.generate_timed
    calls = []

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the kernel said no")
        if 4 <= len(calls) <= 6:  # without the shared prefix too, and in two chunks
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(*args, **kwargs)

    monkeypatch.setattr(limits, "MOST_ROWS", 1)
    monkeypatch.setattr(engine, "generate_timed", broken)
    first = run(**matrix)
    failed = [r for r in read_run(first.folder).records if r.status != "ok"]

    assert [(r.status, r.failure.type, r.scores, r.prediction) for r in failed] == [
        ("error", "RuntimeError", {}, None),
        ("out_of_memory", "OutOfMemoryError", {}, None),
    ]
    assert "the kernel said no" in failed[0].failure.traceback
    assert failed[0].sample_key is not None
    assert (first.failed_samples, first.failed_cells, first.cells) == (2, 2, 3)
    assert read_run(first.folder).header.status == "complete"

    again = run(**matrix)
    assert (again.computed, again.failed_samples, again.failed_cells, len(count_loads)) == (0, 2, 2, 1)

    third = run(**matrix | {"overwrite": "failed"})
    assert (third.computed, third.failed_samples) == (2, 0)
    assert {r.status for r in read_run(third.folder).records} == {"ok"}


def test_a_task_that_cannot_score_fails_its_samples_alone(matrix, monkeypatch):
    score = Passkey.score

    def broken(self, sample, output):
        if sample.index == 1:
            raise ZeroDivisionError("no words")
        return score(self, sample, output)

    monkeypatch.setattr(Passkey, "score", broken)
    summary = run(**matrix | {"tasks": "passkey", "lengths": "512"})

    records = read_run(summary.folder).records
    assert Counter((r.index, r.status) for r in records) == {(0, "ok"): 3, (1, "error"): 3}
    assert {r.failure.message for r in records if r.failure} == {"no words"}
    assert all(r.prediction_ids for r in records)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error_and_no_zero(matrix, monkeypatch, value):
    from longbench_run.tasks.base import Score

    monkeypatch.setattr(Passkey, "score", lambda *_: Score(scores={"accuracy": value}))
    summary = run(**matrix | {"tasks": "passkey", "lengths": "512", "methods": "none", "samples": 1})

    (record,) = read_run(summary.folder).records
    assert (record.status, record.failure.message, record.scores) == (
        "error",
        f"accuracy must be a finite number, got {value}",
        {},
    )


def test_a_method_that_cannot_serve_the_model_is_one_row_per_cell(matrix):
    summary = run(**matrix | {"methods": "abf:base=100", "samples": 2})
    records = [r for r in read_run(summary.folder).records if r.method_label == "abf:base=100"]

    assert [
        (r.cell.task.name, r.cell.context_length, r.index, r.status, r.failure.type) for r in records
    ] == [
        (task, length, None, "not_applicable", "MethodNotApplicable")
        for task in ("passkey", "perplexity")
        for length in (512, 640)
    ]
    assert summary.failed_cells == 0
    assert run(**matrix | {"methods": "abf:base=100", "samples": 2}).computed == 0


def patched_applied_to(monkeypatch, error):
    applied_to = Method.applied_to

    def broken(self, *args, **kwargs):
        if self.components[0].name == "pi":
            raise error
        return applied_to(self, *args, **kwargs)

    monkeypatch.setattr(Method, "applied_to", broken)


def test_a_method_that_turns_out_not_to_be_applicable_is_one_row_per_cell(matrix, monkeypatch, count_loads):
    patched_applied_to(monkeypatch, MethodNotApplicable("falcon: the probe saw no change"))
    summary = run(**matrix | {"tasks": "passkey"})

    rows = Counter((r.method_label, r.status) for r in read_run(summary.folder).records)
    assert rows == {
        ("none", "ok"): 4,
        ("pi", "not_applicable"): 2,
        ("self_extend:group=8:window=16", "ok"): 4,
    }
    (summary.folder / "plan.json").unlink()
    assert (run(**matrix | {"tasks": "passkey"}).computed, len(count_loads)) == (0, 1)


def test_a_method_that_breaks_fails_its_samples_and_no_others(matrix, monkeypatch):
    patched_applied_to(monkeypatch, RuntimeError("shape mismatch"))
    summary = run(**matrix | {"tasks": "passkey"})

    rows = Counter((r.method_label, r.status) for r in read_run(summary.folder).records)
    assert rows == {("none", "ok"): 4, ("pi", "error"): 4, ("self_extend:group=8:window=16", "ok"): 4}
    assert (summary.failed_samples, summary.failed_cells) == (4, 2)


def test_what_is_computed_must_be_what_the_plan_resolved(matrix, monkeypatch):
    from longbench_run.harness.methods import parse_method

    original = Method.applied_to
    monkeypatch.setattr(
        Method, "applied_to", lambda self, *a, **k: original(parse_method("ntk:factor=2"), *a, **k)
    )
    summary = run(**matrix | {"tasks": "passkey", "lengths": "512", "samples": 1, "methods": "none"})

    (record,) = read_run(summary.folder).records
    assert record.status == "error"
    assert record.failure.message.startswith(
        "the plan resolved none:original_context_length=64, the model got ntk"
    )


def test_an_interruption_keeps_what_was_computed_and_the_same_call_goes_on(matrix, finished, monkeypatch):
    generate = engine.generate_timed
    calls = []

    def stopped(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return generate(*args, **kwargs)

    monkeypatch.setattr(limits, "MOST_ROWS", 1)
    monkeypatch.setattr(engine, "generate_timed", stopped)
    with pytest.raises(Interrupted) as caught:
        run(**matrix)
    stored = read_run(caught.value.folder)

    assert (caught.value.computed, len(stored.records), stored.header.status) == (3, 3, "interrupted")
    assert (
        str(caught.value)
        == "Interrupted after 3 samples: they are in out, and the same command goes on there."
    )

    monkeypatch.setattr(engine, "generate_timed", generate)
    summary = run(**matrix)
    assert summary.computed == SAMPLES - 3
    assert {k: outcome(r) for k, r in by_place(summary.folder).items()} == {
        k: outcome(r) for k, r in finished.items()
    }


def test_weights_that_cannot_be_read_end_the_run_as_failed(matrix, tiny_folder, tmp_path):
    import shutil

    model = tmp_path / "torn"
    shutil.copytree(tiny_folder, model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(ModelError):
        run(**matrix | {"models": str(model)})
    assert read_run("out").header.status == "failed"
    assert read_run("out").records == ()


def test_data_with_fewer_documents_than_asked_gives_what_it_has(matrix, tmp_path, count_loads, caplog):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("word " * 400)
    (texts / "b.txt").write_text("word " * 105)  # long enough for 512, not for 640
    (texts / "c.txt").write_text("other " * 400)
    task = {"name": "perplexity", "parameters": {"text": str(texts)}, "samples": 10}
    matrix |= {"tasks": [task], "methods": "none"}

    summary = run(**matrix)

    found = sorted((r.cell.context_length, r.index, r.document) for r in read_run(summary.folder).records)
    assert found == [
        (512, 0, "a.txt"),
        (512, 1, "b.txt"),
        (512, 2, "c.txt"),
        (640, 0, "a.txt"),
        (640, 2, "c.txt"),
    ]
    assert (summary.samples, summary.computed) == (5, 5)
    assert [record.getMessage() for record in caplog.records] == [
        "perplexity: the data has 2 to 3, depending on the length, of the 10 samples asked for."
    ]
    assert run(**matrix).computed == 0
    assert len(count_loads) == 1
    (tmp_path / "out" / "plan.json").unlink()
    assert run(**matrix).computed == 0
    assert len(count_loads) == 1


def test_overwrite_all_sets_the_former_run_aside(matrix, tmp_path):
    small = matrix | {"tasks": "passkey", "lengths": "512", "samples": 1, "methods": "none"}
    run(**small)
    summary = run(**small | {"overwrite": "all"})

    assert summary.computed == 1
    assert len(lines(tmp_path / "out")) == 1
    assert len(lines(tmp_path / "out" / "replaced-1")) == 1


def test_auto_dtype_goes_on_with_what_the_run_began_with(matrix, monkeypatch, tmp_path):
    """As when a run that began on a GPU in bfloat16 is continued on a CPU."""
    small = matrix | {"tasks": "passkey", "lengths": "512", "methods": "none"}
    header = tmp_path / "out" / "run.json"
    run(**small | {"samples": 1})
    stored = json.loads(header.read_text())
    stored["config"]["resolved"][0]["dtype"] = "bfloat16"
    header.write_text(json.dumps(stored))

    run(**small | {"samples": 2})

    assert {r.cell.dtype for r in read_run("out").records} == {"float32", "bfloat16"}


def test_weights_of_a_method_are_loaded_for_it_alone(matrix, tiny_folder, tmp_path, count_loads):
    import shutil

    from safetensors.torch import load_file, save_file

    tuned = tmp_path / "tuned"
    shutil.copytree(tiny_folder, tuned)
    tensors = load_file(tuned / "model.safetensors")
    save_file(
        {k: v * 1.01 for k, v in tensors.items()}, tuned / "model.safetensors", metadata={"format": "pt"}
    )
    config = json.loads((tuned / "config.json").read_text())
    (tuned / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 640}))
    methods = ["pi", {"name": "pi", "label": "pi, tuned", "weights": str(tuned)}]

    summary = run(**matrix | {"methods": methods, "tasks": "perplexity", "samples": 1})
    records = by_place(summary.folder)

    assert [folder.rpartition("/")[2] for folder in count_loads] == ["tiny-llama", "tuned"]
    own, tuned_ = (records[label, "perplexity", 640, 0] for label in ("pi", "pi, tuned"))
    assert {own.model_label, tuned_.model_label} == {"tiny-llama"}
    assert (own.cell.method, own.sample_key) == (tuned_.cell.method, tuned_.sample_key)
    assert own.cell.original_context_length == tuned_.cell.original_context_length == 64
    assert (own.cell.model.name, tuned_.cell.model.name) == ("tiny-llama", "tuned")
    assert own.scores != tuned_.scores
    assert run(**matrix | {"methods": methods, "tasks": "perplexity", "samples": 1}).computed == 0


def test_two_models_with_one_name_need_labels(matrix, tiny_folder, tmp_path):
    import shutil

    other = tmp_path / "other" / "tiny-llama"
    shutil.copytree(tiny_folder, other)

    with pytest.raises(ConfigError) as caught:
        run(**matrix | {"models": [str(tiny_folder), str(other)]})
    assert str(caught.value) == (
        "run(): models: label must be given once, got 'tiny-llama' twice. "
        "Give each model its own label in a configuration file."
    )


def test_progress_hears_of_every_token_and_sample(matrix):
    heard = Counter()

    class Ear:
        def start(self, tokens):
            heard["planned"] = tokens

        def stage(self, text, samples):
            heard["expected"] += samples
            heard[text] += 1

        def advance(self, *, tokens=0, samples=0):
            heard["tokens"] += tokens
            heard["samples"] += samples

        def finish(self):
            heard["finished"] += 1

    run(**matrix, progress=Ear())

    assert heard["planned"] == heard["tokens"] > 0
    assert heard["expected"] == heard["samples"] == SAMPLES
    assert heard["finished"] == 1
    assert heard["tiny-llama pi passkey 512"] == heard["tiny-llama pi perplexity 512-640"] == 1
