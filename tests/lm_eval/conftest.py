"""Task files of lm-eval, one of each type of request, whose data lies beside them."""

from __future__ import annotations

import json

import pytest
import yaml

ANIMALS = ["a red fox", "two grey geese", "the old mule", "one small hen"]
PLACES = ["under the bridge", "by the mill", "on the hill", "in the barn"]
ROWS = [
    {
        "question": f"Where does {animal} sleep?",
        "answer": PLACES[place],
        "choices": [PLACES[place], PLACES[(place + 1) % 4], f"{PLACES[(place + 2) % 4]} of the farm"],
        "gold": 0,
        "letter": "hz"[place % 2],
        "text": f"{animal.capitalize()} sleeps {PLACES[place]}. " * (place + 1),
    }
    for place, animal in enumerate(ANIMALS)
]
QUESTION = {"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{answer}}"}
TASKS = {
    "barn_choice": {
        **QUESTION,
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "description": "Answer in a few words.\n\n",
        "fewshot_split": "train",
        "num_fewshot": 2,
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
        ]
        + [{"metric": "f1", "aggregation": "f1", "higher_is_better": True}],
    },
    "barn_cloze": {**QUESTION, "output_type": "loglikelihood"},
    "barn_text": {"doc_to_text": "", "doc_to_target": "{{text}}", "output_type": "loglikelihood_rolling"},
    "barn_say": {
        **QUESTION,
        "output_type": "generate_until",
        "doc_to_target": "{{letter}}",
        "fewshot_split": "train",
        "num_fewshot": 1,
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "whole", "filter": [{"function": "take_first"}]},
            {
                "name": "letter",
                "filter": [
                    {"function": "regex", "regex_pattern": "([a-z])"},
                    {"function": "take_first"},
                ],
            },
        ],
    },
}


def write_task(folder, name, settings, *, rows=ROWS):
    """Write a task file with its data; settings of None are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    held = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"train": str(data), "test": str(data)},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "metadata": {"version": 3},
        **settings,
    }
    text = yaml.safe_dump({key: value for key, value in held.items() if value is not None})
    (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="session")
def barn(tmp_path_factory):
    """A folder with a task for each type of request, and a tag for all of them."""
    folder = tmp_path_factory.mktemp("barn")
    for name, settings in TASKS.items():
        write_task(folder, name, {"tag": ["barn"], **settings})
    return folder
