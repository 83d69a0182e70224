"""The ledger: counted sample by sample, and split by what became of the evidence."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.results import by_truncation, load
from longbench_run.results.store import Store
from longbench_run.results.truncation import truncation_ledgers


def frame(samples):
    """Return rows of `load` for triples of tokens cut, fate of the evidence, and score."""
    return pd.DataFrame(
        [
            {
                "run": "runs/a",
                "model_label": "m",
                "method_label": "pi",
                "task": "qa",
                "task_version": 1,
                "protocol": "p",
                "context_length": 4096,
                "metric": "f1",
                "setup_id": "one",
                "seed": 0,
                "index": index,
                "document": f"row-{index}",
                "tokens_truncated": cut,
                "evidence_survived": evidence,
                "score": score,
                "weight": None,
                "is_binary": False,
                "minimum": 0.0,
                "maximum": 1.0,
            }
            for index, (cut, evidence, score) in enumerate(samples)
        ]
    ).astype(
        {"tokens_truncated": "Int64", "score": "float64", "weight": "float64", "evidence_survived": object}
    )


SAMPLES = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 3)),
        st.sampled_from([True, False, None]),
        st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1.0])),
    ),
    min_size=1,
    max_size=30,
)


@given(samples=SAMPLES)
def test_it_counts_every_sample_once(samples):
    known = [sample for sample in samples if sample[0] is not None]
    found = truncation_ledgers(frame(samples))
    if not any(cut for cut, _, _ in known):
        assert found == {}
        return
    (ledger,) = found.values()
    assert ledger.samples == len(known)
    cuts = [cut for cut, _, _ in known if cut]
    assert (ledger.truncated, ledger.tokens_truncated) == (len(cuts), pytest.approx(sum(cuts) / len(cuts)))
    for name, fate in (("survived", True), ("lost", False), ("unknown", None)):
        of_fate = [score for _, evidence, score in known if evidence is fate]
        scores = [score for score in of_fate if score is not None]
        assert getattr(ledger, name) == len(of_fate)
        estimate = getattr(ledger, f"score_{name}")
        assert estimate.samples == len(scores)
        assert estimate.value == (pytest.approx(sum(scores) / len(scores)) if scores else None)
        assert (estimate.interval is not None) == (len(scores) >= 10)


def test_the_table_holds_the_ledgers():
    found = by_truncation(frame([(5, True, 1.0)] * 12 + [(7, False, 0.0)] * 4 + [(0, None, 0.5)] * 4))
    assert found["evidence"].tolist() == ["survived", "lost", "unknown"]
    assert found["truncated"].tolist() == [0.8] * 3
    assert found["n"].tolist() == [12, 4, 4]
    assert found["value"].tolist() == [1.0, 0.0, 0.5]
    assert found["low"].notna().tolist() == [True, False, False]
    empty = by_truncation(frame([(0, True, 1.0)]))
    assert (len(empty), list(empty.columns)) == (0, list(found.columns))


def test_what_load_gives_is_understood(make, tmp_path):
    records = [
        make.record(index, tokens_truncated=index % 3, evidence_survived=[True, False, None][index % 3])
        for index in range(6)
    ]
    with Store.open(tmp_path / "run", make.header()) as store:
        store.append(*records)
    (ledger,) = truncation_ledgers(load(tmp_path / "run")).values()
    assert (ledger.samples, ledger.truncated, ledger.tokens_truncated) == (6, 4, 1.5)
    assert (ledger.survived, ledger.lost, ledger.unknown) == (2, 2, 2)
