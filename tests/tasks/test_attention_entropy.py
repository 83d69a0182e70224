from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.attention_entropy import AttentionEntropy, edges, slope
from longbench_run.tasks.base import Entropies, EntropyBucket, Scored, TaskError
from longbench_run.tasks.registry import load_task
from longbench_run.tasks.testing.tokenizers import Bytes


def buckets(length, entropy, *, layer=0, heads=1):
    """Buckets of a length whose queries at p have entropy(p), the same for all heads."""
    starts = list(edges(length))
    return [
        EntropyBucket(
            layer=layer,
            start=start,
            stop=stop,
            heads=(float(np.mean([entropy(p) for p in range(start, stop)])),) * heads,
        )
        for start, stop in zip(starts, [*starts[1:], length], strict=True)
    ]


@pytest.fixture
def sample():
    return next(AttentionEntropy().samples(context_length=256, count=1, seed=0, tokenizer=Bytes()))


@given(length=st.integers(64, 100_000))
def test_buckets_are_half_octaves_that_end_with_the_context(length):
    found = list(edges(length))

    assert found[0] == 0
    assert found == sorted(set(found))
    assert all(edge >= 16 for edge in found[1:])
    assert found[1] < 16 * math.sqrt(2) + 1
    assert found[-2] == round(length / 2)
    for start, stop in zip(found[1:], [*found[2:], length], strict=True):
        assert stop / start == pytest.approx(math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("entropy", "expected"),
    [
        (lambda p: math.log(p + 1), 1.0),  # even attention
        (lambda p: 2.5, 0.0),
        (lambda p: 0.3 * math.log(p + 1) + 1, 0.3),
        (lambda p: 9 - 0.2 * math.log(p + 1), -0.2),
    ],
)
def test_the_slope_is_that_of_entropy_in_the_logarithm_of_the_keys(entropy, expected):
    assert slope(buckets(4096, entropy)) == pytest.approx(expected, abs=1e-9)


def test_drift_counts_layers_that_rise_and_fall_alike(sample):
    rising = buckets(256, lambda p: 0.3 * math.log(p + 1), heads=2)
    falling = buckets(256, lambda p: 5 - 0.1 * math.log(p + 1), layer=1, heads=2)
    score = AttentionEntropy().score(sample, Entropies(buckets=(*rising, *falling)))

    assert score.scores == {"entropy_drift": pytest.approx(0.2)}
    assert score.entropy_buckets == (*rising, *falling)


def test_what_a_tokenizer_puts_in_front_counts(sample):
    assert len(sample.request.token_ids) == sample.context_length == 256
    assert sample.request.edges == tuple(edges(256))


def test_a_shorter_length_begins_a_longer_one_and_shares_its_group():
    task = AttentionEntropy()
    short, long = (
        next(task.samples(context_length=n, count=1, seed=0, tokenizer=Bytes())) for n in (100, 300)
    )

    assert long.request.token_ids[:100] == short.request.token_ids
    assert task.group_key(context_length=100, index=0) == task.group_key(context_length=300, index=0)


def test_other_outputs_are_refused(sample):
    with pytest.raises(TypeError, match="attention_entropy scores Entropies, got Scored"):
        AttentionEntropy().score(sample, Scored(nll=((0.0,),)))


@pytest.mark.parametrize(
    ("parameters", "length", "message"),
    [
        (
            {},
            63,
            "attention_entropy: context_length must be at least 64 with protocol=plain, got 63. Ask for a longer one.",
        ),
        (
            {"protocol": "sliding"},
            100,
            'attention_entropy: has no protocol "sliding". Protocols: plain.',
        ),
        (
            {"field": "text"},
            100,
            "attention_entropy: field must be left out without dataset, got 'text'. Add dataset=NAME.",
        ),
        (
            {"text": "nowhere"},
            100,
            "attention_entropy: text must be a folder of .txt files, got 'nowhere'. Name an existing folder.",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(parameters, length, message):
    with pytest.raises(TaskError) as caught:
        load_task("attention_entropy", **parameters).samples(
            context_length=length, count=1, seed=0, tokenizer=Bytes()
        )
    assert str(caught.value) == message


def test_documents_that_are_all_too_short_are_refused(tmp_path):
    (tmp_path / "short.txt").write_text("Short.")
    task = load_task("attention_entropy", text=str(tmp_path))

    with pytest.raises(
        TaskError, match=r"text must hold a document of at least 99 tokens .* got at most 6\."
    ):
        list(task.samples(context_length=100, count=1, seed=0, tokenizer=Bytes()))
