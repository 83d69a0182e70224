"""The section of tuned variants: its numbers, its figures, and what becomes of a run's other sections beside it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from longbench_run.reports.document import Figure, Heading, Paragraph, Table
from longbench_run.reports.report import write_report
from longbench_run.reports.tuned import (
    length_table,
    loss_block,
    quality_block,
    readable,
    samples_table,
    tuned_blocks,
)
from longbench_run.results.records import TuningSummary
from longbench_run.results.store import read_header
from longbench_run.results.table import load
from longbench_run.results.tuned import Place, TunedRun

LENGTHS, COUNT = (512, 2048), 12
PASSKEY = Place("bundled", "passkey", "passkey-v1", "accuracy")
NLL = Place("bundled", "perplexity", "same_tokens", "nll")
METHODS = ("pi", "abf")
RESOLVED = {"pi": "pi:factor=8.0", "abf": "abf:base=500000"}


def tuning(method, samples, seed, **changes):
    values = {
        "method_label": f"{method}-{samples}-seed{seed}",
        "asked": method,
        "canonical": RESOLVED[method],
        "samples": samples,
        "steps": samples // 4,
        "seed": seed,
        "context_length": 2048,
        "learning_rate": 2e-5,
        "composition": "none",
        "data_sha256": "a" * 64,
        "samples_sha256": "b" * 64,
        "losses": tuple(3.0 - 0.1 * step - seed for step in range(samples // 4)),
    }
    return TuningSummary(**{**values, **changes})


def is_right(label, length, index):
    """Say what a made-up sample of a passkey scored: a fixed share of them, other ones for each variant."""
    return (len(label) * 7 + label.count("1") * 3 + index * 5 + length // 512) % 11 < 4 + 3 * ("abf" in label)


def nll(label, length, index):
    return 1.5 + (sum(map(ord, label)) % 17 + index) / 10 + length / 2048


@pytest.fixture(scope="module")
def written(make, tmp_path_factory):
    """Give `written(variants)`: the folder of a run of the unmodified model, PI untuned, and variants."""

    def write(variants, *, absent=()):
        labels = ("none", "pi", *(each.method_label for each in variants))
        asked = {each.method_label: each.asked for each in variants}
        records = []
        for label in labels:
            for length in LENGTHS:
                for index in range(COUNT):
                    resolved = RESOLVED.get(asked.get(label, label), "none:original_context_length=512")
                    passkey = make.passkey(
                        method=label,
                        length=length,
                        index=index,
                        right=is_right(label, length, index),
                        resolved=resolved,
                        model="bundled",
                        depth=None,
                    )
                    found = make.perplexity(
                        method=label, length=length, index=index, nll=nll(label, length, index)
                    )
                    for record in () if label in absent else (passkey, found):
                        method = record.cell.method.model_copy(update={"resolved": resolved})
                        weights = record.cell.model.model_copy(update={"revision": f"sha256:{label}"})
                        cell = record.cell.model_copy(update={"method": method, "model": weights})
                        changes = {"cell": cell, "cell_id": cell.cell_id()}
                        key = f"{cell.task.name} {length} {index}"
                        records.append(record.model_copy(update={**changes, "sample_key": key}))
        folder = tmp_path_factory.mktemp("runs") / "tuned"
        return make.run(folder, records, methods=labels, lengths=LENGTHS, tuned=tuple(variants))

    return write


VARIANTS = [tuning(method, samples, seed) for method in METHODS for samples in (8, 32) for seed in (0, 1)]


@pytest.fixture(scope="module")
def folder(written):
    return written(VARIANTS)


def run_of(folder):
    return TunedRun(read_header(folder), load(folder))


@pytest.fixture(scope="module")
def run(folder):
    return run_of(folder)


def words(parts):
    return "".join(part.text for part in parts)


def rows(table):
    return {words(row[0].text): [words(cell.text) for cell in row[1:]] for row in table.rows}


def mean_right(label, length):
    return np.mean([is_right(label, length, index) for index in range(COUNT)])


def test_a_table_by_context_length_begins_with_the_untuned_model(run):
    table = length_table(run, PASSKEY, samples=8)

    assert [words(head) for head in table.head] == ["method", "512 (1x)", "2k (4x)"]
    found = rows(table)
    assert list(found) == ["none, not tuned", "pi", "abf"]
    means = [np.mean([mean_right(f"abf-8-seed{seed}", n) for seed in (0, 1)]) for n in LENGTHS]
    assert [text.split()[0] for text in found["abf"]] == [f"{mean:.3f}" for mean in means]
    assert found["none, not tuned"][0].startswith(f"{mean_right('none', 512):.3f} [")
    assert table.rows[2][1].sort == pytest.approx(means[0])
    assert words(table.caption) == (
        "passkey: accuracy by context length, tuned with 8 samples (higher is better). Model bundled, protocol passkey-v1, "
        "tuned for 2k, 2 seeds, n = 12, 95 % interval: Student's t over seeds and samples. Original window: 512 tokens. "
        "Run aaaaaaaaaaaa."
    )
    assert table.notes == ()


def test_a_table_by_samples_has_the_untuned_methods_at_0(run):
    table = samples_table(run, NLL, context_length=2048)

    assert [words(head) for head in table.head] == ["method", "0 (not tuned)", "8", "32"]
    found = rows(table)
    untuned = np.mean([nll("pi", 2048, index) for index in range(COUNT)])
    assert found["pi"][0].startswith(f"{math.exp(untuned):.1f} [")
    assert found["abf"][0] == "-"  # it was not measured on the model's own weights
    assert found["none"][1:] == ["-", "-"]
    tuned = np.mean([nll(f"abf-32-seed{s}", 2048, index) for s in (0, 1) for index in range(COUNT)])
    assert found["abf"][2].startswith(f"{math.exp(tuned):.1f} [")
    assert "(lower is better)" in words(table.caption)


def test_a_seed_that_is_missing_and_intervals_that_are_none_are_said(written):
    table = length_table(run_of(written(VARIANTS, absent=("abf-8-seed1",))), PASSKEY, samples=8)

    assert all(text.endswith(" [-]") for text in rows(table)["abf"])
    assert [words(note) for note in table.notes] == [
        "[-]: no interval below 2 seeds or 10 samples or documents, or of values that are all equal.",
        "abf, 512 (1x): 1 seed, n = 12.",
        "abf, 2k (4x): 1 seed, n = 12.",
    ]


def test_the_section_is_there_where_something_was_tuned(folder, realistic_run):
    blocks = list(tuned_blocks(read_header(folder), load(folder)))

    headings = [words(block.text) for block in blocks if isinstance(block, Heading)]
    assert headings == ["Tuned variants", "passkey: accuracy", "perplexity"]
    # Of each place: a figure, a table for 8 and 32 samples, one for the longest length, which is the one tuned for.
    assert sum(isinstance(block, Table) for block in blocks) == 2 * 3
    assert sum(isinstance(block, Figure) for block in blocks) == 2 + 1
    assert list(tuned_blocks(read_header(realistic_run), load(realistic_run))) == []


def test_nothing_measured_is_a_sentence(make, tmp_path):
    folder = make.run(tmp_path / "run", [], tuned=tuple(VARIANTS))

    (heading, sentence, figure) = tuned_blocks(read_header(folder), load(folder))
    assert (words(heading.text), words(sentence.text)) == (
        "Tuned variants",
        "Nothing was measured of them.",
    )
    assert figure.draw("report")  # the training is known all the same


@pytest.mark.parametrize("style", ["report", "paper", "slides"])
def test_quality_is_drawn_where_it_was_measured_with_0_apart(run, style, assert_nothing_covers_anything):
    figure = quality_block(run, PASSKEY).draw(style)

    assert_nothing_covers_anything(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["at 512 (1x)", "at 2k (4x), tuned for it"]
    axes = figure.axes[1]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "8", "32"]
    zero, eight, thirty_two = axes.get_xticks()
    assert (thirty_two - eight, eight - zero) == (2, 1)
    # none and pi at 0, then a line of pi and one of abf.
    points = [container.lines[0].get_ydata() for container in axes.containers]
    lines = [
        [np.mean([mean_right(f"{m}-{n}-seed{s}", 2048) for s in (0, 1)]) for n in (8, 32)] for m in METHODS
    ]
    expected = [[mean_right("none", 2048)], [mean_right("pi", 2048)], *lines]
    assert [list(ys) for ys in points] == [pytest.approx(ys) for ys in expected]


def test_intervals_of_the_figure_are_those_of_the_table(run):
    axes = quality_block(run, NLL).draw("report").axes[0]

    segments = axes.containers[-1].lines[2][0].get_segments()  # abf
    drawn = [tuple(float(f"{end:.3g}") for end in segment[:, 1]) for segment in segments]
    (_, *texts) = rows(samples_table(run, NLL, context_length=512))["abf"]
    assert drawn == [tuple(map(float, re.search(r"\[(.*), (.*)\]", text).groups())) for text in texts]


@pytest.mark.parametrize("style", ["report", "paper"])
def test_training_loss_is_the_mean_over_seeds(run, style, assert_nothing_covers_anything):
    figure = loss_block(run).draw(style)

    assert_nothing_covers_anything(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["8 samples", "32 samples"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    # Seeds 0 and 1 begin at 3 and 2.
    assert list(figure.axes[1].lines[0].get_ydata()) == pytest.approx([2.5 - 0.1 * step for step in range(8)])
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2]


def test_a_loss_that_was_no_number_is_a_gap(make):
    header = make.header(
        tuned=(tuning("pi", 8, 0, losses=(2.0, None)), tuning("pi", 8, 1, losses=(1.0, 1.0)))
    )
    line = loss_block(TunedRun(header, load_nothing())).draw("report").axes[0].lines[0]
    assert line.get_ydata()[0] == 1.5
    assert math.isnan(line.get_ydata()[1])


def load_nothing():
    import pandas as pd

    from longbench_run.results.columns import COLUMNS

    return pd.DataFrame({name: [] for name in COLUMNS})


def test_a_report_of_more_variants_than_colours_shows_them_as_means(folder, tmp_path):
    write_report([folder], tmp_path, formats=("md", "html"))

    report = (tmp_path / "report.md").read_text()
    assert "The run has 10 methods, each tuned variant for itself" in report
    assert sorted(path.stem for path in (tmp_path / "figures").glob("*.png")) == [
        "training-loss",
        "tuned-passkey-accuracy-passkey-v1-by-samples-bundled",
        "tuned-perplexity-nll-same_tokens-by-samples-bundled",
    ]
    # Each variant is a row of the ordinary tables, and can be looked up.
    assert "| `abf-32-seed1` |" in report
    assert "Tuned variants" in (tmp_path / "report.html").read_text()


def test_fewer_methods_than_colours_are_drawn_each_for_itself(make):
    figure = quality = object.__new__(Figure)
    blocks = [Heading(text=(), level=3), figure, quality]

    few, many = (make.header(tuned=tuple(VARIANTS), methods=tuple(map(str, range(n)))) for n in (8, 9))
    assert list(readable(blocks, few)) == blocks
    assert [type(block) for block in readable(blocks, many)] == [Heading, Paragraph]
    assert list(readable(blocks, make.header(methods=tuple(map(str, range(20)))))) == blocks
