"""What every method promises, asserted for each name of the registry."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import StaticCache

from longbench_run.harness.methods import component_classes, parse_method
from longbench_run.harness.methods.registry import BUILT_IN

WINDOW = 64
TARGET = 256
LENGTH = 150
METHODS = [
    *BUILT_IN,
    "yarn:temperature=per_query",
    "rerope+log_n",
    "abf+self_extend+log_n",
    "yarn+leaky_rerope",
]
IDENTITIES = [
    "pi:factor=1", "ntk:factor=1", "ntk_by_parts:factor=1", "yarn:factor=1", "abf:base=10000",
    "self_extend:group=1:window=16", "leaky_rerope:stretch=1", "self_extend", "log_n:original_context_length=4096",
]  # fmt: skip
BAND = [
    name
    for name in METHODS
    if parse_method(name).bands is not None and any(b in name for b in ("rope", "self_extend"))
]


@pytest.fixture(params=METHODS)
def method(request):
    """Every built-in method, and compositions of several axes."""
    return parse_method(request.param)


@pytest.fixture
def ids(token_ids):
    """One row of 150 tokens: past the window of 64, and past every method's own window."""
    return torch.tensor([token_ids(LENGTH)])


def logits(model, ids, **arguments):
    with torch.no_grad():
        return model(ids, **arguments).logits


def close(found, expected):
    # The same sums in another order: fp32 noise reaches 1e-4 on these sharp weights, a wrong position moves 1e-2.
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=1e-3)


def test_the_canonical_text_gives_the_same_value_back(tiny_llama, method):
    with method.applied_to(tiny_llama, context_length=TARGET) as applied:
        resolved = applied.method

    assert parse_method(method.canonical) == method
    assert parse_method(resolved.canonical) == resolved
    assert parse_method(resolved.canonical).canonical == resolved.canonical


def test_the_method_changes_what_the_model_computes(tiny_llama, ids, method):
    plain = logits(tiny_llama, ids)

    with method.applied_to(tiny_llama, context_length=TARGET):
        extended = logits(tiny_llama, ids)

    changed = (plain - extended).abs().max().item()
    assert changed == 0 if method.as_released else changed > 1e-2


@pytest.mark.parametrize("text", IDENTITIES)
def test_a_method_that_changes_nothing_gives_the_plain_logits(tiny_llama, ids, text):
    with parse_method(text).applied_to(tiny_llama):
        close(logits(tiny_llama, ids), logits_of_plain(tiny_llama, ids))


def logits_of_plain(model, ids):
    return logits(copy.deepcopy(model), ids)


def test_chunks_and_single_tokens_through_the_cache_equal_one_forward(tiny_llama, ids, method):
    with method.applied_to(tiny_llama, context_length=TARGET):
        whole = logits(tiny_llama, ids)
        for sizes in ([1] * LENGTH, [37, 1, 1, 60, LENGTH - 99]):
            found, cache = [], None
            for part in ids.split(sizes, dim=1):
                with torch.no_grad():
                    output = tiny_llama(part, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                found.append(output.logits)
            equal = torch.allclose(torch.cat(found, dim=1), whole, atol=1e-4, rtol=1e-4)
            assert equal == method.prefill_equals_decode, sizes


def test_logits_depend_on_earlier_tokens_only(tiny_llama, ids, method):
    with method.applied_to(tiny_llama, context_length=TARGET):
        whole = logits(tiny_llama, ids)
        for n in (40, 70, 149):
            assert (
                torch.allclose(logits(tiny_llama, ids[:, :n]), whole[:, :n], atol=1e-4)
                == method.prefix_causal
            )


def test_what_ran_before_leaves_no_mark(tiny_llama, ids, method):
    with method.applied_to(tiny_llama, context_length=TARGET):
        first = logits(tiny_llama, ids[:, :70])
        logits(tiny_llama, ids)
        again = logits(tiny_llama, ids[:, :70])

    assert torch.equal(first, again) == method.order_independent


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("with_positions", [False, True])
def test_a_padded_batch_equals_single_samples(tiny_llama, token_ids, method, side, with_positions):
    rows = [torch.tensor(token_ids(n, seed=n)) for n in (LENGTH, 90, 33)]
    mask = torch.zeros((3, LENGTH), dtype=torch.long)
    batch = torch.zeros((3, LENGTH), dtype=torch.long)
    places = [slice(LENGTH - len(row), None) if side == "left" else slice(0, len(row)) for row in rows]
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        batch[index, place], mask[index, place] = row, 1
    arguments = {"position_ids": (mask.cumsum(-1) - 1).clamp_min(0)} if with_positions else {}

    with method.applied_to(tiny_llama, context_length=TARGET):
        found = logits(tiny_llama, batch, attention_mask=mask, **arguments)

        for index, (row, place) in enumerate(zip(rows, places, strict=True)):
            close(found[index, place], logits(tiny_llama, row[None])[0])


def test_generate_gives_the_same_ids_whatever_the_cache(tiny_llama, token_ids, method):
    rows = [list(token_ids(n, seed=n)) for n in (100, 60)]
    mask = torch.tensor([[1] * 100, [0] * 40 + [1] * 60])
    batch = torch.tensor([rows[0], [0] * 40 + rows[1]])
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}

    with method.applied_to(tiny_llama, context_length=TARGET):
        together = tiny_llama.generate(batch, attention_mask=mask, **options)[:, -12:]
        for index, row in enumerate(rows):
            single = torch.tensor([row])
            ones = torch.ones_like(single)
            for cache in ({}, {"use_cache": False}, {"prefill_chunk_size": 16}):
                found = tiny_llama.generate(single, attention_mask=ones, **options, **cache)[0, -12:]
                assert torch.equal(found, together[index]), cache
            static = StaticCache(config=tiny_llama.config, max_cache_len=160)
            found = tiny_llama.generate(single, attention_mask=ones, past_key_values=static, **options)[
                0, -12:
            ]
            assert torch.equal(found, together[index])


def test_the_block_leaves_no_trace(tiny_llama, ids, method):
    before = everything(tiny_llama)
    plain = logits(tiny_llama, ids)

    with pytest.raises(KeyboardInterrupt):
        interrupted(tiny_llama, ids, method)

    assert torch.equal(logits(tiny_llama, ids), plain)
    assert everything(tiny_llama) == before


def interrupted(model, ids, method):
    """Compute inside the block, then leave it as Ctrl-C would."""
    with method.applied_to(model, context_length=TARGET):
        logits(model, ids)
        raise KeyboardInterrupt


def everything(model):
    """Attributes of every module and what transformers' registries hold."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    modules = {
        name: {key: repr(value) for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }
    return modules, model.config.to_dict(), list(ALL_ATTENTION_FUNCTIONS), list(ALL_MASK_ATTENTION_FUNCTIONS)


def test_training_mode_stays_as_it_was(tiny_llama, method):
    model = copy.deepcopy(tiny_llama).train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]

    with method.applied_to(model):
        assert [module.training for module in model.modules()] == modes


def test_a_second_block_on_one_model_is_refused(tiny_llama, method):
    with (
        method.applied_to(tiny_llama),
        pytest.raises(RuntimeError, match="applied to this model already"),
        method.applied_to(tiny_llama),
    ):
        pass


def test_two_models_at_once_do_not_meet(tiny_llama, ids, method):
    other = copy.deepcopy(tiny_llama)
    with method.applied_to(tiny_llama, context_length=TARGET):
        alone = logits(tiny_llama, ids)
        with parse_method("rerope:window=5").applied_to(other):
            logits(other, ids)
            assert torch.equal(logits(tiny_llama, ids), alone)


def test_bfloat16_stays_as_close_to_fp32_as_the_plain_route(tiny_llama, ids, method):
    narrow = copy.deepcopy(tiny_llama).bfloat16()
    plain = (logits(narrow, ids).float() - logits(tiny_llama, ids)).abs().mean()

    with method.applied_to(narrow, context_length=TARGET):
        found = logits(narrow, ids).float()
    with method.applied_to(tiny_llama, context_length=TARGET):
        error = (found - logits(tiny_llama, ids)).abs().mean()

    assert error < 2 * plain


def test_the_hash_names_what_was_applied(tiny_llama, method):
    hashes = []
    for target in (TARGET, TARGET, 2 * TARGET):
        with method.applied_to(tiny_llama, context_length=target) as applied:
            hashes.append((applied.method.canonical, applied.hash))

    assert hashes[0] == hashes[1]
    assert (hashes[0][0] == hashes[2][0]) == (hashes[0][1] == hashes[2][1])


def test_every_layer_is_reached(tiny_llama, method):
    with method.applied_to(tiny_llama) as applied:
        assert applied.layers == (() if method.as_released else (0, 1))
        assert applied.layers_without_rope == ()


def test_gradients_equal_those_of_plain_attention(tiny_llama, ids):
    """A band method that is the identity must also train like it: merged parts keep their gradients."""
    gradients = []
    for text in (
        "none",
        "self_extend:group=1:window=16",
        "rerope:window=64+log_n:original_context_length=4096",
    ):
        model = copy.deepcopy(tiny_llama).double()
        with parse_method(text).applied_to(model):
            model(ids[:, :60], labels=ids[:, :60]).loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))

    for found in gradients[1:]:
        torch.testing.assert_close(found, gradients[0], atol=1e-5, rtol=1e-4)


def test_every_method_says_what_it_is():
    for cls in component_classes():
        assert cls.summary
        assert cls.source
        assert cls.__doc__
