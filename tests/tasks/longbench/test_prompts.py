"""Every prompt is the authors', byte for byte."""

from __future__ import annotations

import hashlib
import json

import pytest

from longbench_run.tasks.longbench.datasets import DATASETS, VARIANTS
from longbench_run.tasks.longbench.prompts import filled
from longbench_run.tasks.longbench.task import Longbench
from longbench_run.tasks.longbench.templates import TEMPLATES

AUTHORS_BLOB = "1c85f6bc0f0df4e42131aa49a867797ee7043ecf"
"""What git calls the file in THUDM/LongBench@2e00731: its content alone decides."""
FILLED = {
    "narrativeqa": "85dee3ea080313d4ae086c959fbd2137efd8a88a37b9f836b058f75fae04fb69",
    "qasper": "446148571d53ecd2a532a05329beb8a938184b623626cba3c8d72eb17e075468",
    "multifieldqa_en": "b3d74772b6b0ccd12c00847c141c62eafefb9301b08b1f0b3800b39a46227ecb",
    "multifieldqa_zh": "4b84654f8669dcaf6970cbd0806958c1cedc912a96cf872d16f3321db03077b1",
    "hotpotqa": "6c51a763bb8b28cee02207738cc97635b901c805098c993c5f41b9eec6df9442",
    "2wikimqa": "6c51a763bb8b28cee02207738cc97635b901c805098c993c5f41b9eec6df9442",
    "musique": "6c51a763bb8b28cee02207738cc97635b901c805098c993c5f41b9eec6df9442",
    "dureader": "9de85ea04f2a573d309ac379ef00665ddf118e5b8e8c160dbfe5aff06bfbf0ca",
    "gov_report": "fa5d817a959be37bc2d220560061afbb15a2fa448a6f01bc3121147d79c75668",
    "qmsum": "77cc545491d08f1b28edfb1df66c678901cce993ecb3776be0a51aa614bdfe07",
    "multi_news": "fcaf6b367bddd5e0b1727544f94a8217f1f899b94ff0b41da4f13a206538caa3",
    "vcsum": "28aee1e8db00fdaee3ffbcd477bd9faf56f026b41e8ffd5dfa13a697ce128966",
    "trec": "ff18b504d06738e9bc826a20801fe8efc8621e2356c83246bb288828a4bdbba4",
    "triviaqa": "206c8030c4a6b0215bbc11af2e5df41115e54786d0b58e149b7a556bea4452c5",
    "samsum": "7106eb67733aa3d700054ab46dda52fbc01369bf7ab4be0619c20f497719505d",
    "lsht": "5349dd3bbce36c155c87d30d0abfecb6e341d7a1252c9f3d52ee5619c8e16acd",
    "passage_count": "beed515fc842994ae9c6910872e9641fecbdd43b5dfd8826a4d73e915c8207b5",
    "passage_retrieval_en": "f57c0b84bf50b24f5227402cbc9f207565823d0522e2389d4f355e701dfd4cc6",
    "passage_retrieval_zh": "637cb592b14db336daf213ba693c81b096db545f68d602c6bc73562976bfbc41",
    "lcc": "d19a82ce88ae4eec98cd12f92ab0340ed9b21a4691abf06e24855047b65f773b",
    "repobench-p": "88995a731cf7a15ec604f7ec77322d7abc9664009185d3f970fd53fd83e0b688",
}
"""Dataset -> sha256 of its template, as documented, with a context of 上{context}\\nlast line\\x20 and an input with braces."""


def test_the_templates_written_as_a_file_are_the_authors_file_byte_for_byte():
    content = json.dumps(TEMPLATES, indent=4, ensure_ascii=False).encode()
    named = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False)
    assert named.hexdigest() == AUTHORS_BLOB


def test_every_template_fills_to_the_documented_text():
    found = {
        name: filled(name, context="上{context}\nlast line ", question="Who {asked}? ").text
        for name in DATASETS
    }
    assert {name: hashlib.sha256(text.encode()).hexdigest() for name, text in found.items()} == FILLED


def test_what_the_field_knows_these_prompts_by_is_there():
    assert "asconcisely" in TEMPLATES["narrativeqa"]
    assert "\n\n Answer the question based on the above article" in TEMPLATES["qasper"]
    assert [name for name, text in TEMPLATES.items() if text.endswith("is: ")] == [
        "passage_count",
        "passage_retrieval_en",
    ]
    assert all(TEMPLATES[name].endswith("Next line of code:\n") for name in ("lcc", "repobench-p"))


def test_a_prompt_in_parts_is_the_prompt():
    parts = filled("qmsum", context="C", question="Q")
    assert parts.text == parts.with_context("C")
    assert parts.with_context("") == parts.before + parts.after
    assert parts.after.endswith("Query: Q\nAnswer:")


@pytest.mark.parametrize("protocol", ["longbench-v1", "exact"])
def test_a_row_that_fits_reaches_the_model_byte_for_byte(shared, one_byte, protocol):
    folder = shared / "data/longbench"
    for name in DATASETS:
        task = Longbench(dataset=name, protocol=protocol, data_dir=str(folder))
        longest = 1024 * 512
        found = list(task.samples(context_length=longest, count=2, seed=0, tokenizer=one_byte))
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for line, _ in zip(file, range(2), strict=False)]
        for sample, row in zip(found, rows, strict=True):
            text = TEMPLATES[name].format(**row)
            if VARIANTS[name].uses_chat_template:
                text = f"[INST]{text}[/INST]"
            assert bytes(sample.request.prompt_ids[1:]) == text.encode()
            assert (sample.tokens_truncated, sample.truncated_at) == (0, None)
