"""`longbench-run tune`: methods train as they evaluate, killed runs end as others do, and bad input is one line."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from longbench_run.harness import run as measure
from longbench_run.harness.cli import main
from longbench_run.harness.errors import LongbenchError
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.tuning import memory, plan, run, trainer, variant
from longbench_run.harness.tuning.conversations import read_conversations
from longbench_run.harness.tuning.recipe import papers
from longbench_run.harness.tuning.samples import encode_all
from longbench_run.results.store import read_header
from longbench_run.results.table import load
from longbench_run.results.tuned import tuned_names

METHODS = ["none", "pi", "ntk_by_parts", "yarn", "abf", "entropy_abf"]
LENGTH = 128
QUICK = ["--context-length", str(LENGTH), "--samples", "8", "--batch-size", "4", "--device", "cpu"]


def planned(base, chats, output, *, method="yarn", **recipe):
    recipe = {"context_length": LENGTH, "samples": 8, "batch_size": 4, "precision": "float32", **recipe}
    spec = ModelSpec(model=str(base), dtype="float32", device="cpu")
    (found,) = plan.plan_tuning(
        spec, [parse_method(method)], [papers(**recipe)], data=str(chats), output=output
    )
    return found


def plain_loss(model, samples):
    """Return the mean nll of the response tokens from whole logits, without any code of the training."""
    total, count = torch.zeros(()), 0
    for sample in samples:
        logits = model(torch.tensor([sample.token_ids])).logits[0, :-1].float()
        labels = torch.tensor(sample.labels[1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        count += int((labels != -100).sum())
    return total / count


@pytest.fixture(scope="module")
def tuned(base, chats, tmp_path_factory):
    output = tmp_path_factory.mktemp("tuned") / "out"
    words = ["--model", str(base), "--data", str(chats), "--output", str(output), *QUICK]
    assert (
        main(["tune", *words, "--methods", ",".join(METHODS), "--epochs", "3", "--learning-rate", "1e-2"])
        == 0
    )
    return output


@pytest.fixture(scope="module")
def samples(chats, chat_tokenizer):
    return encode_all(read_conversations(chats), chat_tokenizer, context_length=LENGTH).samples


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_paper_learns(tuned, base, samples, method):
    folder = tuned / f"{method}-8-seed0"
    recipe = json.loads((folder / "recipe.json").read_text())
    applied = parse_method(recipe["method"]["canonical"])
    nll = []
    for weights in (base, folder):
        model = AutoModelForCausalLM.from_pretrained(weights)
        with applied.applied_to(model, context_length=LENGTH) as what, torch.no_grad():
            nll.append(float(plain_loss(model, samples)))

    assert nll[1] < nll[0] - 1
    assert recipe["result"]["losses"][-1] < recipe["result"]["losses"][0] - 1
    assert len(recipe["result"]["losses"]) == recipe["steps"] == 6
    assert recipe["result"]["applied_hash"] == what.hash  # attached while training as while evaluating


def test_a_variant_is_the_models_folder_with_other_weights(tuned, base):
    folder = tuned / "entropy_abf-8-seed0"

    assert json.loads((folder / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    assert sorted(path.name for path in tuned.iterdir()) == sorted(
        [*(f"{method}-8-seed0" for method in METHODS), "matrix.yaml"]
    )  # no checkpoint is left
    exported = [name for name in METHODS if (tuned / f"{name}-8-seed0" / "exported" / "config.json").exists()]
    assert exported == [
        "none",
        "pi",
        "ntk_by_parts",
        "yarn",
        "abf",
    ]  # transformers has no keys for a growing scale


def test_a_model_of_another_dtype_loses_nothing_of_what_was_trained(base, chats, tmp_path, capsys, caplog):
    # Two steps at the paper's rate are less than half of what bfloat16 tells apart in most weights.
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype=torch.float32).save_pretrained(
        tmp_path / "whole"
    )
    trained = {}
    for name in ("half", "whole"):
        for part in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(base / part, tmp_path / name)
        output = tmp_path / f"of_{name}"
        words = ["--model", str(tmp_path / name), "--data", str(chats), "--output", str(output)]
        assert main(["tune", *words, *QUICK, "--methods", "yarn", "--epochs", "1"]) == 0
        folder = output / "yarn-8-seed0"
        trained[name] = load_file(folder / "model.safetensors")
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert json.loads((folder / "config.json").read_text()) == config  # it is loaded as its model is

    assert set(trained["half"]) == set(trained["whole"])
    before, squares = load_file(tmp_path / "half" / "model.safetensors"), {"rounding": 0.0, "change": 0.0}
    for name, weights in trained["whole"].items():
        assert trained["half"][name].dtype == torch.float32
        assert torch.equal(trained["half"][name], weights), name
        squares["change"] += float((weights - before[name].float()).pow(2).sum())
        squares["rounding"] += float((weights - weights.bfloat16().float()).pow(2).sum())

    lost = (squares["rounding"] / squares["change"]) ** 0.5
    result = json.loads((tmp_path / "of_half" / "yarn-8-seed0" / "recipe.json").read_text())["result"]
    assert result["change_lost"] == {"bfloat16": pytest.approx(lost, rel=1e-4)}
    assert 0.3 < lost < 1
    assert f"it loses {lost:.2f} of what was learnt" in capsys.readouterr().err
    result = json.loads((tmp_path / "of_whole" / "yarn-8-seed0" / "recipe.json").read_text())["result"]
    assert result["change_lost"] == {}
    cells = {"lengths": "64", "tasks": "perplexity", "samples": 1, "device": "cpu"}
    for dtype, warned in (("bfloat16", True), ("float32", False)):
        caplog.clear()
        measure(
            config=str(tmp_path / "of_half" / "matrix.yaml"),
            output=str(tmp_path / f"run_{dtype}"),
            dtype=dtype,
            **cells,
        )
        said = f"(1): computed in bfloat16 they lose {lost:.2f} to {lost:.2f} of what they learnt"
        assert (said in caplog.text) == warned


def test_a_matrix_takes_the_variants(tuned, tmp_path):
    output = tmp_path / "run"
    cells = {"lengths": "64,128", "tasks": "perplexity", "samples": 1, "device": "cpu"}
    measure(config=str(tuned / "matrix.yaml"), output=str(output), **cells)

    frame = load(output)
    assert set(frame["status"]) == {"ok"}
    assert set(frame["method_label"]) == {"none", *(f"{method}-8-seed0" for method in METHODS)}


def test_compositions_make_a_variant_each_and_a_run_tells_them_apart(base, chats, tmp_path):
    output = tmp_path / "out"
    words = ["--model", str(base), "--data", str(chats), "--output", str(output), *QUICK, "--methods", "abf"]
    words += ["--samples", "4,4", "--epochs", "1", "--composition", "none,long,none"]
    assert main(["tune", *words]) == 0
    made = {path.parent.name: json.loads(path.read_text()) for path in output.glob("*/recipe.json")}
    assert {name: recipe["recipe"]["composition"] for name, recipe in made.items()} == {
        "abf-4-seed0": "none",
        "abf-long-4-seed0": "long",
    }

    folder = tmp_path / "run"
    cells = {"lengths": "64", "tasks": "perplexity", "samples": 1, "device": "cpu"}
    measure(config=str(output / "matrix.yaml"), output=str(folder), **cells)
    assert dict(tuned_names(read_header(folder))) == {
        "abf-4-seed0": "abf, composition none",
        "abf-long-4-seed0": "abf, composition long",
    }


def test_what_is_there_is_not_trained_again(tuned, base, chats, capsys):
    words = ["--model", str(base), "--data", str(chats), "--output", str(tuned), *QUICK, "--methods", "pi"]
    before = (tuned / "pi-8-seed0" / "model.safetensors").stat().st_mtime_ns
    assert main(["tune", *words, "--epochs", "3", "--learning-rate", "1e-2"]) == 0
    assert "pi-8-seed0: nothing to train, it is there." in capsys.readouterr().err

    assert main(["tune", *words, "--epochs", "3", "--learning-rate", "2e-2"]) == 2
    assert "with another recipe, deviations_from_paper. Name another folder, or pass --overwrite." in (
        capsys.readouterr().err
    )
    assert (tuned / "pi-8-seed0" / "model.safetensors").stat().st_mtime_ns == before


def test_a_rate_of_zero_at_native_length_changes_nothing(base, tmp_path, write_chats):
    chats = write_chats(tmp_path / "short.jsonl", filler=4)
    still = planned(
        base, chats, tmp_path, method="none", context_length=64, samples=4, epochs=1, learning_rate=0.0
    )
    assert run.make_variant(still)

    before, after = (load_file(folder / "model.safetensors") for folder in (base, still.folder))
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        expected = float(plain_loss(AutoModelForCausalLM.from_pretrained(base), still.samples))
    losses = json.loads((still.folder / "recipe.json").read_text())["result"]["losses"]
    assert losses == [pytest.approx(expected, rel=1e-5)]


class Killed(Exception):
    """Ends a process in the middle of a run."""


class Steps(TrainerCallback):
    """Notes every step, and dies behind one."""

    def __init__(self, *, killed_at=None):
        self.killed_at = killed_at
        self.seen = []

    def on_step_end(self, args, state, control, **kwargs):
        self.seen.append(state.global_step)
        if state.global_step == self.killed_at:
            raise Killed


@pytest.mark.parametrize("lora", [None, 4])
def test_killed_at_step_3_of_6_ends_with_the_same_weights(base, chats, tmp_path, lora):
    recipe = {"epochs": 3, "learning_rate": 1e-2, "warmup_steps": 2, "lora": lora, "method": "entropy_abf"}
    whole, cut = (planned(base, chats, tmp_path / name, **recipe) for name in ("whole", "cut"))
    assert run.make_variant(whole)
    with pytest.raises(Killed):
        run.make_variant(cut, callbacks=[Steps(killed_at=3)])
    assert not cut.folder.exists()
    work = cut.folder.with_name(f".{cut.folder.name}.work")
    group = torch.load(work / "checkpoint-2" / "optimizer.pt", weights_only=True)["param_groups"][0]
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.95), 0.1)
    (work / "checkpoint-9").mkdir()  # torn: not marked as whole

    assert run.make_variant(cut, callbacks=[rest := Steps()])

    assert rest.seen == [3, 4, 5, 6]
    file = "model.safetensors" if lora is None else "adapter_model.safetensors"
    one, two = (load_file(found.folder / file) for found in (whole, cut))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    losses = [
        json.loads((found.folder / "recipe.json").read_text())["result"]["losses"] for found in (whole, cut)
    ]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    assert not work.exists()


def test_an_adapter_is_small_and_belongs_to_its_model(base, chats, tmp_path, make_model, llama_config):
    found = planned(base, chats, tmp_path, lora=4, learning_rate=1e-2)
    assert run.make_variant(found)
    weights = load_file(found.folder / "adapter_model.safetensors")

    assert not (found.folder / "model.safetensors").exists()
    assert 4 * sum(w.numel() for w in weights.values()) == found.footprint.gradients
    other = tmp_path / "other"
    shutil.copytree(base, other)
    make_model(llama_config).save_pretrained(other)
    cells = {"lengths": "64", "tasks": "perplexity", "samples": 1, "device": "cpu", "baseline": False}
    by_adapter = {"methods": [{"name": "yarn:factor=2", "weights": str(found.folder)}], **cells}
    measure(models=str(base), output=str(tmp_path / "run"), **by_adapter)
    assert set(load(tmp_path / "run")["status"]) == {"ok"}
    (found.folder / "recipe.json").unlink()  # which says of what model it is
    with pytest.raises(LongbenchError, match=r"adapter must be .*, got ") as caught:
        measure(models=str(other), output=str(tmp_path / "wrong"), **by_adapter)
    assert "\n" not in str(caught.value)


def test_memory_is_told_as_tensors_take_it(base, chats, tmp_path):
    found = planned(base, chats, tmp_path).footprint
    weights = sum(4 * w.numel() for w in load_file(base / "model.safetensors").values())

    assert (found.weights, found.gradients, found.optimizer) == (weights, weights, 2 * weights)


def rows(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


QUESTION = {"from": "human", "value": "?"}
ANSWER = {"from": "gpt", "value": "!" * 20}
BAD = {
    "no responses": (
        [{"conversations": [QUESTION]}], [],
        "data.jsonl: data must be conversations with responses, got none in 1 rows. Give answers too.",
    ),
    "plain text": (
        [{"text": "once"}], [],
        "data.jsonl:1: row must be a conversation under the key conversations or messages, got keys text. "
        "Plain text has no responses to learn.",
    ),
    "a role": (
        [{"messages": [{"role": "owl", "content": "hoo"}]}], [],
        "data.jsonl:1: turn must be a turn of human, user, gpt, chatgpt, assistant, system with text under 'content', "
        "got {'role': 'owl', 'content': 'hoo'}. Mend or drop the row.",
    ),
    "all longer": (
        [{"conversations": [QUESTION, {"from": "gpt", "value": "x" * 500}]}], [],
        "data.jsonl: data must hold an exchange of at most 128 tokens, got longer ones alone. "
        "Pass a larger --context-length: turns are not broken.",
    ),
    "all shorter": (
        [{"conversations": [QUESTION, ANSWER]}] * 8, [],
        "data.jsonl: data must hold a sample longer than the window of 64 tokens, got none of more than 40. "
        "Give longer conversations, or pass --composition short.",
    ),
    "too few": (None, ["--samples", "9"], "--samples: number must be at most the 8 samples that chats.jsonl gives at context "
                "length 128, got 9. Ask for fewer, or give more data."),
    "a batch": (None, ["--batch-size", "32"], "--batch-size: number must be at most samples times epochs (16), so that there is "
                "a step, got 32. Pass a smaller one, or more samples."),
    "a method": (None, ["--methods", "yan"], 'unknown method "yan". Did you mean "yarn"?'),
    "cannot be trained": (
        None, ["--methods", "dynamic_ntk:variant=transformers"],
        "--methods: method must give a sample one loss whatever came before it, got 'dynamic_ntk:variant=transformers', "
        "whose frequencies stay from an earlier, longer sample. Tune with another method or variant.",
    ),
    "a composition": (None, ["--composition", "shrt"], 'unknown name "shrt". Did you mean "short"?'),
    "a rank": (None, ["--lora", "0"], "--lora: rank must be at least 1, got 0."),
    "a length": (None, ["--context-length", "long"], "--context-length: must be a length, got 'long'."),
    "a file": (None, ["--data", "absent.jsonl"], "absent.jsonl: file must be one that can be read, got No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words", "line"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(base, chats, tmp_path, data, words, line, capsys):
    file = chats if data is None else rows(tmp_path / "data.jsonl", *data)
    common = [
        "--model",
        str(base),
        "--methods",
        "pi",
        "--data",
        str(file),
        "--output",
        str(tmp_path / "out"),
        *QUICK,
    ]
    assert main(["tune", *common, *words]) == 2

    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_names_what_to_install(base, chats, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(plan, "find_spec", lambda name: None if name == "accelerate" else find(name))
    common = [
        "--model",
        str(base),
        "--methods",
        "pi",
        "--data",
        str(chats),
        "--output",
        str(tmp_path / "out"),
        *QUICK,
    ]
    assert main(["tune", *common]) == 2
    assert capsys.readouterr().err == (
        'tune: accelerate must be installed, got no such package. Run pip install "longbench-run[tune]".\n'
    )


def test_a_full_disk_is_told_before_and_while_it_fills(base, chats, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    common = ["--model", str(base), "--methods", "pi", "--data", str(chats), "--output", str(output), *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(memory.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(2**20, 2**20, 0))
        assert main(["tune", *common]) == 2
    assert (
        "--output: folder must have 1.2 MiB free for checkpoints and the variant" in capsys.readouterr().err
    )
    assert not output.exists()

    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(variant, "write_json", full)
        assert main(["tune", *common]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("--output: folder must have space left, got none in ")
    assert [path.name for path in output.iterdir()] == [".pi-8-seed0.work"]  # the same command goes on

    assert main(["tune", *common]) == 0
    assert (output / "pi-8-seed0" / "recipe.json").exists()


def test_training_computes_no_denormals_and_leaves_the_thread_as_it_was(base, chats, tmp_path, monkeypatch):
    smallest = torch.tensor(torch.finfo(torch.float32).tiny)
    seen = []
    compute_loss = trainer.SampleTrainer.compute_loss

    def watched(self, *arguments, **keywords):
        seen.append(float(smallest / 2))
        return compute_loss(self, *arguments, **keywords)

    monkeypatch.setattr(trainer.SampleTrainer, "compute_loss", watched)
    run.make_variant(planned(base, chats, tmp_path))

    assert seen
    assert set(seen) == {0.0}
    assert float(smallest / 2) > 0
