"""The order of groups: nothing twice, nothing forgotten, longest first, and little changing of methods."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.schedule import Schedule
from longbench_run.tasks.base import GenerateRequest

lengths = st.lists(st.integers(1, 9), max_size=6)
plans = st.lists(st.tuples(st.integers(0, 2), lengths), min_size=1, max_size=5)
"""For each method: the number of its weights, and the lengths of its groups."""
WEIGHTS = [SimpleNamespace(model_label=f"model {number}") for number in range(3)]


def cell(run, length):
    return SimpleNamespace(
        cell_id=f"{run} {length}",
        sample_source=length,
        context_length=length,
        method_label=f"method {run}",
        method=SimpleNamespace(prefix_causal=True),
        identity=SimpleNamespace(task=SimpleNamespace(name="passkey")),
    )


def scheduled(plan, missing=lambda group: len(group.members)):
    runs = []
    for number, (weights, of_run) in enumerate(sorted(plan, key=lambda entry: entry[0])):
        groups = [SimpleNamespace(members=((cell(number, length), 0),)) for length in of_run]
        runs.append(SimpleNamespace(weights=WEIGHTS[weights], groups=groups.copy))
    first = {
        n: SimpleNamespace(request=GenerateRequest(prompt_ids=(0,) * n, max_new_tokens=1))
        for n in range(1, 10)
    }
    return Schedule(runs, missing, first), [group for run in runs for group in run.groups()]


def drained(schedule, choose_worker, workers):
    """Give every item to a worker in turn; return (worker, item) in order."""
    last = dict.fromkeys(range(workers))
    given_out = []
    while True:
        worker = choose_worker(workers)
        item = schedule.take(last[worker])
        if item is None:
            return given_out
        last[worker] = item.run
        given_out.append((worker, item))


@given(plan=plans, workers=st.integers(1, 4), data=st.data())
def test_every_group_is_given_out_once_whoever_asks(plan, workers, data):
    schedule, groups = scheduled(plan)
    total = sum(length for _, of_run in plan for length in of_run)
    assert (schedule.tokens, len(schedule), schedule.count()) == (total, len(groups), len(groups))

    items = drained(schedule, lambda n: data.draw(st.integers(0, n - 1)), workers)

    assert sorted(map(id, groups)) == sorted(id(item.group) for _, item in items)
    assert (schedule.tokens, len(schedule), schedule.take(None)) == (0, 0, None)


@given(plan=plans)
def test_a_single_worker_attaches_each_method_once_in_the_plans_order_longest_first(plan):
    schedule, _ = scheduled(plan)
    runs = list(schedule.runs)

    items = [item for _, item in drained(schedule, lambda _: 0, 1)]

    assert [item.run for item in items] == sorted((item.run for item in items), key=runs.index)
    for run in runs:
        tokens = [item.tokens for item in items if item.run is run]
        assert tokens == sorted(tokens, reverse=True)


def test_workers_begin_different_methods_and_then_help_where_most_is_left_without_loading_a_model():
    schedule, _ = scheduled([(0, [1]), (0, [9, 8, 7]), (0, [3, 2]), (1, [9, 9, 9])])
    small, large, other, of_next = schedule.runs
    first, second = schedule.take(None), schedule.take(None)

    assert (first.run, second.run) == (small, large)
    assert schedule.take(first.run).run is other
    assert schedule.take(small).run is large
    assert [schedule.take(small).run for _ in range(2)] == [large, other]
    assert schedule.take(small).run is of_next


def test_a_group_put_back_is_the_next_of_its_method_and_one_dropped_never_comes():
    schedule, _ = scheduled([(0, [5, 4, 3])])
    item = schedule.take(None)
    schedule.put_back(item)
    assert (schedule.tokens, schedule.take(None)) == (12, item)
    schedule.drop(item.run)
    assert (schedule.tokens, schedule.take(item.run)) == (0, None)


def test_groups_that_lack_nothing_are_left_out():
    schedule, groups = scheduled(
        [(0, [5, 4, 3])], missing=lambda group: int(group.members[0][0].context_length == 4)
    )
    assert schedule.take(None).group is groups[1]
    assert len(schedule) == 0
