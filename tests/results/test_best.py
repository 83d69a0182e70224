"""The best methods of a column: planted effects are found, what chance does is not, and nothing untested is marked."""

import numpy as np
import pytest

from longbench_run.results.best import best_cells
from longbench_run.results.records import MethodIdentity, MetricInfo, TaskSummary
from longbench_run.results.store import Store
from longbench_run.results.table import load

NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)
ACCURACY = MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True)


def frame_of(folder, make, scores, *, metric=ACCURACY, documents=None, failed=()):
    """Return the table of a run of (method, length) -> score per sample; a failed cell has no scores."""
    task = TaskSummary(name="passkey", protocol="passkey-v1", metrics=(metric,), source="s", licence="l")
    methods = tuple(dict.fromkeys(method for method, _ in [*scores, *failed]))
    lengths = tuple(sorted({length for _, length in scores}))
    with Store.open(folder, make.header(methods=methods, lengths=lengths, tasks=(task,))) as store:
        for method, length in [*scores, *failed]:
            cell = make.cell(method=MethodIdentity(resolved=method, versions={}), context_length=length)
            shared = {"cell": cell, "cell_id": cell.cell_id(), "method_label": method}
            if (method, length) in failed:
                store.append(make.record(0, **shared, status="out_of_memory", scores={}, prediction=None))
                continue
            store.append(
                *(
                    make.record(
                        index,
                        **shared,
                        sample_key=f"{length}-{index}",
                        scores={metric.name: float(score)},
                        document=documents[index] if documents else None,
                    )
                    for index, score in enumerate(scores[method, length])
                )
            )
    return load(folder)


def marked(frame):
    return {(key.method_label, key.context_length) for key in best_cells(frame)}


def test_the_best_and_what_is_not_shown_to_be_worse_are_marked_by_length(tmp_path, make):
    scores = {
        ("none", 512): [1] * 20,
        ("pi", 512): [1] * 19 + [0],
        ("yarn", 512): [0] * 20,
        ("none", 1024): [0] * 20,
        ("pi", 1024): [0] * 20,
        ("yarn", 1024): [1] * 20,
    }
    assert marked(frame_of(tmp_path, make, scores)) == {("none", 512), ("pi", 512), ("yarn", 1024)}


def test_lower_is_better_where_the_metric_says_so(tmp_path, make):
    noise = np.random.default_rng(0).normal(0, 0.3, 40)
    scores = {("a", 512): 2.0 + noise, ("b", 512): 2.1 + noise, ("c", 512): 3.0 + noise[::-1]}
    assert marked(frame_of(tmp_path, make, scores, metric=NLL)) == {("a", 512)}


def test_pairs_show_what_means_with_the_same_spread_do_not(tmp_path, make):
    generator = np.random.default_rng(1)
    difficulty = generator.normal(3, 0.5, 40)
    near = difficulty + 0.05 + generator.normal(0, 0.02, 40)
    apart = generator.permutation(near)
    paired = frame_of(tmp_path / "paired", make, {("a", 512): difficulty, ("b", 512): near}, metric=NLL)
    shuffled = frame_of(tmp_path / "shuffled", make, {("a", 512): difficulty, ("b", 512): apart}, metric=NLL)
    assert marked(paired) == {("a", 512)}
    assert marked(shuffled) == {("a", 512), ("b", 512)}


def test_more_comparisons_ask_for_more(tmp_path, make):
    # Eight of 40 pairs lost and none gained: z = sqrt(8), p = 0.005: enough for ten methods against the best of them,
    # not for the best of ten, of which there are 45 pairs.
    few = {("a", 512): [1] * 40, ("b", 512): [0] * 8 + [1] * 32}
    many = few | {(f"c{number}", 512): [1] * 40 for number in range(8)}
    assert marked(frame_of(tmp_path / "few", make, few)) == {("a", 512)}
    assert ("b", 512) in marked(frame_of(tmp_path / "many", make, many))


def test_nothing_is_marked_that_was_not_compared(tmp_path, make):
    short = {("a", 512): [1] * 9, ("b", 512): [0] * 9}
    assert marked(frame_of(tmp_path / "short", make, short)) == set()
    alone = frame_of(tmp_path / "alone", make, {("a", 512): [1] * 20}, failed=[("b", 512)])
    assert marked(alone) == set()
    part = {("a", 512): [1] * 20, ("b", 512): [1] * 20, ("c", 512): [1] * 5}
    assert marked(frame_of(tmp_path / "part", make, part)) == {("a", 512), ("b", 512)}


def test_samples_of_one_document_count_once(tmp_path, make):
    scores = {("a", 512): [1] * 27, ("b", 512): [0] * 27}
    documents = [f"d{index // 3}" for index in range(27)]
    assert marked(frame_of(tmp_path / "documents", make, scores, documents=documents)) == set()
    assert marked(frame_of(tmp_path / "apart", make, scores)) == {("a", 512)}


@pytest.mark.parametrize("method_count", [2, 5])
def test_methods_that_are_the_same_are_rarely_told_apart(tmp_path, make, method_count):
    generator = np.random.default_rng(method_count)
    draws, wrong = 30, 0
    for draw in range(draws):
        scores = {(f"m{n}", 512): generator.random(30) < 0.6 for n in range(method_count)}
        wrong += len(marked(frame_of(tmp_path / str(draw), make, scores))) < method_count
    # At most 5 % of columns may lack a method: 7 or more of 30 then have a chance of 0.0006.
    assert wrong <= 6
