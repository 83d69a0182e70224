"""Two runs written by hand, compared: which samples are paired, and what becomes of every cell."""

import math
import random

import pytest

from longbench_run.results.comparison import compare_runs
from longbench_run.results.records import (
    Failure,
    MethodIdentity,
    MetricInfo,
    ModelIdentity,
    ResultsError,
    TaskIdentity,
    TaskSummary,
)
from longbench_run.results.store import Store

NLL = TaskSummary(
    name="perplexity",
    protocol="plain",
    metrics=(MetricInfo(name="nll", higher_is_better=False, minimum=0.0),),
    source="s",
    licence="l",
)


@pytest.fixture
def write(make, tmp_path):
    """Write a run of records and return its folder."""

    def run(name, records, **header):
        header = {"tasks": (NLL, *make.header().tasks)} | header
        with Store.open(tmp_path / name, make.header(**header)) as store:
            for record in records:
                store.append(record)
        return tmp_path / name

    return run


@pytest.fixture
def nll(make):
    """Give records of one perplexity cell: documents as hard as their number says, and what one run adds."""

    def records(added=0.0, *, documents=range(20), noise=0.0, seed=0, version=1, protocol="plain", **changes):
        task = TaskIdentity(name="perplexity", version=version, protocol=protocol, parameters={})
        cell = make.cell(task=task, seed=seed, **changes.pop("cell", {}))
        random_state = random.Random(f"{noise}")
        for index in documents:
            values = {
                "cell": cell,
                "sample_key": f"{seed}:{index}:{version}:{protocol}",
                "document": f"d{seed}-{index}",
                "scores": {"nll": 2 + math.sin(index) + added + random_state.gauss(0, noise)},
                "weight": 1000.0 + index,
            }
            yield make.record(index, **values | changes)

    return records


@pytest.fixture
def passkey(make):
    """Give records of one passkey cell; right or wrong by number."""

    def records(rights, **changes):
        for index, right in enumerate(rights):
            yield make.record(
                index, **{"sample_key": f"p{index}", "scores": {"accuracy": float(right)}} | changes
            )

    return records


def failed(records, *, status="error", message="out"):
    for record in records:
        yield record.model_copy(
            update={"status": status, "scores": {}, "failure": Failure(type="Boom", message=message)}
        )


def only_cell(comparison):
    (cell,) = comparison.cells
    return cell


@pytest.mark.parametrize(
    ("added", "verdict", "outcome"),
    [(0.2, "regressed", "regressed"), (-0.2, "improved", "holds"), (0.0, "same", "holds")],
)
def test_the_difference_of_the_same_documents_decides(write, nll, added, verdict, outcome):
    found = compare_runs(write("a", nll(noise=0.001)), write("b", nll(added, noise=0.002)))
    cell = only_cell(found)
    assert (cell.verdict, found.outcome) == (verdict, outcome)
    assert (cell.samples, cell.clusters, cell.higher_is_better) == (20, 20, False)
    assert cell.difference == pytest.approx(added, abs=0.002)
    assert cell.low < cell.difference < cell.high


def test_means_are_over_tokens(write, nll):
    cell = only_cell(compare_runs(write("a", nll()), write("b", nll(0.3))))
    weights = [1000 + index for index in range(20)]
    values = [(2 + math.sin(index)) * weight for index, weight in enumerate(weights)]
    assert cell.baseline == pytest.approx(sum(values) / sum(weights))
    assert cell.candidate == pytest.approx(cell.baseline + 0.3)


def test_what_cannot_be_decided_says_how_many_samples_would(write, passkey):
    found = compare_runs(write("a", passkey([1] * 12)), write("b", passkey([1] * 12)))
    cell = only_cell(found)
    assert (cell.verdict, found.outcome, cell.interval) == ("inconclusive", "inconclusive", "tango")
    # Tango's bound without a changed pair, z^2 / (n + z^2) <= 0.01, solved for n.
    assert cell.needed == pytest.approx(99 * 1.959964**2, rel=0.01)


def test_fewer_than_ten_documents_decide_nothing_however_many_samples(write, nll):
    shared = {"document": "one of few"}
    cell = only_cell(compare_runs(write("a", nll(**shared)), write("b", nll(5.0, **shared))))
    assert (cell.verdict, cell.samples, cell.clusters, cell.low) == ("inconclusive", 20, 1, None)
    assert cell.reason == "fewer than 10 samples or documents are shared: no interval"


def test_the_order_of_computing_changes_nothing(write, nll):
    forward = compare_runs(write("a", nll(noise=0.1)), write("b", nll(noise=0.2)))
    backward = compare_runs(
        write("a2", reversed(list(nll(noise=0.1)))), write("b2", reversed(list(nll(noise=0.2))))
    )
    assert forward.cells == backward.cells


def test_seeds_are_pooled_and_paired_within(write, nll):
    both = [*nll(documents=range(8)), *nll(documents=range(8), seed=1)]
    worse = [*nll(0.5, documents=range(8)), *nll(0.5, documents=range(8), seed=1)]
    cell = only_cell(compare_runs(write("a", both), write("b", worse)))
    assert (cell.verdict, cell.samples) == ("regressed", 16)


def test_a_run_killed_half_way_is_compared_over_what_it_has(write, nll):
    cell = only_cell(compare_runs(write("a", nll()), write("b", nll(0.5, documents=range(12)))))
    assert (cell.verdict, cell.samples, cell.missing, cell.added) == ("regressed", 12, 8, 0)
    back = only_cell(compare_runs(write("c", nll(documents=range(12))), write("d", nll(0.5))))
    assert (back.samples, back.missing, back.added) == (12, 0, 8)


def test_one_failed_sample_fails_its_cell(write, nll):
    candidate = [*nll(documents=range(19)), *failed(nll(documents=[19]), status="out_of_memory")]
    found = compare_runs(write("a", nll()), write("b", candidate))
    cell = only_cell(found)
    assert (cell.verdict, cell.failed, cell.missing, found.outcome) == ("failed", 1, 0, "incomplete")
    assert cell.reason == "out_of_memory: Boom: out (1 of 20 samples)"
    assert cell.low is not None


def test_a_sample_that_failed_in_both_runs_is_nobodys_fault(write, nll):
    records = [*nll(documents=range(19)), *failed(nll(documents=[19]))]
    cell = only_cell(compare_runs(write("a", records), write("b", records)))
    assert (cell.verdict, cell.failed, cell.samples) == ("same", 0, 19)


def test_a_method_that_does_not_apply_any_more_has_failed(write, nll, make):
    (first, *_) = nll()
    gone = make.record(
        None,
        cell=first.cell,
        status="not_applicable",
        scores={},
        failure=Failure(type="MethodNotApplicable", message="no"),
    )
    cell = only_cell(compare_runs(write("a", nll()), write("b", [gone])))
    assert (cell.verdict, cell.candidate) == ("failed", None)


def test_what_the_baseline_did_not_measure_is_said_and_asked_of_nobody(write, nll, passkey):
    baseline = [*nll(), *failed(passkey([1] * 10), message="no memory")]
    found = compare_runs(write("a", baseline), write("b", nll()))
    assert only_cell(found).verdict == "same"
    assert found.unmeasured == (
        "passkey accuracy (passkey-v1) at 1024 tokens, method 'pi', model 'm': error: Boom: no memory",
    )


def test_what_the_candidate_has_alone_is_counted(write, nll, passkey):
    found = compare_runs(write("a", nll()), write("b", [*nll(), *passkey([1] * 10)]))
    assert (found.outcome, found.new_cells, found.family) == ("holds", 1, 1)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"model_label": "other"}, "missing", "the candidate has no model 'm' here, it has 'other'"),
        ({"method_label": "yarn"}, "missing", "the candidate has no method 'pi' here, it has 'yarn'"),
        ({"protocol": "sliding"}, "not comparable", "the candidate has no protocol 'plain' here, it has 'sliding'"),
        ({"version": 2}, "not comparable", "task version 1 against 2"),
        ({"cell": {"context_length": 512}}, "missing", "the candidate has no context length 1024 here, it has 512"),
        ({"seed": 1}, "not comparable", "no shared samples: seed 0 against 1; --unpaired compares them"),
        ({"documents": range(20, 40)}, "not comparable", "no shared samples: other prompts, or other ones finished"),
    ],
)  # fmt: skip
def test_a_cell_without_its_like_says_why(write, nll, passkey, changes, verdict, reason):
    common = list(passkey([1] * 10))
    found = compare_runs(write("a", [*common, *nll()]), write("b", [*common, *nll(**changes)]))
    (cell,) = (cell for cell in found.cells if cell.task == "perplexity")
    assert (cell.verdict, cell.reason, cell.samples) == (verdict, reason, 0)
    assert found.outcome == "incomplete"


def test_other_parameters_of_a_task_are_named(write, nll, make, passkey):
    deep = make.cell(
        task=TaskIdentity(name="passkey", version=1, protocol="passkey-v1", parameters={"depths": 5})
    )
    found = compare_runs(
        write("a", [*nll(), *passkey([1] * 10)]),
        write("b", [*nll(), *passkey([1] * 10, cell=deep)]),
    )
    assert found.cells[0].reason == "task parameter depths=10 against 5"


def test_a_metric_that_turned_round_is_not_compared(write, nll, passkey, make):
    turned = NLL.model_copy(update={"metrics": (MetricInfo(name="nll", higher_is_better=True),)})
    common = list(passkey([1] * 10))
    found = compare_runs(
        write("a", [*common, *nll()]),
        write("b", [*common, *nll()], tasks=(turned, *make.header().tasks)),
    )
    assert found.cells[0].reason == "metric 'nll' has another direction or range"


def test_of_two_setups_of_one_place_the_later_one_is_compared(write, nll):
    old = nll(9.0, cell={"method": MethodIdentity(resolved="pi:factor=2.0", versions={"pi": 0})})
    found = compare_runs(write("a", nll()), write("b", [*old, *nll()]))
    assert only_cell(found).verdict == "same"


def test_what_a_difference_may_come_from_is_noted(write, nll):
    candidate = nll(
        cell={
            "model": ModelIdentity(name="m", revision="sha256:cd"),
            "method": MethodIdentity(resolved="pi:factor=4.0", versions={"pi": 2}),
        }
    )
    found = compare_runs(write("a", nll()), write("b", candidate))
    assert found.notes == (
        f"model m: revision sha256:{'ab' * 32} against sha256:cd",
        "method pi: resolved to pi:factor=2.0 against pi:factor=4.0",
        "method pi: version pi 1 against pi 2",
    )


def test_something_else_applied_under_the_same_name_is_noted(write, nll):
    found = compare_runs(write("a", nll(applied_hash="1")), write("b", nll(applied_hash="2")))
    assert found.notes == (
        "method pi: something else was applied to the model, under the same name and version",
    )


def test_scores_that_changed_though_nothing_else_did_are_noted(write, nll):
    first, second = (
        write("a", nll()),
        write("b", [*nll(documents=range(15)), *nll(1e-4, documents=range(15, 20))]),
    )
    found = compare_runs(first, second)
    assert (only_cell(found).verdict, only_cell(found).changed) == ("same", 5)
    assert found.notes == (
        "method pi: 5 of 20 samples score differently (cells: 1), though model, method, task and their versions "
        "are the same: other code, packages or hardware",
    )
    rounding = compare_runs(first, write("c", nll(1e-6)))
    assert (only_cell(rounding).changed, rounding.notes) == (0, ())


def test_unpaired_runs_of_two_seeds_are_compared_and_it_is_said(write, nll):
    found = compare_runs(write("a", nll()), write("b", nll(3.0, seed=1)), is_paired=False)
    cell = only_cell(found)
    assert (cell.verdict, cell.samples, cell.missing, cell.added) == ("regressed", 20, 0, 0)
    assert found.notes[0].startswith("Samples are not paired")
    paired = only_cell(compare_runs(write("c", nll()), write("d", nll(3.0))))
    assert cell.high - cell.low > 10 * (paired.high - paired.low)


def test_alpha_holds_for_all_matched_cells(write, nll, make):
    """Regressed alone, inconclusive as one of many, whether or not the others are measured."""

    def records(added, noise):
        for length in range(100, 140):
            documents = range(20) if length == 100 else range(1)  # of one document nothing is known
            yield from nll(added, noise=noise, documents=documents, cell={"context_length": length})

    def one(added, noise):
        return nll(added, noise=noise, cell={"context_length": 100})

    alone = compare_runs(write("a", one(0, 0.2)), write("b", one(0.2, 0.3)))
    among = compare_runs(write("c", records(0, 0.2)), write("d", records(0.2, 0.3)))
    (same,) = (cell for cell in among.cells if cell.context_length == 100)
    assert (only_cell(alone).verdict, alone.family) == ("regressed", 1)
    assert (same.verdict, among.family) == ("inconclusive", 40)
    assert same.difference == only_cell(alone).difference


def test_the_worst_stands_first(write, nll, passkey, make):
    def records(*added):
        for length, step in zip((10, 20, 30), added, strict=True):
            yield from nll(step, cell={"context_length": length})

    found = compare_runs(
        write("a", [*records(0, 0, 0), *passkey([1] * 10)]), write("b", records(0.1, -0.5, 0.7))
    )
    assert [(cell.verdict, cell.context_length) for cell in found.cells] == [
        ("regressed", 30),
        ("regressed", 10),
        ("missing", 1024),
        ("improved", 20),
    ]


def test_a_regression_outweighs_what_is_missing(write, nll, passkey):
    found = compare_runs(write("a", [*nll(), *passkey([1] * 10)]), write("b", nll(0.5)))
    assert found.outcome == "regressed"
    assert found.counts == {"regressed": 1, "missing": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"tolerance": -0.1},
            "compare: --tolerance must be a number from 0, got -0.1. Leave it out for 0.01.",
        ),
        (
            {"tolerance": math.nan},
            "compare: --tolerance must be a number from 0, got nan. Leave it out for 0.01.",
        ),
        ({"alpha": 0.0}, "compare: --alpha must be above 0 and below 1, got 0.0. Leave it out for 0.05."),
        ({"alpha": 1.0}, "compare: --alpha must be above 0 and below 1, got 1.0. Leave it out for 0.05."),
    ],
)
def test_numbers_out_of_range_are_refused(write, nll, settings, message):
    run = write("a", nll())
    with pytest.raises(ResultsError) as error:
        compare_runs(run, run, **settings)
    assert str(error.value) == message


def test_a_run_without_records_has_nothing_to_compare(write, nll):
    full, empty = write("a", nll()), write("b", [])
    for runs in ((full, empty), (empty, full)):
        with pytest.raises(ResultsError) as error:
            compare_runs(*runs)
        assert str(error.value) == (
            f"{empty}: run must hold finished samples, got none. Run it, or resume it with the same command."
        )


def test_a_baseline_of_failures_has_nothing_to_compare(write, nll):
    broken, full = write("a", failed(nll())), write("b", nll())
    with pytest.raises(ResultsError) as error:
        compare_runs(broken, full)
    assert str(error.value) == (
        f"{broken}: baseline must hold a sample with a score, got 20 error only. "
        "Nothing can be compared with it; run it again with --overwrite failed."
    )


def test_runs_that_share_no_cell_are_refused_with_the_reason(write, nll):
    old, new = write("a", nll()), write("b", nll(version=2))
    with pytest.raises(ResultsError) as error:
        compare_runs(old, new)
    assert str(error.value) == (
        f"{new}: candidate must share cells with the baseline, got none of 1 (perplexity nll (plain) at 1024 "
        "tokens, method 'pi', model 'm': task version 1 against 2). Nothing to compare; compare runs of the "
        "same tasks."
    )


def test_a_candidate_in_which_everything_failed_is_no_empty_one(write, nll):
    found = compare_runs(write("a", nll()), write("b", failed(nll())))
    assert (found.outcome, only_cell(found).verdict) == ("incomplete", "failed")
