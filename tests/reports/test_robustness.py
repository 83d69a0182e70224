"""Tables of aggregates and of power: their numbers are those of results, and every gap says why."""

import re

import pytest

from longbench_run.reports.document import Heading, Table
from longbench_run.reports.panels import panels_of
from longbench_run.reports.robustness import power_blocks, robustness_blocks
from longbench_run.results.power import power
from longbench_run.results.robustness import FORMULAS, robustness
from longbench_run.results.store import read_header
from longbench_run.results.table import load


def plain(line):
    return "".join(span.text for span in line)


def tables(blocks):
    blocks = list(blocks)
    assert [type(block) for block in blocks] == [Heading, Table][: len(blocks)]
    return [block for block in blocks if isinstance(block, Table)]


@pytest.fixture
def shown():
    def read(run, builder):
        header, frame = read_header(run), load(run)
        return {
            panel.task.name: table
            for panel in panels_of(header, frame)
            for table in tables(builder(panel, header, frame))
        }

    return read


def test_a_row_for_each_method_with_the_numbers_of_results(realistic_run, shown):
    table = shown(realistic_run, robustness_blocks)["passkey"]
    heads = [plain(head) for head in table.head]
    assert heads == [
        "method",
        "retention at 1k (2x)",
        "retention at 2k (4x)",
        "retention at 4k (8x)",
        "area",
        "effective length",
    ]
    found = {
        of.method_label: of
        for of in robustness(read_header(realistic_run), load(realistic_run))
        if of.task == "passkey"
    }
    assert [plain(row[0].text) for row in table.rows] == list(found)
    for row in table.rows:
        of_method = found[plain(row[0].text)]
        assert len(row) == len(heads)
        assert row[2].sort == of_method.kept[2048].value
        assert plain(row[2].text).startswith(f"{of_method.kept[2048].value:.3f} [")
        assert row[4].sort == of_method.area.value
        assert row[5].sort == of_method.effective_length.value
    none = plain(table.rows[0][5].text)
    assert re.fullmatch(r"512 \[512, (512|1k)\]", none)


def test_perplexity_is_in_nats_with_a_sign(realistic_run, shown):
    table = shown(realistic_run, robustness_blocks)["perplexity"]
    assert plain(table.head[1]) == "rise in nats at 1k (2x)"
    assert plain(table.head[4]) == "area in nats"
    assert re.match(r"\+\d\.\d{3} \[[+-]?\d\.\d{3}, \+\d\.\d{3}\]$", plain(table.rows[0][1].text))


def test_formulas_and_what_every_table_says_stand_with_it(realistic_run, shown):
    for builder in (robustness_blocks, power_blocks):
        for table in shown(realistic_run, builder).values():
            about = plain(table.caption)
            for part in ("bundled", "factor policy fixed", "n = ", "Run " + "a" * 12, "512 tokens"):
                assert part in about
    notes = [plain(note) for note in shown(realistic_run, robustness_blocks)["passkey"].notes]
    assert notes[:3] == [f"{formula}." for formula in FORMULAS[True]]


def test_gaps_are_named_and_never_zero(make, tmp_path, shown):
    records = [
        *(
            make.passkey(method="none", length=at, index=i, right=True)
            for at in (512, 4096)
            for i in range(20)
        ),
        *(make.failed(method="none", length=1024, index=i, status="out_of_memory") for i in range(20)),
        *(make.passkey(method="pi", length=512, index=i, right=False) for i in range(20)),
    ]
    table = shown(make.run(tmp_path / "run", records), robustness_blocks)["passkey"]
    none = [plain(cell.text) for cell in table.rows[0]]
    assert none[:3] == ["none", "out of memory", "not measured"]
    assert none[3].startswith("1.000 [")
    assert none[4:] == ["-", "-"]
    assert [cell.sort for cell in table.rows[0]][4:] == [None, None]
    notes = [plain(note) for note in table.notes]
    assert "none: out of memory at 1024 tokens." in notes
    assert "pi: the score at the original window is not above chance." in notes


def test_what_the_longest_length_holds_may_be_longer(make, tmp_path, shown):
    records = [
        make.passkey(method="none", length=at, index=i, right=True)
        for at in (512, 1024, 2048, 4096)
        for i in range(100)
    ]
    table = shown(make.run(tmp_path / "run", records), robustness_blocks)["passkey"]
    assert plain(table.rows[0][5].text) == "at least 4k [4k, 4k]"


def test_power_has_the_detectable_difference_and_the_number_needed(make, tmp_path, shown):
    records = [
        record.model_copy(update={"sample_key": f"{record.cell.context_length}-{record.index}"})
        for record in make.realistic()
        if record.cell.task.name == "perplexity" and record.method_label != "abf"
    ]
    run = make.run(tmp_path / "run", records)
    table, frame = shown(run, power_blocks)["perplexity"], load(run)
    found = {(of.method_label, of.context_length): of for of in power(frame[frame["metric"] == "nll"])}
    assert [plain(row[0].text) for row in table.rows] == ["pi", "yarn", "abf", "entropy_abf", "self_extend"]
    assert [plain(cell.text) for cell in table.rows[2]] == ["abf", "-", "-", "-", "-"]
    of_pi = found["pi", 1024]
    assert plain(table.rows[0][2].text) == f"{of_pi.detectable:.3f}: {of_pi.needed}"
    assert table.rows[0][2].sort == of_pi.detectable


def test_a_run_without_the_unmodified_model_or_without_scores_has_no_tables(make, tmp_path, shown):
    alone = [make.passkey(method="pi", length=512, index=i, right=True) for i in range(20)]
    assert shown(make.run(tmp_path / "alone", alone, methods=("pi",)), power_blocks) == {}
    failed = [make.failed(method="pi", length=512, index=0)]
    assert shown(make.run(tmp_path / "failed", failed), robustness_blocks) == {}
    assert shown(make.run(tmp_path / "empty", []), power_blocks) == {}
