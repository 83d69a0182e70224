"""The Markdown report: complete, harmless, and the same each time."""

import re

import pytest

from longbench_run.reports.report import write_report
from longbench_run.results.records import ModelSummary, ResultsError


@pytest.fixture(scope="module")
def report(realistic_report):
    return realistic_report / "report.md"


def section(text, heading):
    return text.split(f"\n### {heading}\n")[1].split("\n### ")[0].strip()


def test_every_figure_is_there_in_three_formats_and_each_is_linked(report):
    text = report.read_text(encoding="utf-8")
    links = re.findall(r"\((figures/[^)]+)\)", text)
    assert [link for link in links if link.endswith("png")] == [
        "figures/passkey-accuracy-bundled.png",
        "figures/passkey-accuracy-by-depth-bundled.png",
        "figures/perplexity-bundled.png",
    ]
    assert {link.rsplit(".", 1)[1] for link in links} == {"png", "svg", "pdf"}
    assert len(links) == len(set(links)) == 3 * 3
    assert {f"figures/{path.name}" for path in (report.parent / "figures").iterdir()} == set(links)
    assert all((report.parent / link).stat().st_size > 5000 for link in links)


def test_the_section_of_a_task(report):
    lines = section(report.read_text(encoding="utf-8"), "passkey: accuracy").splitlines()
    assert lines[0] == (
        "passkey: accuracy over context length (higher is better). Model `bundled`, protocol `passkey-v1`, "
        "factor policy `fixed`, n = 20, 95 % interval: Wilson. Original window: 512 tokens. Run `aaaaaaaaaaaa`."
    )
    assert lines[2].startswith(
        "![passkey: accuracy of bundled over context length, original window 512 tokens. "
    )
    assert "| method | 512 (1x) | 1k (2x) | 2k (4x) | 4k (8x) |" in lines
    assert (
        "| `yarn` | 1.000 \\[0.839, 1.000\\] | **1.000 \\[0.839, 1.000\\]** | 0.750 \\[0.531, 0.888\\] "
        "| 0.350 \\[0.181, 0.567\\] |" in lines
    )
    assert lines[-1] == "Source: Mohtashami and Jaggi 2023, arXiv:2305.16300. Licence: Apache-2.0."


def test_methods_are_listed_as_resolved(report):
    text = section(report.read_text(encoding="utf-8"), "Methods, as resolved")
    assert "| `bundled` | `self_extend` | `self_extend:group=16:window=128` | 512, 1k, 2k, 4k |" in text


def test_a_method_resolved_by_length_has_a_row_for_each(make, tmp_path):
    short, long = (
        make.passkey(method="pi", length=length, index=0, right=True, resolved=f"pi:factor={factor}")
        for length, factor in ((512, 1.0), (1024, 2.0))
    )
    run = make.run(tmp_path / "run", [short, long], methods=("pi",))
    text = section(write_report([run], tmp_path / "out")[0].read_text(), "Methods, as resolved")
    assert "| `bundled` | `pi` | `pi:factor=1.0` | 512 |" in text
    assert "| `bundled` | `pi` | `pi:factor=2.0` | 1k |" in text


def test_it_says_how_it_was_made(report):
    text = report.read_text(encoding="utf-8")
    assert "- model `bundled`: original window 512 tokens (`config.json: max_position_embeddings`)\n" in text
    assert "- device `cpu`\n" in text
    assert "- started 2026-01-02T03:04:05Z, finished 2026-01-02T03:09:05Z\n" in text
    made = section(text, "How it was made")
    assert made.startswith("```text\nlongbench-run --methods pi,yarn,abf,entropy_abf,self_extend\n```\n")
    assert "| `torch` | `2.13.0` |" in made


def test_two_reports_are_equal_byte_by_byte(realistic_run, report, tmp_path):
    again = write_report([realistic_run], tmp_path)[0]
    assert {"report.md", "report.html"} <= {path.name for path in report.parent.iterdir()}
    for path in sorted(report.parent.rglob("*")):
        if path.is_file():
            assert (again.parent / path.relative_to(report.parent)).read_bytes() == path.read_bytes(), (
                path.name
            )


def test_every_table_has_as_many_cells_as_its_head(report):
    width = 0
    for line in report.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (0, cells)
        width = cells


HOSTILE = "<script>alert(1)</script> [x](http://e) | `a` ```\n# top \x1b[31m \u202e $x$ $y$ @user"


def test_hostile_text_is_shown_as_text(make, tmp_path):
    model = ModelSummary(label=HOSTILE, original_context_length=512, original_context_length_source=HOSTILE)
    records = [
        make.passkey(method=HOSTILE, model=HOSTILE, length=512, index=index, right=True, prediction=HOSTILE)
        for index in range(12)
    ]
    records += [make.failed(method="pi", length=512, index=0, message=HOSTILE, model=HOSTILE)]
    run = make.run(
        tmp_path / "run",
        records,
        models=(model,),
        methods=("pi", HOSTILE),
        lengths=(512,),
        tasks=make.header().tasks[:1],
        command=("longbench-run", "--model", HOSTILE),
        device=HOSTILE,
    )
    path = write_report([run], tmp_path / "out")[0]
    text = path.read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    fences = [line for line in text.splitlines() if line.startswith("```")]
    assert fences == ["````text", "````"]
    outside = re.sub(r"(?s)````text\n.*?\n````", "", text)
    assert not [line for line in outside.splitlines() if line.startswith("# top")]
    # Outside of code there is no tag, no link and no mention left.
    prose = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", outside)
    assert not re.search(r"<[a-z/]|(?<!\\)@|(?<!\\)\]\(http", prose)
    for line in outside.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 5)
    names = [figure.name for figure in path.parent.joinpath("figures").iterdir()]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+\.(png|svg|pdf)", name) for name in names)


def test_models_whose_names_read_alike_have_their_own_figures(make, tmp_path):
    labels = ("org/m", "org:m", "ORG m")
    models = tuple(
        ModelSummary(label=label, original_context_length=512, original_context_length_source="flag")
        for label in labels
    )
    records = [
        make.passkey(method="none", model=label, length=512, index=index, right=True)
        for label in labels
        for index in range(12)
    ]
    run = make.run(tmp_path / "run", records, models=models, methods=("none",), tasks=make.header().tasks[:1])
    path = write_report([run], tmp_path / "out")[0]
    names = {figure.name for figure in path.parent.joinpath("figures").iterdir()}
    assert {name for name in names if name.endswith("png") and "depth" not in name} == {
        "passkey-accuracy-org-m.png",
        "passkey-accuracy-org-m-2.png",
        "passkey-accuracy-ORG-m-3.png",
    }
    assert "### passkey: accuracy (`org:m`)" in path.read_text()


def test_two_runs_are_shown_one_after_the_other(make, tmp_path):
    runs = [
        make.run(
            tmp_path / name,
            [make.passkey(method="none", length=512, index=index, right=right) for index in range(12)],
            methods=("none",),
            lengths=(512,),
            tasks=make.header().tasks[:1],
        )
        for name, right in (("first", True), ("second", False))
    ]
    text = write_report(runs, tmp_path / "out")[0].read_text()
    first, second = text.split("## Run `")[1:]
    assert first.startswith(f"{runs[0]}`")
    assert "| `none` | 1.000" in first
    assert "| `none` | 0.000" in second
    assert "figures/passkey-accuracy-bundled-2.png" in second


def test_a_run_without_a_value_has_a_report(make, tmp_path):
    records = [make.failed(method="pi", length=512, index=index) for index in range(3)]
    run = make.run(tmp_path / "run", records, methods=("none", "pi"), lengths=(512,), status="failed")
    text = write_report([run], tmp_path / "out")[0].read_text()
    assert "**This run is failed: what is not measured is shown as -.**" in text
    assert text.count("Nothing was measured: there is no figure.") == 2
    assert "| `pi` | err |" in text
    assert "- `pi at 512`: `3 failed: RuntimeError: CUDA error`" in text


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ResultsError) as caught:
        write_report([], tmp_path / "out")
    assert str(caught.value) == (
        "report: run must be at least one folder, got none. Name a folder below runs/."
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused_before_anything_is_written(realistic_run, tmp_path):
    with pytest.raises(ResultsError, match="run must be a folder that longbench-run wrote"):
        write_report([realistic_run, tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_named(realistic_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError) as caught:
        write_report([realistic_run], tmp_path / "file" / "out")
    assert str(caught.value) == (
        f"{tmp_path}/file/out: --output must be writable, got Not a directory. Choose another --output."
    )
