"""The first tokens of a document do not depend on how much of it was read, nor on what was asked before."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks.document_tokens import DocumentTokens
from longbench_run.tasks.sources import GeneratedDocuments, text_folder


@pytest.fixture(scope="module")
def whole_text(tmp_path_factory):
    """Return a folder with one awkward text: runs of newlines and blanks, numbers, foreign letters."""
    path = tmp_path_factory.mktemp("texts")
    piece = (
        "One  day,\n\n\n\nin 1891 -- caf\u00e9 and \u6f22\u5b57 \U0001f600 said: 'Don't!'\t\t12345.6789   \n"
    )
    (path / "a.txt").write_text(piece * 60, encoding="utf-8")
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(counts=st.lists(st.integers(1, 1500), min_size=1, max_size=4))
def test_first_tokens_are_those_of_the_whole_text_in_whatever_steps_it_is_read(whole_text, tokenizer, counts):
    whole = tokenizer.encode((whole_text / "a.txt").read_text(encoding="utf-8"), add_special_tokens=False)
    tokens = DocumentTokens(text_folder(str(whole_text), task="perplexity"))
    for count in counts:
        found = tokens.first(count, index=0, seed=0, tokenizer=tokenizer)
        assert list(found) == whole[:count]


def test_tokens_right_before_a_cut_are_those_of_the_whole_text(tmp_path, byte_bpe):
    """Ask for one token more each time: every token that was kept is looked at before the text is read further."""
    text = "There is an important info hidden inside a lot of irrelevant text. " * 60
    (tmp_path / "a.txt").write_text(text)
    whole = byte_bpe.encode(text)
    for start in range(1, 12):  # cuts fall at other places inside words
        tokens = DocumentTokens(text_folder(str(tmp_path), task="perplexity"))
        for count in range(start, 700):
            assert tokens.first(count, index=0, seed=0, tokenizer=byte_bpe)[-1] == whole[count - 1]


def test_fewer_tokens_where_the_document_has_fewer_and_none_behind_the_last(whole_text, byte_bpe):
    whole = byte_bpe.encode((whole_text / "a.txt").read_text(encoding="utf-8"))
    tokens = DocumentTokens(text_folder(str(whole_text), task="perplexity"))
    assert list(tokens.first(10**6, index=0, seed=0, tokenizer=byte_bpe)) == whole
    assert tokens.first(1, index=1, seed=0, tokenizer=byte_bpe) is None


def test_generated_document_has_as_many_tokens_as_are_wanted(tokenizer):
    tokens = DocumentTokens(GeneratedDocuments())
    assert len(tokens.first(3000, index=4, seed=1, tokenizer=tokenizer)) == 3000


def test_text_is_encoded_once_for_all_shorter_lengths(byte_bpe):
    tokens = DocumentTokens(GeneratedDocuments())
    tokens.first(2000, index=0, seed=0, tokenizer=byte_bpe)
    before = byte_bpe.encoded_characters
    for count in (2000, 1000, 1999, 1):
        tokens.first(count, index=0, seed=0, tokenizer=byte_bpe)
    assert byte_bpe.encoded_characters == before
    tokens.first(20_000, index=0, seed=0, tokenizer=byte_bpe)
    assert byte_bpe.encoded_characters > before


def test_another_seed_gets_its_own_tokens(byte_bpe):
    tokens = DocumentTokens(GeneratedDocuments())
    first = tokens.first(50, index=0, seed=0, tokenizer=byte_bpe)
    assert tokens.first(50, index=0, seed=1, tokenizer=byte_bpe) != first


def test_another_tokenizer_gets_its_own_tokens(byte_bpe, byte_bpe_with_bos):
    tokens = DocumentTokens(GeneratedDocuments())
    first = tokens.first(50, index=0, seed=0, tokenizer=byte_bpe)
    before = byte_bpe_with_bos.encoded_characters
    assert tokens.first(50, index=0, seed=0, tokenizer=byte_bpe_with_bos) == first  # the same rules
    assert byte_bpe_with_bos.encoded_characters > before


def test_pickle_leaves_behind_what_was_read(byte_bpe):
    tokens = DocumentTokens(GeneratedDocuments())
    empty = len(pickle.dumps(tokens))
    found = tokens.first(500, index=0, seed=0, tokenizer=byte_bpe)
    assert len(pickle.dumps(tokens)) == empty
    travelled = pickle.loads(pickle.dumps(tokens))
    assert travelled.first(500, index=0, seed=0, tokenizer=byte_bpe) == found
