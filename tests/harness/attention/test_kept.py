from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longbench_run.harness.attention.rotary import FamilyRotary
from longbench_run.harness.methods import parse_method
from longbench_run.harness.testing.models import draw_tokens, tiny_llama

METHODS = (
    "self_extend:group=4:window=8",
    "dca:chunk=16:largest_position=40",
    "leaky_rerope:window=8:stretch=3",
)
COUNTS = st.integers(min_value=1, max_value=6)


@pytest.fixture(scope="module")
def model():
    return tiny_llama()


@pytest.fixture
def turned(monkeypatch):
    """Record how many keys every further rotation turns; a model of 4 heads has 2 for its keys."""
    real, seen = FamilyRotary.rotate, []

    def rotate(self, states, rotation):
        if states.shape[1] == 2:
            seen.append(states.shape[2])
        return real(self, states, rotation)

    monkeypatch.setattr(FamilyRotary, "rotate", rotate)
    return seen


def forward(model, ids, cache=None, **arguments):
    found = model(ids, past_key_values=cache, use_cache=True, **arguments)
    return found.logits, found.past_key_values


@pytest.mark.parametrize("text", METHODS)
def test_a_step_turns_its_own_key_alone(model, turned, text):
    ids = draw_tokens(80)
    with parse_method(text).applied_to(model, context_length=256), torch.inference_mode():
        _, cache = forward(model, ids[:, :70])
        _, cache = forward(model, ids[:, 70:71], cache)
        turned.clear()
        _, cache = forward(model, ids[:, 71:72], cache)
        assert turned == [1, 1, 1]  # three layers, and bands of one map share it
        turned.clear()
        forward(model, ids[:, 72:80], cache)
    assert turned == [8, 8, 8]


def test_keys_outgrow_their_room_and_are_turned_once_each(model, turned, monkeypatch):
    monkeypatch.setattr("longbench_run.harness.attention.kept._ROOM", 3)
    ids = draw_tokens(90)
    with parse_method(METHODS[0]).applied_to(model, context_length=256), torch.inference_mode():
        expected = model(ids).logits[:, -1]
        turned.clear()
        _, cache = forward(model, ids[:, :70])
        for place in range(70, 90):
            logits, cache = forward(model, ids[:, place : place + 1], cache)
    torch.testing.assert_close(logits[:, -1], expected, atol=2e-5, rtol=1e-4)
    assert sum(turned) == 3 * (70 + 90)  # the prompt's pass keeps nothing


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), COUNTS),
        st.tuples(st.just("cut"), COUNTS),
        st.tuples(st.just("swap rows"), st.just(0)),
        st.tuples(st.just("other sample"), st.just(0)),
        st.tuples(st.just("copy"), st.just(0)),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(text=st.sampled_from(METHODS), operations=OPERATIONS, seed=st.integers(0, 99))
def test_whatever_becomes_of_a_cache_the_next_step_is_that_of_all_its_tokens(model, text, operations, seed):
    fresh = draw_tokens(100, rows=2, seed=seed + 1)
    with parse_method(text).applied_to(model, context_length=256), torch.inference_mode():
        samples = []
        for offset in (0, 1):
            ids = draw_tokens(50 + offset, rows=2, seed=seed + 100 * offset)
            _, cache = forward(model, ids)
            samples.append((ids, cache))
        used = 0
        for operation, count in [("grow", 1), *operations, ("grow", 1)]:
            ids, cache = samples[0]
            if operation == "grow":
                new = fresh[:, used : used + count]
                used += count
                logits, cache = forward(model, new, cache)
                ids = torch.cat([ids, new], dim=1)
                torch.testing.assert_close(logits[:, -1], model(ids).logits[:, -1], atol=5e-5, rtol=1e-4)
            elif operation == "cut":
                ids = ids[:, :-count]
                cache.crop(-count)
            elif operation == "swap rows":
                ids = ids.flip(0)
                cache.reorder_cache(torch.tensor([1, 0]))
            elif operation == "copy":
                cache = copy.deepcopy(cache)
            samples[0] = (ids, cache)
            if operation == "other sample":
                samples.reverse()


def test_padding_in_front_is_no_key(model):
    ids, mask = draw_tokens(60), torch.ones(1, 60, dtype=torch.long)
    with parse_method(METHODS[0]).applied_to(model, context_length=256), torch.inference_mode():
        expected = model(ids).logits[:, -1]
        padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), ids], dim=1)
        mask = torch.cat([torch.zeros(1, 5, dtype=torch.long), mask], dim=1)
        cache = None
        for start, stop in ((0, 50), (50, 64), (64, 65)):
            positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, start:stop]
            logits, cache = forward(
                model, padded[:, start:stop], cache, attention_mask=mask[:, :stop], position_ids=positions
            )
        torch.testing.assert_close(logits[:, -1], expected, atol=2e-5, rtol=1e-4)
        # Without the mask all slots are tokens, at other positions: what was kept is of no use.
        step, unused = torch.tensor([[5]]), copy.deepcopy(cache)
        torch.testing.assert_close(forward(model, step, cache)[0], forward(model, step, unused)[0])


def test_keys_of_a_sample_that_is_gone_are_freed_when_the_next_one_begins(model):
    ids = draw_tokens(40)
    buffers = []
    real = torch.Tensor.new_empty

    def noted(self, *arguments, **named):
        made = real(self, *arguments, **named)
        buffers.append(weakref.ref(made))
        return made

    with parse_method(METHODS[0]).applied_to(model, context_length=256), torch.no_grad():
        _, cache = forward(model, ids)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "new_empty", noted)
            _, cache = forward(model, ids[:, :1], cache)
        assert [buffer() is not None for buffer in buffers] == [True, True, True]
        del cache
        model(ids)
        gc.collect()
        assert [buffer() for buffer in buffers] == [None, None, None]


def test_without_memory_to_keep_keys_they_are_turned_anew(model, turned, monkeypatch):
    ids = draw_tokens(72)

    def full(*_arguments, **_named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with parse_method(METHODS[0]).applied_to(model, context_length=256), torch.inference_mode():
        expected = model(ids).logits[:, -1]
        _, cache = forward(model, ids[:, :70])
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "new_empty", full)
            _, cache = forward(model, ids[:, 70:71], cache)
        turned.clear()
        logits, _ = forward(model, ids[:, 71:72], cache)
    torch.testing.assert_close(logits[:, -1], expected, atol=2e-5, rtol=1e-4)
    assert turned == [72, 72, 72]


def test_keys_kept_in_inference_mode_serve_no_step_outside_it(model):
    ids = draw_tokens(72)
    with parse_method(METHODS[0]).applied_to(model, context_length=256):
        with torch.inference_mode():
            expected = model(ids).logits[:, -1]
            _, cache = forward(model, ids[:, :70])
            _, cache = forward(model, ids[:, 70:71], cache)
        with torch.no_grad():
            logits, _ = forward(model, ids[:, 71:72], cache)
    torch.testing.assert_close(logits[:, -1], expected, atol=2e-5, rtol=1e-4)


def test_frequencies_that_moved_turn_every_key_anew(model, turned):
    ids = draw_tokens(66)
    method = parse_method("dynamic_ntk:factor=4:variant=transformers+self_extend:group=4:window=8")
    with method.applied_to(model, context_length=256), torch.inference_mode():
        _, cache = forward(
            model, ids[:, :64]
        )  # the window is 64: frequencies move with every token from here on
        for place in (64, 65):
            turned.clear()
            _, cache = forward(model, ids[:, place : place + 1], cache)
            assert turned == [place + 1] * 3
