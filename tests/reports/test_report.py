"""The report as a command's work: formats, styles, and what happens with runs that have nothing to show."""

import csv
import json

import pytest

from longbench_run.reports.document import Figure, Heading, Table, text
from longbench_run.reports.report import FORMATS, with_file_names, write_report
from longbench_run.results.records import ResultsError


def tables(name):
    return Table(name=name, caption=(), head=(text("x"),), rows=())


def figure(name):
    return Figure(name=name, title="", alt="", caption=(), draw=lambda style: None)


def names(*blocks):
    return [block.name for block in with_file_names(blocks) if isinstance(block, Figure | Table)]


def test_names_of_files_are_harmless_and_never_the_same_twice():
    assert names(tables("a/b: ü\n"), tables("A-B"), figure("a-b"), tables("a.b"), tables("..")) == [
        "a-b",
        "A-B-2",
        "a-b",
        "a.b",
        "x",
    ]
    assert len(names(tables("long " * 100))[0]) == 80
    heading = Heading(text=text("x"), level=1)
    assert list(with_file_names([heading])) == [heading]


def test_every_format_has_its_page_in_the_order_asked_for(realistic_run, tmp_path):
    pages = write_report([realistic_run], tmp_path, formats=["csv", "html", "csv", "latex", "md"])
    assert [page.name for page in pages] == ["results.csv", "report.html", "report.tex", "report.md"]
    assert {page.name for page in pages} <= {path.name for path in tmp_path.iterdir()}
    assert set(FORMATS) == {"csv", "html", "latex", "md"}
    with pages[0].open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 48


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"formats": ["md", "htmk"]}, 'report: --format must be one of html, md, latex, csv, got \'htmk\'. Did you mean "html"?'),
        ({"formats": ["x"]}, "report: --format must be one of html, md, latex, csv, got 'x'. Choose one of them."),
        ({"style": "papers"}, 'report: --style must be one of report, paper, slides, got \'papers\'. Did you mean "paper"?'),
        ({"against": "yearn"}, 'Did you mean "yarn"?'),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest_before_anything_is_written(
    realistic_run, tmp_path, choice, message
):
    with pytest.raises(ResultsError) as caught:
        write_report([realistic_run], tmp_path / "out", **choice)
    assert str(caught.value).endswith(message)
    assert not (tmp_path / "out").exists()


def test_a_style_changes_the_figures_and_not_the_words(realistic_run, tmp_path):
    report, paper = (
        write_report([realistic_run], tmp_path / style, formats=["md"], style=style)[0]
        for style in ("report", "paper")
    )
    assert report.read_bytes() == paper.read_bytes()
    sizes = [
        (page.parent / "figures" / "perplexity-bundled.png").read_bytes()[16:20] for page in (report, paper)
    ]
    assert int.from_bytes(sizes[0]) > int.from_bytes(sizes[1])


def test_the_best_of_a_column_is_bold_in_every_format(make, tmp_path):
    right = {"none": 20, "pi": 19, "abf": 2}
    records = [
        make.passkey(
            method=method, length=512, index=index, right=index < count, sample_key=f"sample {index}"
        )
        for method, count in right.items()
        for index in range(20)
    ]
    run = make.run(
        tmp_path / "run", records, methods=tuple(right), lengths=(512,), tasks=make.header().tasks[:1]
    )
    markdown, page, latex = (
        path.read_text() for path in write_report([run], tmp_path / "out", formats=["md", "html", "latex"])
    )
    assert "| `none` | **1.000 \\[0.839, 1.000\\]** |" in markdown
    assert "| `pi` | **0.950 \\[0.764, 0.991\\]** |" in markdown
    assert "| `abf` | 0.100 \\[" in markdown
    assert page.count('class="best"') == 2
    assert all("Bold: the best of its column" in text for text in (markdown, page))
    table = (tmp_path / "out" / "tables" / "passkey-accuracy-bundled.tex").read_text()
    assert table.count("\\textbf{") >= 2
    assert "passkey-accuracy-bundled" in latex


EVERY = ("html", "md", "latex", "csv")


def test_an_empty_run_has_a_report_that_says_so(make, tmp_path):
    run = make.run(tmp_path / "run", [], status="interrupted")
    page, markdown, *_ = write_report([run], tmp_path / "out", formats=EVERY)
    shown = markdown.read_text()
    assert "**This run is interrupted: what is not measured is shown as -.**" in shown
    assert "- **passkey: accuracy**, protocol `passkey-v1`: nothing was measured." in shown
    assert "| `pi` | - | - | - | - |" in shown
    assert list((tmp_path / "out" / "figures").iterdir()) == []
    assert "<figure" not in page.read_text()
    assert 'id="samples"' not in page.read_text()


def test_a_run_of_failed_cells_has_a_report_that_says_why(make, tmp_path):
    records = [
        make.failed(method="pi", length=512, index=0, message="CUDA error"),
        make.failed(method="pi", length=1024, index=0, status="out_of_memory", message="80 GiB"),
        make.failed(method="yarn", length=512, index=None, status="not_applicable", message="base too large"),
    ]
    run = make.run(tmp_path / "run", records, methods=("none", "pi", "yarn"), lengths=(512, 1024))
    page, markdown, *_ = write_report([run], tmp_path / "out", formats=EVERY)
    shown = markdown.read_text()
    assert "| `none` | - | - |" in shown
    assert "| `pi` | err | oom |" in shown
    assert "| `yarn` | n/a | - |" in shown
    assert "- `pi at 512`: `1 failed: RuntimeError: CUDA error`" in shown
    assert "OutOfMemoryError: 80 GiB" in page.read_text()


def test_a_folder_that_is_no_run_and_a_newer_schema_are_refused_in_one_line(realistic_run, make, tmp_path):
    newer = make.run(tmp_path / "newer", [])
    header = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps(header | {"schema_version": 99}))
    for folder, message in (
        (tmp_path, f"{tmp_path}: run must be a folder that longbench-run wrote, got one without run.json."),
        (newer, f"{newer}/run.json: schema_version 99 is newer than this program reads"),
    ):
        with pytest.raises(ResultsError) as caught:
            write_report([realistic_run, folder], tmp_path / "out", formats=EVERY)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
