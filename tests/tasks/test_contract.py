"""What holds for every task: over the registry, over every protocol, over tokenizers of different kinds.

First the suite that is shipped for plugins, then what the tokenizers of real models add to it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import random
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbench_run.tasks import testing
from longbench_run.tasks.base import (
    Entropies,
    EntropyBucket,
    EntropyRequest,
    Generated,
    GenerateRequest,
    Scored,
    ScoreRequest,
    TaskError,
)
from longbench_run.tasks.registry import BUILT_IN, load_task
from longbench_run.tasks.testing import TaskContract, broken_promises, checks_of

SMALL = {
    ("perplexity", "sliding"): {"tokens": 1200, "stride": 100},
    ("perplexity", "same_tokens"): {"tokens": 1200, "last": 100},
    ("longbench_synthetic", "exact"): {"dataset": "trec"},
    ("longbench_synthetic", "closed-book"): {"dataset": "qasper"},
}
"""Parameters that make a protocol quick to try; the rest is tried with its defaults."""
SCALE = {"multidoc_qa": 8, "longbench_synthetic_qasper": 4}
"""Tasks that need longer contexts to hold anything: every length below is so many times as long for them."""
HAS_OWN_TESTS = {"longbench", "lm_eval"}
"""Tasks that read data which no test may download: what holds for them is in the tests that mirror them."""

CASES = [
    (name, protocol)
    for name in BUILT_IN
    if name not in HAS_OWN_TESTS
    for protocol in load_task(name).info.protocols
]


@pytest.fixture(params=CASES, ids=[":".join(case) for case in CASES])
def task(request):
    name, protocol = request.param
    return load_task(name, protocol=protocol, **SMALL.get(request.param, {}))


def name_of(request):
    """Return the name that a case was registered under; one part of a task adds to it."""
    return request.node.callspec.params["task"][0]


def scaled(task, context_length):
    return SCALE.get(task.info.name, 1) * context_length


def samples(task, tokenizer, *, context_length=None, count=4, seed=0):
    context_length = context_length or scaled(task, 1100)
    return list(task.samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer))


def travelled(task):
    return pickle.loads(pickle.dumps(task))


def oracle(sample, *, is_right):
    """Return the best output there is for a sample, or one that is plainly wrong."""
    if isinstance(sample.request, GenerateRequest):
        return Generated(token_ids=(), text=f" {sample.target}" if is_right else " no such thing")
    if isinstance(sample.request, EntropyRequest):
        stops = (*sample.request.edges[1:], len(sample.request.token_ids))
        return Entropies(
            buckets=tuple(
                EntropyBucket(
                    layer=0,
                    start=start,
                    stop=stop,
                    heads=(0.0 if is_right else 11.0 * even_entropy(start, stop),),
                )
                for start, stop in zip(sample.request.edges, stops, strict=True)
            )
        )
    assert isinstance(sample.request, ScoreRequest)
    nll = 0.0 if is_right else 11.0
    return Scored(nll=tuple([nll] * (len(w.token_ids) - w.first_scored) for w in sample.request.windows))


def even_entropy(start, stop):
    return sum(math.log(position + 1) for position in range(start, stop)) / (stop - start)


@pytest.mark.parametrize("check", checks_of(TaskContract))
def test_every_task_keeps_its_promises(task, check):
    getattr(type("Contract", (TaskContract,), {"task": task})(), check)()


def test_a_plugin_author_writes_four_lines():
    """As the package's documentation shows it; pytest collects a class of this name without a constructor."""
    example = textwrap.dedent(testing.__doc__.split("::\n")[1].split("\nNeither")[0])
    names = {}

    exec(example, names)  # noqa: S102  # what the documentation shows is what is run

    assert len([line for line in example.splitlines() if line]) == 4
    mine = names["TestPasskey"]
    assert mine.__init__ is object.__init__
    assert broken_promises(mine()) == {}


def test_the_suite_needs_neither_pytest_nor_torch():
    code = (
        "import sys\n"
        "from longbench_run.tasks.testing import TaskContract, broken_promises\n"
        "from longbench_run.tasks.passkey import Passkey\n"
        "contract = type('Mine', (TaskContract,), {'task': Passkey()})()\n"
        "assert not broken_promises(contract)\n"
        "print(*({'pytest', 'torch', 'transformers', 'tokenizers', 'longbench_run.harness'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(more=st.integers(0, 700))
def test_budget_is_never_exceeded(task, tokenizer, more):
    context_length = task.minimum_length(tokenizer) + more
    found = samples(task, tokenizer, context_length=min(context_length, scaled(task, 1200)), count=2)
    assert len(found) == 2
    for sample in found:
        if isinstance(sample.request, GenerateRequest):
            assert len(sample.request.prompt_ids) + sample.request.max_new_tokens <= sample.context_length
        else:
            assert all(len(ids) <= sample.context_length for ids in sample.request.inputs)
            for window in getattr(sample.request, "windows", ()):
                assert 1 <= window.first_scored < len(window.token_ids) <= sample.context_length


def test_special_tokens_are_counted(task, byte_bpe_with_bos):
    request = samples(task, byte_bpe_with_bos, count=1)[0].request
    ids = request.inputs[0]
    assert ids[0] == byte_bpe_with_bos.bos_token_id
    assert byte_bpe_with_bos.bos_token_id not in ids[1:]


def test_length_below_the_minimum_is_refused_at_the_call(task, tokenizer):
    minimum = task.minimum_length(tokenizer)
    with pytest.raises(
        TaskError, match=rf"context_length must be at least {minimum} with .*, got {minimum - 1}\. "
    ):
        task.samples(context_length=minimum - 1, count=1, seed=0, tokenizer=tokenizer)


def test_sample_is_a_function_of_seed_length_and_index(task, tokenizer):
    found = samples(task, tokenizer, count=6)
    assert [sample.index for sample in found] == list(range(6))
    assert all(sample.context_length == scaled(task, 1100) for sample in found)
    samples(task, tokenizer, context_length=scaled(task, 900), count=2, seed=5)
    assert samples(task, tokenizer, count=3) == found[:3]
    fresh = travelled(task)
    samples(fresh, tokenizer, context_length=scaled(task, 600), count=1)
    assert samples(fresh, tokenizer, count=6) == found


def test_global_random_state_is_left_alone(task, byte_bpe):
    random.seed(1)
    first = samples(task, byte_bpe)
    state = random.getstate()
    random.seed(2)
    assert samples(task, byte_bpe) == first
    random.seed(1)
    assert random.getstate() == state


def test_seeds_give_different_samples(task, byte_bpe):
    requests = [sample.request for seed in (0, 1, 2) for sample in samples(task, byte_bpe, seed=seed)]
    assert len(set(requests)) == len(requests)


def test_right_output_gets_the_best_score_and_a_wrong_one_the_worst(task, tokenizer):
    for sample in samples(task, tokenizer):
        right = task.score(sample, oracle(sample, is_right=True)).scores
        wrong = task.score(sample, oracle(sample, is_right=False)).scores
        assert set(right) == set(wrong) == {metric.name for metric in task.info.metrics}
        for metric in task.info.metrics:
            best, worst = (
                (metric.maximum, metric.minimum) if metric.higher_is_better else (metric.minimum, 11.0)
            )
            assert right[metric.name] == best
            assert wrong[metric.name] == pytest.approx(worst)
            if metric.is_binary:
                assert {right[metric.name], wrong[metric.name]} == {0.0, 1.0}


def test_samples_of_one_group_share_what_they_begin_with(task, byte_bpe):
    """A group is worth it because a window begins a longer one, or because prompts begin alike."""
    lengths = (scaled(task, 700), scaled(task, 900))
    by_group = {}
    for length in lengths:
        for sample in samples(task, byte_bpe, context_length=length, count=3):
            by_group.setdefault(task.group_key(context_length=length, index=sample.index), []).append(sample)
    for group in by_group.values():
        if len(group) > 1 and isinstance(group[0].request, GenerateRequest):
            prompts = [sample.request.prompt_ids for sample in group]
            assert len({prompt[:20] for prompt in prompts}) == 1
            assert len(set(prompts)) == len(prompts)
        elif len(group) > 1:
            shorter, longer = (sample.request.inputs[0] for sample in group)
            assert longer[: len(shorter)] == shorter


def test_parameters_are_ready_for_json_and_name_no_path(task):
    parameters = task.parameters()
    assert json.loads(json.dumps(parameters)) == parameters
    assert "protocol" not in parameters
    assert not any("/" in str(value) for value in parameters.values())


def test_default_written_out_changes_nothing(task, request):
    written = {
        name: value
        for name, value in task.parameters().items()
        if name in {field.name for field in dataclasses.fields(task)}
    }
    again = load_task(name_of(request), protocol=task.protocol, **written)
    assert again.parameters() == task.parameters()


def test_info_says_what_a_report_needs(task, request):
    info = task.info
    assert info.name.startswith(name_of(request))
    assert info.version >= 1
    assert info.protocols[0] == load_task(name_of(request)).protocol
    assert task.protocol in info.protocols
    assert set(info.references) <= set(load_task(name_of(request)).info.protocols)
    assert info.suite is None or any(
        info.name in names for average in info.suite.averages for names in average.groups.values()
    )
    assert info.default_count >= 20
    assert info.metrics
    assert all((info.summary, info.source, info.licence))


def test_task_is_a_value(task):
    assert travelled(task) == task
    assert hash(travelled(task)) == hash(task)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.protocol = "other"
