"""The bundled model: what is shipped, what it can do, what it was trained on, and how its figures are kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from longbench_run.harness import reference_model
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.reference_model import evaluate, train
from longbench_run.harness.reference_model.card import Table, render_card
from longbench_run.harness.reference_model.data import Kind, Rows
from longbench_run.harness.reference_model.figures import Figure, Figures, Point
from longbench_run.harness.reference_model.stages import STAGES, Stage
from longbench_run.harness.reference_model.tokenizer import load_tokenizer, train_tokenizer
from longbench_run.tasks.passkey import Passkey, passkey_prompt

KINDS = ("copying", "scattered", "planted", "passkey", "documents", "books")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(reference_model.path())


@pytest.fixture(scope="module")
def loaded():
    return load_model(ModelSpec(dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def rows(tokenizer):
    books = torch.arange(3, 2003).numpy().astype("uint16")
    return Rows(tokenizer=tokenizer, books=books, seed=0)


class TestShipped:
    def test_finding_it_costs_no_torch(self):
        code = (
            "import sys; from longbench_run.harness import reference_model as m; "
            "assert (m.path() / 'config.json').is_file(); print('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout == "False\n"

    def test_weights_are_bf16_and_small(self):
        with safe_open(reference_model.path() / "model.safetensors", framework="pt") as weights:
            dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118 - no mapping

        assert dtypes == {torch.bfloat16}
        assert sum(file.stat().st_size for file in reference_model.path().iterdir()) < 4e6

    def test_every_file_may_be_read_by_anyone(self):
        assert {oct(file.stat().st_mode & 0o044) for file in reference_model.path().iterdir()} == {"0o44"}

    def test_it_loads_alone_by_path_like_any_model(self):
        model = AutoModelForCausalLM.from_pretrained(reference_model.path())
        tokenizer = AutoTokenizer.from_pretrained(reference_model.path())

        assert model.config.model_type == "llama"
        assert model.config.head_dim == 64
        assert model.config.max_position_embeddings >= 512
        assert model.config.rope_parameters["rope_theta"] == 10_000
        assert model.config.vocab_size == len(tokenizer) == train.VOCABULARY
        assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
        )

    def test_its_architecture_is_the_one_that_the_script_trains(self):
        shipped = json.loads((reference_model.path() / "config.json").read_text())
        trained = train.model_config(STAGES[-1].length).to_dict()
        names = (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "max_position_embeddings",
            "rope_parameters",
        )

        assert {name: shipped[name] for name in names} == {name: trained[name] for name in names}

    def test_the_card_is_about_these_weights(self, root):
        card = (root / "harness/reference_model/MODEL_CARD.md").read_text()
        digest = evaluate.weights_sha256(reference_model.path())

        assert f"sha256 `{digest}`" in card


class TestAbility:
    """A few samples: the figures are in the model card."""

    def test_it_finds_the_key_at_every_depth_of_its_window(self, loaded):
        scores, depths = evaluate.passkey(
            loaded, context_length=loaded.facts.original_context_length, count=10, seed=3
        )

        assert sorted(depths) == [step / 9 for step in range(10)]
        assert sum(scores) >= 9

    def test_it_is_broken_beyond_its_window_and_a_method_of_each_family_mends_it(self, loaded):
        twice = 2 * loaded.facts.original_context_length
        found = {}
        for method in ("none", "yarn", "self_extend"):
            with parse_method(method).applied_to(loaded.model, context_length=twice):
                scores, _ = evaluate.passkey(loaded, context_length=twice, count=10, seed=3)
            found[method] = sum(scores)

        assert found["none"] <= 1
        assert found["yarn"] >= 7
        assert found["self_extend"] >= 7

    def test_it_reads_the_key_and_not_the_phrase(self, loaded, tokenizer):
        predictions = []
        for key in (10_000, 27_182, 31_415, 99_999):
            prompt = tokenizer.encode(passkey_prompt(key=key, sentences=40, boundary=17), return_tensors="pt")
            answer = loaded.model.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :]
            predictions.append(tokenizer.decode(answer, skip_special_tokens=True))

        assert predictions == [" 10000.", " 27182.", " 31415.", " 99999."]

    def test_more_context_tells_more_of_a_document(self, loaded):
        window = loaded.facts.original_context_length
        short, whole = (
            evaluate.document_nll(loaded, context_length=n, longest=window, count=8, seed=3)
            for n in (window // 2, window)
        )

        assert sum(whole) < sum(short)


class TestTokenizer:
    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_goes_through_unchanged(self, tokenizer, text):
        ids = tokenizer.encode(text, add_special_tokens=False)

        assert tokenizer.decode(ids) == text or any(
            special in text for special in tokenizer.all_special_tokens
        )

    def test_the_beginning_of_a_sequence_is_marked_unless_told_otherwise(self, tokenizer):
        assert tokenizer.encode("a b") == [
            tokenizer.bos_token_id,
            *tokenizer.encode("a b", add_special_tokens=False),
        ]

    @given(key=st.integers(10_000, 99_999))
    def test_digits_are_tokens_of_their_own_wherever_they_stand(self, tokenizer, key):
        for text in (f"is {key}.", f"({key})", f"No{key}th"):
            tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))

            assert [token for token in tokens if any(c.isdigit() for c in token)] == list(str(key))

    def test_training_it_twice_gives_the_same_tokens(self):
        texts = ["The pass key is 12345.", "once upon a time there was a key", "a key, a time, a pass"] * 5
        one, other = (train_tokenizer(texts, vocab_size=280) for _ in range(2))

        assert one.get_vocab() == other.get_vocab()
        assert len(one) == 280


class TestRows:
    @given(kind=st.sampled_from(KINDS), step=st.integers(0, 10_000), length=st.integers(160, 700))
    def test_a_row_has_its_length_begins_with_bos_and_depends_on_its_place_only(
        self, rows, kind, step, length
    ):
        place = {"stage": "s", "step": step, "length": length, "mixture": {kind: 1.0}}
        row, again = (rows.batch(count=2, **place) for _ in range(2))
        next_row = rows.batch(count=2, **place | {"step": step + 1})

        assert row.ids.shape == row.kinds.shape == (2, length)
        assert (row.ids[:, 0] == rows.tokenizer.bos_token_id).all()
        assert (row.kinds[:, 0] == Kind.IGNORED).all()
        assert (row.ids == again.ids).all()
        assert (row.kinds == again.kinds).all()
        assert (row.ids != next_row.ids).any()

    @given(kind=st.sampled_from(("copying", "scattered", "planted")), step=st.integers(0, 10_000))
    def test_a_copied_token_stood_earlier_behind_the_same_token(self, rows, kind, step):
        row = rows.batch(stage="s", step=step, count=1, length=400, mixture={kind: 1.0})
        ids, kinds = row.ids[0].tolist(), row.kinds[0]
        seen: set[tuple[int, int]] = set()
        copied = 0
        for position, pair in enumerate(pairwise(ids), start=1):
            if kinds[position] == Kind.COPIED:
                copied += 1
                assert pair in seen
            seen.add(pair)

        assert copied >= 2

    @given(step=st.integers(0, 10_000), length=st.integers(160, 1200))
    def test_a_passkey_row_is_the_prompt_of_the_task_and_its_answer(self, rows, step, length):
        row = rows.batch(stage="s", step=step, count=1, length=length, mixture={"passkey": 1.0})
        ids, kinds = row.ids[0], row.kinds[0]
        answers = (kinds == Kind.ANSWER).nonzero()[0]
        prompt = rows.tokenizer.decode(ids[1 : answers[0]])
        (key,) = set(re.findall(r"[0-9]{5}", prompt))
        before, _, after = prompt.partition(f"The pass key is {key}. Remember it. {key} is the pass key.")
        filler = r"(The grass is green\.|The sky is blue\.|The sun is yellow\.|Here we go\.|There and back again\.)"
        boundary, sentences = len(re.findall(filler, before)), len(re.findall(filler, before + after))

        assert rows.tokenizer.decode(ids[answers]) == f" {key}.</s>"
        assert list(answers) == list(range(answers[0], answers[0] + 8))
        assert prompt == passkey_prompt(key=int(key), sentences=sentences, boundary=boundary)

    def test_passkey_rows_are_of_every_length_and_depth(self, rows):
        shares, depths = [], []
        for step in range(300):
            row = rows.batch(stage="s", step=step, count=1, length=1024, mixture={"passkey": 1.0})
            answers = (row.kinds[0] == Kind.ANSWER).nonzero()[0]
            prompt = rows.tokenizer.decode(row.ids[0, 1 : answers[0]])
            shares.append(answers[0] / 1024)
            depths.append(prompt.index("Remember") / len(prompt))

        assert sum(share > 0.95 for share in shares) > 80
        assert all(any(low <= share < low + 0.2 for share in shares) for low in (0.1, 0.3, 0.5, 0.7))
        assert all(
            sum(low <= depth < low + 0.1 for depth in depths) >= 5 for low in (0.1, 0.3, 0.5, 0.7, 0.9)
        )

    def test_documents_take_the_place_of_books_where_there_are_none(self, tokenizer):
        without = Rows(tokenizer=tokenizer, books=torch.zeros(0).numpy().astype("uint16"), seed=0)
        place = {"stage": "s", "step": 0, "count": 1, "length": 200, "mixture": {"books": 1.0}}

        assert "." in tokenizer.decode(without.batch(**place).ids[0])


@pytest.fixture
def tiny(monkeypatch, tmp_path, tokenizer):
    """A curriculum of two short stages, in a folder that has the tokenizer."""
    stage = Stage(
        name="one",
        length=160,
        batch=1,
        steps=3,
        learning_rate=(1e-3, 1e-3),
        mixture={"passkey": 0.5, "copying": 0.5},
    )
    monkeypatch.setattr(train, "STAGES", (stage, replace(stage, name="two", steps=2, answer_weight=2.0)))
    tokenizer.save_pretrained(str(tmp_path / "tokenizer"))
    return tmp_path


class TestTraining:
    def test_a_killed_training_ends_where_an_uninterrupted_one_ends(self, tiny, tmp_path, monkeypatch):
        other = tmp_path / "other"
        shutil.copytree(tiny / "tokenizer", other / "tokenizer")
        whole = train.Training(output=tiny, text=None, seed=5)
        whole.run()
        killed_at = {2, 4}
        step = train.Training._step

        def killed(self, stage, row):
            place = self.progress.step + (3 if stage.name == "two" else 0)
            if place in killed_at:
                killed_at.discard(place)
                raise KeyboardInterrupt
            step(self, stage, row)

        monkeypatch.setattr(train.Training, "_step", killed)
        attempts = 0
        while True:
            attempts += 1
            resumed = train.Training(output=other, text=None, seed=5, minutes_between_checkpoints=0)
            try:
                resumed.run()
            except KeyboardInterrupt:
                continue
            break

        assert attempts == 3
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), name
        assert resumed.progress.tokens == whole.progress.tokens == 5 * 160
        assert [entry["stage"] for entry in resumed.progress.history] == ["one", "two"]

    def test_a_finished_training_leaves_a_model_that_says_how_it_came_about(self, tiny):
        train.Training(output=tiny, text=None, seed=5).run()
        record = json.loads((tiny / "two" / "training.json").read_text())
        model = AutoModelForCausalLM.from_pretrained(tiny / "two")

        assert model.dtype == torch.bfloat16
        assert model.config.max_position_embeddings == 160
        assert (record["seed"], record["books"], record["parameters"]) == (5, [], model.num_parameters())
        assert [stage["steps"] for stage in record["stages"]] == [3, 2]

    def test_a_folder_without_text_is_refused(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as exit_:
            train.main(["--output", str(tmp_path / "out"), "--text", str(tmp_path)])

        assert exit_.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"train: error: --text must be a folder with .txt files, got {str(tmp_path)!r}. Leave it out to train without."
        )
        assert not (tmp_path / "out").exists()


def figure(**changes):
    """Make a figure of ten samples, nine keys found."""
    point = Point(
        weights="w", dtype="float32", task="passkey", method="none", context_length=512, seed=0, count=10
    )
    depths = [step / 4 for step in range(5)] * 2
    return Figure(point=replace(point, **changes), scores=[1.0] * 9 + [0.0], depths=depths)


class TestFigures:
    def test_a_measured_point_is_found_again_and_others_are_not(self, tmp_path):
        Figures(tmp_path / "f.jsonl").add(figure())
        again = Figures(tmp_path / "f.jsonl")

        assert again.get(figure().point) == figure()
        assert again.get(figure(weights="other").point) is None
        assert again.get(figure(count=20).point) is None
        assert again.get(figure(scored_until=1024).point) is None

    def test_a_line_that_a_kill_cut_off_is_measured_again(self, tmp_path):
        file = tmp_path / "f.jsonl"
        Figures(file).add(figure())
        Figures(file).add(figure(seed=1))
        file.write_text(file.read_text()[:-20])
        Figures(file).add(figure(seed=2))
        again = Figures(file)

        assert again.get(figure().point) == figure()
        assert again.get(figure(seed=1).point) is None
        assert again.get(figure(seed=2).point) == figure(seed=2)

    def test_the_worst_depth_is_the_worst(self):
        assert figure().estimate.value == 0.9
        assert figure().worst_depth == 0.5

    def test_a_point_is_measured_once(self, tmp_path, monkeypatch):
        asked = []
        monkeypatch.setattr(
            evaluate, "passkey", lambda loaded, announce, **sample: asked.append(sample) or ([1.0], [0.0])
        )
        for _ in range(2):
            evaluation = evaluate.Evaluation(
                folder=reference_model.path(), dtype="float32", figures=tmp_path / "f", seed=4, longest=2
            )
            for factor_for in (evaluation.window, 2 * evaluation.window):
                for method in ("rerope", "pi"):
                    evaluation.figure("passkey", method, context_length=600, factor_for=factor_for, count=1)

        assert asked == [{"context_length": 600, "count": 1, "seed": 4}] * 3

    def test_the_card_states_every_figure(self, tmp_path):
        (tmp_path / "config.json").write_text((reference_model.path() / "config.json").read_text())
        stage = {
            "stage": "one",
            "steps": 3,
            "tokens": 2_000_000,
            "seconds": 120,
            "copying": 0.5,
            "passkey": 0.25,
        }
        (tmp_path / "training.json").write_text(
            json.dumps(
                {"seed": 5, "parameters": 1234, "stages": [stage], "books": [{"name": "b", "sha256": "ab"}]}
            )
        )
        rows = {("none", "passkey", 512): figure(), ("none", "documents", 512): figure(task="documents")}
        card = render_card(tmp_path, Table("none", rows), [Table("fixed", rows)])

        assert "| 512 | 0.90 [0.60, 0.98], n = 10 | 0.50, n = 2 | 0.90" in card
        assert (
            "Passkey, share of keys found, policy `fixed`, n = 10:\n\n| method | 512 |\n| --- | --- |\n"
            in card
        )
        assert "| `none` | 0.90 [0.60, 0.98] |" in card
        assert "| one | 3 | 2.0 M | 2 | 0.50 | 0.25 |" in card
        assert "| `b` | `ab` |" in card
        assert "1,234 parameters" in card
        assert "--text DIR --seed 5" in card


def test_the_task_fits_the_window_of_the_model(tokenizer):
    assert Passkey().minimum_length(tokenizer) < 512
