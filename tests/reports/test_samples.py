"""The samples behind a number."""

import pytest

from longbench_run.reports.samples import show_samples
from longbench_run.results.records import ResultsError


@pytest.fixture
def run(make, tmp_path):
    records = [
        make.failed(method="pi", length=1024, index=1, message="ran\nout"),
        make.passkey(method="pi", length=1024, index=0, right=False, prediction="\x1b[2J5\n4"),
        make.passkey(method="none", length=512, index=10, right=True),
        make.passkey(method="none", length=512, index=2, right=True, prediction=""),
        make.failed(method="abf", length=512, index=None, status="not_applicable", message="base"),
        make.perplexity(method="none", length=512, index=0, nll=2.5),
    ]
    return make.run(tmp_path / "run", records)


def test_samples_are_shown_in_the_order_of_the_run(run):
    assert (
        show_samples(run)
        == """\
bundled, none, passkey at 512, seed 0, sample 2
  status:        ok
  scores:        accuracy 1.0000
  depth:         0.22
  prompt tokens: 502
  target:        12345
  prediction:    (empty)

bundled, none, passkey at 512, seed 0, sample 10
  status:        ok
  scores:        accuracy 1.0000
  depth:         0.00
  prompt tokens: 502
  target:        12345
  prediction:    12345

bundled, pi, passkey at 1k, seed 0, sample 0
  status:        ok
  scores:        accuracy 0.0000
  depth:         0.00
  prompt tokens: 1014
  target:        12345
  prediction:    \\x1b[2J5\\n4

bundled, pi, passkey at 1k, seed 0, sample 1
  status:        error
  depth:         0.11
  prompt tokens: 1014
  failure:       RuntimeError: ran\\nout

bundled, abf, passkey at 512, seed 0, whole cell
  status:        not_applicable
  prompt tokens: 502
  failure:       MethodNotApplicable: base

bundled, none, perplexity at 512, seed 0, sample 0
  status:        ok
  scores:        nll 2.5000
  document:      document-0
  prompt tokens: 512
  scored tokens: 256
"""
    )


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ({"task": "perplexity"}, ["none, perplexity at 512, seed 0, sample 0"]),
        ({"method": "abf"}, ["abf, passkey at 512, seed 0, whole cell"]),
        ({"context_length": 1024, "status": "error"}, ["pi, passkey at 1k, seed 0, sample 1"]),
        ({"model": "bundled", "method": "pi", "status": "ok"}, ["pi, passkey at 1k, seed 0, sample 0"]),
    ],
)
def test_samples_are_chosen(run, choice, shown):
    lines = [line for line in show_samples(run, **choice).splitlines() if line.startswith("bundled, ")]
    assert lines == [f"bundled, {line}" for line in shown]


def test_more_than_the_limit_is_said(run):
    assert show_samples(run, limit=1, task="passkey").endswith("\n\n4 more; see them with --limit 5.\n")


def test_nothing_is_said(run):
    assert show_samples(run, method="yarn") == "No sample matches.\n"


def test_a_long_prediction_is_cut(make, tmp_path):
    record = make.passkey(method="none", length=512, index=0, right=False, prediction="x" * 1_000_000)
    text = show_samples(make.run(tmp_path / "run", [record]))
    assert "x... (998000 characters more)\n" in text
    assert len(text) < 3000


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (
            {"task": "paskey"},
            "task must be one of passkey, perplexity, got 'paskey'. Did you mean \"passkey\"?",
        ),
        (
            {"method": "zzz"},
            "method must be one of none, pi, yarn, abf, entropy_abf, self_extend, got 'zzz'. Ask for one of these.",
        ),
        ({"model": "bundle"}, "model must be one of bundled, got 'bundle'. Did you mean \"bundled\"?"),
        (
            {"context_length": 8192},
            "context_length must be one of 512, 1k, 2k, 4k, got '8k'. Ask for one of these.",
        ),
    ],
)
def test_what_is_not_in_the_run_is_refused(run, choice, problem):
    with pytest.raises(ResultsError) as caught:
        show_samples(run, **choice)
    assert str(caught.value) == f"{run}: {problem}"


def test_a_limit_below_one_is_refused(run):
    with pytest.raises(ResultsError) as caught:
        show_samples(run, limit=0)
    assert str(caught.value) == "show: --limit must be at least 1, got 0. Leave it out for 10."
