"""Every method against logits that its authors' code computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from longbench_run.harness.methods import RopeFacts, parse_method

TOLERANCE = 1e-4
"""What the vectors' own precision allows in fp32; a wrong variant moves some logits by more than 2e-3."""

GRAMMAR: dict[str, Any] = {
    "plain": lambda p: "none",
    "pi": lambda p: f"pi:factor={p['factor']}",
    "ntk_static": lambda p: f"ntk:factor={p['s']}",
    "abf": lambda p: f"abf:base={p['base']}",
    "yarn": lambda p: f"yarn:factor={p['factor']}" + _window(p),
    "yarn_paper_ramp": lambda p: f"yarn:factor={p['factor']}:ramp=paper" + _window(p),
    "eabf_all": lambda p: "entropy_abf:skip_layers=0",
    "eabf_skip": lambda p: f"entropy_abf:skip_layers={len(p['skip_layers'])}",
    "dynamic_ntk": lambda p: f"dynamic_ntk:factor={p['factor']}:variant=transformers",
    "longrope": lambda p: (
        f"longrope:factor={p['factor']}:short_factor={_list(p['short_factor'])}:long_factor={_list(p['long_factor'])}"
    ),
    "llama3": lambda p: (
        f"llama3:factor={p['factor']}:low_freq_factor={p['low_freq_factor']}:high_freq_factor={p['high_freq_factor']}"
    ),
    "lm_infinite": lambda p: f"lm_infinite:window={p['window']}:sinks={p['sinks']}",
    "dca": lambda p: f"dca:chunk={p['s']}:largest_position={p['c1']}:mscale={str(p['mscale']).lower()}",
    "string": lambda p: (
        f"string:shift={p['S']}:window={p['W']}:attention_factor={p['attention_factor']!r}:variant=released"
    ),
    "string_paper": lambda p: f"string:shift={p['S']}:window={p['W']}",
    "logn": lambda p: "log_n",
    "self_extend": lambda p: f"self_extend:group={p['G']}:window={p['W']}",
    "rerope": lambda p: f"rerope:window={p['w']}" + ("+log_n" if p["logn"] else ""),
    "leaky": lambda p: f"leaky_rerope:window={p['w']}:stretch={p['k']}" + ("+log_n" if p["logn"] else ""),
}
"""Method of a case -> its text here, from the case's parameters."""


def _list(numbers: list[float]) -> str:
    return "/".join(map(repr, numbers))


def _window(parameters: dict[str, Any]) -> str:
    length = parameters.get("original_max_position_embeddings")
    return f":original_context_length={length}" if length else ""


@dataclass(frozen=True)
class Errors:
    """Largest absolute differences of logits."""

    prefill: float
    decode: float


def errors_against(model, vectors) -> Errors:
    """Compare one forward, and a decode that is fed the stored ids, with the vectors."""
    ids = torch.from_numpy(vectors["input_ids"])[None]
    with torch.no_grad():
        output = model(ids, use_cache=True)
        prefill = _distance(output.logits[0], vectors["prefill_logits"])
        decode = 0.0
        if "decode_ids" in vectors:
            wanted = vectors["decode_logits"]
            decode = _distance(output.logits[0, -1], wanted[0])
            for step, token in enumerate(vectors["decode_ids"][:-1].tolist()):
                output = model(
                    torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True
                )
                decode = max(decode, _distance(output.logits[0, -1], wanted[step + 1]))
    return Errors(prefill=prefill, decode=decode)


def _distance(logits: torch.Tensor, wanted: np.ndarray) -> float:
    return float(np.abs(logits.double().numpy() - wanted).max())


COMMITTED = {
    "plain__default__hf__A__n160": "none",
    "pi__factor4.0__hf__A__n160": "pi:factor=4",
    "ntk_static__s4.0__hf__A__n160": "ntk:factor=4",
    "yarn__factor4.0__hf__A__n160": "yarn:factor=4",
    "yarn__factor8.0__yarn__A__n160": "yarn:factor=8",
    "abf__base500000.0__hf__A__n160": "abf:base=500000",
    "eabf_all__default__eabf__A__n160": "entropy_abf:skip_layers=0",
    "eabf_skip__skip_layers0-1__eabf_skip__A__n160": "entropy_abf:skip_layers=2",
    "logn__default__ntkp__A__n160": "log_n",
    "self_extend__G3_W16__se_fix__A__n160": "self_extend:group=3:window=16",
    "rerope__w16_lognTrue__rerope__A__n160": "rerope:window=16+log_n",
    "leaky__w16_lognTrue_k8__leaky__A__n160": "leaky_rerope:window=16:stretch=8+log_n",
    "dynamic_ntk__factor2.0__hf__A__n160": "dynamic_ntk:factor=2:variant=transformers",
    "llama3__factor8.0_low_freq_factor1.0_high_freq_factor4.0__hf__A__n160": "llama3:factor=8",
    "longrope__factor4.0_listsa__hf__A__n160": (
        "longrope:factor=4"
        ":short_factor=1.0/1.0214/1.0429/1.0643/1.0857/1.1071/1.1286/1.15"
        ":long_factor=1.0/1.162/1.4582/1.8417/2.2959/2.811/3.3807/4.0"
    ),
    "dca__s48_c163_mscaleFalse__dca__A__n160": "dca:chunk=48:largest_position=63",
    "dca__s32_c148_mscaleTrue__dca__A__n160": "dca:chunk=32:largest_position=48:mscale=true",
    "string__S24_W4_attention_factorcode__string__A__n160": (
        "string:shift=24:window=4:attention_factor=1.0693147180559945:variant=released"
    ),
    "string_paper__S24_W4_attention_factor1.0__formula__A__n160": "string:shift=24:window=4",
    "lm_infinite__window64_sinks4__lminf__A__n160": "lm_infinite:window=64:sinks=4",
}
"""Case -> method; every one is longer than the window."""

CASE_LENGTH = 160


@pytest.fixture(scope="module")
def committed_model(root):
    """The random Llama of the committed vectors."""
    return LlamaForCausalLM.from_pretrained(root / "tests" / "golden" / "model")


@pytest.mark.parametrize(("case", "method"), COMMITTED.items(), ids=COMMITTED)
def test_logits_equal_the_original_implementation(root, committed_model, case, method):
    assert committed_error(root, committed_model, case, method) < TOLERANCE


def committed_error(root, model, case, text):
    """Return how far a method is from a committed case, in prefill and decode."""
    vectors = np.load(root / "tests" / "golden" / "cases" / f"{case}.npz")
    method = parse_method(text)
    with method.applied_to(model, context_length=CASE_LENGTH):
        errors = errors_against(model, vectors)
    return held(method, errors)


def held(method, errors):
    """What is released as another computation in decode than in prefill is held to its prefill."""
    return max(errors.prefill, errors.decode) if method.prefill_equals_decode else errors.prefill


def test_the_vectors_tell_methods_apart(root, committed_model):
    """A method held against another one's vectors must fail by far: else the test above proves nothing."""
    cases = list(COMMITTED.items())
    for (case, _), (_, other) in zip(cases, cases[1:] + cases[:1], strict=True):
        assert committed_error(root, committed_model, case, other) > 10 * TOLERANCE, (case, other)


def test_every_shared_vector_of_these_methods_holds(shared):
    index = json.loads((shared / "golden" / "index.json").read_text())
    models, missed, compared = {}, [], 0
    for case in index["cases"]:
        folder = shared / "golden" / index["models"][case["model"]]["dir"]
        model = models.setdefault(case["model"], LlamaForCausalLM.from_pretrained(folder))
        text = GRAMMAR[case["method"]](case["params"])
        method = parse_method(text)
        # The length decides on which side of the window longrope stands, and nothing else here.
        with method.applied_to(model, context_length=case["length"]):
            errors = errors_against(model, np.load(shared / "golden" / case["file"]))
        compared += 1
        if held(method, errors) >= TOLERANCE:
            missed.append((case["id"], text, errors))

    assert not missed
    assert compared == 128


def test_frequencies_at_real_sizes_equal_the_originals(shared):
    """Inverse frequencies at d 64 and 128, base 1e4 and 5e5, windows of 2k to 8k, factors 2 to 16."""
    folder = shared / "golden" / "freq"
    vectors = np.load(folder / "inv_freq.npz")
    compared = 0
    for entry in json.loads((folder / "index.json").read_text()):
        name = entry["name"].partition("_")[0]
        if name not in {"yarn", "ntk", "llama3"}:
            continue
        p = entry["params"]
        facts = RopeFacts(
            family="llama",
            base=p["base"],
            inv_freq=tuple(p["base"] ** (-2 * i / p["head_dim"]) for i in range(p["head_dim"] // 2)),
            original_context_length=p["L"],
            layers=2,
        )
        method = parse_method(f"{name}:factor={p['s']}").resolve(facts)

        found = method.frequencies(np.array(facts.inv_freq), facts.base)

        np.testing.assert_allclose(found, vectors[entry["name"]], rtol=5e-7)
        if name == "yarn":
            (scale,) = method.logit_scales()
            assert scale.constant == pytest.approx(entry["attention_factor"] ** 2, rel=1e-12)
        compared += 1
    assert compared == 80


def test_the_scale_of_entropy_abf_equals_the_released_multiplier(shared):
    """fp32 as released; in bf16 the released code stays at 1 up to position 4231, which ours does not."""
    vectors = np.load(shared / "golden" / "eabf_scale" / "scale_c4096.npz")
    (scale,) = parse_method("entropy_abf:original_context_length=4096").logit_scales()

    found = scale.values(vectors["position"], 0)

    np.testing.assert_allclose(found, vectors["scale_fp32"], rtol=3e-7)
    assert np.abs(found - vectors["scale_bf16"]).max() > 1e-3
