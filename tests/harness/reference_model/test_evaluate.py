"""The measurement of the reference model and the card that is written from it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from longbench_run.harness import reference_model
from longbench_run.harness.reference_model import evaluate, plain_text
from longbench_run.harness.reference_model.evaluate import MAIN_METHODS, Part, other_methods, parts
from longbench_run.harness.reference_model.plain_text import BookFigures, measure_books
from longbench_run.harness.reference_model.speed import Speed, measure_speed
from longbench_run.results import load

BOOK = "It was a bright cold day in April, and the clocks were striking thirteen. " * 40


def test_every_method_is_measured_once_those_of_the_main_command_first():
    beyond = [part for part in parts() if len(part.methods) > 1]

    assert [part.name for part in beyond] == ["main-near", "main-far", "others-near", "others-far"]
    assert beyond[0].methods == MAIN_METHODS
    assert not set(MAIN_METHODS) & set(other_methods())
    assert {"rerope", "ntk", "dca", "streaming_llm"} <= set(other_methods())


def test_there_are_enough_samples_for_what_the_card_claims():
    samples = {(part.name, task["name"]): task["samples"] for part in parts() for task in part.tasks}

    assert samples["inside", "passkey"] == 10 * 20
    assert samples["main-near", "passkey"] >= 100
    assert samples["main-far", "passkey"] >= 40


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A measurement of seconds."""
    passkey, perplexity = {"name": "passkey", "samples": 10}, {"name": "perplexity", "samples": 2}
    monkeypatch.setattr(
        evaluate,
        "parts",
        lambda: (
            Part(name="inside", windows=(0.25,), tasks=(passkey,)),
            Part(
                name="main-near",
                windows=(0.25, 0.3),
                tasks=(passkey, perplexity),
                methods=("none", "yarn"),
                settings={"factor": 8.0},
            ),
        ),
    )
    return tmp_path


def test_the_card_says_what_was_measured_and_a_second_time_nothing_is(few, capsys):
    arguments = ["--output", str(few / "runs"), "--card", str(few / "card.md"), "--threads", "1"]
    assert evaluate.main(arguments) == 0
    card = (few / "card.md").read_text()
    records = (few / "runs" / "main-near" / "records.jsonl").read_text()
    assert evaluate.main(arguments) == 0

    frame = load(few / "runs" / "main-near")
    found = frame[(frame["task"] == "passkey") & (frame["method_label"] == "yarn")]["score"].mean()
    assert f"| `yarn` | {found:.2f} [" in card
    assert "| `passkey` | accuracy | 512 | " in card
    assert evaluate.weights_sha256(reference_model.path()) in card
    assert (few / "card.md").read_text() == card
    assert (few / "runs" / "main-near" / "records.jsonl").read_text() == records
    assert capsys.readouterr().out == "inside: 10 samples\nmain-near: 48 samples\n" * 2


def test_a_part_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_:
        evaluate.main(["--parts", "insight"])

    assert exit_.value.code == 2
    assert "--parts must be among inside, skills," in capsys.readouterr().err


class TestBooks:
    @pytest.fixture
    def figures(self, tmp_path, monkeypatch):
        for folder in ("unseen", "seen"):
            (tmp_path / folder).mkdir()
        (tmp_path / "unseen" / "a.txt").write_text(BOOK)
        (tmp_path / "seen" / "b.txt").write_text("A bright day. " * 50)
        monkeypatch.setattr(plain_text, "TOKENS", 200)
        return measure_books(
            books=tmp_path / "unseen",
            training_books=tmp_path / "seen",
            model=reference_model.path(),
            window=160,
            dtype="float32",
            output=tmp_path / "runs",
        )

    def test_bits_per_byte_are_those_of_a_plain_formula(self, figures, loaded, tokenizer):
        ids = tokenizer.encode(BOOK, add_special_tokens=False)[:200]
        nll = 0.0
        stride, shown, scored = 10, 159, 0
        for begin in range(
            0, 200, stride
        ):  # windows of 159 tokens of text behind the one that begins a sequence
            window = [tokenizer.bos_token_id, *ids[begin : begin + shown]]
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([window])).logits[0].double()
            end = min(begin + shown, 200)
            for place in range(scored, end):
                nll -= logits[place - begin].log_softmax(-1)[ids[place]].item()
            scored = end
            if end == 200:
                break
        size = len(tokenizer.decode(ids).encode())

        assert figures.books == ("a.txt",)
        assert figures.bits_per_byte[160] == pytest.approx(nll / math.log(2) / size, rel=1e-4)
        assert set(figures.bits_per_byte) == {20, 160}

    def test_the_unigram_model_is_that_of_smoothed_frequencies(self, figures, tokenizer):
        ids = tokenizer.encode(BOOK, add_special_tokens=False)[:200]
        seen = tokenizer.encode("A bright day. " * 50, add_special_tokens=False)
        counts = np.array([seen.count(token) + 1 for token in range(len(tokenizer))])
        bits = -sum(math.log2(counts[token] / counts.sum()) for token in ids)

        assert figures.bits_per_byte_unigram == pytest.approx(
            bits / len(tokenizer.decode(ids).encode()), rel=1e-9
        )


def test_the_card_has_the_books_that_were_trained_and_measured_on(tmp_path):
    (tmp_path / "config.json").write_text((reference_model.path() / "config.json").read_text())
    stage = {
        "stage": "one",
        "steps": 3,
        "tokens": 2_000_000,
        "seconds": 120,
        "copying": 0.5,
        "passkey": 0.25,
    }
    book = {"name": "b.txt", "source": "Project Gutenberg 1", "sha256": "ab"}
    record = {"seed": 5, "parameters": 1234, "threads": 1, "stages": [stage], "books": [book]}
    (tmp_path / "training.json").write_text(json.dumps(record))
    books = BookFigures(books=("c.txt",), bits_per_byte={256: 2.5, 2048: 2.25}, bits_per_byte_unigram=3.5)
    speed = Speed(threads=2, load=0.1, prefill={("float32", 4096): 0.25})
    card = evaluate.render_card(tmp_path, weights="w", dtype="float32", frames={}, books=books, speed=speed)

    assert "| one | 3 | 2.0 M | 2 | 0.50 | 0.25 |" in card
    assert "| `b.txt` | Project Gutenberg 1 | `ab` |" in card
    assert "| context of 2048 tokens | 2.250 |" in card
    assert "same tokens | 3.500 |" in card
    assert "| float32 | 4096 | 0.25 |" in card
    assert "1,234 parameters" in card
    assert "--books DIR --seed 5" in card
    assert card.count("not measured with these weights yet") == 4


def test_speed_is_measured_for_every_length_and_dtype():
    speed = measure_speed(reference_model.path(), lengths=[64, 128])

    assert set(speed.prefill) == {
        (dtype, length) for dtype in ("float32", "bfloat16") for length in (64, 128)
    }
    assert all(0 < seconds < 10 for seconds in (speed.load, *speed.prefill.values()))
