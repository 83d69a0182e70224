"""A method as a transformers config: the same logits without this package, or one line that says why not."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from longbench_run.harness.cli import main
from longbench_run.harness.errors import ConfigError, LongbenchError, MethodNotApplicable
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing import FAMILIES

WINDOW = 64  # of the models of conftest.py
LISTS = "short_factor=1/1/1/1/1/1.1/1.2/1.3:long_factor=1/1/1.5/2/3/4/5/6"
SMALL = {
    "vocab_size": 258, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": WINDOW, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
SHIPPED = {
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16.0, "attention_factor": 1.5, "truncate": False},
    "longrope": {
        "rope_type": "longrope", "factor": 4.0, "short_factor": [1.0] * 8, "long_factor": [1.0] * 4 + [3.0] * 4,
    },
}  # fmt: skip
ALONE = "Apply the method from Python instead: method.applied_to(model)."


def exported_logits(method, model, ids, *, folder, **lengths):
    parse_method(method).export(model.config, **lengths).save_pretrained(folder)
    rebuilt = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).eval()
    rebuilt.load_state_dict(model.state_dict())
    with torch.no_grad():
        return rebuilt(ids).logits


def assert_same(method, model, ids, folder, **lengths):
    before = model.config.to_json_string()
    with parse_method(method).applied_to(model, **lengths), torch.no_grad():
        applied = model(ids).logits
    found = exported_logits(method, model, ids, folder=folder, **lengths)

    with torch.no_grad():
        unmodified = model(ids).logits
    assert (applied - unmodified).abs().max() > 1e-3
    torch.testing.assert_close(found, applied, atol=1e-5, rtol=1e-5)
    assert model.config.to_json_string() == before


@pytest.fixture(scope="module")
def build(make_model):
    """Build a model whose logits are of the order of 1, so that 1e-5 is more than the rounding of fp32."""
    return lambda config: make_model(config, spread=0.1)


@pytest.fixture(scope="module")
def llama(build, llama_config):
    return build(copy.deepcopy(llama_config))


@pytest.fixture
def ids(token_ids):
    return torch.tensor([token_ids(200)])


@pytest.mark.parametrize(
    "method",
    [
        "pi", "ntk", "abf", "abf:base=2e6", "abf+yarn", "abf+pi", "pi+abf", "pi+ntk", "ntk_by_parts", "yarn", "llama3",
        "ntk_by_parts:factor=3:beta_fast=4:beta_slow=0.5", "yarn:beta_fast=8:beta_slow=0.5:attention_factor=1.4",
        "yarn:factor=8:original_context_length=32", "llama3:factor=6:low_freq_factor=0.5:high_freq_factor=8",
        "abf+dynamic_ntk:factor=2:variant=transformers", "dynamic_ntk:variant=transformers", f"longrope:{LISTS}",
        f"longrope:side=short:{LISTS}",
    ],
)  # fmt: skip
def test_transformers_computes_the_method_from_the_exported_config(method, llama, ids, tmp_path):
    assert_same(method, llama, ids, tmp_path, context_length=4 * WINDOW)


@pytest.mark.parametrize("shipped", SHIPPED)
@pytest.mark.parametrize("method", ["pi", "ntk", "abf", "yarn", "llama3", f"longrope:{LISTS}"])
def test_a_scaling_that_the_model_ships_with_is_replaced(shipped, method, build, llama_config, ids, tmp_path):
    config = copy.deepcopy(llama_config)
    config.rope_parameters = SHIPPED[shipped] | {
        "rope_theta": 20000.0,
        "original_max_position_embeddings": WINDOW,
    }
    config.max_position_embeddings = 8 * WINDOW
    model = build(config)

    assert_same(method, model, ids, tmp_path, context_length=4 * WINDOW)

    read = AutoConfig.from_pretrained(tmp_path)
    assert read.max_position_embeddings == 4 * WINDOW
    assert not {"truncate", "type"} & read.rope_parameters.keys()


def test_the_lists_that_a_model_ships_with_are_found(build, llama_config, ids, tmp_path):
    config = copy.deepcopy(llama_config)
    config.rope_parameters = SHIPPED["longrope"] | {
        "rope_theta": 1e4,
        "original_max_position_embeddings": WINDOW,
    }
    config.max_position_embeddings = 4 * WINDOW

    assert_same("longrope", build(config), ids, tmp_path, context_length=8 * WINDOW)


@pytest.mark.parametrize("family", ["stablelm", "phi", "gpt_neox", "glm"])
@pytest.mark.parametrize("method", ["pi", "ntk", "ntk_by_parts", "yarn:attention_factor=1", "llama3"])
def test_a_partial_rotation_stays_partial(family, method, build, ids, tmp_path):
    model = build(AutoConfig.for_model(family, **SMALL))
    share = model.config.rope_parameters["partial_rotary_factor"]

    assert_same(method, model, ids, tmp_path, context_length=4 * WINDOW)

    assert share < 1
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters["partial_rotary_factor"] == share


@pytest.mark.parametrize(
    ("family", "rotated"), [("stablelm", 4), ("phi", 8), ("gpt_neox", 4), ("deepseek_v3", 64)]
)
def test_a_logit_scale_with_a_partial_rotation_is_refused(family, rotated):
    """transformers multiplies cosines and sines: the dimensions that are not rotated would keep scale 1."""
    with pytest.raises(MethodNotApplicable) as refused:
        parse_method("yarn:factor=4").export(AutoConfig.for_model(family, **SMALL))

    assert str(refused.value) == (
        "export: logit scale must be 1 where transformers scales rotated dimensions only, got 1.29648 in the family "
        f"'{family}', which rotates {rotated} of a head's dimensions and not the others. {ALONE}"
    )


def test_longrope_computes_short_inputs_with_the_list_of_the_target(llama, token_ids, tmp_path):
    short = torch.tensor([token_ids(WINDOW // 2)])

    assert_same(f"longrope:{LISTS}", llama, short, tmp_path, context_length=4 * WINDOW)


def test_phi3_takes_the_window_from_its_own_attribute(build, ids, tmp_path):
    config = AutoConfig.for_model("phi3", **SMALL, original_max_position_embeddings=4096)
    model = build(config)
    lengths = {"original_context_length": WINDOW, "context_length": 4 * WINDOW}

    assert_same(f"longrope:{LISTS}", model, ids, tmp_path, **lengths)

    assert AutoConfig.from_pretrained(tmp_path).original_max_position_embeddings == WINDOW


@pytest.mark.parametrize("method", ["yarn:factor=4", "llama3:factor=4", "ntk_by_parts:factor=4"])
def test_the_window_of_pretraining_survives_a_longer_max_position_embeddings(method, llama_config, tmp_path):
    parse_method(method).export(llama_config).save_pretrained(tmp_path)

    read = AutoConfig.from_pretrained(tmp_path)
    assert read.max_position_embeddings == 4 * WINDOW
    assert read.rope_parameters["original_max_position_embeddings"] == WINDOW
    assert read.rope_parameters["rope_theta"] == 10000.0


@pytest.mark.parametrize("method", ["pi:factor=4", "ntk:factor=4"])
def test_types_without_a_key_for_the_window_keep_it_beside_them(method, llama_config, tmp_path):
    parse_method(method).export(llama_config).save_pretrained(tmp_path)

    read = AutoConfig.from_pretrained(tmp_path)
    assert read.max_position_embeddings == 4 * WINDOW
    assert read.original_max_position_embeddings == WINDOW
    assert "original_max_position_embeddings" not in read.rope_parameters
    # A second export starts from the same window.
    assert parse_method("yarn:factor=2").export(read).rope_parameters["original_max_position_embeddings"] == (
        WINDOW
    )


def test_dynamic_keeps_max_position_embeddings_at_the_window(build, llama_config, ids, tmp_path):
    config = copy.deepcopy(llama_config)
    config.max_position_embeddings = 8 * WINDOW
    lengths = {"original_context_length": WINDOW, "context_length": 4 * WINDOW}

    assert_same("dynamic_ntk:variant=transformers", build(config), ids, tmp_path, **lengths)

    assert AutoConfig.from_pretrained(tmp_path).max_position_embeddings == WINDOW


def test_a_method_that_needs_no_length_leaves_max_position_embeddings(llama_config):
    exported = parse_method("abf").export(llama_config)

    assert exported.max_position_embeddings == WINDOW
    assert exported.rope_parameters == {"rope_type": "default", "rope_theta": 500000.0}


def test_none_exports_the_config_as_it_is(llama_config):
    exported = parse_method("none").export(llama_config, context_length=4 * WINDOW)

    assert exported is not llama_config
    assert exported.to_dict() == llama_config.to_dict()


def kept(name, axis, rule, text):
    return f"{name}: {axis} must be {rule} to be written as a transformers config, got {text!r}. {ALONE}"


OWN, ONE = "the tokens' own", "one number for all queries and layers"
REFUSED = {
    "log_n": kept("log_n", "logit scale", ONE, "log_n:original_context_length=64"),
    "entropy_abf": kept(
        "entropy_abf", "logit scale", ONE, "entropy_abf:base=500000:original_context_length=64:skip_layers=2"
    ),
    "abf+log_n": kept("log_n", "logit scale", ONE, "log_n:original_context_length=64"),
    "yarn:factor=4:temperature=per_query": kept(
        "yarn", "logit scale", ONE,
        "yarn:beta_fast=32:beta_slow=1:factor=4:original_context_length=64:ramp=code:temperature=per_query",
    ),
    "self_extend:group=4:window=16": kept(
        "self_extend", "positions", OWN, "self_extend:group=4:original_context_length=64:window=16"
    ),
    "yarn:factor=4+rerope": kept("rerope", "positions", OWN, "rerope:original_context_length=64:window=16"),
    "dca": kept(
        "dca", "positions", OWN,
        "dca:chunk=48:largest_position=63:mscale=false:original_context_length=64:variant=paper",
    ),
    "lm_infinite": kept("lm_infinite", "positions", OWN, "lm_infinite:original_context_length=64:sinks=10:window=64"),
    "ntk_mixed:factor=4": kept(
        "ntk_mixed", "frequencies", "those of a rope_type", "ntk_mixed:beta=0.75:factor=4:original_context_length=64"
    ),
    "ntk_fixed": kept(
        "ntk_fixed", "frequencies", "those of a rope_type", "ntk_fixed:factor=1:original_context_length=64"
    ),
    "yarn:factor=4:ramp=paper": (
        "yarn: ramp must be code in a transformers config, which has no other, got 'paper'. Leave it out, or apply the "
        "method from Python instead: method.applied_to(model)."
    ),
    "dynamic_ntk:factor=2": (
        "dynamic_ntk: variant must be transformers in a transformers config, which freezes no length for a sample, got "
        "'frozen'. Write dynamic_ntk:variant=transformers, or apply the method from Python instead: method.applied_to(model)."
    ),
    "yarn:factor=4+pi:factor=2": (
        "pi: scaling must be the only one in a transformers config, which has one rope_type, got 'yarn+pi'. Leave one out."
    ),
    "yarn:factor=4+abf": (
        "abf: a new base must come before the scaling that uses it in a transformers config, got 'yarn+abf'. "
        "Write abf+yarn, which is another method, or leave one out."
    ),
    "pi": "pi: factor must be given or follow from a context length, got None. Write pi:factor=4, or name the context length.",
}  # fmt: skip


@pytest.mark.parametrize("method", REFUSED)
def test_what_a_config_cannot_express_is_one_line(method, llama_config):
    with pytest.raises(ConfigError) as refused:
        parse_method(method).export(llama_config)

    assert str(refused.value) == REFUSED[method]


@pytest.mark.parametrize("family", ["gemma3_text", "olmo3"])
def test_families_with_parameters_for_each_kind_of_layer_are_refused(family):
    with pytest.raises(MethodNotApplicable) as refused:
        parse_method("pi:factor=4").export(AutoConfig.for_model(family, **SMALL))

    assert str(refused.value) == (
        "export: rope_parameters must be one set for all layers, got one for each kind of layer of the family "
        f"'{family}'. Export none, or give another model."
    )


def test_a_type_that_a_family_refuses_is_one_line():
    with pytest.raises(MethodNotApplicable) as refused:
        parse_method("pi:factor=4").export(AutoConfig.for_model("phi3", **SMALL))

    assert str(refused.value) == (
        "export: rope_type 'linear' must be one that the family 'phi3' takes, got StrictDataclassClassValidationError: "
        "Class validation error for validator 'validate_rope': ValueError: `rope_parameters`'s type field must be one of "
        f"['longrope'], got linear. {ALONE}"
    )


def test_a_family_that_derives_a_scale_of_its_own_is_refused():
    """DeepSeek multiplies its softmax scale by what mscale_all_dim says: without the key it is gone."""
    scaling = {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": WINDOW,
    }  # fmt: skip
    config = AutoConfig.for_model("deepseek_v3", **SMALL, rope_parameters=scaling)
    with pytest.raises(MethodNotApplicable) as refused:
        parse_method("ntk_by_parts:factor=4").export(config)

    assert str(refused.value) == (
        "export: rope_type 'yarn' must give the method's frequencies and logit scale in the family 'deepseek_v3', got "
        f"others. {ALONE}"
    )


def test_a_model_without_rope_is_one_line():
    with pytest.raises(LongbenchError) as refused:
        parse_method("pi:factor=4").export(AutoConfig.for_model("gpt2"))

    assert str(refused.value) == (
        "export: family must be one with rotary position embeddings (RoPE), got 'gpt2'. Extension methods change rotary "
        "embeddings; give a model that has them."
    )


def test_the_command_writes_a_config_that_transformers_reads(tiny_llama, tiny_folder, ids, tmp_path, capsys):
    out = tmp_path / "new" / "yarn"

    assert main(["export", "yarn", str(tiny_folder), str(out), "--context-length", "4x"]) == 0

    shown = capsys.readouterr()
    path, _, decided = shown.out.partition("\n")
    read = AutoConfig.from_pretrained(out)
    assert [p.name for p in out.iterdir()] == ["config.json"]
    assert path == str(out / "config.json")
    assert json.loads(decided) == {
        "max_position_embeddings": 4 * WINDOW,
        "rope_parameters": json.loads((out / "config.json").read_text())["rope_parameters"],
    }
    assert read.architectures == ["LlamaForCausalLM"]
    assert str(tiny_folder) not in (out / "config.json").read_text()
    assert shown.err == ""
    with parse_method("yarn").applied_to(tiny_llama, context_length=4 * WINDOW), torch.no_grad():
        applied = tiny_llama(ids).logits
    rebuilt = AutoModelForCausalLM.from_pretrained(tiny_folder, config=read).eval()
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(ids).logits, applied, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            "dynamic_ntk:variant=transformers",
            "max_position_embeddings is 64, not 256: transformers takes the window of pretraining from it, and computes "
            "longer inputs all the same.\n",
        ),
        ("none", "max_position_embeddings is 64, not 256: this is the model as released.\n"),
        ("pi", ""),
    ],
)
def test_the_command_says_where_the_length_was_not_written(method, said, tiny_folder, tmp_path, capsys):
    assert main(["export", method, str(tiny_folder), str(tmp_path), "--context-length", "256"]) == 0

    assert capsys.readouterr().err == said


def test_the_window_by_hand_is_written(tiny_folder, tmp_path):
    arguments = ["--original-context-length", "32", "--context-length", "2x"]

    assert main(["export", "yarn", str(tiny_folder), str(tmp_path), *arguments]) == 0

    read = AutoConfig.from_pretrained(tmp_path)
    assert (read.rope_parameters["original_max_position_embeddings"], read.rope_parameters["factor"]) == (
        32,
        2,
    )
    assert read.max_position_embeddings == 64


def test_a_config_that_is_there_is_replaced_only_when_asked(tiny_folder, tmp_path, capsys):
    target = tmp_path / "config.json"
    target.write_text("{}")
    command = ["export", "pi:factor=4", str(tiny_folder), str(tmp_path)]

    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"OUT: folder must be one without config.json, got {str(tmp_path)!r}. Name another folder, or pass --overwrite.\n"
    )
    assert target.read_text() == "{}"

    assert main([*command, "--overwrite"]) == 0
    assert json.loads(target.read_text())["rope_parameters"]["rope_type"] == "linear"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pi,yarn", "reference", "out"], "METHOD: method must be a single one, got 'pi,yarn'. Export each into a folder of its own."),
        (["yarm", "reference", "out"], 'METHOD: unknown method "yarm". Did you mean "yarn"? See `longbench-run list methods`.'),
        (["pi", "./absent", "out"], "model ./absent: path must be an existing folder, got './absent'. Check the path, or give a hub id."),
        (["log_n", "reference", "out"], kept("log_n", "logit scale", ONE, "log_n:original_context_length=2048")),
        (["pi", "reference", "out", "--context-length", "long"], "--context-length: must be a length, got 'long'. Write 16384, 16k or 4x."),
        (["pi", "reference", "out", "--original-context-length", "2x"], "--original-context-length: must be a number of tokens, got '2x'. Write 4096 or 4k."),
        (["pi", "reference", "out", "--revision", "main"], "model reference: revision must be left out for a local folder, got 'main'. Leave --revision out: the folder's content is its revision."),
        (["pi:factor=2", "reference", "file"], "OUT: path must be a folder, got 'file'. Name another."),
        (["pi:factor=2", "reference", "file/below"], "OUT: folder must be one that can be written, got 'file/below' (Not a directory). Name another."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()

    assert main(["export", *arguments]) == 2
    assert capsys.readouterr().err == f"{said}\n"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_help_names_every_flag_of_export(capsys):
    with pytest.raises(SystemExit) as end:
        main(["export", "--help"])

    assert not end.value.code
    shown = capsys.readouterr().out
    for word in (
        "METHOD",
        "MODEL",
        "OUT",
        "--context-length",
        "--original-context-length",
        "--revision",
        "--overwrite",
    ):
        assert word in shown


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("smollm3", {"no_rope_layers": [1, 0]}),
        ("cohere2", {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}),
    ],
)
def test_a_scale_is_not_exported_where_layers_may_have_no_rope(family, changes):
    """transformers multiplies cosines and sines: a layer without them keeps its logits, the method's would not."""
    config = FAMILIES[family].build(family, **changes).config

    with pytest.raises(MethodNotApplicable) as caught:
        parse_method("yarn:factor=4").export(config)

    assert str(caught.value) == (
        "export: logit scale must be 1 where layers may have no RoPE, which transformers would not scale, got 1.29648 in "
        f"the family {family!r}. Apply the method from Python instead: method.applied_to(model)."
    )
    assert parse_method("ntk_by_parts:factor=4").export(config).rope_parameters["rope_type"] == "yarn"
