"""Continuations behind a context: scored as a forward pass of their own would, what they share computed once."""

from __future__ import annotations

import pytest

from longbench_run.harness.attention.continuation import continued
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.generate import generate
from longbench_run.harness.models.score import score
from longbench_run.tasks.base import ChooseRequest, GenerateRequest, ScoreWindow


@pytest.fixture
def context(token_ids):
    return token_ids(70)


@pytest.fixture
def request_(context, token_ids):
    """Continuations of several lengths; the first token of two of them is the same."""
    ends = [token_ids(n, seed=n) for n in (1, 5, 9)]
    ends.append((ends[1][0], *ends[2]))
    return ChooseRequest(
        windows=tuple(ScoreWindow(token_ids=(*context, *end), first_scored=len(context)) for end in ends)
    )


def chosen(loaded, request, **options):
    (result,) = run_group(loaded, [request], **{"prefix_causal": True, **options})
    assert result.status == "ok", result.failure
    return result


@pytest.mark.parametrize("text", ["none", "yarn:factor=2", "self_extend:group=4:window=16", "lm_infinite"])
def test_continuations_have_the_nll_of_windows_of_their_own(loaded, request_, text):
    with continued(loaded.model), parse_method(text).applied_to(loaded.model, context_length=128):
        result = chosen(loaded, request_)
        apart = score(loaded, request_.windows)

    assert [len(nll) for nll in result.output.nll] == [1, 5, 9, 10]
    for nll, expected in zip(result.output.nll, apart, strict=True):
        assert nll == pytest.approx(expected.tolist(), abs=2e-4)


def test_the_context_is_computed_once(loaded, request_, context):
    shared, alone = chosen(loaded, request_), chosen(loaded, request_, prefix_reuse=False)

    # The last token of a context is always read: its logits are those of a continuation's first token.
    assert (shared.tokens_reused, alone.tokens_reused) == (3 * (len(context) - 1), 0)
    assert shared.output.greedy == alone.output.greedy
    assert shared.prompt_sha256 == alone.prompt_sha256
    assert chosen(loaded, request_, prefix_causal=False).tokens_reused == 0


def test_only_the_most_probable_text_is_greedy(loaded, context):
    text = generate(loaded, GenerateRequest(prompt_ids=context, max_new_tokens=4)).token_ids
    others = [(*text[:place], (text[place] + 1) % 250, *text[place + 1 :]) for place in range(len(text))]
    windows = [ScoreWindow(token_ids=(*context, *end), first_scored=len(context)) for end in (text, *others)]

    assert chosen(loaded, ChooseRequest(windows=tuple(windows))).output.greedy == (
        True,
        *[False] * len(others),
    )


def test_the_last_token_is_predicted_and_not_read(loaded, request_):
    told = []

    def announce(tokens):
        told.append(tokens)
        return continued(loaded.model)

    chosen(loaded, request_, announce=announce)

    assert sorted(told) == [70, 74, 78, 79]


def test_a_window_without_a_context_fails_alone(loaded, request_):
    broken = ChooseRequest(windows=(ScoreWindow(token_ids=(1, 2), first_scored=0),))
    one, other = run_group(loaded, [broken, request_], prefix_causal=True)

    assert (one.status, one.failure.type, other.status) == ("error", "ValueError", "ok")
