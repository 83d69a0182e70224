"""The truncation ledger in the report: there where something was cut, and only there."""

from __future__ import annotations

from longbench_run.reports.panels import panels
from longbench_run.reports.report import write_report
from longbench_run.reports.truncation import TRUNCATION_NOTE, truncation_table


def records(make, *, cut):
    """Yield 20 samples per method: ``cut`` of them are cut, of which the first three lose their evidence and are wrong."""
    for method in ("none", "pi"):
        for index in range(20):
            lost = index < min(cut, 3)
            yield make.passkey(
                method=method,
                length=1024,
                index=index,
                right=not lost,
                depth=None,
                tokens_truncated=100 if index < cut else 0,
                evidence_survived=None if index == 19 else not lost,
            )


def written(make, folder, *, cut):
    return make.run(
        folder,
        records(make, cut=cut),
        methods=("none", "pi"),
        lengths=(512, 1024),
        tasks=make.header().tasks[:1],
    )


def test_shares_and_scores_are_those_of_the_samples(make, tmp_path):
    (panel,) = panels(written(make, tmp_path / "run", cut=5))[1]
    head, *rows = truncation_table(panel)
    assert rows == [
        [
            "1k (2x)",
            method,
            "0.25 (5 of 20)",
            "100",
            "0.84 (16 of 19)",
            "1.00 [0.81, 1.00], n = 16",
            "0.00 [-], n = 3",
            "1.00 [-], n = 1",
        ]
        for method in ("none", "pi")
    ]
    assert {len(row) for row in rows} == {len(head)}


def test_the_report_has_it_where_something_was_cut(make, tmp_path):
    text = write_report([written(make, tmp_path / "run", cut=5)], tmp_path / "out")[0].read_text()
    section = text.split("#### passkey: accuracy by truncation\n")[1]
    assert (
        "| 1k (2x) | `pi` | 0.25 (5 of 20) | 100 | 0.84 (16 of 19) | 1.00 \\[0.81, 1.00\\], n = 16 |"
        in section
    )
    assert TRUNCATION_NOTE in section


def test_where_nothing_was_cut_there_is_none(make, tmp_path):
    run = written(make, tmp_path / "run", cut=0)
    assert panels(run)[1][0].ledgers == {}
    assert "by truncation" not in write_report([run], tmp_path / "out")[0].read_text()
