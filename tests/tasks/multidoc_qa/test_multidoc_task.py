"""Multi-document QA as a generating task: what stands in a prompt, and where."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks.answers import normalised
from longbench_run.tasks.base import Generated, Scored, TaskError
from longbench_run.tasks.generated.passages import passages
from longbench_run.tasks.haystacks import place_of
from longbench_run.tasks.multidoc_qa.prompts import PROTOCOLS, qa_prompt
from longbench_run.tasks.multidoc_qa.questions import Document, read_questions
from longbench_run.tasks.multidoc_qa.task import MultidocQa
from longbench_run.tasks.registry import load_task

DOCUMENT = re.compile(r"^Document \[(\d+)\]\(Title: (.*?)\) (.*)$", re.MULTILINE)
SWEPT = [name for name, prompting in PROTOCOLS.items() if prompting.documents is None]


def samples(task, tokenizer, *, context_length=12_000, count=10, seed=0):
    return list(task.samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer))


def shown(sample, tokenizer):
    """Return title and text of every document of a prompt; they are numbered from 1."""
    found = DOCUMENT.findall(text_of(sample, tokenizer))
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    return [(title, text) for _, title, text in found]


def text_of(sample, tokenizer):
    return tokenizer.decode(sample.request.prompt_ids, skip_special_tokens=True)


def row(number, *, others=3, answer=None, text="Something else."):
    """Return a row in the authors' format; its documents are about nothing."""
    answer = answer or f"answer{number}"
    gold = {"title": f"gold {number}", "text": f"It is {answer}.", "isgold": True, "hasanswer": True}
    rest = [
        {
            "id": str(k),
            "title": f"other {number}-{k}",
            "text": f"{text} {number} {k}",
            "isgold": False,
            "hasanswer": False,
        }
        for k in range(others)
    ]
    return {"question": f"what is {number}?", "answers": [answer], "ctxs": [*rest[:1], gold, *rest[1:]]}


@pytest.fixture
def write(tmp_path):
    def write(rows, name="data.jsonl"):
        text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return str(path)

    return write


@pytest.fixture(scope="session")
def real(shared):
    folder = shared / "data/lost_in_the_middle"
    return str(folder / "nq-open-20_total_documents_gold_at_9.first441.jsonl.gz")


@pytest.fixture(scope="session")
def real_questions(real):
    return read_questions(Path(real)).questions


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    protocol=st.sampled_from(list(PROTOCOLS)),
    positions=st.integers(2, 7),
    more=st.integers(0, 5000),
    seed=st.integers(0, 10**6),
    max_new_tokens=st.integers(1, 200),
)
def test_budget_is_never_exceeded(usual_tokenizer, protocol, positions, more, seed, max_new_tokens):
    is_swept = PROTOCOLS[protocol].documents is None
    task = MultidocQa(
        protocol=protocol, positions=positions if is_swept else None, max_new_tokens=max_new_tokens
    )
    length = task.minimum_length(usual_tokenizer) + more
    found = samples(task, usual_tokenizer, context_length=length, count=positions + 1, seed=seed)
    assert len(found) == positions + 1
    for sample in found:
        assert len(sample.request.prompt_ids) + max_new_tokens <= length
        assert sample.request.max_new_tokens == max_new_tokens


def test_budget_holds_for_real_documents(real, usual_tokenizer):
    task = MultidocQa(data=real)
    for length in (task.minimum_length(usual_tokenizer), 20_000):
        found = samples(task, usual_tokenizer, context_length=length, count=25)
        assert [sample.index for sample in found] == list(range(25))
        assert all(len(sample.request.prompt_ids) + 100 <= length for sample in found)


def test_as_many_documents_as_fit_in_the_order_in_which_they_are_generated(byte_tokens):
    """Every byte is a token here, and the order of documents does not change how many there are."""
    for length in range(6000, 9000, 171):
        sample = samples(MultidocQa(), byte_tokens, context_length=length, count=1)[0]
        drawn = [Document(passage.title, passage.text) for passage in islice(passages(0, 0), 40)]
        asked = next(passages(0, 0)).questions[0].question
        sizes = {
            count: 1 + len(qa_prompt(PROTOCOLS["litm-v1"].template, asked, drawn[:count]).encode())
            for count in range(1, 41)
        }
        most = max(count for count, size in sizes.items() if size + 100 <= length)
        assert len(sample.request.prompt_ids) == sizes[most]
        assert set(shown(sample, byte_tokens)) == {
            (document.title, document.text) for document in drawn[:most]
        }


@pytest.mark.parametrize("protocol", SWEPT)
@pytest.mark.parametrize("positions", [2, 5, 7])
def test_gold_document_stands_at_its_place_among_the_same_others(byte_tokens, protocol, positions):
    task = MultidocQa(protocol=protocol, positions=positions)
    found = samples(task, byte_tokens, count=3 * positions)
    for question in range(3):
        of_question = found[question * positions : (question + 1) * positions]
        assert len({sample.document for sample in of_question}) == 1
        assert sorted(sample.depth for sample in of_question) == [
            step / (positions - 1) for step in range(positions)
        ]
        others = set()
        for sample in of_question:
            documents = shown(sample, byte_tokens)
            (place,) = [
                place
                for place, (title, text) in enumerate(documents)
                if normalised(sample.answers[0]) in normalised(text)
            ]
            step = round(sample.depth * (positions - 1))
            assert place == place_of(step, depths=positions, pieces=len(documents))
            others.add((*documents[:place], *documents[place + 1 :]))
        assert len(others) == 1
    assert len({sample.document for sample in found}) == 3


def answered(sample, tokenizer):
    """Return the documents of a prompt that hold an answer as the metric finds one."""
    answers = [normalised(answer) for answer in sample.answers]
    return [
        document
        for document in shown(sample, tokenizer)
        if any(answer and answer in normalised(" ".join(document)) for answer in answers)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(seed=st.integers(0, 10**9))
def test_no_distractor_holds_an_answer_and_none_occurs_twice(byte_tokens, seed):
    for sample in samples(MultidocQa(), byte_tokens, context_length=20_000, count=6, seed=seed):
        documents = shown(sample, byte_tokens)
        assert len(documents) > 20
        assert len({text for _, text in documents}) == len(documents)
        assert len(answered(sample, byte_tokens)) == 1


def test_no_real_distractor_holds_an_answer_and_none_occurs_twice(real, real_questions, byte_tokens):
    task = MultidocQa(data=real, positions=2)
    rejected = 0
    for sample in samples(task, byte_tokens, context_length=60_000, count=80):
        documents = shown(sample, byte_tokens)
        assert len({text for _, text in documents}) == len(documents) > 60
        assert len(answered(sample, byte_tokens)) == 1
        question = real_questions[sample.index // 2]
        own = {(document.title, document.text) for document in question.distractors}
        rejected += len(own - set(documents))
    assert rejected > 0, "every own distractor was shown, so this test shows nothing"


@pytest.mark.parametrize("documents", [None, 12])
def test_a_text_is_shown_once_whatever_its_titles(write, byte_tokens, documents):
    """The other questions came with the same texts, the gold one among them, under other titles."""
    rows = [row(number) for number in range(40)]
    for other in rows[1:]:
        other["ctxs"] += [{**document, "title": "again", "isgold": False} for document in rows[0]["ctxs"]]
    sample = samples(
        MultidocQa(data=write(rows), documents=documents), byte_tokens, context_length=2000, count=1
    )[0]
    texts = [text for _, text in shown(sample, byte_tokens)]
    assert len(set(texts)) == len(texts) >= 12


def test_own_distractors_come_first_and_the_order_is_the_same_at_every_length(
    real, real_questions, byte_tokens
):
    task = MultidocQa(data=real)
    question = real_questions[0]
    own = [(document.title, document.text) for document in question.distractors]
    by_length = {
        length: shown(samples(task, byte_tokens, context_length=length, count=1)[0], byte_tokens)
        for length in (9000, 15_000, 40_000)
    }
    assert set(by_length[9000][1:]) < set(own) < set(by_length[40_000])
    for shorter, longer in ((9000, 15_000), (15_000, 40_000)):
        assert by_length[shorter] == [
            document for document in by_length[longer] if document in by_length[shorter]
        ]
    places = [by_length[40_000].index(document) for document in own]
    assert places != sorted(places), "own distractors must be spread among the others"
    assert max(places) > 2 * len(own) * 0.9


def test_the_seed_draws_the_other_documents_of_a_file(real, byte_tokens):
    task = MultidocQa(data=real)
    first, second = (
        samples(task, byte_tokens, context_length=40_000, count=1, seed=seed)[0] for seed in (0, 1)
    )
    assert first.document == second.document == "question-0"
    assert set(shown(first, byte_tokens)) != set(shown(second, byte_tokens))


def test_shuffling_is_part_of_the_protocol_where_documents_are_counted(real, real_questions, byte_tokens):
    own = [(document.title, document.text) for document in real_questions[0].distractors]
    orders = {}
    for protocol in ("litm-v1", "litm-v1-random-order"):
        task = MultidocQa(protocol=protocol, documents=20, data=real)
        documents = shown(samples(task, byte_tokens, context_length=40_000, count=1)[0], byte_tokens)
        orders[protocol] = documents[1:]
    assert orders["litm-v1"] == own
    assert orders["litm-v1-random-order"] != own
    assert sorted(orders["litm-v1-random-order"]) == sorted(own)


def test_more_documents_than_a_question_came_with_are_taken_from_others(real, real_questions, byte_tokens):
    task = MultidocQa(documents=30, data=real)
    documents = shown(samples(task, byte_tokens, context_length=60_000, count=1)[0], byte_tokens)
    assert len(documents) == 30
    own = real_questions[0].distractors
    assert documents[1:20] == [(document.title, document.text) for document in own]


def test_closed_book_and_oracle_ask_the_same_questions(real, byte_tokens):
    for data in (None, real):
        swept = samples(MultidocQa(data=data), byte_tokens, count=20)
        asked = [sample for sample in swept if sample.depth == 0]
        for protocol, documents in (("litm-v1-closed-book", 0), ("litm-v1-oracle", 1)):
            found = samples(MultidocQa(protocol=protocol, data=data), byte_tokens, count=4)
            assert [sample.document for sample in found] == [sample.document for sample in asked]
            assert [sample.answers for sample in found] == [sample.answers for sample in asked]
            for sample, other in zip(found, asked, strict=True):
                ending = "Question: " + text_of(other, byte_tokens).rpartition("Question: ")[2]
                assert text_of(sample, byte_tokens).endswith(ending)
                assert len(shown(sample, byte_tokens)) == len(answered(sample, byte_tokens)) == documents
                assert sample.depth is None


def test_file_and_its_compressed_copy_are_the_same_data_and_a_changed_one_is_not(write):
    rows = [row(number) for number in range(3)]
    plain, packed = MultidocQa(data=write(rows)), MultidocQa(data=write(rows, "a.jsonl.gz"))
    assert plain.parameters() == packed.parameters()
    rows[1]["ctxs"][0]["text"] += "!"
    changed = MultidocQa(data=write(rows, "b.jsonl"))
    assert changed.parameters() != plain.parameters() != MultidocQa().parameters()
    assert "generated" in MultidocQa().info.source
    assert "a file of 3 rows (sha256:" in plain.info.source


def test_moving_the_gold_document_in_the_file_changes_nothing(write):
    rows = [row(number) for number in range(3)]
    moved = [{**row, "ctxs": [row["ctxs"][1], row["ctxs"][0], *row["ctxs"][2:]]} for row in rows]
    assert MultidocQa(data=write(rows)).parameters() == MultidocQa(data=write(moved, "b.jsonl")).parameters()


def test_question_without_enough_documents_has_no_sample(write, byte_tokens):
    """The answer "e" is in every other document: nothing can be put around its gold one."""
    rows = [row(0), row(1, answer="e"), *[row(number, others=9) for number in range(2, 60)]]
    task = MultidocQa(data=write(rows))
    found = samples(task, byte_tokens, context_length=2000, count=15)
    assert [sample.index for sample in found] == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert samples(task, byte_tokens, context_length=200_000, count=15) == []


def test_a_file_ends_where_it_ends(write, byte_tokens):
    task = MultidocQa(data=write([row(number, others=40) for number in range(3)]))
    assert len(samples(task, byte_tokens, context_length=2000, count=100)) == 15


@pytest.mark.parametrize(
    ("text", "prediction", "score"),
    [
        (" Paris", "Paris", 1.0),
        (" It is the PARIS-basin.\nQuestion", "It is the PARIS-basin.", 1.0),
        (" London\nParis", "London", 0.0),
        ("\nParis", "", 0.0),
        ("", "", 0.0),
        (" Lutetia", "Lutetia", 1.0),
    ],
)
def test_first_line_is_searched_for_any_answer(byte_tokens, text, prediction, score):
    sample = dataclasses.replace(samples(MultidocQa(), byte_tokens, count=1)[0], answers=("paris", "Lutetia"))
    found = MultidocQa().score(sample, Generated(token_ids=(), text=text))
    assert (found.prediction, found.scores) == (prediction, {"best_subspan_em": score})


def test_other_output_is_a_mistake_of_the_caller(byte_tokens):
    with pytest.raises(TypeError, match=r"^multidoc_qa scores Generated, got Scored$"):
        MultidocQa().score(samples(MultidocQa(), byte_tokens, count=1)[0], Scored(nll=()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"protocol": "litm-v1-closedbook"},
            'multidoc_qa: has no protocol "litm-v1-closedbook" (did you mean "litm-v1-closed-book"?). Protocols: '
            "litm-v1, litm-v1-closed-book, litm-v1-oracle, litm-v1-query-aware, litm-v1-random-order.",
        ),
        (
            {"positions": "1"},
            "multidoc_qa: positions must be at least 2, got 1. Leave it out for the default, 5.",
        ),
        (
            {"max_new_tokens": 0},
            "multidoc_qa: max_new_tokens must be at least 1, got 0. Leave it out for the default, 100.",
        ),
        (
            {"documents": 4},
            "multidoc_qa: documents must be at least positions=5, got 4. Raise it, or ask for fewer positions.",
        ),
        (
            {"protocol": "litm-v1-oracle", "documents": 10},
            "multidoc_qa: documents must be left out with protocol=litm-v1-oracle, got 10. It says itself which "
            "documents are shown.",
        ),
        (
            {"protocol": "litm-v1-closed-book", "positions": 3},
            "multidoc_qa: positions must be left out with protocol=litm-v1-closed-book, got 3. It says itself which "
            "documents are shown.",
        ),
        (
            {"data": "/no/such/file.jsonl"},
            "/no/such/file.jsonl: cannot be read (No such file or directory). Name a file of JSON Lines.",
        ),
    ],
)
def test_bad_parameter_is_named_in_one_line(parameters, message):
    with pytest.raises(TaskError) as error:
        load_task("multidoc_qa", **parameters)
    assert str(error.value) == message


def changed(**changes):
    return {name: value for name, value in {**row(1), **changes}.items() if value is not None}


def without_gold():
    return [{**document, "isgold": False} for document in row(1)["ctxs"]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (changed(answers=None), "line 2: has no field 'answers'. It has: ctxs, question."),
        (
            changed(answers=[]),
            "line 2: field 'answers' must be a list of at least one text, got []. Mend the line.",
        ),
        (changed(question=3), "line 2: field 'question' must be a text, got 3. Mend the line."),
        (
            changed(ctxs="none"),
            "line 2: field 'ctxs' must be a list of at least one object, got 'none'. Mend the line.",
        ),
        (
            changed(ctxs=without_gold()),
            "line 2: field 'ctxs' must hold one document with isgold true, got 0. Mend the line.",
        ),
        (
            changed(ctxs=[*row(1)["ctxs"], {"title": "t", "text": "t"}]),
            "line 2: ctxs[4] has no field 'isgold'. It has: text, title.",
        ),
        (
            changed(ctxs=[*row(1)["ctxs"], {"title": "t", "text": "t", "isgold": "no"}]),
            "line 2: ctxs[4] field 'isgold' must be true or false, got 'no'. Mend the line.",
        ),
        (
            changed(ctxs=[*row(1)["ctxs"], {"title": "t", "isgold": False}]),
            "line 2: ctxs[4] has no field 'text'. It has: isgold, title.",
        ),
    ],
)
def test_bad_row_is_named_with_file_line_and_field(write, bad, message):
    path = write([row(0), bad])
    with pytest.raises(TaskError) as error:
        MultidocQa(data=path)
    assert str(error.value) == f"{path}, {message}"


@pytest.mark.parametrize("documents", [None, 20])
def test_length_below_the_minimum_is_named(real, bundled, documents):
    task = MultidocQa(data=real, documents=documents)
    minimum = task.minimum_length(bundled)
    with pytest.raises(TaskError) as error:
        samples(task, bundled, context_length=minimum - 1)
    assert str(error.value) == (
        f"multidoc_qa: context_length must be at least {minimum} with this tokenizer and {documents or 5} documents, "
        f"got {minimum - 1}. Ask for a longer one."
    )
    assert len(samples(task, bundled, context_length=minimum, count=200)) == 200


def test_turn_of_a_chat_is_counted(byte_tokens):
    class Chat(type(byte_tokens)):
        def encode_chat(self, text):
            return self.encode(f"[INST] {text} [/INST]")

    length = MultidocQa().minimum_length(Chat()) + 700
    found = list(MultidocQa().samples(context_length=length, count=6, seed=0, tokenizer=Chat()))
    assert len(found) == 6
    for sample in found:
        assert len(sample.request.prompt_ids) + 100 <= length
        assert byte_tokens.decode(sample.request.prompt_ids).endswith("Answer: [/INST]")


def test_long_prompts_are_encoded_few_times(byte_bpe):
    """At 32k tokens a sample costs one pass over its prompt; finding how much fits costs less than one more."""
    before = byte_bpe.encoded_characters
    found = samples(MultidocQa(), byte_bpe, context_length=32768, count=10)
    characters = sum(len(byte_bpe.decode(sample.request.prompt_ids)) for sample in found)
    assert byte_bpe.encoded_characters - before < 2 * characters
