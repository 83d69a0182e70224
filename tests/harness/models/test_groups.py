"""Which windows share a forward pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.models.groups import plan_forwards
from longbench_run.tasks.base import GenerateRequest, ScoreRequest, ScoreWindow


def windows(*lists):
    return ScoreRequest(windows=tuple(ScoreWindow(token_ids=tuple(ids), first_scored=1) for ids in lists))


def shape(forwards):
    return [[(cut.request, cut.window) for cut in forward.cuts] for forward in forwards]


def test_prefixes_of_a_longer_window_are_cut_from_it_in_order_of_length():
    requests = [windows(range(8)), windows(range(16)), windows(range(4))]
    assert shape(plan_forwards(requests, prefix_causal=True)) == [[(2, 0), (0, 0), (1, 0)]]


def test_without_prefix_causality_nothing_is_shared():
    requests = [windows(range(8)), windows(range(16), range(8))]
    assert shape(plan_forwards(requests, prefix_causal=False)) == [[(0, 0)], [(1, 0)], [(1, 1)]]


def test_windows_that_only_begin_alike_are_not_shared():
    requests = [windows((1, 2, 3)), windows((1, 2, 4)), windows((1, 2))]
    assert shape(plan_forwards(requests, prefix_causal=True)) == [[(2, 0), (0, 0)], [(1, 0)]]


def test_an_id_is_compared_whole():
    """256 is 0x0100 and 1 is 0x01: bytes of different ids must not look like a prefix."""
    requests = [windows((256, 1)), windows((1, 256)), windows((65536, 256))]
    assert shape(plan_forwards(requests, prefix_causal=True)) == [[(0, 0)], [(1, 0)], [(2, 0)]]


def test_requests_to_generate_are_left_out():
    requests = [GenerateRequest(prompt_ids=(1, 2), max_new_tokens=1), windows((1, 2))]
    assert shape(plan_forwards(requests, prefix_causal=True)) == [[(1, 0)]]


@given(
    st.lists(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=5), max_size=3), max_size=5),
    st.booleans(),
)
def test_every_window_is_served_once_by_something_that_it_begins(groups, prefix_causal):
    requests = [windows(*lists) for lists in groups]
    forwards = plan_forwards(requests, prefix_causal=prefix_causal)
    served = sorted(key for chain in shape(forwards) for key in chain)
    assert served == [(i, j) for i, lists in enumerate(groups) for j in range(len(lists))]
    for forward in forwards:
        longest = forward.cuts[-1].content.token_ids
        lengths = [len(cut.content.token_ids) for cut in forward.cuts]
        assert lengths == sorted(lengths)
        assert all(longest[:n] == cut.content.token_ids for n, cut in zip(lengths, forward.cuts, strict=True))
    if prefix_causal:
        alone = {forward.cuts[-1].content.token_ids for forward in forwards}
        everything = {tuple(ids) for lists in groups for ids in lists}
        assert not any(a != b and b[: len(a)] == a for a in alone for b in everything)
