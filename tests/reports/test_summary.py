"""The verdict on a run, in sentences: only what a test shows."""

from longbench_run.reports.document import Items, Paragraph
from longbench_run.reports.panels import panels_of
from longbench_run.reports.summary import summary_blocks
from longbench_run.results.method_differences import method_differences
from longbench_run.results.store import read_header
from longbench_run.results.table import load


def sentences(run):
    header, frame = read_header(run), load(run)
    (items,) = [
        block for block in summary_blocks(panels_of(header, frame), header, frame) if isinstance(block, Items)
    ]
    return ["".join(span.text for span in item) for item in items.items]


def make_one(make, tmp_path, right, *, samples=30, methods=("none", "pi"), **header):
    """Write a run of passkeys at 1x and 2x: ``right`` says how many of the first samples are answered rightly."""
    records = [
        make.passkey(
            method=method,
            length=length,
            index=index,
            right=index < right[method][place],
            sample_key=f"{length} {index}",
        )
        for method in methods
        for place, length in enumerate((512, 1024))
        for index in range(samples)
    ]
    values = {"methods": methods, "lengths": (512, 1024), "tasks": make.header().tasks[:1], **header}
    return make.run(tmp_path / "run", records, **values)


def test_better_and_worse_are_said_where_a_test_shows_them(make, tmp_path):
    right = {"none": (30, 15), "pi": (30, 30), "abf": (30, 0), "yarn": (30, 16)}
    run = make_one(make, tmp_path, right, methods=tuple(right))
    assert sentences(run) == [
        "passkey: accuracy, protocol passkey-v1: effective length at least 1k [1k, 1k]: pi; 512 [512, 512]: none, abf, yarn. "
        "Against none, better at every length beyond the window: pi; "
        "worse at every length beyond the window: abf; no difference shown: yarn. "
        "At 1k (2x): pi 1.00, yarn 0.53, none 0.50, abf 0.00."
    ]
    frame = load(run)
    effects = {d.method_label: d.effect for d in method_differences(frame) if d.context_length == 1024}
    assert effects == {"pi": "better", "abf": "worse", "yarn": "not shown"}


def test_few_samples_show_nothing(make, tmp_path):
    run = make_one(make, tmp_path, {"none": (3, 0), "pi": (3, 3)}, samples=3)
    assert sentences(run) == [
        "passkey: accuracy, protocol passkey-v1: effective length not known: none, pi. "
        "Against none, no difference shown: pi. At 1k (2x): pi 1.00, none 0.00."
    ]


def test_without_a_baseline_values_are_all_there_is(make, tmp_path):
    run = make_one(make, tmp_path, {"pi": (30, 30)}, methods=("pi",))
    assert sentences(run) == [
        "passkey: accuracy, protocol passkey-v1: effective length at least 1k [1k, 1k]: pi. "
        "There is no none to compare with. At 1k (2x): pi 1.00."
    ]


def test_a_run_within_the_window_says_so(make, tmp_path):
    records = [make.passkey(method="none", length=512, index=index, right=True) for index in range(12)]
    run = make.run(
        tmp_path / "run", records, methods=("none",), lengths=(512,), tasks=make.header().tasks[:1]
    )
    assert sentences(run) == [
        "passkey: accuracy, protocol passkey-v1: no length beyond the original window was asked for."
    ]


def test_what_failed_at_the_longest_length_is_named(make, tmp_path):
    records = [
        make.passkey(method="none", length=length, index=index, right=True)
        for length in (512, 1024)
        for index in range(12)
    ]
    records += [make.failed(method="pi", length=1024, index=0)]
    run = make.run(
        tmp_path / "run", records, methods=("none", "pi"), lengths=(512, 1024), tasks=make.header().tasks[:1]
    )
    assert sentences(run)[0].endswith("At 1k (2x): none 1.00; without a value: pi.")


def test_many_methods_are_counted_and_not_all_named(make, tmp_path):
    methods = ("none", *(f"m{number}" for number in range(12)))
    run = make_one(make, tmp_path, dict.fromkeys(methods, (30, 30)), methods=methods)
    (sentence,) = sentences(run)
    assert "no difference shown: m0, m1, m2, m3, m4, m5, m6, m7 and 4 more. " in sentence
    assert sentence.endswith(" and 5 more.")


def test_it_says_what_better_means(make, tmp_path):
    run = make_one(make, tmp_path, {"none": (30, 15), "pi": (30, 30)})
    header, frame = read_header(run), load(run)
    note = [b for b in summary_blocks(panels_of(header, frame), header, frame) if isinstance(b, Paragraph)][
        -1
    ]
    assert "Holm's correction" in note.text[0].text
