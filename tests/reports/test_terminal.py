"""The table at the end of a run."""

import pytest

from longbench_run.reports.terminal import terminal_tables
from longbench_run.results.records import ModelSummary


def test_the_tables_of_a_run(realistic_run):
    assert (
        terminal_tables(realistic_run)
        == """\
passkey: accuracy (higher is better)
model bundled, protocol passkey-v1, factor fixed, n = 20, 95 % interval: Wilson

             512 (1x)          |  1k (2x)            2k (4x)            4k (8x)
none         1.00 [0.84, 1.00] |  0.50 [0.30, 0.70]  0.00 [0.00, 0.16]  0.00 [0.00, 0.16]
pi           0.65 [0.43, 0.82] |  0.65 [0.43, 0.82]  0.25 [0.11, 0.47]  0.00 [0.00, 0.16]
yarn         1.00 [0.84, 1.00] |  1.00 [0.84, 1.00]  0.75 [0.53, 0.89]  0.35 [0.18, 0.57]
abf          1.00 [0.84, 1.00] |  0.85 [0.64, 0.95]  0.65 [0.43, 0.82]  0.10 [0.03, 0.30]
entropy_abf  0.90 [0.70, 0.97] |  0.95 [0.76, 0.99]  0.70 [0.48, 0.85]  0.10 [0.03, 0.30]
self_extend  1.00 [0.84, 1.00] |  1.00 [0.84, 1.00]  0.95 [0.76, 0.99]  0.65 [0.43, 0.82]
| original window: 512 tokens (config.json: max_position_embeddings)

perplexity (lower is better)
model bundled, protocol same_tokens, factor fixed, n = 12, 95 % interval: studentised bootstrap

             512 (1x)          |  1k (2x)            2k (4x)            4k (8x)
none         5.01 [4.65, 5.35] |  31.8 [28.1, 36.5]  377 [259, 652]     2679 [1368, 1.5e4]
pi           8.08 [7.65, 8.49] |  8.78 [7.98, 9.85]  11.3 [9.46, 13.4]  13.3 [10.5, 18.4]
yarn         5.40 [5.07, 5.97] |  5.24 [4.78, 5.78]  6.60 [5.92, 7.24]  9.75 [7.78, 12.5]
abf          5.03 [4.73, 5.32] |  5.74 [5.05, 6.46]  8.22 [7.36, 9.25]  19.3 [14.1, 26.9]
entropy_abf  5.37 [5.03, 5.66] |  5.70 [5.20, 6.25]  6.67 [5.83, 8.09]  13.8 [11.6, 16.5]
self_extend  4.98 [4.64, 5.38] |  5.56 [4.95, 6.35]  5.23 [4.66, 5.67]  6.57 [5.65, 8.16]
| original window: 512 tokens (config.json: max_position_embeddings)
"""
    )


def failing(make, folder):
    methods = ("none", "abf", "rerope", "yarn:factor=8:temperature=per_query", "log_n")
    records = [make.passkey(method="none", length=512, index=index, right=True) for index in range(20)]
    records += [make.passkey(method="none", length=1024, index=index, right=False) for index in range(20)]
    records += [
        make.failed(
            method="abf", length=length, index=None, status="not_applicable", message="base is \x1b[31mlarger"
        )
        for length in (512, 1024)
    ]
    records += [make.passkey(method="rerope", length=512, index=index, right=True) for index in range(17)]
    records += [make.failed(method="rerope", length=512, index=index) for index in range(17, 20)]
    records += [
        make.failed(method="rerope", length=1024, index=index, status="out_of_memory", message="tried 3 GiB")
        for index in range(20)
    ]
    records += [make.passkey(method=methods[3], length=512, index=index, right=True) for index in range(6)]
    records += [make.failed(method=methods[3], length=1024, index=index) for index in range(6)]
    return make.run(
        folder,
        records,
        methods=methods,
        lengths=(512, 1024),
        status="interrupted",
        tasks=make.header().tasks[:1],
    )


def test_what_failed_is_named_and_never_a_zero(make, tmp_path):
    assert (
        terminal_tables(failing(make, tmp_path / "run"))
        == """\
passkey: accuracy (higher is better)
model bundled, protocol passkey-v1, factor fixed, n = 20 unless noted, 95 % interval: Wilson

                          512 (1x)            |  1k (2x)
none                      1.00 [0.84, 1.00]   |  0.00 [0.00, 0.16]
abf                       n/a                 |  n/a
rerope                    1.00 [0.82, 1.00] ! |  oom
yarn:factor=8:temperature=per_query
                          1.00 [-] !          |  err
log_n                     -                   |  -
| original window: 512 tokens (config.json: max_position_embeddings)
[-]: no interval below 10 samples or documents, or of values that are all equal
! abf at 512, 1k: not applicable: MethodNotApplicable: base is \\x1b[31mlarger
! rerope at 512: n = 17, 3 failed
! rerope at 1k: 20 out of memory: OutOfMemoryError: tried 3 GiB
! yarn:factor=8:temperature=per_query at 512: n = 6
! yarn:factor=8:temperature=per_query at 1k: 6 failed: RuntimeError: CUDA error

The run is interrupted: - stands for what is not measured.
"""
    )


def test_of_two_versions_the_later_is_shown_and_the_other_is_mentioned(make, tmp_path):
    records = [
        make.passkey(method="pi", length=512, index=index, right=right, resolved=f"pi:factor={factor}")
        for factor, right in ((2, False), (1, True))
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, methods=("pi",), lengths=(512,), tasks=make.header().tasks[:1])
    lines = terminal_tables(run).splitlines()
    assert "pi  1.00 [0.76, 1.00] |" in lines
    assert "1 older results by other versions or settings are in the run; the latest are shown" in lines
    assert "n = 12," in lines[1]


def test_many_lengths_are_shown_in_pages_that_fit(make, tmp_path):
    lengths = tuple(2**power for power in range(7, 17))
    records = [
        make.passkey(method="self_extend", length=length, index=index, right=index < 7)
        for length in lengths
        for index in range(20)
    ]
    run = make.run(tmp_path / "run", records, lengths=lengths, methods=("none", "self_extend"))
    lines = terminal_tables(run).splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for label in ("128 (0.25x)", "512 (1x)", "1k (2x)", "64k (128x)"):
        assert text.count(label) == 2  # once for each task
    # One bar, where the original window ends.
    assert sum(" | " in line or line.endswith(" |") for line in lines if "(1x)" in line) == 2
    assert next(line for line in lines if "32k" in line).count("|") == 0


def test_samples_that_share_documents_are_counted_as_such(make, tmp_path):
    records = [
        make.perplexity(method="none", length=512, index=index, nll=2 + index % 15 / 10).model_copy(
            update={"document": f"document-{index % 15}"}
        )
        for index in range(30)
    ]
    run = make.run(
        tmp_path / "run", records, methods=("none",), lengths=(512,), tasks=make.header().tasks[1:]
    )
    facts = " ".join(terminal_tables(run).splitlines()[1:3])
    assert "n = 30 from 15 documents, 95 % interval: studentised bootstrap by document" in facts


def test_two_models_have_their_own_windows_and_lengths(make, tmp_path):
    models = tuple(
        ModelSummary(
            label=label, original_context_length=window, original_context_length_source="config.json: x"
        )
        for label, window in (("small", 256), ("large", 512))
    )
    records = [
        make.passkey(method="none", length=length, index=index, right=True, model=model)
        for model, length in (("small", 256), ("large", 512))
        for index in range(10)
    ]
    run = make.run(
        tmp_path / "run",
        records,
        models=models,
        methods=("none",),
        lengths=(256, 512),
        tasks=make.header().tasks[:1],
    )
    text = terminal_tables(run)
    assert "      256 (1x)          |\n" in text
    assert "      512 (1x)          |\n" in text
    assert "0.5x" not in text


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_is_not_complete_says_so(make, tmp_path, status):
    run = make.run(tmp_path / "run", [], status=status)
    assert terminal_tables(run).endswith(f"\nThe run is {status}: - stands for what is not measured.\n")


@pytest.mark.parametrize(
    ("count", "said"),
    [(5, "no interval: fewer than 10 samples or documents"), (12, "no interval: values are all equal")],
)
def test_why_there_is_no_interval_is_said(make, tmp_path, count, said):
    records = [make.perplexity(method="none", length=512, index=index, nll=2.0) for index in range(count)]
    folder = make.run(tmp_path / "run", records)

    assert said in terminal_tables(folder)
