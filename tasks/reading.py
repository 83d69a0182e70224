"""The parameters by which a task's documents are chosen, the same for every task that reads documents."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from longbench_run.tasks.base import TaskError
from longbench_run.tasks.document_tokens import DocumentTokens
from longbench_run.tasks.sources import MOST_ROWS, DocumentSource, GeneratedDocuments, data_set, text_folder

DOCUMENT_PARAMETERS = {
    "text": "Folder of UTF-8 .txt files to read; default: generated documents.",
    "dataset": f"Local .jsonl file or Hugging Face data set to read (its first {MOST_ROWS} rows).",
    "field": "dataset: field that holds the text; default text.",
    "subset": "dataset: configuration on the Hub; default: the only one.",
    "split": "dataset: split on the Hub; default test.",
    "revision": "dataset: commit, branch or tag on the Hub; default: the newest.",
}
"""A line of help for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsDocuments:
    """What tasks that read documents inherit: generated ones, unless a folder or a data set is named.

    Args:
        text: Folder of text files.
        dataset: A ``.jsonl`` file, or a data set of the Hugging Face Hub.
        field: Field of ``dataset`` with the text; None means ``text``.
        subset: Configuration of a Hub data set.
        split: Split of a Hub data set; None means ``test``.
        revision: Revision of a Hub data set.
    """

    text: str | None = None
    dataset: str | None = None
    field: str | None = None
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    _documents: DocumentTokens = dataclasses.field(init=False, repr=False, compare=False)

    def read_documents(self, task: str) -> None:
        """Find the documents, once for the life of the task.

        Args:
            task: Its name, for errors.

        Raises:
            TaskError: If parameters contradict each other, or the documents cannot be read.
        """
        object.__setattr__(self, "_documents", DocumentTokens(self._source(task)))

    def _source(self, task: str) -> DocumentSource:
        if self.text is not None and self.dataset is not None:
            raise TaskError(
                f"{task}: text must be left out with dataset={self.dataset}, got {self.text!r}. Name one of them."
            )
        of_dataset = {name: getattr(self, name) for name in ("field", "subset", "split", "revision")}
        if self.dataset is not None:
            field = of_dataset.pop("field") or "text"
            return data_set(self.dataset, task=task, field=field, **of_dataset)
        for name, value in of_dataset.items():
            if value is not None:
                raise TaskError(
                    f"{task}: {name} must be left out without dataset, got {value!r}. Add dataset=NAME."
                )
        return GeneratedDocuments() if self.text is None else text_folder(self.text, task=task)
