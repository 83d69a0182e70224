"""Training: where it starts, that it can be killed, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from longbench_run.harness.reference_model import __main__ as command
from longbench_run.harness.reference_model import train
from longbench_run.harness.reference_model.circuit import write_circuit
from longbench_run.harness.reference_model.row import Kind
from longbench_run.harness.reference_model.stages import BUNDLED, TINY, Stage


def copied(model, rows, *, length):
    """Return the share of copied tokens that a model predicts."""
    row = rows.batch(stage="c", step=0, rows=4, length=length, mixture={"copying": 1.0})
    ids, kinds = torch.from_numpy(row.ids), torch.from_numpy(row.kinds)[:, 1:]
    with torch.inference_mode():
        predicted = model(input_ids=ids).logits[:, :-1].argmax(-1)
    return (predicted == ids[:, 1:])[kinds == Kind.COPIED].float().mean().item()


class TestCircuit:
    @pytest.fixture
    def fresh(self):
        torch.manual_seed(0)
        return LlamaForCausalLM(train.model_config(2048))

    @pytest.mark.parametrize("length", [128, 1024])
    def test_a_model_with_it_copies_before_it_was_trained(self, fresh, rows, length):
        assert copied(fresh, rows, length=length) < 0.05
        write_circuit(fresh, base=train.BASE, comparers=train.BUNDLED.comparers)

        assert copied(fresh, rows, length=length) > 0.8

    def test_the_first_two_layers_look_one_token_back_and_two(self, fresh):
        write_circuit(fresh, base=train.BASE, comparers=train.BUNDLED.comparers)
        fresh.set_attn_implementation("eager")
        with torch.inference_mode():
            output = fresh(input_ids=torch.randint(3, 2000, (1, 300)), output_attentions=True)
        first, second = output.attentions[0][0], output.attentions[1][0]

        assert first[0].diagonal(-1)[10:].mean() > 0.95
        assert first[1].diagonal(-2)[10:].mean() > 0.95
        assert min(second[head].diagonal(-2)[10:].mean() for head in range(2)) > 0.95

    def test_where_nothing_compares_well_the_third_layer_looks_at_the_first_token(self, fresh):
        write_circuit(fresh, base=train.BASE, comparers=train.BUNDLED.comparers)
        fresh.set_attn_implementation("eager")
        with torch.inference_mode():
            ids = torch.tensor([[0, *torch.randperm(1900)[:300].add(3).tolist()]])
            third = fresh(input_ids=ids, output_attentions=True).attentions[2][0]

        assert third[:, 10:, 0].mean() > 0.5


STAGE = Stage(
    name="one",
    length=160,
    batch=1,
    steps=3,
    learning_rate=(1e-3, 1e-3),
    mixture={"planted": 0.5, "copying": 0.5},
)
SHORT = replace(BUNDLED, stages=(STAGE, replace(STAGE, name="two", steps=2, answer_weight=2.0)))


@pytest.fixture
def tiny(tmp_path, tokenizer):
    """Return a folder that has the tokenizer."""
    tokenizer.save_pretrained(str(tmp_path / "tokenizer"))
    return tmp_path


def test_the_tiny_model_begins_with_a_circuit_that_copies_too():
    torch.manual_seed(0)
    config = train.model_config(TINY.window, head_dim=TINY.head_dim)
    model = LlamaForCausalLM(config)
    write_circuit(model, base=train.BASE, comparers=TINY.comparers)
    ids = torch.randint(3, train.VOCABULARY, (4, 1 + TINY.window // 2)).repeat(1, 2)
    ids[:, 0] = config.bos_token_id

    with torch.no_grad():
        guessed = model(ids).logits.argmax(-1)

    right = guessed[:, :-1] == ids[:, 1:]
    assert right[:, TINY.window // 2 + 8 :].float().mean() > 0.6


def test_a_killed_training_ends_where_an_uninterrupted_one_ends(tiny, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(tiny / "tokenizer", other / "tokenizer")
    whole = train.Training(output=tiny, books=None, seed=5, curriculum=SHORT)
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
        resumed = train.Training(
            output=other, books=None, seed=5, curriculum=SHORT, minutes_between_checkpoints=0
        )
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


def test_rows_longer_than_the_window_leave_the_window_as_it_is(tiny):
    train.Training(output=tiny, books=None, seed=5, curriculum=replace(SHORT, window=100)).run()

    assert AutoModelForCausalLM.from_pretrained(tiny / "two").config.max_position_embeddings == 100


def test_a_finished_training_leaves_a_model_that_says_how_it_came_about(tiny):
    books = tiny / "books"
    books.mkdir()
    (books / "pg2600_war_and_peace.txt").write_text("Well, Prince, so Genoa and Lucca are now estates. " * 99)
    train.Training(output=tiny, books=books, seed=5, curriculum=SHORT).run()
    record = json.loads((tiny / "two" / "training.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(tiny / "two")

    assert model.dtype == torch.bfloat16
    assert model.config.max_position_embeddings == 160
    assert (record["seed"], record["parameters"]) == (5, model.num_parameters())
    assert [stage["steps"] for stage in record["stages"]] == [3, 2]
    assert record["books"][0]["source"] == "Project Gutenberg 2600, War and Peace"
    assert len(record["books"][0]["sha256"]) == 64


def test_every_matrix_inside_the_layers_is_trained_by_one_optimizer_and_the_rest_by_the_other():
    model = LlamaForCausalLM(train.model_config(256))
    muon, adamw = (
        [p for group in optimizer.param_groups for p in group["params"]]
        for optimizer in train.optimizers(model)
    )

    assert {id(p) for p in muon} | {id(p) for p in adamw} == {id(p) for p in model.parameters()}
    assert len(muon) + len(adamw) == len(list(model.parameters()))
    assert model.model.embed_tokens.weight is adamw[0]


def test_a_folder_without_text_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        train.main(["--output", str(tmp_path / "out"), "--books", str(tmp_path)])

    assert exit_.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"train: error: --books must be a folder with .txt files, got {str(tmp_path)!r}. Leave it out to train without."
    )
    assert not (tmp_path / "out").exists()


def test_a_command_that_does_not_exist_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reference_model", "measure"])

    assert command.main() == 2
    assert (
        capsys.readouterr().err
        == "reference_model: command must be train or evaluate, got 'measure'. Name one.\n"
    )
