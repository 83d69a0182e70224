"""A run beside a paper: every value where it belongs, the differences said, and what is not shown named."""

import math
import re

import pytest

from longbench_run.reports.axes import drawn
from longbench_run.reports.document import Figure, Heading, Items, Paragraph, Table
from longbench_run.reports.figures import method_styles, save_figure
from longbench_run.reports.overlay import besides, overlay_figure
from longbench_run.reports.panels import panels
from longbench_run.reports.published import against_blocks
from longbench_run.results.published import published, published_names
from longbench_run.results.records import ResultsError


def plain(line):
    return "".join(span.text for span in line)


def said(blocks):
    """Return all words of blocks, in order."""
    for block in blocks:
        if isinstance(block, Heading | Paragraph):
            yield plain(block.text)
        elif isinstance(block, Items):
            yield from map(plain, block.items)
        elif isinstance(block, Table):
            yield from map(plain, block.notes)


@pytest.fixture(scope="module")
def shown(realistic_run):
    return panels(realistic_run)


@pytest.fixture
def against(shown):
    header, of_run = shown
    return lambda name: list(against_blocks(header, of_run, name))


def first_table(blocks):
    table = next(block for block in blocks if isinstance(block, Table))
    head = [plain(title) for title in table.head]
    return table, {
        (plain(row[0].text), plain(row[1].text)): dict(zip(head, row, strict=True)) for row in table.rows
    }


def test_published_values_stand_beside_the_runs_by_method_and_length(against, shown):
    table, rows = first_table(against("lceg"))
    assert [plain(title) for title in table.head][2:] == ["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k"]
    assert plain(rows["PI", "paper, tuned, table 2"]["4k"].text) == "6.52"
    assert plain(rows["PI", "paper, tuned, table 2"]["512"].text) == "-"
    assert rows["PI", "paper, tuned, table 2"]["4k"].sort == pytest.approx(math.log(6.52))
    panel = next(panel for panel in shown[1] if panel.task.name == "perplexity")
    assert plain(rows["pi", "this run"]["4k"].text) == panel.value_text("pi", 4096, digits=3)
    names = [plain(row[0].text) for row in table.rows]
    assert names.index("PI") == names.index("pi") + 1
    assert names.index("Self-Extend") == names.index("self_extend") + 1
    assert {"none", "pi", "yarn", "abf", "entropy_abf", "self_extend"} <= set(names)


def test_a_papers_method_is_matched_by_its_components_not_by_its_label(make, tmp_path):
    labels = ("yarn:factor=8.0", "self_extend:group=4+log_n", "dca:chunk=384")
    records = [
        make.perplexity(method=label, length=4096, index=n, nll=2.0) for label in labels for n in range(12)
    ]
    header, of_run = panels(make.run(tmp_path / "run", records, methods=labels))
    _, rows = first_table(list(against_blocks(header, of_run, "chunkllama")))
    order = [name for name, _ in rows]
    assert order[:3] == ["yarn:factor=8.0", "PI-YaRN", "self_extend:group=4+log_n"]
    assert order.index("DCA") == order.index("dca:chunk=384") + 1


def test_what_is_no_number_is_shown_as_printed_and_not_drawn(against, shown):
    _, rows = first_table(against("chunkllama"))
    assert plain(rows["RoPE", "paper, table PG19"]["8k"].text) == ">100"
    assert plain(rows["ReRoPE", "paper, table PG19"]["16k"].text) == "OOM"
    assert rows["RoPE", "paper, table PG19"]["8k"].sort is None


def test_published_points_are_drawn_hollow_in_the_colour_of_the_method(shown):
    panel = next(panel for panel in shown[1] if panel.task.name == "perplexity")
    (beside, *_) = besides(panel, published("lceg"))
    figure = overlay_figure(beside)
    (axes,) = figure.axes
    styles = method_styles(panel.methods)
    shown_in_legend = [label.get_text() for label in figure.legends[0].get_texts()]
    assert shown_in_legend[len(panel.methods) :] == [
        f"{name}, published" for name in ("Llama-2", "PI", "YaRN", "Self-Extend")
    ]
    hollow = [
        line
        for line in axes.get_lines()
        if len(line.get_xdata()) > 1 and line.get_markerfacecolor() == "none"
    ]
    lines = dict(zip(("Llama-2", "PI", "YaRN", "Self-Extend"), hollow, strict=True))
    of_method = {"none": "Llama-2", "pi": "PI", "yarn": "YaRN", "self_extend": "Self-Extend"}
    for method, called in of_method.items():
        line = lines[called]
        expected = {row.context_length: row.score for row in beside.rows if row.called == called}
        assert line.get_color() == styles[method].colour
        assert line.get_marker() == styles[method].marker
        assert line.get_markerfacecolor() == "none"
        assert list(line.get_xdata()) == list(expected)
        assert list(line.get_ydata()) == pytest.approx([drawn(panel, score) for score in expected.values()])
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    assert low < 512
    assert high > 65536
    for line in lines.values():
        assert all(bottom <= y <= top for y in line.get_ydata())


@pytest.fixture
def of_yarn(make, tmp_path):
    """A function: context lengths -> the panel of a run of yarn with twelve documents at each."""

    def panel_of(lengths):
        records = [
            make.perplexity(method="yarn", length=length, index=n, nll=0.5 + n / 100)
            for length in lengths
            for n in range(12)
        ]
        _, of_run = panels(make.run(tmp_path / "run", records, lengths=lengths))
        return next(panel for panel in of_run if panel.scored)

    return panel_of


def test_axes_reach_for_points_far_from_those_of_the_run(of_yarn):
    panel = of_yarn((4096, 8192))
    (beside, *_) = besides(panel, published("yarn"))
    (axes,) = overlay_figure(beside).axes
    bottom, top = axes.get_ylim()
    drawn_points = [y for line in axes.get_lines() if len(line.get_xdata()) > 2 for y in line.get_ydata()]
    assert max(drawn_points) > 70
    assert bottom < math.exp(0.5)
    assert max(drawn_points) <= top
    assert axes.get_yscale() == "log"


def test_the_curves_of_the_run_are_drawn_as_ever(shown):
    panel = next(panel for panel in shown[1] if panel.task.name == "perplexity")
    (beside, *_) = besides(panel, published("lceg"))
    (axes,) = overlay_figure(beside).axes
    for method in panel.methods:
        values = [drawn(panel, panel.cells[method, length].value) for length in panel.lengths]
        assert any(
            len(container[0].get_ydata()) == len(values) and container[0].get_ydata() == pytest.approx(values)
            for container in axes.containers
        )


@pytest.mark.parametrize("style", ["report", "paper", "slides"])
@pytest.mark.parametrize("name", ["lceg", "yarn"])
def test_every_figure_is_drawn_and_is_the_same_bytes_again(against, style, name, tmp_path):
    figure = next(block for block in against(name) if isinstance(block, Figure))
    files = [
        save_figure(figure.draw(style), tmp_path / stem, title=figure.title, description=figure.alt)
        for stem in ("first", "again")
    ]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_score_that_is_printed_in_percent_or_shares_becomes_one_of_the_metric(against):
    table, rows = first_table(against("yarn"))
    assert "passkey" in plain(table.caption)
    assert (
        plain(rows["Yarn-Llama-7b-32k", "paper, tuned, table passkey, LLaMA-7B at 32k"]["32k"].text)
        == "0.680"
    )


def test_differences_are_said_from_the_fields_of_both_sides(against):
    words = list(said(against("lceg")))
    assert "model: Llama-2-7B in the paper, bundled here" in words
    assert "original window: 4096 in the paper, 512 here" in words
    assert "data: PG19 test, first 10 documents in the paper, Generated documents. here" in words
    assert any(
        line.startswith("protocol: one stream of tokens") and line.endswith("same_tokens here")
        for line in words
    )
    assert "samples: 10 in the paper, n = 12 here" in words
    assert "factor policy: not recorded in the paper, fixed here" in words
    assert any(line.startswith("tuned for the length: no (Llama-2, LM-Infinite") for line in words)


def test_what_is_the_same_on_both_sides_is_no_difference(make, tmp_path):
    from longbench_run.results.records import ModelSummary

    model = ModelSummary(label="Llama-2-7B", original_context_length=4096, original_context_length_source="s")
    records = [
        make.perplexity(method="pi", length=4096, index=n, nll=2.0, model="Llama-2-7B") for n in range(12)
    ]
    header, of_run = panels(make.run(tmp_path / "run", records, models=(model,)))
    words = list(said(against_blocks(header, of_run, "lceg")))
    assert not any(line.startswith(("model:", "original window:")) for line in words)
    assert any(line.startswith("data:") for line in words)


def test_weights_of_a_methods_own_are_said(make, tmp_path):
    methods = [
        {"name": "pi", "label": None, "weights": None},
        {"name": "yarn", "label": "tuned", "weights": "w"},
    ]
    records = [make.perplexity(method="pi", length=4096, index=n, nll=2.0) for n in range(12)]
    for config, expected in (
        ({"methods": methods}, "weights of their own: tuned here"),
        ({"methods": methods[:1]}, "no: the weights of the model here"),
        ({}, "not recorded here"),
    ):
        header, of_run = panels(
            make.run(tmp_path / f"run-{len(config)}-{expected[:2]}", records, config=config)
        )
        lines = [line for line in said(against_blocks(header, of_run, "pi")) if line.startswith("tuned for")]
        assert [line.endswith(expected) for line in lines] == [True, True]


def test_flags_and_second_hand_rows_are_said_with_where_they_hold(against):
    words = list(said(against("lceg")))
    assert any(re.match(r"PI at 32k; YaRN at 32k: table 1 prints 5.85", line) for line in words)
    assert any(line.startswith("all of the paper's: windows cross documents") for line in words)
    assert any("second-hand" in line for line in said(against("self-extend")))


def test_a_paper_without_a_task_of_the_run_says_which_it_has(against):
    blocks = against("entropy-abf")
    assert not any(isinstance(block, Figure | Table) for block in blocks)
    (line,) = (line for line in said(blocks) if line.startswith("tasks that are not in this run"))
    assert "longbench_hotpotqa" in line
    assert "govreport" in line


def test_methods_that_the_run_lacks_are_named(make, tmp_path):
    records = [make.perplexity(method="abf", length=4096, index=n, nll=2.0) for n in range(12)]
    header, of_run = panels(make.run(tmp_path / "run", records))
    words = list(said(against_blocks(header, of_run, "lm-infinite")))
    assert (
        "rows without a method of this run: Llama-2 (Llama-2-7B, ArXiv), LM-Infinite (Llama-2-7B, ArXiv)"
        in words
    )


@pytest.mark.parametrize("name", published_names())
def test_every_row_of_every_paper_is_shown_or_named(against, name):
    blocks = against(name)
    words = " ".join(said(blocks))
    tables = [block for block in blocks if isinstance(block, Table)]
    called = {plain(row[0].text) for table in tables for row in table.rows}
    for row in published(name):
        assert row.called in called or row.called in words or row.task in words
    assert len(tables) == sum(isinstance(block, Figure) for block in blocks)


def test_a_run_with_failed_cells_alone_shows_no_figure(make, tmp_path):
    records = [make.failed(method="pi", length=512, index=0)]
    header, of_run = panels(make.run(tmp_path / "run", records))
    assert not any(isinstance(block, Figure) for block in against_blocks(header, of_run, "yarn"))


def test_an_unknown_paper_is_refused(against):
    with pytest.raises(ResultsError, match="Did you mean"):
        against("yarns")


def test_series_of_one_method_are_told_apart_by_their_markers(of_yarn):
    panel = of_yarn((2048, 4096))
    beside = next(each for each in besides(panel, published("yarn")) if len(each.shared["yarn"]) > 1)
    (axes,) = overlay_figure(beside).axes
    looks = [
        (line.get_marker(), line.get_fillstyle()) for line in axes.get_lines() if len(line.get_xdata()) > 2
    ]

    assert len(looks) == len(beside.shared["yarn"])
    assert len(set(looks)) == len(looks)


def test_lengths_that_leave_no_room_keep_the_round_ones(of_yarn):
    panel = of_yarn((2048, 4096))
    beside = next(each for each in besides(panel, published("yarn")) if 14336 in each.lengths)
    (axes,) = overlay_figure(beside, "paper").axes
    shown = [label.get_text().partition("\n")[0] for label in axes.get_xticklabels()]

    assert "14k" not in shown
    assert {"2k", "4k", "8k", "16k", "32k", "64k", "128k"} <= set(shown)
