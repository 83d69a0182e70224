"""The page on tasks has every task, with all that can be asked of it."""

from __future__ import annotations

import pytest

from longbench_run.harness.chat import NAMES
from longbench_run.tasks.longbench import archive
from longbench_run.tasks.registry import list_tasks, load_task


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "tasks.md").read_text(encoding="utf-8")


def section(page, name):
    (found,) = [part for part in page.split("\n## ") if part.startswith(f"{name}\n")]
    return found


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_has_its_section_with_protocols_and_parameters(page, name):
    info = load_task(name).info
    text = section(page, name)
    missing = [word for word in info.protocols if f"`{word}`" not in text]
    # `protocol` is explained at the top; a parameter may stand with a value or as its flag.
    missing += [
        word
        for word in info.parameters
        if word != "protocol"
        and not any(form in text for form in (f"`{word}`", f"`{word}=", f"--{word.replace('_', '-')}"))
    ]
    assert missing == []


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_stands_in_the_table_with_its_metrics(page, name):
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    shown = row if "LongBench's" not in row else row + section(page, "longbench")
    assert [metric.name for metric in load_task(name).info.metrics if f"`{metric.name}`" not in shown] == []


def test_the_archive_is_named_as_it_is_downloaded(page):
    assert f"<{archive.URL}>" in page


def test_every_chat_template_is_explained(page):
    assert [name for name in NAMES if f"`{name}`" not in section(page, "Chat templates")] == []
