"""The first tokens of documents, read and encoded once for all context lengths."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from longbench_run.tasks.base import Tokenizer
from longbench_run.tasks.sources import Document, DocumentSource

UNSETTLED = 64
"""Tokens before a cut that are not trusted: what would follow can merge with them."""


@dataclass(slots=True)
class _Opening:
    """What has been read of one document."""

    tokens: array[int]
    is_whole: bool
    """True where the document has no further tokens."""


@dataclass(slots=True)
class DocumentTokens:
    """Encoded openings of the documents of one source.

    A document is encoded from its beginning, as far as it was needed. Where the text is cut, the last tokens
    before the cut are left out: so the first n tokens are those of the uncut text, whatever was asked for
    before.

    Keeps the tokens of one tokenizer, and of one seed: models and seeds are run one after the other.

    Args:
        source: The documents.
    """

    source: DocumentSource
    _tokenizer: Tokenizer | None = field(default=None, init=False, repr=False)
    _seed: int | None = field(default=None, init=False, repr=False)
    _openings: dict[int, _Opening] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> tuple[type[DocumentTokens], tuple[DocumentSource]]:
        """Travel to other processes without what was read."""
        return DocumentTokens, (self.source,)

    def first(self, count: int, *, index: int, seed: int, tokenizer: Tokenizer) -> array[int] | None:
        """Return the first tokens of a document, without special tokens.

        Args:
            count: Tokens wanted.
            index: Number of the document.
            seed: Seed of the run.
            tokenizer: The model's tokenizer.

        Returns:
            ``count`` token ids, fewer where the document has fewer, None behind the last document.
        """
        document = self.source.document(index=index, seed=seed)
        if document is None:
            return None
        if tokenizer is not self._tokenizer or seed != self._seed:
            self._tokenizer, self._seed, self._openings = tokenizer, seed, {}
        opening = self._openings.get(index)
        if opening is None or (len(opening.tokens) < count and not opening.is_whole):
            opening = self._openings[index] = _encode_opening(document, count, tokenizer)
        return opening.tokens[:count]


def _encode_opening(document: Document, count: int, tokenizer: Tokenizer) -> _Opening:
    """Encode at least ``count`` tokens of a document, or all it has."""
    wanted = count + UNSETTLED
    characters = 5 * wanted  # a little more than a word-level tokenizer of English needs
    while True:
        text = document.opening(characters)
        is_whole = len(text) < characters
        ids = tokenizer.encode(text, add_special_tokens=False)
        if is_whole or len(ids) >= wanted:
            return _Opening(tokens=array("q", ids if is_whole else ids[:-UNSETTLED]), is_whole=is_whole)
        characters = min(4 * characters, characters * wanted * 5 // (4 * max(1, len(ids))))
