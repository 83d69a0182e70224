"""From text to a task: names, parameters, and the one line that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from longbench_run.tasks import registry
from longbench_run.tasks.base import TaskError
from longbench_run.tasks.perplexity import Perplexity
from longbench_run.tasks.registry import create_task, list_tasks, load_task


def test_listing_imports_no_task():
    code = (
        "import sys; from longbench_run.tasks.registry import list_tasks; print(list_tasks()); "
        "print([m for m in sys.modules if m in ('torch', 'transformers', 'datasets') or 'perplexity' in m "
        "or 'passkey' in m])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == [str(list_tasks()), "[]"]


def test_values_come_as_texts_or_as_they_are():
    assert create_task("perplexity", {"protocol": "same_tokens", "tokens": "4k", "last": 64.0}) == load_task(
        "perplexity", protocol="same_tokens", tokens=4096, last=64
    )
    assert load_task("perplexity", text=None) == Perplexity()


@dataclass(frozen=True, kw_only=True)
class Everything:
    """A task's parameters of every type."""

    truth: bool = False
    share: float = 0.5
    name: str = "a"


@pytest.fixture
def everything(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Everything", Everything)
    monkeypatch.setitem(sys.modules, "everything_for_test", sys.modules.get(__name__))
    monkeypatch.setitem(registry.BUILT_IN, "everything", "everything_for_test:Everything")


def test_truth_and_numbers_are_read(everything):
    assert create_task("everything", {"truth": "true", "share": "1e-1", "name": "b"}) == Everything(
        truth=True, share=0.1, name="b"
    )
    assert create_task("everything", {"truth": True, "share": 1}) == Everything(truth=True, share=1.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"truth": "yes"}, "everything: truth must be true or false, got 'yes'. Write true or false."),
        ({"truth": 1}, "everything: truth must be true or false, got 1. Write true or false."),
        ({"share": "nan"}, "everything: share must be a number, got 'nan'. Write it like 0.5."),
        ({"share": True}, "everything: share must be a number, got True. Write it like 0.5."),
        ({"name": 3}, "everything: name must be a text, got 3. Write it in quotes."),
        ({"name": None}, "everything: name must be a text, got None. Write it in quotes."),
    ],
)
def test_value_of_another_type_is_named(everything, parameters, message):
    with pytest.raises(TaskError) as error:
        create_task("everything", parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("passky", {}, 'Unknown task "passky". Did you mean "passkey"? See `longbench-run list tasks`.'),
        ("sorting", {}, 'Unknown task "sorting". See `longbench-run list tasks`.'),
        (
            "passkey",
            {"depth": "3"},
            'passkey: has no parameter "depth" (did you mean "depths"?). '
            "Parameters: depths, max_new_tokens, protocol.",
        ),
        (
            "passkey",
            {"depths": "ten"},
            "passkey: depths must be a whole number, got 'ten'. Write it like 4096 or 4k.",
        ),
        (
            "passkey",
            {"depths": "1"},
            "passkey: depths must be at least 2, got 1. Leave it out for the default, 10.",
        ),
        (
            "passkey",
            {"max_new_tokens": "-1"},
            "passkey: max_new_tokens must be at least 1, got -1. Leave it out for the default, 10.",
        ),
        (
            "passkey",
            {"protocol": "passkey"},
            'passkey: has no protocol "passkey" (did you mean "passkey-v1"?). Protocols: passkey-v1.',
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, parameters, message):
    with pytest.raises(TaskError) as error:
        create_task(name, parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "passky",
            {},
            'run.yaml: tasks[0]: unknown task "passky". Did you mean "passkey"? See `longbench-run list tasks`.',
        ),
        (
            "passkey",
            {"depths": 1},
            "run.yaml: tasks[0]: passkey: depths must be at least 2, got 1. Leave it out for the default, "
            "10.",
        ),
        (
            "perplexity",
            {"tokens": 2.5},
            "run.yaml: tasks[0]: perplexity: tokens must be a whole number, got 2.5. Write it like 4096 or "
            "4k.",
        ),
        (
            "perplexity",
            {"tokens": True},
            "run.yaml: tasks[0]: perplexity: tokens must be a whole number, got True. Write it like 4096 or "
            "4k.",
        ),
        (
            "perplexity",
            {"_documents": 1},
            'run.yaml: tasks[0]: perplexity: has no parameter "_documents". '
            "Parameters: dataset, field, last, protocol, revision, split, stride, subset, text, tokens.",
        ),
    ],
)
def test_where_it_stood_is_said_first(name, parameters, message):
    with pytest.raises(TaskError) as error:
        create_task(name, parameters, where="run.yaml: tasks[0]")
    assert str(error.value) == message
