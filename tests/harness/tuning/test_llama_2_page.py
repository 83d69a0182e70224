"""docs/tune-llama-2.md: every command of it works, in its order, and the dry run prints what the page shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass

import pytest
from transformers import AutoTokenizer, LlamaConfig

from longbench_run.harness import reference_model
from longbench_run.harness.cli import main
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning import plan
from longbench_run.harness.tuning.conversations import DataFile, read_conversations
from longbench_run.harness.tuning.samples import Encoded, encode_all
from longbench_run.harness.yaml_file import read_yaml
from longbench_run.recipes import config_path
from longbench_run.results.table import load

MODEL = "meta-llama/Llama-2-7b-chat-hf"
RECIPE = "recipes/entropy-abf-tuned.yaml"
METHODS = ("pi", "ntk_by_parts", "yarn", "abf", "entropy_abf")
EXCHANGES = 4


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "tune-llama-2.md").read_text()


@pytest.fixture(scope="module")
def llama_2(tmp_path_factory):
    """Folder with Llama-2-7B's configuration and the bundled tokenizer: no weights."""
    folder = tmp_path_factory.mktemp("llama") / "llama"
    sizes = {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    }
    LlamaConfig(vocab_size=32000, max_position_embeddings=4096, dtype="float16", **sizes).save_pretrained(
        folder
    )
    for file in reference_model.path().glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def fences(page, language):
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def commands(page):
    return [shlex.split(text.replace("\\\n", " ")) for text in fences(page, "bash")]


@dataclass
class Made:
    """A sample of which only lengths are known: 3500 of them take no time."""

    tokens: int
    responses: int

    def __len__(self):
        return self.tokens


def asked_and_said(number):
    """Return the words of an exchange of a made conversation: of 10,000 to 16,000 in all, three quarters are said."""
    words = 10_000 + 37 * number % 6_000
    return words // 16, 3 * words // 16


def made(number):
    asked, said = asked_and_said(number)
    return Made(EXCHANGES * (asked + said) + 77, EXCHANGES * (said + 3))


def conversation(number):
    asked, said = (" a" * words for words in asked_and_said(number))
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]
    return {"conversations": turns * EXCHANGES}


def test_made_samples_are_as_long_as_real_ones(llama_2, tmp_path):
    numbers = [0, 99, 3499]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(conversation(n)) + "\n" for n in numbers))
    tokenizer = AutoTokenizer.from_pretrained(llama_2)
    found = encode_all(read_conversations(tmp_path / "chats.jsonl"), tokenizer, context_length=16384)

    assert [(len(sample), sample.responses) for sample in found.samples] == [
        (len(made(n)), made(n).responses) for n in numbers
    ]


def test_the_dry_run_prints_what_the_page_shows(page, llama_2, tmp_path, monkeypatch, capsys):
    """It reads a configuration and a tokenizer; the samples of 93 million tokens are made, not encoded."""
    encoded = Encoded(samples=tuple(map(made, range(3500))), template="plain")
    file = DataFile(name="long.jsonl", sha256="", conversations=(), without_response=0)
    monkeypatch.setattr(plan, "read_conversations", lambda path: file)
    monkeypatch.setattr(plan, "encode_all", lambda *given, **named: encoded)
    monkeypatch.setattr(plan, "_describe", lambda *given: {"data": {"tokens": sum(map(len, given[2]))}})
    monkeypatch.chdir(tmp_path)
    (dry_run,) = [words for words in commands(page) if "--dry-run" in words and words[1] == "tune"]
    shown, *_ = fences(page, "text")

    assert main([str(llama_2) if word == MODEL else word for word in dry_run[1:]]) == 0
    said = capsys.readouterr()
    on_gpu = re.sub(r"precision float32 \(paper bfloat16\)", "nothing", said.out)
    assert on_gpu == shown


def test_a_run_measures_each_variant_as_it_was_tuned(llama_2):
    rope = inspect_model(ModelSpec(model=str(llama_2), dtype="float32", device="cpu")).facts.rope
    entries = read_yaml(config_path(RECIPE))["methods"]
    found = [
        (entry["weights"], parse_method(entry["name"]).resolve(rope, context_length=32768).canonical)
        for entry in entries
    ]

    assert found == [
        (f"./tuned/{name}-{count}-seed0", parse_method(name).resolve(rope, context_length=16384).canonical)
        for count in (3500, 100)
        for name in METHODS
    ]


SMALL = {"16k": "256", "100,3500": "4"}
"""What the page says -> what is computed here: five variants."""
QUICK = {
    "tune": ["--batch-size", "4", "--epochs", "1"],
    "run": ["--lengths", "1k", "--samples", "1", "--tasks", "longbench:dataset=triviaqa", "--data-dir", "rows",
            "--dtype", "float32"],
    "report": ["--format", "md"],
}  # fmt: skip


def test_the_page_leads_from_conversations_to_a_report(
    page, root, base, write_chats, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    row = {"input": "?", "context": "x", "answers": ["1"], "length": 1, "all_classes": ["1"]}
    (tmp_path / "rows" / "triviaqa.jsonl").write_text(f"{json.dumps(row)}\n" * 200)
    recipe = re.sub(r"^.*-3500-.*\n", "", config_path(RECIPE).read_text(), flags=re.MULTILINE)
    (tmp_path / "recipes").mkdir()
    (tmp_path / RECIPE).write_text(recipe.replace(MODEL, str(base)).replace("-100-", "-4-"))
    write_chats(tmp_path / "chats.jsonl", filler=180)
    rows = [json.loads(line) for line in (tmp_path / "chats.jsonl").read_text().splitlines()]
    other = [
        {"conversations": [{"from": "bard", "value": "x" * 300}]},
        {"conversations": [{"from": "gpt", "value": "ы" * 300}]},
    ]
    (tmp_path / "sharegpt.json").write_text(json.dumps([*rows, *other, {"conversations": []}]))
    selects, averages = fences(page, "python")

    exec(compile(selects.replace(MODEL, str(base)).replace("10_000", "150"), "select_long.py", "exec"), {})  # noqa: S102
    assert [json.loads(line) for line in (tmp_path / "long.jsonl").read_text().splitlines()] == rows

    done = []
    for words in commands(page):
        typed = [str(base) if word == MODEL else SMALL.get(word, word) for word in words[1:]]
        assert main([*typed, *QUICK[typed[0]]]) == 0, capsys.readouterr().err
        done.append((typed[0], "--dry-run" in typed))
    assert done == [("tune", True), ("tune", False), ("run", True), ("run", False), ("report", False)]

    frame = load(tmp_path / "runs" / "entropy-abf-tuned")
    labels = {f"{name} 0.1k" for name in ("PI", "NTK-By-Parts", "YaRN", "ABF", "EABF")}
    assert set(frame["method_label"]) == {"none", *labels}
    assert set(frame["status"]) == {"ok"}
    averages = averages.replace("16384", "1024")
    exec(compile(averages, "table_5.py", "exec"), {})  # noqa: S102
    at_longest = frame[frame["context_length"] == 1024].set_index("method_label")["score"]
    printed = dict(re.findall(r"^(.+?) +([\d.]+)$", capsys.readouterr().out, flags=re.MULTILINE))
    assert {label: float(printed[label]) for label in labels} == pytest.approx(
        {label: 100 * at_longest[label] for label in labels}, abs=1e-4
    )
    (report,) = (tmp_path / "runs" / "entropy-abf-tuned").rglob("report.md")
    assert "Beside published numbers" in report.read_text()
