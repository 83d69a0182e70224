"""LongBench through the harness: every dataset end to end, its cells, and what a user's data can do wrong."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile

import pytest

from longbench_run.harness import run
from longbench_run.harness.choices import choose
from longbench_run.harness.cli import main
from longbench_run.harness.config_build import load_config
from longbench_run.harness.preparation import prepare
from longbench_run.results.store import read_run
from longbench_run.tasks.longbench import archive, asking
from longbench_run.tasks.longbench.datasets import DATASETS

ROW = {
    "input": "Who?",
    "context": "Ada did. " * 200,
    "answers": ["Ada", "Ada L."],
    "length": 400,
    "all_classes": ["Ada"],
}


@pytest.fixture
def data_dir(tmp_path):
    """A folder with one row each of a dataset that is wrapped as a turn of a chat, and of one that is not."""
    for name in ("hotpotqa", "trec"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(ROW) + "\n")
    return str(tmp_path)


@pytest.mark.slow
def test_every_dataset_runs_end_to_end_on_real_rows(shared, tmp_path):
    asked = {
        "tasks": "longbench",
        "data_dir": str(shared / "data/longbench"),
        "lengths": "1k",
        "samples": 1,
        "output": str(tmp_path / "run"),
    }
    summary = run(**asked)
    stored = read_run(summary.folder)

    assert (summary.cells, summary.samples, summary.failed_samples) == (21, 21, 0)
    assert [task.name for task in stored.header.tasks] == [f"longbench_{name}" for name in DATASETS]
    found = {record.cell.task.name.removeprefix("longbench_"): record for record in stored.records}
    assert set(found) == set(DATASETS)
    for name, record in found.items():
        dataset = DATASETS[name]
        assert record.status == "ok"
        assert record.cell.task.protocol == "longbench-v1"
        assert list(record.scores) == [dataset.metric]
        assert 0 <= record.scores[dataset.metric] <= 1
        # The middle is cut at 500 tokens; joined halves are encoded anew, by a few tokens more or less.
        assert 490 <= record.prompt_tokens <= 520
        assert record.tokens_truncated > 0
        assert record.truncated_at == 250
        assert record.source_length > 400
        assert record.generated_tokens <= dataset.max_new_tokens
        assert (record.evidence_survived is None) or dataset.evidence is not None
        assert record.target
    assert found["passage_count"].evidence_survived is False
    assert {metric.name for task in stored.header.tasks for metric in task.metrics} == {
        dataset.metric for dataset in DATASETS.values()
    }
    again = run(**asked)
    assert (again.computed, again.samples) == (0, 21)


@pytest.mark.slow
def test_made_up_rows_never_pass_for_the_authors(tmp_path, data_dir):
    summary = run(
        tasks="longbench:dataset=trec,longbench_synthetic:dataset=trec/gov_report",
        data_dir=data_dir,
        lengths="2k",
        samples=1,
        output=str(tmp_path / "run"),
    )
    found = {r.cell.task.name: r for r in read_run(summary.folder).records}
    assert set(found) == {"longbench_trec", "longbench_synthetic_trec", "longbench_synthetic_gov_report"}
    assert list(found["longbench_synthetic_gov_report"].scores) == ["rouge_score_l"]
    for name, record in found.items():
        if "synthetic" in name:
            assert record.cell.task.protocol == "exact"
            assert (
                record.prompt_tokens + DATASETS[name.rpartition("trec")[1] or "gov_report"].max_new_tokens
                <= 2048
            )
            assert (record.tokens_truncated, record.evidence_survived) == (0, True)


def cells(tiny_folder, data_dir, **settings):
    prepared = prepare(
        load_config(
            {
                "models": str(tiny_folder),
                "tasks": "longbench:dataset=hotpotqa/trec,passkey",
                "data_dir": data_dir,
                "lengths": "1k",
                **settings,
            }
        )
    )
    return prepared.run_key, {cell.identity.task.name: cell for cell in prepared.plan.cells}


def test_a_chat_template_is_in_the_identity_of_the_cells_that_it_reaches(
    tiny_folder, data_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plain_key, plain = cells(tiny_folder, data_dir)
    key, wrapped = cells(tiny_folder, data_dir, chat_template="llama2")
    assert key != plain_key
    assert {name: cell.identity.chat_template for name, cell in wrapped.items()} == {
        "longbench_hotpotqa": "llama2",
        "longbench_trec": None,
        "passkey": None,
    }
    changed = [name for name in plain if plain[name].cell_id != wrapped[name].cell_id]
    assert changed == ["longbench_hotpotqa"]
    cell = wrapped["longbench_hotpotqa"]
    (sample,) = cell.choice.task.samples(
        context_length=1024, count=1, seed=0, tokenizer=cell.weights.tokenizer
    )
    text = cell.weights.tokenizer.decode(sample.request.prompt_ids[1:])
    assert text.startswith("[INST]Answer the question")
    assert text.endswith("Answer:[/INST]")


def test_what_was_applied_is_in_record_and_header(tiny_folder, data_dir, tmp_path):
    summary = run(
        models=str(tiny_folder),
        tasks="longbench:dataset=hotpotqa",
        data_dir=data_dir,
        lengths="1k",
        chat_template="vicuna",
        output=str(tmp_path / "run"),
    )
    stored = read_run(summary.folder)
    (record,) = stored.records
    assert record.cell.chat_template == "vicuna"
    assert record.answers == ("Ada", "Ada L.")
    assert [row["chat_template"] for row in stored.header.config["resolved"]] == ["vicuna"]


def test_the_same_data_elsewhere_is_the_same_run(tiny_folder, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other" / "data"
    other.mkdir(parents=True)
    for name in ("hotpotqa", "trec"):
        (other / f"{name}.jsonl").write_text(json.dumps(ROW) + "\n")
    first, second = (cells(tiny_folder, place) for place in (data_dir, str(other.parent)))
    assert first[0] == second[0]
    assert [c.cell_id for c in first[1].values()] == [c.cell_id for c in second[1].values()]
    (other / "trec.jsonl").write_text(json.dumps({**ROW, "input": "When?"}) + "\n")
    changed = cells(tiny_folder, str(other.parent))
    assert [n for n, c in changed[1].items() if c.cell_id != first[1][n].cell_id] == ["longbench_trec"]


def test_settings_at_the_top_reach_the_tasks_that_have_them(data_dir):
    def tasks(**settings):
        return [choice.task for choice in choose(load_config(settings)).tasks]

    real, passkey = tasks(tasks="longbench:dataset=trec,passkey", data_dir=data_dir, max_length=600)
    assert (real.data_dir, real.max_length, passkey.info.name) == (data_dir, 600, "passkey")
    (own,) = tasks(tasks=f"longbench:dataset=trec:data_dir={data_dir}:max_length=700", max_length=600)
    assert own.max_length == 700
    exact, made_up = tasks(
        tasks="longbench:dataset=trec,longbench_synthetic:dataset=trec", data_dir=data_dir, protocol="exact"
    )
    assert (exact.protocol, made_up.protocol) == ("exact", "exact")
    with pytest.raises(Exception, match="task must stand once per protocol, got 'longbench_trec'"):
        tasks(tasks="longbench:dataset=trec,longbench:dataset=hotpotqa/trec", data_dir=data_dir)


def test_chinese_without_jieba_is_one_line(tiny_folder, data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "jieba", None)
    asking._cut.cache_clear()
    (tmp_path / "vcsum.jsonl").write_text(json.dumps(ROW) + "\n")
    arguments = ["--model", str(tiny_folder), "--tasks", "longbench:dataset=vcsum", "--data-dir", data_dir]
    assert main([*arguments, "--lengths", "1k"]) == 2
    assert capsys.readouterr().err == (
        "longbench_vcsum: Chinese text must be cut into words by jieba, which is not installed. "
        'Run `pip install "longbench-run[chinese]"`, or name datasets without Chinese: dataset=en.\n'
    )


def test_an_archive_whose_entry_climbs_out_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lb").mkdir()
    with zipfile.ZipFile(tmp_path / "lb/data.zip", "w") as opened:
        opened.writestr("../../hotpotqa.jsonl", "{}")
    monkeypatch.setattr(
        archive, "SHA256", hashlib.sha256((tmp_path / "lb/data.zip").read_bytes()).hexdigest()
    )
    assert main(["--tasks", "longbench:dataset=hotpotqa", "--data-dir", "lb"]) == 2
    assert capsys.readouterr().err == (
        "lb/data.zip: entries must stay in their folder, got '../../hotpotqa.jsonl'. Do not use this archive.\n"
    )
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["lb/data.zip"]
