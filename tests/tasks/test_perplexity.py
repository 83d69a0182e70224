"""The perplexity task: which tokens each protocol scores, with what before them."""

from __future__ import annotations

import json
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.base import Generated, NllBucket, Scored, TaskError
from longbench_run.tasks.documents import GENERATOR_VERSION
from longbench_run.tasks.perplexity import Perplexity


class Words:
    """One token per word, whose id is the number that the word spells."""

    def __init__(self, bos_token_id=None):
        self.bos_token_id = bos_token_id

    def encode(self, text, *, add_special_tokens=True):
        return [int(word) for word in text.split()]

    def decode(self, token_ids, *, skip_special_tokens=False):
        return " ".join(map(str, token_ids))


BOS = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of three documents of 1000, 40 and 300 tokens; token t of document d is 1000 d + t."""
    path = tmp_path_factory.mktemp("texts")
    for number, length in enumerate((1000, 40, 300)):
        (path / f"{number}.txt").write_text(" ".join(str(1000 * number + t) for t in range(length)))
    return str(path)


def samples(task, *, context_length, count=30, seed=0, tokenizer=None):
    return list(
        task.samples(
            context_length=context_length,
            count=count,
            seed=seed,
            tokenizer=tokenizer or Words(bos_token_id=BOS),
        )
    )


def scored_tokens(sample):
    return [token for window in sample.request.windows for token in window.token_ids[window.first_scored :]]


def test_plain_scores_all_tokens_of_one_window(folder):
    (window,) = samples(Perplexity(text=folder), context_length=8)[0].request.windows
    assert window.token_ids == (BOS, 0, 1, 2, 3, 4, 5, 6)
    assert window.first_scored == 1


def test_without_a_beginning_token_the_first_token_is_not_scored(folder):
    (window,) = samples(Perplexity(text=folder), context_length=8, tokenizer=Words())[0].request.windows
    assert window.token_ids == (0, 1, 2, 3, 4, 5, 6, 7)
    assert window.first_scored == 1


def test_sliding_windows_move_by_the_stride_and_score_what_is_new(folder):
    task = Perplexity(protocol="sliding", stride=3, tokens=12, text=folder)
    found = samples(task, context_length=7)[0].request.windows
    assert [(window.token_ids, window.first_scored) for window in found] == [
        ((BOS, 0, 1, 2, 3, 4, 5), 1),
        ((BOS, 3, 4, 5, 6, 7, 8), 4),
        ((BOS, 6, 7, 8, 9, 10, 11), 4),
    ]


def test_last_sliding_window_is_cut_at_its_end_not_moved(folder):
    task = Perplexity(protocol="sliding", stride=3, tokens=10, text=folder)
    last = samples(task, context_length=7)[0].request.windows[-1]
    assert (last.token_ids, last.first_scored) == ((BOS, 6, 7, 8, 9), 4)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 200), st.sampled_from([None, BOS]), st.data())
def test_sliding_scores_every_token_once_at_every_length(folder, stride, longer, more, bos, data):
    context_length = stride + 1 + longer
    tokens = context_length + more
    task = Perplexity(protocol="sliding", stride=stride, tokens=tokens, text=folder)
    sample = samples(task, context_length=context_length, count=1, tokenizer=Words(bos_token_id=bos))[0]
    first = 0 if bos is not None else 1
    assert scored_tokens(sample) == list(range(first, tokens))
    for window in sample.request.windows:
        assert len(window.token_ids) <= context_length
        assert 1 <= window.first_scored < len(window.token_ids)
    other = data.draw(st.integers(stride + 1, tokens))
    again = samples(task, context_length=other, count=1, tokenizer=Words(bos_token_id=bos))[0]
    assert scored_tokens(again) == scored_tokens(sample)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 200), st.sampled_from([None, BOS]))
def test_sliding_gives_every_later_token_enough_context(folder, stride, longer, more, bos):
    context_length = stride + 1 + longer
    task = Perplexity(protocol="sliding", stride=stride, tokens=context_length + more, text=folder)
    sample = samples(task, context_length=context_length, count=1, tokenizer=Words(bos_token_id=bos))[0]
    for window in sample.request.windows[1:]:
        assert window.first_scored == context_length - stride


@pytest.mark.parametrize("bos", [None, BOS])
def test_same_tokens_scores_one_block_at_every_length(folder, bos):
    task = Perplexity(protocol="same_tokens", last=4, tokens=200, text=folder)
    for context_length in (5, 6, 17, 100, 200):
        sample = samples(task, context_length=context_length, count=1, tokenizer=Words(bos_token_id=bos))[0]
        (window,) = sample.request.windows
        assert scored_tokens(sample) == [196, 197, 198, 199]
        assert len(window.token_ids) == context_length
        assert (window.token_ids[0] == BOS) is (bos is not None)
        context = list(window.token_ids[bos is not None :])
        assert context == list(range(200 - len(context), 200))


def test_document_shorter_than_tokens_is_used_as_far_as_it_goes(folder):
    sliding = Perplexity(protocol="sliding", stride=8, tokens=500, text=folder)
    same_tokens = Perplexity(protocol="same_tokens", last=8, tokens=500, text=folder)
    for context_length in (50, 300):
        assert scored_tokens(samples(sliding, context_length=context_length)[-1])[-1] == 2299
        assert scored_tokens(samples(same_tokens, context_length=context_length)[-1]) == list(
            range(2292, 2300)
        )


@pytest.mark.parametrize("protocol", ["plain", "sliding", "same_tokens"])
def test_short_documents_are_left_out_and_the_others_keep_their_index(folder, protocol):
    own = {} if protocol == "plain" else {"tokens": 500, ("stride" if protocol == "sliding" else "last"): 8}
    task = Perplexity(protocol=protocol, text=folder, **own)
    for context_length, expected in ((20, [0, 1, 2]), (41, [0, 1, 2]), (42, [0, 2]), (302, [0])):
        found = samples(task, context_length=context_length)
        assert [sample.index for sample in found] == expected
        assert [sample.document for sample in found] == [f"{index}.txt" for index in expected]


def test_no_document_long_enough_is_named(folder):
    with pytest.raises(TaskError) as error:
        samples(Perplexity(text=folder), context_length=2000)
    assert str(error.value) == (
        "perplexity: text must hold a document of at least 1999 tokens for context length 2000, "
        "got at most 1000 in the first 3. Ask for shorter lengths or give longer documents."
    )


def test_shorter_window_begins_the_longer_one_in_whatever_order_they_are_asked_for(tokenizer):
    upward, downward = Perplexity(), Perplexity()
    lengths = (64, 100, 700, 1500)
    found = {n: samples(upward, context_length=n, count=3, tokenizer=tokenizer) for n in lengths}
    again = {n: samples(downward, context_length=n, count=3, tokenizer=tokenizer) for n in reversed(lengths)}
    assert found == again
    for shorter, longer in pairwise(lengths):
        for a, b in zip(found[shorter], found[longer], strict=True):
            assert len(a.request.windows[0].token_ids) == shorter
            assert a.request.windows[0].token_ids == b.request.windows[0].token_ids[:shorter]


def test_only_plain_puts_the_lengths_of_a_document_in_one_group():
    plain, sliding = Perplexity(), Perplexity(protocol="sliding")
    assert plain.group_key(context_length=512, index=3) == plain.group_key(context_length=1024, index=3)
    assert plain.group_key(context_length=512, index=3) != plain.group_key(context_length=512, index=4)
    assert sliding.group_key(context_length=512, index=3) != sliding.group_key(context_length=1024, index=3)


def test_score_is_the_mean_over_all_scored_tokens(folder):
    task = Perplexity(protocol="sliding", stride=3, tokens=10, text=folder)
    sample = samples(task, context_length=7)[0]
    score = task.score(sample, Scored(nll=([1.0] * 6, np.full(3, 2.0), [5.0])))
    assert score.scores == {"nll": (6 + 6 + 5) / 10}
    assert score.weight == 10.0


def test_nll_is_summed_by_position_in_buckets_of_growing_size(folder):
    task = Perplexity(text=folder)
    sample = samples(task, context_length=300)[0]
    nll = np.arange(1, 300, dtype=float)  # the nll of a token is its position
    score = task.score(sample, Scored(nll=(nll,)))
    assert score.scores == {"nll": 150.0}  # over tokens: a mean of the buckets' means would be 178
    assert score.nll_buckets == (
        NllBucket(start=1, stop=128, nll_sum=float(sum(range(1, 128))), tokens=127),
        NllBucket(start=128, stop=256, nll_sum=float(sum(range(128, 256))), tokens=128),
        NllBucket(start=256, stop=512, nll_sum=float(sum(range(256, 300))), tokens=44),
    )


def test_bucket_that_ends_where_scoring_begins_is_left_out(folder):
    task = Perplexity(protocol="same_tokens", last=128, tokens=300, text=folder)
    sample = samples(task, context_length=256)[0]
    assert task.score(sample, Scored(nll=([1.0] * 128,))).nll_buckets == (
        NllBucket(start=128, stop=256, nll_sum=128.0, tokens=128),
    )


@given(st.integers(2, 600), st.integers(1, 300), st.integers(0, 300))
def test_buckets_hold_every_scored_token_where_it_stands(folder, context_length, stride, more):
    if stride >= context_length:
        stride = context_length - 1
    tokens = max(context_length + more, stride + 1)
    task = Perplexity(protocol="sliding", stride=stride, tokens=tokens, text=folder)
    sample = samples(task, context_length=context_length, count=1)[0]
    positions = [np.arange(w.first_scored, len(w.token_ids), dtype=float) for w in sample.request.windows]
    buckets = task.score(sample, Scored(nll=tuple(positions))).nll_buckets
    for bucket in buckets:
        inside = [p for window in positions for p in window if bucket.start <= p < bucket.stop]
        assert (bucket.nll_sum, bucket.tokens) == (sum(inside), len(inside))
        assert bucket.tokens > 0
    assert sum(bucket.tokens for bucket in buckets) == tokens
    assert all(b.start == 1 or math.log2(b.start).is_integer() for b in buckets)


def test_output_that_does_not_match_the_request_is_a_mistake_of_the_caller(folder):
    task = Perplexity(text=folder)
    sample = samples(task, context_length=8)[0]
    with pytest.raises(TypeError, match=r"^perplexity scores Scored, got Generated$"):
        task.score(sample, Generated(token_ids=(), text=""))
    with pytest.raises(ValueError, match=r"^nll must hold 7 values, got 6$"):
        task.score(sample, Scored(nll=([0.0] * 6,)))


def test_parameters_are_those_of_the_protocol_with_the_documents_content(folder):
    documents = Perplexity(text=folder).parameters()["documents"]
    assert documents.startswith("sha256:")
    assert Perplexity().parameters() == {"documents": f"generated-{GENERATOR_VERSION}"}
    assert Perplexity(protocol="sliding", text=folder).parameters() == {
        "documents": documents,
        "stride": 256,
        "tokens": 32768,
    }
    assert Perplexity(protocol="same_tokens", last=7).parameters() == {
        "documents": f"generated-{GENERATOR_VERSION}",
        "last": 7,
        "tokens": 32768,
    }


def test_generated_documents_follow_the_seed_and_given_ones_do_not(folder, byte_bpe):
    def ids(task, seed, tokenizer):
        return samples(task, context_length=64, count=1, seed=seed, tokenizer=tokenizer)[0].request

    assert ids(Perplexity(), 0, byte_bpe) != ids(Perplexity(), 1, byte_bpe)
    assert ids(Perplexity(text=folder), 0, Words()) == ids(Perplexity(text=folder), 1, Words())


def test_task_travels_to_other_processes_without_what_it_read(folder):
    task = Perplexity(text=folder)
    empty = len(pickle.dumps(task))
    found = samples(task, context_length=300)
    assert len(pickle.dumps(task)) == empty
    assert samples(pickle.loads(pickle.dumps(task)), context_length=300) == found


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"protocol": "slidng"},
            'perplexity: has no protocol "slidng" (did you mean "sliding"?). '
            "Protocols: plain, same_tokens, sliding.",
        ),
        (
            {"stride": 128},
            "perplexity: stride must be left out with protocol=plain, got 128. It belongs to "
            "protocol=sliding.",
        ),
        (
            {"tokens": 128},
            "perplexity: tokens must be left out with protocol=plain, got 128. "
            "It belongs to protocol=sliding or protocol=same_tokens.",
        ),
        (
            {"protocol": "sliding", "stride": 0},
            "perplexity: stride must be at least 1, got 0. Leave it out for the default, 256.",
        ),
        (
            {"protocol": "same_tokens", "last": 64, "tokens": 64},
            "perplexity: last must be below tokens=64, got 64. Raise tokens or lower it.",
        ),
        (
            {"text": "a", "dataset": "b"},
            "perplexity: text must be left out with dataset=b, got 'a'. Name one of them.",
        ),
        (
            {"split": "train"},
            "perplexity: split must be left out without dataset, got 'train'. Add dataset=NAME.",
        ),
    ],
)
def test_wrong_parameter_is_named(parameters, message):
    with pytest.raises(TaskError) as error:
        Perplexity(**parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("parameters", "context_length", "message"),
    [
        (
            {},
            1,
            "perplexity: context_length must be at least 2 with protocol=plain, got 1. Ask for a longer one.",
        ),
        (
            {"protocol": "sliding"},
            256,
            "perplexity: context_length must be at least 257 with protocol=sliding:stride=256, got 256. "
            "Ask for a longer one.",
        ),
        (
            {"protocol": "same_tokens", "tokens": 4096},
            8192,
            "perplexity: tokens must be at least the context length, 8192, got 4096. "
            "Write perplexity:protocol=same_tokens:tokens=8192.",
        ),
    ],
)
def test_length_that_cannot_be_filled_is_named(parameters, context_length, message):
    with pytest.raises(TaskError) as error:
        Perplexity(**parameters).samples(context_length=context_length, count=1, seed=0, tokenizer=Words())
    assert str(error.value) == message


def test_json_lines_are_documents_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"body": f"{n} " * 20}) + "\n" for n in range(3)))
    task = Perplexity(dataset=str(path), field="body")
    found = samples(task, context_length=5)
    assert [sample.document for sample in found] == ["row-0", "row-1", "row-2"]
    assert found[2].request.windows[0].token_ids == (BOS, 2, 2, 2, 2)
