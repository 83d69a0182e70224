"""The prompts of Lost in the Middle, to the byte; every hash is of the authors' own files and code at 29b8a6d."""

from __future__ import annotations

import hashlib

import pytest

from longbench_run.tasks.multidoc_qa.prompts import PROTOCOLS, qa_prompt
from longbench_run.tasks.multidoc_qa.questions import Document
from longbench_run.tasks.multidoc_qa.task import MultidocQa

TEMPLATES = {
    "litm-v1": "368a84fe24373cc0a3a789ce5e62e6854994ece138747c93c76f25aafea25411",
    "litm-v1-query-aware": "a8fc324045a6eb3fb1ad52264dcf9bbadd4cd93ed025e27da93e2d5e0d8dabf3",
    "litm-v1-random-order": "e3fb49897502903ff46db87f770d253f93e0d11c5bd4e1b48451c5cf4d4c4f67",
    "litm-v1-closed-book": "4ec52b8bd55238a9434fafe6c404fdf7bb86783396c74a30f57bacf57e09dec0",
    "litm-v1-oracle": "368a84fe24373cc0a3a789ce5e62e6854994ece138747c93c76f25aafea25411",
}
"""Protocol -> sha256 of its file in src/lost_in_the_middle/prompts, without the newline at its end."""

FILLED = {
    ("litm-v1", 0.0): "1a2525f6fdc2334b68e3f97b6643f00883e0da79bfa41ece236306c81dd96279",
    ("litm-v1", 0.5): "4242ea887f6e8ecf5445d3bd459cf61a080a76b955406b342a57805c1f571283",
    ("litm-v1", 1.0): "4d3b55bd9f7907a738c2132f8f8bb66c7fb7d4b5fea4f1eb547b87247060d62f",
    ("litm-v1-query-aware", 0.0): "6beaafbd9ab6c18b5d9dd843a7d735c850f4d5d2dbc784535ea8e73f69c0b75a",
    ("litm-v1-query-aware", 0.5): "5b16af7e73b1f93232235bb4ed03a3afacb6173967c15e42c71662d489107558",
    ("litm-v1-query-aware", 1.0): "7bd1d1ff27da7d429cd354fdf69d13ef19ee55a9afa05c9a43da4a1eb15c693b",
}
"""Protocol, position -> sha256 of the prompts of 441 rows that the authors' get_qa_prompt makes of the file with the gold document at 0, 9, 19; joined by NUL."""

CLOSED_BOOK = "ba785469600247529e32711d18dfacbd41cd113a6d041410f5b87d462d1d814c"
ORACLE = "0598bbe7214d186386e8bd707f922e21a44583903a2287f5025db4f8aeff4fce"
"""The same of get_closedbook_qa_prompt and get_qa_prompt for the 2,655 rows of nq-open-oracle."""


def sha256(texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_template_is_the_authors_file(protocol):
    assert sha256([PROTOCOLS[protocol].template]) == TEMPLATES[protocol]


def test_documents_are_numbered_from_one_and_come_before_the_question():
    documents = [Document("first doc", "first doc text"), Document("second {doc}", "second doc text")]
    assert qa_prompt(PROTOCOLS["litm-v1"].template, "test {question}", documents) == (
        "Write a high-quality answer for the given question using only the provided search results (some of which "
        "might be irrelevant).\n\nDocument [1](Title: first doc) first doc text\n"
        "Document [2](Title: second {doc}) second doc text\n\nQuestion: test {question}\nAnswer:"
    )


def prompts(task, tokenizer, count):
    samples = task.samples(context_length=40_000, count=count, seed=0, tokenizer=tokenizer)
    return [(sample.depth, tokenizer.decode(sample.request.prompt_ids)) for sample in samples]


@pytest.mark.parametrize("place", [0, 9, 19])
@pytest.mark.parametrize("protocol", ["litm-v1", "litm-v1-query-aware"])
def test_twenty_documents_give_the_authors_prompts(shared, byte_tokens, protocol, place):
    """Wherever the gold document stands in the file."""
    folder = shared / "data/lost_in_the_middle"
    file = folder / f"nq-open-20_total_documents_gold_at_{place}.first441.jsonl.gz"
    task = MultidocQa(protocol=protocol, documents=20, positions=3, data=str(file))
    found = prompts(task, byte_tokens, 3 * 441)
    assert {
        (protocol, depth): sha256([text for other, text in found if other == depth])
        for depth in (0.0, 0.5, 1.0)
    } == {key: value for key, value in FILLED.items() if key[0] == protocol}


@pytest.mark.parametrize(
    ("protocol", "expected"), [("litm-v1-closed-book", CLOSED_BOOK), ("litm-v1-oracle", ORACLE)]
)
def test_closed_book_and_oracle_give_the_authors_prompts(shared, byte_tokens, protocol, expected):
    file = shared / "data/lost_in_the_middle/nq-open-oracle.jsonl.gz"
    found = prompts(MultidocQa(protocol=protocol, data=str(file)), byte_tokens, 2655)
    assert {depth for depth, _ in found} == {None}
    assert sha256([text for _, text in found]) == expected


def test_generated_prompts_stay_what_they_are(byte_tokens):
    """Whoever changes them raises `PASSAGES_VERSION`, or the version of the task."""
    found = prompts(MultidocQa(), byte_tokens, 5)
    assert (
        MultidocQa().info.version,
        MultidocQa().parameters()["questions"],
        sha256([text for _, text in found]),
    ) == (1, "generated-1", "4f1838577075d34022c6d3fae3c243041a1ca764ab805f9aaf35f907162faeca")
