"""What bad input gets: one line, exit 2, nothing written or lost. All of it in one table, with the full text."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from longbench_run.harness.cli import main
from longbench_run.results.lock import RunLock
from longbench_run.tasks.longbench.archive import SHA256, URL

WINDOW = 64
DONE = ["--methods", "none", "--tasks", "passkey", "--lengths", "512", "--samples", "2", "--output", "done"]
"""A run that is finished and stored before each case."""
LONGBENCH = ["--tasks", "longbench:dataset=hotpotqa", "--data-dir", "lb"]
ROW = json.dumps(
    {
        "input": "Who?",
        "context": "Ada did.",
        "answers": ["Ada"],
        "length": 2,
        "dataset": "hotpotqa",
        "language": "en",
        "all_classes": None,
    }
)


def nothing() -> None:
    pass


def write(name: str, text: str) -> Callable[[], None]:
    def prepare() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")

    return prepare


def edit_line(number: int, change: Callable[[str], str]) -> Callable[[], None]:
    """Change one line of the stored run's records."""

    def prepare() -> None:
        path = Path("done/records.jsonl")
        lines = path.read_text().splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        path.write_text("".join(lines))

    return prepare


def newer_header() -> None:
    header = Path("done/run.json")
    header.write_text(json.dumps(json.loads(header.read_text()) | {"schema_version": 99}))


def gpt2() -> None:
    GPT2LMHeadModel(
        GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=258, bos_token_id=1, eos_token_id=1)
    ).save_pretrained("gpt2")


def held_lock() -> None:
    Path("busy").mkdir()
    held.append(RunLock(Path("busy")))


held: list[RunLock] = []


class Case(NamedTuple):
    arguments: list[str]
    message: str
    prepare: Callable[[], None] = nothing


YAML = write("matrix.yaml", "")
CASES = {
    # Names
    "unknown method": Case(["--methods", "pi,yarm"], '--methods: unknown method "yarm". Did you mean "yarn"? See `longbench-run list methods`.'),
    "unknown task": Case(["--tasks", "pasky"], '--tasks: unknown task "pasky". Did you mean "passkey"? See `longbench-run list tasks`.'),
    "unknown protocol": Case(["--protocol", "slide"], '--protocol: unknown protocol "slide". Did you mean "sliding"? See `longbench-run list protocols`.'),
    "unknown preset": Case(["--preset", "smok"], '--preset: unknown preset "smok". Did you mean "smoke"? See `longbench-run run --help`.'),
    "unknown command": Case(["rnu"], 'Unknown command "rnu". Did you mean "run"? See `longbench-run --help`.'),
    "unknown flag": Case(["--mehods", "pi"], 'Unknown flag "--mehods". Did you mean "--methods"? See `longbench-run run --help`.'),
    "abbreviated flag": Case(["--method", "pi"], 'Unknown flag "--method". Did you mean "--methods"? See `longbench-run run --help`.'),
    "unknown thing to list": Case(["list", "method"], 'Unknown name "method". Did you mean "methods"? See `longbench-run list --help`.'),
    "word too many": Case(["run", "pi"], 'Unexpected argument "pi". See `longbench-run run --help`.'),
    "flag without value": Case(["--samples"], "--samples: must be followed by one value, got none. See `longbench-run run --help`."),
    "unknown method parameter": Case(["--methods", "yarn:beta_fats=3"], '--methods: yarn has no parameter "beta_fats" (did you mean "beta_fast"?). Parameters: attention_factor, beta_fast, beta_slow, factor, original_context_length, ramp, temperature.'),
    "unknown task parameter": Case(["--tasks", "passkey:depth=3"], '--tasks: passkey: has no parameter "depth" (did you mean "depths"?). Parameters: depths, max_new_tokens, protocol.'),
    "unknown config key": Case(["--config", "m.yaml"], 'm.yaml: unknown key "method". Did you mean "methods"? See `longbench-run run --help`.', write("m.yaml", "method: pi\n")),
    "unknown config key of a model": Case(["--config", "m.yaml"], 'm.yaml: models[0]: unknown key "dtpye". Did you mean "dtype"? See `longbench-run run --help`.', write("m.yaml", "models: [{name: tiny-llama, dtpye: float32}]\n")),
    "doubled config key": Case(["--config", "m.yaml"], 'm.yaml line 2: must be YAML without doubled keys, got: key "factor" stands twice. Mend the line.', write("m.yaml", "factor: 2\nfactor: 4\n")),
    "missing config file": Case(["--config", "absent.yaml"], "--config: must be a readable YAML file, got 'absent.yaml' (No such file or directory). Check the path."),
    # Values
    "empty list of methods": Case(["--methods", ""], "--methods: must be names separated by commas, none of them empty, got ''. Name at least one."),
    "empty name in a list": Case(["--methods", "pi,,yarn"], "--methods: must be names separated by commas, none of them empty, got 'pi,,yarn'. Name at least one."),
    "number with a plus": Case(["--methods", "abf:base=1e+6"], "--methods: a number must be written without +, got '1e+6'. Write 1e6: + joins methods."),
    "length that is no number": Case(["--lengths", "4k,abc"], "--lengths: must be a number of tokens (4096, 4k) or of original windows (2x), got 'abc'. Write 4k,8k or 1x,2x."),
    "length below a task's minimum": Case(["--model", "tiny-llama", "--lengths", "64"], "--lengths: context length must be at least 414 for passkey with model tiny-llama, got 64. Ask for longer ones."),
    "length beyond a task's tokens": Case(["--model", "tiny-llama", "--tasks", "perplexity:protocol=sliding:stride=16:tokens=128", "--lengths", "512"], "perplexity: tokens must be at least the context length, 512, got 128. Write perplexity:protocol=sliding:tokens=512."),
    "factor below 1": Case(["--factor", "0.5"], "--factor: must be fixed, per-length or a number of at least 1, got 0.5. Leave it out to configure for the longest length."),
    "factor that is no number": Case(["--factor", "double"], "--factor: must be fixed, per-length or a number of at least 1, got 'double'. Leave it out to configure for the longest length."),
    "method's factor below 1": Case(["--methods", "pi:factor=0.5"], "--methods: pi: factor must be at least 1, got 0.5. Leave it out for the default."),
    "window larger than L": Case(["--model", "tiny-llama", "--lengths", "512", "--methods", "self_extend:window=65"], "--methods: self_extend: window must be at most the original window (64), got 65. Name a smaller one."),
    "no samples": Case(["--samples", "0"], "--samples: must be at least 1, got 0. Give a larger number."),
    "samples that are no number": Case(["--samples", "many"], "--samples: must be a whole number, got 'many'. Write it in digits."),
    "window by hand that is none": Case(["--original-context-length", "0"], "--original-context-length: must be at least 1, got 0. Give a larger number."),
    "unknown dtype": Case(["--dtype", "fp16"], "--dtype: must be one of auto, float32, bfloat16, float16, got 'fp16'. Choose one of them."),
    "unknown device": Case(["--device", "gpu"], "--device: must be auto, cpu, cuda or cuda:N, got 'gpu'. Write cpu, for instance."),
    "unknown overwrite": Case(["--overwrite", "al"], "--overwrite: must be one of missing, failed, all, got 'al'. Choose one of them."),
    "nothing to run": Case(["--no-baseline"], "--methods: must be at least one where the baseline is left out, got none. Name a method, or drop --no-baseline."),
    "label given twice": Case(["--methods", "pi,pi"], "--methods: label must be given once, got 'pi' 2 times. Drop one, or give each its own label in a configuration file."),
    "methods that are the same": Case(["--model", "tiny-llama", "--lengths", "512", "--methods", "pi,pi:factor=8"], "--methods: methods must differ, got 'pi' and 'pi:factor=8', which are the same once resolved. Drop one."),
    # Models
    "model path": Case(["--model", "./tiny-lama"], "model ./tiny-lama: path must be an existing folder, got './tiny-lama'. Did you mean \"tiny-llama\"?"),
    "folder that is no model": Case(["--model", "done"], "model done: path must be a folder with config.json, got 'done'. Give the folder that save_pretrained wrote."),
    "model without RoPE": Case(["--model", "gpt2"], "model gpt2: family must be one with rotary position embeddings (RoPE), got 'gpt2'. Extension methods change rotary embeddings; give a model that has them.", gpt2),
    "revision of a folder": Case(["--model", "tiny-llama", "--revision", "main"], "model tiny-llama: revision must be left out for a local folder, got 'main'. Leave --revision out: the folder's content is its revision."),
    # Data
    "text folder that is missing": Case(["--tasks", "perplexity:text=absent"], "--tasks: perplexity: text must be a folder of .txt files, got 'absent'. Name an existing folder."),
    "text folder with nothing readable": Case(["--tasks", "perplexity:text=texts"], "--tasks: perplexity: text must hold at least one .txt file that is not blank, got none in 'texts'. Name a folder with text files in it.", write("texts/blank.txt", " \n")),
    "text that is too short": Case(["--model", "tiny-llama", "--lengths", "512", "--tasks", "perplexity:text=texts"], "perplexity: text must hold a document of at least 511 tokens for context length 512, got at most 5 in the first 1. Ask for shorter lengths or give longer documents.", write("texts/a.txt", "short")),
    "unknown dataset": Case(["--tasks", "longbench_synthetic:dataset=hotpotq"], '--tasks: longbench_synthetic: has no dataset "hotpotq" (did you mean "hotpotqa"?). Datasets: 2wikimqa, all, gov_report, hotpotqa, lcc, multi_news, multifieldqa_en, musique, narrativeqa, passage_count, passage_retrieval_en, qasper, qmsum, repobench-p, samsum, trec, triviaqa.'),
    "data folder that is missing": Case(["--tasks", "longbench:dataset=hotpotqa", "--data-dir", "absent"], "longbench: data_dir must be a folder, got nothing at 'absent'. Name one that holds hotpotqa.jsonl or data.zip."),
    "data folder without the dataset": Case(["--tasks", "longbench:dataset=hotpotqa", "--data-dir", "lb"], f"longbench: data_dir must hold hotpotqa.jsonl, data/hotpotqa.jsonl or data.zip, got none of them in 'lb'. Put {URL} there, or name other datasets.", write("lb/qasper.jsonl", "{}")),
    "row without a field": Case([*LONGBENCH, "--lengths", "1k"], "lb/hotpotqa.jsonl, line 2: has no field 'answers'. It has: _id, all_classes, context, dataset, input, language, length.", write("lb/hotpotqa.jsonl", f"{ROW}\n{ROW.replace('answers', '_id')}\n")),
    "archive with a wrong hash": Case(["--tasks", "longbench:dataset=hotpotqa", "--data-dir", "lb"], f"lb/data.zip: sha256 must be {SHA256}, got {hashlib.sha256(b'zip').hexdigest()}. Delete it, and get it again from {URL}.", write("lb/data.zip", "zip")),
    "length that LongBench's authors have no cut for": Case(["--model", "tiny-llama", *LONGBENCH, "--lengths", "1500"], "longbench_hotpotqa: context_length must be a multiple of 1024 with protocol longbench-v1, got 1500. Choose another, name max_length, or use protocol exact.", write("lb/hotpotqa.jsonl", ROW)),
    "data folder that no task reads": Case(["--data-dir", "texts"], "--data-dir: data_dir must be left out where no task has it, got 'texts'. longbench would."),
    "prompt length that no task takes": Case(["--max-length", "3500"], "--max-length: max_length must be left out where no task has it, got 3500. longbench would."),
    "unknown chat template": Case(["--chat-template", "lama2"], "--chat-template: must be one of auto, none, own, thinking, llama2, vicuna, got 'lama2'. Did you mean \"llama2\"?"),
    "chat template that the model has not": Case(["--model", "tiny-llama", *LONGBENCH, "--lengths", "1k", "--chat-template", "own"], "--chat-template: model tiny-llama: chat template must be one that there is, got 'own' and a tokenizer without one. Choose none or llama2, vicuna.", write("lb/hotpotqa.jsonl", ROW)),
    # Stored runs
    "output that holds another run": Case([*DONE, "--model", "tiny-llama", "--seed", "1"], "done: --output must be a new folder or the same run, got a folder that holds another run (started {started}). Choose another --output or --overwrite all."),
    "dry run into another run": Case([*DONE, "--model", "tiny-llama", "--seed", "1", "--dry-run"], "done: --output must be a new folder or the same run, got a folder that holds another run (started {started}). Choose another --output or --overwrite all."),
    "output that holds other files": Case(["--model", "tiny-llama", "--output", "texts"], "texts: --output must be a new folder or a run, got a folder that holds other files ('a.txt'). Choose another --output.", write("texts/a.txt", "mine")),
    "output that is a file": Case(["--model", "tiny-llama", "--output", "mine"], "mine: --output must be a folder, got a file. Choose another --output.", write("mine", "")),
    "output that another process writes": Case(["--model", "tiny-llama", *DONE, "--output", "busy"], "busy: --output must be written by one process at a time, got a run that process {pid} is writing. Wait for it to end, or choose another --output.", held_lock),
    "records of a newer schema": Case(["--model", "tiny-llama", *DONE], "done/records.jsonl line 2: schema_version 99 is newer than this program reads (3). Upgrade longbench-run.", edit_line(2, lambda line: line.replace('"schema_version":3', '"schema_version":99'))),
    "header of a newer schema": Case(["--model", "tiny-llama", *DONE], "done/run.json: schema_version 99 is newer than this program reads (3). Upgrade longbench-run.", newer_header),
    "corrupt record": Case(["--model", "tiny-llama", *DONE], "done/records.jsonl line 1: record must be one JSON object, got '}}rubbish'. Restore the line, or delete it: its sample is then computed again.", edit_line(1, lambda _: "}}rubbish\n")),
    "report of a folder that is no run": Case(["report", "tiny-llama"], "tiny-llama: run must be a folder that longbench-run wrote, got one without run.json. See what is in runs/."),
    "show of a method that is not there": Case(["show", "done", "--method", "yarm"], "done: method must be one of none, got 'yarm'. Ask for one of these."),
}  # fmt: skip
"""Name -> command line, message, and what lies in the folder before."""


@pytest.fixture(scope="module")
def workplace(tiny_folder, tmp_path_factory):
    """Make a folder with a model and a finished run, to copy."""
    folder = tmp_path_factory.mktemp("bad-input")
    shutil.copytree(tiny_folder, folder / "tiny-llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*DONE, "--model", "tiny-llama"]) == 0
    return folder


@pytest.fixture
def folder(workplace, tmp_path, monkeypatch):
    shutil.copytree(workplace, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    yield tmp_path / "w"
    while held:
        held.pop().release()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_line_and_exit_2_and_loses_nothing(name, folder, capsys):
    case = CASES[name]
    case.prepare()
    before = contents(folder)
    header = json.loads((folder / "done" / "run.json").read_text())
    message = case.message.replace("{started}", header["started"]).replace("{pid}", str(os.getpid()))
    capsys.readouterr()

    status = main(case.arguments)

    shown = capsys.readouterr()
    assert shown.err == f"{message}\n"
    assert (status, shown.out) == (2, "")
    assert contents(folder) == before


def test_a_torn_line_is_repaired_and_its_sample_computed_again(folder, capsys, caplog):
    records = folder / "done" / "records.jsonl"
    whole = records.read_bytes()
    records.write_bytes(whole[:-20])

    assert main([*DONE, "--model", "tiny-llama"]) == 0

    assert [record.getMessage() for record in caplog.records] == [
        "done/records.jsonl line 2: was cut off while being written. It is removed, and its sample computed again."
    ]
    kept = ("index", "sample_key", "prediction", "scores", "status", "cell_id")
    stored, before = (
        sorted(([json.loads(line)[key] for key in kept] for line in text.splitlines()), key=str)
        for text in (records.read_bytes(), whole)
    )
    assert stored == before
    assert len(stored) == 2


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for a gated model and for one that does not exist."""

    def do_GET(self):
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "no")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


HUB_CASES = {
    "gated": ("org/gated", "0", "model org/gated: hub id must be one that this account may read, got the gated 'org/gated'. Ask for access at {hub}/org/gated, then run `hf auth login`, or give a local folder."),
    "missing": ("org/absent", "0", "model org/absent: hub id must be an existing model, got 'org/absent'. Check the id, run `hf auth login` if it is private, or give a local folder."),
    "no network": ("org/any", "1", "model org/any: hub id must be in the cache or within reach, got 'org/any' and no answer from {hub}. Check the id and the network, or give a local folder."),
}  # fmt: skip


@pytest.mark.parametrize("name", HUB_CASES)
def test_a_hub_model_that_cannot_be_had_says_what_to_do(name, folder, hub):
    """In a process of its own: the library reads its environment once."""
    model, offline, message = HUB_CASES[name]
    environment = os.environ | {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": offline,
        "HF_HOME": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "longbench_run.harness", "--model", model, "--methods", "pi"]
    before = contents(folder)

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.stderr == message.replace("{hub}", hub) + "\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert {k: v for k, v in contents(folder).items() if not k.startswith("cache")} == before


def test_every_error_of_a_command_line_is_told_at_once(folder, capsys):
    assert main(["--methods", "yarm", "--tasks", "pasky", "--lengths", "x", "--samples", "0"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--lengths: must be a number of tokens (4096, 4k) or of original windows (2x), got 'x'. Write 4k,8k or 1x,2x.",
        "--samples: must be at least 1, got 0. Give a larger number.",
        '--methods: unknown method "yarm". Did you mean "yarn"? See `longbench-run list methods`.',
        '--tasks: unknown task "pasky". Did you mean "passkey"? See `longbench-run list tasks`.',
    ]


def test_every_model_that_cannot_be_used_is_told_at_once(folder, capsys):
    gpt2()
    write("m.yaml", "models: [gpt2, {name: tiny-llama, revision: main}, ./tiny-lama]\n")()
    capsys.readouterr()

    assert main(["--config", "m.yaml", "--methods", "pi"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "model ./tiny-lama: path must be an existing folder, got './tiny-lama'. Did you mean \"tiny-llama\"?"
    ]
    write("m.yaml", "models: [gpt2, {name: tiny-llama, revision: main}]\n")()
    assert main(["--config", "m.yaml", "--methods", "pi"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        CASES["model without RoPE"].message,
        CASES["revision of a folder"].message,
    ]
