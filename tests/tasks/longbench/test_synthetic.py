"""Made-up rows: in LongBench's form, right by its own scorer, monotone in length, their evidence anywhere."""

from __future__ import annotations

import ast
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.generated.names import ORDINARY, split_of, words_of
from longbench_run.tasks.longbench.datasets import DATASETS
from longbench_run.tasks.longbench.metrics import Given
from longbench_run.tasks.longbench.scoring import score_sample
from longbench_run.tasks.longbench.synthetic import fewest_units, synthetic_row
from longbench_run.tasks.longbench.synthetic_contexts import BUILDERS

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)
UNITS = st.integers(4, 40)
NAMES = st.sampled_from(sorted(BUILDERS))
AFTER_THE_UNITS = {"repobench-p": 3}
"""Length of what a context holds after its last unit, in units: the last file shows three calls."""


def test_rows_are_made_up_for_every_dataset_in_english_and_code():
    assert list(BUILDERS) == [name for name, row in DATASETS.items() if row.language != "zh"]


@pytest.mark.parametrize("name", BUILDERS)
def test_a_row_has_the_fields_and_types_of_a_published_one(shared, name):
    with (shared / "data" / "longbench" / f"{name}.jsonl").open(encoding="utf-8") as file:
        published = json.loads(next(file))
    made = json.loads(json.dumps(synthetic_row(name, 0, 0, units=10).row))

    assert list(made) == list(published)
    assert {key: type(value) for key, value in made.items()} == {
        key: type(value) for key, value in published.items()
    }
    assert (made["dataset"], made["language"]) == (published["dataset"], published["language"])
    assert (made["input"] == "") == (published["input"] == "")


# Published rows count the words of context, input and first answer: to be seen in every one of these.
@pytest.mark.parametrize(
    "name", ["hotpotqa", "trec", "samsum", "lcc", "passage_count", "passage_retrieval_en"]
)
def test_the_length_of_a_row_is_counted_as_in_published_ones(shared, name):
    def words(row):
        return sum(len(row[field].split()) for field in ("context", "input")) + len(row["answers"][0].split())

    with (shared / "data" / "longbench" / f"{name}.jsonl").open(encoding="utf-8") as file:
        published = [json.loads(line) for line in file]
    assert all(abs(words(row) - row["length"]) <= 0.002 * row["length"] + 2 for row in published)
    made = synthetic_row(name, 0, 0, units=10).row
    assert words(made) == made["length"]


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=20)
@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_the_answer_has_the_full_score(name, seed, index, units):
    dataset = DATASETS[name]
    row = synthetic_row(name, seed, index, units=units).row
    given_row = Given(classes=tuple(row["all_classes"] or ()))

    assert score_sample(dataset, row["answers"][0], row["answers"], given_row).value == pytest.approx(
        1, abs=1e-6
    )


@settings(max_examples=200)
@given(name=NAMES, seed=SEEDS, index=INDICES, one=UNITS, other=UNITS)
def test_more_units_make_a_longer_row_of_the_same_question(name, seed, index, one, other):
    fewer, more = (synthetic_row(name, seed, index, units=units) for units in sorted((one, other)))

    assert (len(fewer.row["context"]) < len(more.row["context"])) == (one != other)
    assert fewer.row["length"] <= more.row["length"]
    assert fewer.row["input"] == more.row["input"]
    assert fewer.row["_id"] == more.row["_id"]


@settings(max_examples=200)
@given(name=NAMES, seed=SEEDS, index=INDICES, units=UNITS)
def test_the_evidence_stands_in_the_context_where_its_depth_says(name, seed, index, units):
    made = synthetic_row(name, seed, index, units=units)

    assert len(made.evidence) == len(made.depths)
    for text, depth in zip(made.evidence, made.depths, strict=True):
        place = made.row["context"].index(text) / len(made.row["context"])
        assert 0 <= depth <= 1
        assert abs(place - depth) < 0.1 + (1.5 + AFTER_THE_UNITS.get(name, 0)) / units


# Findings are told in the order in which they stand: the first depth is the smallest of four uniform ones.
@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        (name, "uniform")
        for name in ("qasper", "hotpotqa", "qmsum", "trec", "passage_retrieval_en", "lcc", "repobench-p")
    ]
    + [("gov_report", lambda depth: 1 - (1 - depth) ** 4)],
)
def test_evidence_is_as_likely_at_any_depth(name, distribution):
    depths = [synthetic_row(name, 0, index, units=60).depths[0] for index in range(300)]

    assert kstest(depths, distribution).pvalue > 1e-3


@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_paragraphs_are_counted_right(seed, index, units):
    row = synthetic_row("passage_count", seed, index, units=units).row
    told = re.findall(r"^Paragraph (\d+): (.+)$", row["context"], re.MULTILINE)

    assert [int(number) for number, _ in told] == list(range(1, units + 1))
    assert row["answers"] == [str(len({text for _, text in told}))]


@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_only_the_right_paragraph_holds_what_its_abstract_names(seed, index, units):
    row = synthetic_row("passage_retrieval_en", seed, index, units=units).row
    name = re.match(r"The paragraph is about (.+?)\. ", row["input"])[1]
    holding = [p.partition(":")[0] for p in row["context"].split("\n\n") if name in p]

    assert holding == row["answers"]


@pytest.mark.parametrize("name", ["hotpotqa", "2wikimqa", "musique"])
@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_without_its_evidence_a_question_over_documents_has_no_answer(name, seed, index, units):
    made = synthetic_row(name, seed, index, units=units)
    others = [p for p in re.split(r"Passage \d+:\n", made.row["context"]) if made.evidence[1] not in p]

    assert made.row["context"].count(made.evidence[1]) == 1
    assert made.row["answers"][0].lower() not in "".join(others).lower()


@settings(max_examples=50)
@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_code_runs_up_to_its_next_line_and_with_it(seed, index, units):
    row = synthetic_row("lcc", seed, index, units=units).row
    tree = ast.parse(row["context"] + row["answers"][0])
    called = tree.body[-1].body[-1].value
    definition = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == called.func.id)

    assert [a.attr for a in called.args] == [a.arg for a in definition.args.args]
    ast.parse(row["context"])  # a docstring is a body: what is to come is a line, not a mended error


@settings(max_examples=50)
@given(seed=SEEDS, index=INDICES, units=UNITS)
def test_the_last_file_of_a_repository_imports_what_it_calls(seed, index, units):
    row = synthetic_row("repobench-p", seed, index, units=units).row
    files = dict(
        re.findall(r"^(\S+\.py)\n(.*?)(?=^\S+\.py\n|\Z)", row["context"] + row["answers"][0], re.M | re.S)
    )
    *_, (path, main) = files.items()
    imports = [node for node in ast.parse(main).body if isinstance(node, ast.ImportFrom)]

    assert path.endswith("/main.py")
    assert len(files) == units + 1
    assert all(f"{node.module.replace('.', '/')}.py" in files for node in imports)
    assert all(ast.parse(text) for text in files.values())


@pytest.mark.parametrize("split", ["tasks", "training"])
@settings(max_examples=30)
@given(name=NAMES, seed=SEEDS, index=INDICES)
def test_everything_invented_in_a_row_belongs_to_its_split(split, name, seed, index):
    row = synthetic_row(name, seed, index, units=8, split=split).row
    frame = {"passage", "paragraph", "question", "answer", "type", "dialogue", "summary"}
    told = " ".join([row["context"], row["input"], *row["answers"]])

    assert {split_of(word) for word in set(words_of(told)) - ORDINARY - frame} == {split}


def test_no_two_datasets_tell_the_same():
    names = [
        {
            word
            for word in words_of(synthetic_row(name, 0, 0, units=10).row["context"])
            if word not in ORDINARY
        }
        for name in BUILDERS
    ]

    assert all(len(one & other) < 0.1 * len(one) for one in names for other in names if one is not other)


def test_a_dataset_that_cannot_be_made_up_is_refused_with_the_nearest():
    with pytest.raises(TaskError) as refused:
        synthetic_row("hotpotqq", 0, 0, units=5)

    assert str(refused.value).startswith(
        'longbench_synthetic: has no dataset "hotpotqq" (did you mean "hotpotqa"?)'
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_too_few_units_are_refused_and_the_fewest_are_enough(name):
    fewest = fewest_units(name)

    assert synthetic_row(name, 0, 0, units=fewest).row["answers"][0]
    with pytest.raises(TaskError) as refused:
        synthetic_row(name, 0, 0, units=fewest - 1)
    assert str(refused.value) == (
        f"longbench_synthetic: units must be at least {fewest} for {name}, got {fewest - 1}. Ask for more."
    )
