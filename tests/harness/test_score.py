"""`longbench-run score`: what it prints, what must be known beside it, and what bad input gets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longbench_run.harness.cli import main

QA = {"pred": "Paris", "answers": ["Paris"], "all_classes": None, "length": 10}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, *rows):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))


def without(name, row=QA):
    return {key: value for key, value in row.items() if key != name}


def test_longbench_prints_datasets_categories_and_the_protocol(capsys):
    write("pred/hotpotqa.jsonl", *[QA] * 199, QA | {"pred": ""})
    write("pred/2wikimqa.jsonl", *[QA] * 200)
    write("pred/musique.jsonl", *[QA] * 200)

    assert main(["score", "longbench", "pred"]) == 0

    shown = capsys.readouterr()
    assert shown.out == (
        "LongBench (it holds datasets that LongBench-E does not have), protocol longbench-v1, 0 to 100, higher is better\n"
        "\n"
        "dataset   metric    n   score\n"
        "hotpotqa  qa_f1   200   99.50\n"
        "2wikimqa  qa_f1   200  100.00\n"
        "musique   qa_f1   200  100.00\n"
        "\n"
        "category                   language   parts  score\n"
        "multi-doc QA               en        3 of 3  99.83\n"
        "average of the categories  en        1 of 6      -\n"
    )
    assert shown.err == "Empty predictions, scored as the authors do: hotpotqa 1.\n"


def test_longbench_as_json_has_the_keys_of_result_json_first(capsys):
    write("pred/hotpotqa.jsonl", *[QA] * 199)

    assert main(["score", "longbench", "pred", "--json"]) == 0

    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert next(iter(found)) == "hotpotqa"
    assert found["hotpotqa"] == 100.0
    assert (found["protocol"], found["benchmark"]) == ("longbench-v1", "LongBench")
    assert (found["samples"], found["empty_predictions"]) == ({"hotpotqa": 199}, {"hotpotqa": 0})
    assert found["average"] == {"en": None, "zh": None}
    assert shown.err == (
        "pred/hotpotqa.jsonl: 199 predictions, LongBench has 200: the score is of what is there, and no published "
        "one compares with it.\n"
    )


def test_longbench_e_has_a_score_per_bucket(capsys):
    write("pred/hotpotqa.jsonl", QA, QA | {"pred": "Bonn", "length": 5000})

    assert main(["score", "longbench", "pred", "--e", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["hotpotqa"] == {"0-4k": 100.0, "4-8k": 0.0, "8k+": None}
    assert found["benchmark"] == "LongBench-E"
    assert list(found["categories"]) == ["en"]


def test_a_score_that_the_authors_scorer_would_have_lost_is_announced(capsys):
    words = " ".join(f"w{i}" for i in range(1500))
    write("pred/qmsum.jsonl", *[QA | {"pred": f"Paris {words}"}] * 200)

    assert main(["score", "longbench", "pred"]) == 0

    assert capsys.readouterr().err == (
        "Predictions so long that the authors' scorer would probably have run out of recursion and counted 0; "
        "here they have their score: qmsum 200.\n"
    )


def test_multidoc_qa_names_both_protocols(capsys):
    for name in ("a", "b"):
        write(f"{name}.jsonl", {"model_answer": "Bonn\nParis", "answers": ["Paris"]})

    assert main(["score", "multidoc_qa", "a.jsonl", "b.jsonl"]) == 0
    assert capsys.readouterr().out == (
        "multidoc_qa, protocols best_subspan_em (whole answer) and best_subspan_em_first_line (the authors' script and "
        "paper), 0 to 1, higher is better\n"
        "\n"
        "file     n  best_subspan_em  best_subspan_em_first_line\n"
        "a.jsonl  1              1.0                         0.0\n"
        "b.jsonl  1              1.0                         0.0\n"
    )
    assert main(["score", "multidoc_qa", "a.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "protocols": ["best_subspan_em", "best_subspan_em_first_line"],
        "files": [
            {
                "file": "a.jsonl",
                "best_subspan_em": 1.0,
                "best_subspan_em_first_line": 0.0,
                "samples": 1,
                "empty_predictions": 0,
            }
        ],
    }


def test_predictions_that_fit_the_data_are_scored(capsys):
    write("pred/hotpotqa.jsonl", QA, QA)
    write("data/hotpotqa.jsonl", QA | {"context": "c"}, QA | {"context": "d"})

    assert main(["score", "longbench", "pred", "--data-dir", "data"]) == 0
    assert capsys.readouterr().err == ""


def test_a_prediction_of_a_hundred_thousand_characters(capsys):
    write("pred/gov_report.jsonl", QA | {"pred": "Paris is " * 11_200})
    started = time.perf_counter()

    assert main(["score", "longbench", "pred", "--json"]) == 0

    assert time.perf_counter() - started < 20  # measured: below 1 s
    assert 0 < json.loads(capsys.readouterr().out)["gov_report"] < 100


def test_scoring_loads_no_torch():
    write("pred/hotpotqa.jsonl", QA)
    code = (
        "import sys\nfrom longbench_run.harness.cli import main\n"
        "assert main(['score', 'longbench', 'pred']) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


E = "score longbench pred"
CASES = {
    "an unknown task": (
        "score longbenc pred",
        {},
        'Unknown name "longbenc". Did you mean "longbench"? See `longbench-run score --help`.',
    ),
    "no folder": (E, {}, "pred: must be a folder, got nothing. Name a folder of DATASET.jsonl."),
    "a file": (
        "score longbench pred/trec.jsonl",
        {"pred/trec.jsonl": [QA]},
        "pred/trec.jsonl: must be a folder, got a file. Name a folder of DATASET.jsonl.",
    ),
    "two folders": (
        "score longbench a b",
        {},
        "PATH: must be one folder for longbench, got 2 paths. Score each by itself.",
    ),
    "no predictions": (
        E,
        {"pred/result.json": [{}]},
        "pred: must hold predictions as DATASET.jsonl, got none. Name another folder.",
    ),
    "an unknown dataset": (
        E,
        {"pred/hotpotqs.jsonl": [QA]},
        "pred/hotpotqs.jsonl: dataset must be one of LongBench's 21, got 'hotpotqs'. Did you mean \"hotpotqa\"? "
        "Rename the file, or move it away.",
    ),
    "a dataset that LongBench-E has not": (
        f"{E} --e",
        {"pred/musique.jsonl": [QA]},
        "pred/musique.jsonl: dataset must be one of LongBench-E's 13, got 'musique'. Move the file away, or pass --no-e.",
    ),
    "a dataset twice": (
        E,
        {"pred/trec.jsonl": [QA], "pred/trec.old.jsonl": [QA]},
        "pred: dataset 'trec' must be in one file, got 'trec.jsonl' and 'trec.old.jsonl'. Move one away.",
    ),
    "both benchmarks": (
        E,
        {"pred/hotpotqa.jsonl": [QA], "pred/qasper_e.jsonl": [QA]},
        "pred: files must all be LongBench-E or none of them, got 'qasper_e.jsonl' beside 'hotpotqa.jsonl'. "
        "Put them into two folders.",
    ),
    "an empty file": (
        E,
        {"pred/hotpotqa.jsonl": [""]},
        "pred/hotpotqa.jsonl: must hold at least one row, got none. Predict again, or leave the file out.",
    ),
    "a row without a prediction": (
        E,
        {"pred/hotpotqa.jsonl": [QA, without("pred")]},
        "pred/hotpotqa.jsonl, line 2: has no field 'pred'. It has: all_classes, answers, length.",
    ),
    "a row without answers": (
        E,
        {"pred/hotpotqa.jsonl": [QA, "", without("answers")]},
        "pred/hotpotqa.jsonl, line 3: has no field 'answers'. It has: all_classes, length, pred.",
    ),
    "a row without classes": (
        E,
        {"pred/hotpotqa.jsonl": [without("all_classes")]},
        "pred/hotpotqa.jsonl, line 1: has no field 'all_classes'. It has: answers, length, pred.",
    ),
    "a row of LongBench-E without a length": (
        f"{E} --e",
        {"pred/hotpotqa.jsonl": [without("length")]},
        "pred/hotpotqa.jsonl, line 1: has no field 'length'. It has: all_classes, answers, pred.",
    ),
    "a prediction that is no text": (
        E,
        {"pred/hotpotqa.jsonl": [QA | {"pred": None}]},
        "pred/hotpotqa.jsonl, line 1: field 'pred' must be a text, got None. Mend the line.",
    ),
    "no answers": (
        E,
        {"pred/hotpotqa.jsonl": [QA | {"answers": []}]},
        "pred/hotpotqa.jsonl, line 1: field 'answers' must be a list of at least one text, got []. Mend the line.",
    ),
    "classes that are none": (
        E,
        {"pred/trec.jsonl": [QA]},
        "pred/trec.jsonl, line 1: field 'all_classes' must be a list of texts for a dataset of classes, got None. "
        "Take it from the data.",
    ),
    "answers of another dataset": (
        E,
        {"pred/passage_retrieval_en.jsonl": [QA]},
        "pred/passage_retrieval_en.jsonl, line 1: field 'answers' must hold texts like 'Paragraph 7', got ['Paris']. "
        "Is this the dataset that the file is named after?",
    ),
    "a line that is cut off": (
        E,
        {"pred/hotpotqa.jsonl": [QA, '{"pred": "Par']},
        'pred/hotpotqa.jsonl, line 2: must be a JSON object, got \'{"pred": "Par\'. Is the file cut off?',
    ),
    "a line that is a list": (
        E,
        {"pred/hotpotqa.jsonl": ["[1]"]},
        "pred/hotpotqa.jsonl, line 1: must be a JSON object, got [1]. Is the file cut off?",
    ),
    "fewer predictions than data": (
        f"{E} --data-dir data",
        {"pred/hotpotqa.jsonl": [QA], "data/hotpotqa.jsonl": [QA, QA]},
        "pred/hotpotqa.jsonl: predictions must be as many as data/hotpotqa.jsonl has rows, 2, got 1. "
        "Predict the rest, or leave --data-dir out to score what is there.",
    ),
    "predictions in another order than the data": (
        f"{E} --data-dir data",
        {"pred/hotpotqa.jsonl": [QA, QA], "data/hotpotqa.jsonl": [QA, QA | {"answers": ["Bonn"]}]},
        "pred/hotpotqa.jsonl, line 2: answers must be those of data/hotpotqa.jsonl, line 2, got others. "
        "Are the predictions in the order of the data?",
    ),
    "no data": (
        f"{E} --data-dir data",
        {"pred/hotpotqa.jsonl": [QA]},
        "data/hotpotqa.jsonl: must be there for pred/hotpotqa.jsonl, got no such file. Leave --data-dir out.",
    ),
    "no file": (
        "score multidoc_qa a.jsonl",
        {},
        "a.jsonl: cannot be read (No such file or directory). Name a file of JSON Lines.",
    ),
    "a gzipped file that is none": (
        "score multidoc_qa a.jsonl.gz",
        {"a.jsonl.gz": [QA]},
        "a.jsonl.gz: cannot be read (Not a gzipped file (b'{\"')). Name a file of JSON Lines.",
    ),
    "another format": (
        "score multidoc_qa a.jsonl",
        {"a.jsonl": [QA]},
        "a.jsonl, line 1: has no field 'model_answer'. It has: all_classes, answers, length, pred.",
    ),
    "a flag of the other task": (
        "score multidoc_qa a.jsonl --no-e",
        {},
        "--e: must be left out for multidoc_qa, got False. It is longbench's.",
    ),
}


@pytest.mark.parametrize(("command", "files", "message"), CASES.values(), ids=CASES)
def test_bad_input_gets_one_line_and_nothing_is_printed(command, files, message, capsys):
    for name, rows in files.items():
        write(name, *rows)

    assert main(command.split()) == 2

    shown = capsys.readouterr()
    assert shown.err == f"{message}\n"
    assert shown.out == ""


def test_bytes_that_are_no_utf_8_are_named(capsys):
    write("a.jsonl", {"model_answer": "x", "answers": ["y"]})
    with Path("a.jsonl").open("ab") as file:
        file.write(b'{"model_answer": "\xff"}\n')

    assert main(["score", "multidoc_qa", "a.jsonl"]) == 2
    assert (
        capsys.readouterr().err == "a.jsonl, line 2: must be UTF-8 text, got other bytes. Save it as UTF-8.\n"
    )


def test_real_predictions_are_printed_as_their_result_json(shared, capsys):
    folder = shared / "data/longbench_predictions/llama3-8b-inst-e"

    assert main(["score", "longbench", str(folder), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "result.json").read_text())
    assert {name: found[name] for name in expected} == expected
