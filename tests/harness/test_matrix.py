"""The plan: cells, resolved methods, factor policies, groups; no model is loaded here."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from longbench_run.harness.chat import ChatTemplate
from longbench_run.harness.choices import choose
from longbench_run.harness.config_build import load_config
from longbench_run.harness.errors import ConfigError
from longbench_run.harness.estimate import cell_estimates, group_tokens
from longbench_run.harness.matrix import first_samples, lengths_for, plan_run
from longbench_run.harness.methods import RopeFacts
from longbench_run.harness.plan import Weights
from longbench_run.harness.run_key import AskedWeights, output_folder, run_key
from longbench_run.harness.sample_cache import SampleCache
from longbench_run.results.records import ModelIdentity
from longbench_run.tasks.base import TaskError

WINDOW = 1024


class ByteTokenizer:
    """One token per byte."""

    bos_token_id = None

    def encode(self, text, *, add_special_tokens=True):
        return list(text.encode())

    def decode(self, token_ids, *, skip_special_tokens=False):
        return bytes(token_ids).decode(errors="replace")


def weights(label="m", *, window=WINDOW, asked="some/model", of_method=None, base=10000.0, revision="r1"):
    facts = SimpleNamespace(
        identity=ModelIdentity(name=label, revision=revision),
        dtype="float32",
        attention="sdpa",
        device="cpu",
        original_context_length=window,
        rope=RopeFacts(
            family="llama",
            base=base,
            inv_freq=tuple(base ** (-i / 16) for i in range(16)),
            original_context_length=window,
            layers=2,
        ),
    )
    return Weights(
        model_label=label,
        inspected=SimpleNamespace(facts=facts, tokenizer=ByteTokenizer(), tokenizer_identity="bytes"),
        asked=asked,
        method_weights=of_method,
        original_context_length=window,
    )


def plan_of(*of, **settings):
    loaded = load_config(settings)
    return plan_run(loaded, choose(loaded), of or (weights(),))


def described(plan):
    return [
        (
            c.weights.model_label,
            c.method_label,
            c.identity.task.name,
            c.identity.task.protocol,
            c.context_length,
            c.seed,
            c.count,
        )
        for c in plan.cells
    ]


def error_of(*of, **settings):
    with pytest.raises(ConfigError) as caught:
        plan_of(*of, **settings)
    return str(caught.value).splitlines()


def test_the_matrix_is_models_times_methods_times_tasks_times_lengths_times_seeds():
    plan = plan_of(weights("a"), weights("b"), methods="pi", lengths="2k,1k", seed=[0, 1], samples=3)

    tasks = (("passkey", "passkey-v1"), ("perplexity", "plain"))
    assert described(plan) == [
        (model, method, *task, length, seed, 3)
        for model in "ab"
        for method in ("none", "pi")
        for task in tasks
        for length in (1024, 2048)
        for seed in (0, 1)
    ]
    assert len({cell.cell_id for cell in plan.cells}) == len(plan.cells)
    assert plan.lengths == (1024, 2048)


def test_the_unmodified_model_comes_first_unless_left_out_or_asked_for():
    def labels(**settings):
        return list(
            dict.fromkeys(c.method_label for c in plan_of(tasks="passkey", lengths="1k", **settings).cells)
        )

    assert labels(methods="pi") == ["none", "pi"]
    assert labels(methods="pi,none") == ["pi", "none"]
    assert labels(methods="pi", baseline=False) == ["pi"]
    assert labels() == ["none"]


def test_nothing_to_run_is_an_error():
    assert error_of(baseline=False) == [
        "--methods: must be at least one where the baseline is left out, got none. Name a method, or drop --no-baseline."
    ]


@pytest.mark.parametrize(
    ("factor", "factors"),
    [
        ("fixed", {1024: 4, 2048: 4, 4096: 4}),
        ("per-length", {1024: 1, 2048: 2, 4096: 4}),
        (8, {1024: 8, 2048: 8, 4096: 8}),
        (1.5, {1024: 1.5, 2048: 1.5, 4096: 1.5}),
    ],
)
def test_the_factor_policy_resolves_methods(factor, factors):
    plan = plan_of(methods="pi", baseline=False, tasks="passkey", lengths="1k,2k,4k", factor=factor)

    assert {c.context_length: c.method.components[0].factor for c in plan.cells} == factors
    assert plan.factor_policy == {8: "8", 1.5: "1.5"}.get(factor, factor)


def test_the_policy_is_no_part_of_a_cell_but_what_it_resolves_to_is():
    def ids(**settings):
        plan = plan_of(methods="pi", baseline=False, tasks="passkey", lengths="4k", **settings)
        return [c.cell_id for c in plan.cells]

    fixed = ids(factor="fixed")

    assert ids(factor="per-length") == ids(factor=4) == fixed
    assert ids(samples=7) == fixed
    assert ids(factor=2) != fixed


def test_a_parameter_written_in_the_method_wins_over_the_policy():
    plan = plan_of(methods="pi:factor=16", baseline=False, tasks="passkey", lengths="1k", factor=2)

    assert [c.method.components[0].factor for c in plan.cells] == [16]


@pytest.mark.parametrize(
    ("asked", "model", "expected"),
    [
        ((), "some/model", (4096, 8192, 16384, 32768)),
        ((), "reference", (1024, 2048, 4096, 8192)),
        (("2x", "1024", "1x", "4k"), "reference", (1024, 2048, 4096)),
    ],
)
def test_lengths_default_to_the_fields_and_for_the_bundled_model_to_its_windows(asked, model, expected):
    lengths = load_config({"lengths": list(asked)}).config.parsed_lengths() if asked else ()

    assert lengths_for(lengths, model=model, original_context_length=1024) == expected


def test_lengths_in_windows_follow_each_model():
    plan = plan_of(weights("a", window=1024), weights("b", window=2048), tasks="passkey", lengths="1x,2x")

    assert [(c.weights.model_label, c.context_length) for c in plan.cells] == [
        ("a", 1024),
        ("a", 2048),
        ("b", 2048),
        ("b", 4096),
    ]


def test_sample_counts_are_the_entry_s_then_the_runs_then_the_tasks():
    def counts(asked="some/model", **settings):
        return [c.count for c in plan_of(weights(asked=asked), lengths="1k", **settings).cells]

    assert counts() == [20, 30]
    assert counts(asked="reference") == [20, 10]
    assert counts(samples=4) == [4, 4]
    assert counts(samples=4, tasks=[{"name": "perplexity", "samples": 6}, "passkey"]) == [6, 4]


def test_a_method_that_cannot_serve_the_model_stays_in_the_plan_with_its_reason():
    plan = plan_of(weights(base=1e6), methods="abf,pi", tasks="passkey", lengths="1k")

    reasons = {c.method_label: c.not_applicable for c in plan.cells}
    assert reasons["none"] is reasons["pi"] is None
    assert reasons["abf"].startswith("abf: base must be at least the llama model's own (")
    assert [run.cells[0].method_label for run in plan.method_runs()] == ["none", "pi"]


def test_a_window_larger_than_the_models_is_an_error():
    (line,) = error_of(
        methods="self_extend:window=2000:group=2,rerope:window=600", lengths="2k", tasks="passkey"
    )

    assert line.startswith("--methods: self_extend: window must be ")
    assert "got 2000." in line


def test_a_length_that_a_task_cannot_fill_is_an_error_that_names_the_smallest():
    minimum = load_config({}) and choose(load_config({})).tasks[0].task.minimum_length(ByteTokenizer())

    assert plan_of(lengths=str(minimum)).lengths == (minimum,)
    assert error_of(lengths="1,64,2k") == [
        f"--lengths: context length must be at least {minimum} for passkey with model m, got 1. Ask for longer ones.",
        f"--lengths: context length must be at least {minimum} for passkey with model m, got 64. Ask for longer ones.",
        "--lengths: context length must be at least 2 for perplexity with model m, got 1. Ask for longer ones.",
    ]


def test_methods_that_are_the_same_once_resolved_are_an_error():
    assert error_of(methods="pi,pi:factor=2", lengths="2k", tasks="passkey") == [
        "--methods: methods must differ, got 'pi' and 'pi:factor=2', which are the same once resolved. Drop one."
    ]


def test_models_that_are_the_same_are_an_error():
    one, two = weights("a"), weights("b")
    two.inspected.facts.identity = one.inspected.facts.identity

    assert error_of(one, two, lengths="2k", tasks="passkey") == [
        "--model: models must differ, got 'a' and 'b', which are the same once resolved. Drop one."
    ]


def test_a_task_stands_once_per_protocol():
    assert error_of(tasks="perplexity:protocol=sliding:stride=64,perplexity:protocol=sliding:stride=128") == [
        "--tasks: task must stand once per protocol, got 'perplexity' with protocol 'sliding' twice. "
        "Tables could not tell them apart: make two runs."
    ]
    both = plan_of(tasks="perplexity,perplexity:protocol=sliding", lengths="1k")
    assert [c.identity.task.protocol for c in both.cells] == ["plain", "sliding"]


def test_a_protocol_holds_for_every_task_that_has_it():
    plan = plan_of(protocol="same_tokens", lengths="1k")

    assert [(c.identity.task.name, c.identity.task.protocol) for c in plan.cells] == [
        ("passkey", "passkey-v1"),
        ("perplexity", "same_tokens"),
    ]
    assert error_of(protocol="slidin") == [
        '--protocol: unknown protocol "slidin". Did you mean "sliding"? See `longbench-run list protocols`.'
    ]


def test_a_method_with_its_own_weights_has_cells_of_those_weights():
    base, tuned = weights("m"), weights("m", of_method="org/tuned", revision="tuned")
    methods = ["pi", {"name": "pi", "label": "pi tuned", "weights": "org/tuned"}]

    plan = plan_of(base, tuned, methods=methods, tasks="passkey", lengths="1k")

    assert [(c.weights.model_label, c.method_label, c.identity.model.revision) for c in plan.cells] == [
        ("m", "none", "r1"),
        ("m", "pi", "r1"),
        ("m", "pi tuned", "tuned"),
    ]
    assert [run.weights.method_weights for run in plan.method_runs()] == [None, None, "org/tuned"]


def groups_of(plan):
    return [
        (
            run.cells[0].method_label,
            group.members[0][0].identity.task.name,
            [(c.context_length, i) for c, i in group.members],
        )
        for run in plan.method_runs()
        for group in run.groups()
    ]


def test_lengths_of_one_document_are_one_group_and_so_is_a_depth_grid_of_passkeys():
    plan = plan_of(methods="pi", baseline=False, lengths="1k,2k", samples=2)

    assert groups_of(plan) == [
        ("pi", "passkey", [(1024, 0), (1024, 1)]),
        ("pi", "passkey", [(2048, 0), (2048, 1)]),
        ("pi", "perplexity", [(1024, 0), (2048, 0)]),
        ("pi", "perplexity", [(1024, 1), (2048, 1)]),
    ]


def test_methods_configured_for_each_length_share_nothing_over_lengths():
    plan = plan_of(
        methods="pi", baseline=False, tasks="perplexity", lengths="1k,2k", samples=1, factor="per-length"
    )

    assert groups_of(plan) == [("pi", "perplexity", [(1024, 0)]), ("pi", "perplexity", [(2048, 0)])]


def test_seeds_are_never_in_one_group():
    plan = plan_of(tasks="perplexity", lengths="1k", samples=1, seed=[0, 1])

    assert [[c.seed for c, _ in g.members] for run in plan.method_runs() for g in run.groups()] == [[0], [1]]


def test_more_samples_keep_the_groups_that_were_full():
    few, many = (groups_of(plan_of(lengths="1k,2k", samples=n)) for n in (10, 25))

    assert all(group in many for group in few)


def test_tokens_that_lengths_share_are_counted_once():
    plan = plan_of(tasks="perplexity", lengths="1k,2k,4k", samples=3)
    first = first_samples(plan)

    assert sum(group_tokens(g, first) for run in plan.method_runs() for g in run.groups()) == 3 * 4096
    assert [(e.tokens, e.samples, e.new_tokens) for e in cell_estimates(plan, first)] == [
        (0, 3, 0),
        (0, 3, 0),
        (3 * 4096, 3, 0),
    ]


def test_windows_that_do_not_share_are_all_counted():
    plan = plan_of(tasks="perplexity:protocol=sliding:stride=512:tokens=4096", lengths="1k", samples=1)

    # Windows of 1024 tokens that begin at 0, 512, ..., 3072.
    assert [e.tokens for e in cell_estimates(plan, first_samples(plan))] == [7 * 1024]


def test_data_that_cannot_fill_a_length_fails_before_anything_runs(tmp_path):
    (tmp_path / "short.txt").write_text("short")
    plan = plan_of(tasks=[{"name": "perplexity", "parameters": {"text": str(tmp_path)}}], lengths="1k")

    with pytest.raises(TaskError, match="must hold a document of at least 1024 tokens"):
        first_samples(plan)


class WordTokenizer(ByteTokenizer):
    """One token per two bytes."""

    def encode(self, text, *, add_special_tokens=True):
        raw = text.encode()
        return [256 + raw[i] for i in range(0, len(raw), 2)]


def test_samples_are_made_once_for_all_methods_and_models_of_a_tokenizer_and_again_for_another_one():
    one, two, alike = weights("a"), weights("b"), weights("c")
    two.inspected.tokenizer, two.inspected.tokenizer_identity = WordTokenizer(), "words"
    plan = plan_of(one, two, alike, methods="pi", tasks="passkey", lengths="1k", samples=2)
    cache = SampleCache()
    samples = {(c.weights.model_label, c.method_label): cache.of_cell(c) for c in plan.cells}

    assert samples["a", "none"] is samples["a", "pi"] is samples["c", "none"]
    assert (
        max(samples["a", "pi"][0].request.prompt_ids) < 256 <= min(samples["b", "pi"][0].request.prompt_ids)
    )
    assert cache.of_cell(plan.cells[0]) is samples["a", "none"]


def test_models_that_write_chats_otherwise_have_samples_of_their_own():
    plain = weights("a")
    of_own, of_vicuna = (replace(plain, chat=ChatTemplate(name=name)) for name in ("own", "vicuna"))
    sources = {
        cell.sample_source
        for each in (plain, of_own, of_vicuna)
        for cell in plan_of(each, methods="pi", tasks="passkey", lengths="1k", samples=2).cells
    }
    assert len(sources) == 3


def test_the_samples_used_longest_ago_make_room():
    plan = plan_of(tasks="passkey", lengths="1k,2k,4k", samples=2)
    cache = SampleCache(most_tokens=6500)
    first = [cache.of_cell(cell) for cell in plan.cells[:2]]

    assert cache.of_cell(plan.cells[0]) is first[0]  # used again: the other one is the oldest
    cache.of_cell(plan.cells[2])  # does not fit beside anything
    assert cache.of_cell(plan.cells[0]) is not first[0]
    assert cache.of_cell(plan.cells[0]) == first[0]


def key_of(asked=None, **settings):
    loaded = load_config(settings)
    base = AskedWeights(
        model_label="org/m",
        method_weights=None,
        identity=ModelIdentity(name="org/m", revision="r1"),
        dtype="auto",
        original_context_length=None,
    )
    return run_key(loaded.config, choose(loaded), [asked or base])


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 3},
        {"device": "cpu"},
        {"output": "elsewhere"},
        {"overwrite": "failed"},
        {"lengths": "8192,4096,4k"},
        {"seed": [0, 0]},
        {"tasks": "passkey:depths=10,perplexity:protocol=plain"},
    ],
)
def test_what_extends_or_places_a_run_leaves_its_key(settings):
    assert key_of(**({"lengths": "4k,8k"} | settings)) == key_of(lengths="4k,8k")


@pytest.mark.parametrize(
    "settings",
    [
        {"methods": "pi"},
        {"methods": [{"name": "none", "label": "plain"}]},
        {"lengths": "4k"},
        {"lengths": "1x,2x"},
        {"factor": 2},
        {"factor": "per-length"},
        {"seed": 1},
        {"tasks": "passkey"},
        {"tasks": "passkey:depths=5,perplexity"},
        {"protocol": "sliding"},
    ],
)
def test_what_makes_another_run_changes_its_key(settings):
    assert key_of(**({"lengths": "4k,8k"} | settings)) != key_of(lengths="4k,8k")


@pytest.mark.parametrize(
    "change",
    [
        {"identity": ModelIdentity(name="org/m", revision="r2")},
        {"dtype": "float16"},
        {"original_context_length": 5},
        {"model_label": "x"},
    ],
)
def test_other_weights_change_the_key(change):
    base = {
        "model_label": "org/m",
        "method_weights": None,
        "identity": ModelIdentity(name="org/m", revision="r1"),
        "dtype": "auto",
        "original_context_length": None,
    }

    assert key_of(AskedWeights(**base)) == key_of()
    assert key_of(AskedWeights(**base | change)) != key_of()


def test_a_run_goes_below_runs_under_its_models_and_key():
    asked = [
        AskedWeights(
            model_label=label,
            method_weights=None,
            identity=ModelIdentity(name="x", revision="r"),
            dtype="auto",
            original_context_length=None,
        )
        for label in ("org/m 7b", "../b")
    ]

    assert str(output_folder(load_config({}).config, asked, "0123456789")) == "runs/org-m-7b-..-b-01234567"
    assert str(output_folder(load_config({"output": "here"}).config, asked, "0123456789")) == "here"
