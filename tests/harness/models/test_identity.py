"""Tokenizers are the same where they do the same, wherever they lie; what differs in anything is another one."""

from __future__ import annotations

import json

import pytest
from transformers import AutoTokenizer

from longbench_run.harness import reference_model
from longbench_run.harness.models.identity import tokenizer_identity
from longbench_run.harness.reference_model.tokenizer import load_tokenizer


@pytest.fixture
def folder(tmp_path):
    load_tokenizer(reference_model.path()).save_pretrained(str(tmp_path / "copy"))
    return tmp_path / "copy"


def read(path, **options):
    return AutoTokenizer.from_pretrained(str(path), **options)


def changed(folder, name, change):
    path = folder / name
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")
    return read(folder)


def test_a_copy_is_the_same_also_once_it_was_used(folder):
    original = read(reference_model.path())
    known = tokenizer_identity(original)
    assert known.startswith("sha256:")
    assert tokenizer_identity(read(folder)) == known
    original.encode("Some words.")
    assert tokenizer_identity(original) == known


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer.json", lambda found: found["model"]["merges"].pop()),
        ("tokenizer.json", lambda found: found.update(normalizer={"type": "Lowercase"})),
        ("tokenizer_config.json", lambda found: found.update(chat_template="{{ messages }}")),
        ("tokenizer_config.json", lambda found: found.update({"eos_token": "a"})),
        ("tokenizer_config.json", lambda found: found.update(split_special_tokens=True)),
        # Both are special and known to the backend already: only their roles differ.
        ("tokenizer_config.json", lambda found: found.update({"bos_token": "</s>", "eos_token": "<s>"})),
    ],
)
def test_another_way_of_writing_or_reading_is_another_one(folder, name, change):
    assert tokenizer_identity(changed(folder, name, change)) != tokenizer_identity(
        read(reference_model.path())
    )


def test_of_code_that_is_not_transformers_nothing_is_known():
    class Own(type(read(reference_model.path()))):
        pass

    assert tokenizer_identity(Own.from_pretrained(str(reference_model.path()))) is None
