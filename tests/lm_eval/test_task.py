"""lm-eval's tasks as tasks: what is asked, what is cut, what is refused; no model is loaded."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.cli import main
from longbench_run.tasks.base import Chosen, Generated, Scored, TaskError
from longbench_run.tasks.lm_eval.prompts import new_tokens, not_greedy, prompt_of
from longbench_run.tasks.registry import create_task, load_task, parts_of
from longbench_run.tasks.testing import TaskContract, checks_of
from longbench_run.tasks.testing.tokenizers import Bytes
from tests.lm_eval.conftest import QUESTION, ROWS, TASKS, write_task

WORDS = st.lists(st.sampled_from(["a", "bc", "d", "  ", "\n", "é"]), max_size=30).map("".join)


class Reader(Bytes):
    """A tokenizer of bytes as lm-eval's prompts need it; without a chat template."""

    eos_token_id = None

    def decode(self, token_ids, *, skip_special_tokens=False):
        return "<s>" if list(token_ids) == [self.bos_token_id] else super().decode(token_ids)

    def render_chat(self, messages, *, add_generation_prompt):
        return None


READER = Reader()


def one(name, folder, **parameters):
    (task,) = parts_of(create_task("lm_eval", {"name": name, "include_path": str(folder), **parameters}))
    return task


def samples(task, *, context_length=999, count=4, seed=0):
    return list(task.samples(context_length=context_length, count=count, seed=seed, tokenizer=READER))


def prompt(kind, arguments, *, context_length=40, cut="lm-eval"):
    return prompt_of(kind, arguments, tokenizer=READER, context_length=context_length, cut=cut)


@given(WORDS.filter(str.strip), WORDS, st.integers(1, 9), st.sampled_from(["lm-eval", "middle"]))
def test_a_prompt_and_its_answer_fit_and_what_was_cut_is_counted(context, stop, budget, cut):
    asked = [(context, {"until": stop, "max_gen_toks": budget})]
    whole = prompt("generate_until", asked, context_length=10**6)
    made = prompt("generate_until", asked, context_length=20, cut=cut)

    ids, full = made.request.prompt_ids, whole.request.prompt_ids
    assert len(ids) == min(len(full), 20 - budget)
    assert made.tokens_truncated == len(full) - len(ids)
    assert made.request.stop == ((stop,) if stop else ())
    at = made.truncated_at
    if made.tokens_truncated:
        assert at == (0 if cut == "lm-eval" else (20 - budget) // 2)
        assert ids == (*full[:at], *full[at + made.tokens_truncated :])
    else:
        assert at is None


@given(WORDS.filter(str.strip), st.lists(WORDS.filter(lambda text: text.strip()), min_size=1, max_size=3))
def test_a_continuation_is_kept_whole_behind_a_context_that_gives_way(context, continuations):
    asked = [(context, text) for text in continuations]
    made = prompt("loglikelihood", asked, context_length=150)

    for window, (_, text) in zip(made.request.windows, asked, strict=True):
        blanks = context[len(context.rstrip()) :]
        assert bytes(window.token_ids[window.first_scored :]).decode() == blanks + text
        assert len(window.token_ids) <= 151
        assert window.first_scored >= 1


@given(WORDS.filter(bool), st.integers(1, 12))
def test_every_token_of_a_rolling_text_is_scored_once(text, context_length):
    windows = prompt("loglikelihood_rolling", [(text,)], context_length=context_length).request.windows

    scored = [token for window in windows for token in window.token_ids[window.first_scored :]]
    # As in lm-eval, the text is read with the token that begins it, behind another one.
    assert scored == [READER.bos_token_id, *text.encode()]
    assert all(len(window.token_ids) <= context_length + 1 for window in windows)


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        ("loglikelihood", [("a", "")], "continuation must have a token"),
        ("loglikelihood", [("a", "b" * 41)], "must leave room for a context, got 1 tokens too few"),
        ("generate_until", [("a", {})], "must leave room for a context, got 217 tokens too few"),
    ],
)
def test_what_cannot_be_asked_is_refused(kind, arguments, reason):
    with pytest.raises(TaskError, match=reason):
        prompt(kind, arguments)


@pytest.mark.parametrize(
    ("parameters", "asks"),
    [
        ({"until": ["x"], "do_sample": False, "temperature": 0.7, "top_p": 0.9, "max_gen_toks": 3}, None),
        ({"temperature": 0.0}, None),
        ({"do_sample": True}, "do_sample=True"),
        ({"temperature": 0.7}, "temperature=0.7"),
        ({"num_beams": 4, "do_sample": False}, "num_beams=4"),
    ],
)
def test_decoding_that_is_not_greedy_is_named(parameters, asks):
    assert not_greedy(parameters) == asks


def test_the_answer_budget_goes_by_all_of_its_names():
    assert [new_tokens(p) for p in ({}, {"max_new_tokens": 7}, {"max_tokens": 8, "max_gen_toks": 9})] == [
        256,
        7,
        9,
    ]


def test_a_tag_stands_for_its_tasks_which_keep_their_metrics_and_documents(barn):
    parts = parts_of(create_task("lm_eval", {"name": "barn", "include_path": str(barn)}))

    assert [task.info.name for task in parts] == [f"lm_eval/{name}" for name in sorted(TASKS)]
    metrics = {task.member: [metric.name for metric in task.info.metrics] for task in parts}
    assert metrics == {
        "barn_choice": ["acc", "acc_norm"],  # F1 has no value for a document
        "barn_cloze": ["log_perplexity", "acc"],
        "barn_say": ["exact_match,whole", "exact_match,letter"],
        "barn_text": ["log_word_perplexity", "log_byte_perplexity", "bits_per_byte"],
    }
    assert {task.info.default_count for task in parts} == {len(ROWS)}
    assert [sample.target for sample in samples(parts[0])] == [row["answer"] for row in ROWS]
    assert one("barn", barn, member="barn_say") == parts[2]


def test_examples_depend_on_seed_and_place_alone(barn):
    task = one("barn_choice", barn)
    first = samples(task)
    state = random.getstate()

    assert samples(pickle.loads(pickle.dumps(task))) == first
    assert samples(task, count=2) == first[:2]
    in_turn = zip(
        *(task.samples(context_length=999, count=4, seed=seed, tokenizer=READER) for seed in (0, 1)),
        strict=True,
    )
    pairs = list(in_turn)
    assert [sample for sample, _ in pairs] == first
    assert [sample for _, sample in pairs] != first
    assert random.getstate() == state
    fewer = one("barn_choice", barn, num_fewshot=1)
    assert fewer.parameters() == {**task.parameters(), "num_fewshot": 1}
    assert len(samples(fewer)[0].request.windows[0].token_ids) < len(first[0].request.windows[0].token_ids)


def test_a_task_that_says_that_it_has_no_examples_gets_none(tmp_path):
    write_task(tmp_path, "bare", {**QUESTION, "output_type": "loglikelihood", "num_fewshot": 0})

    assert one("bare", tmp_path, num_fewshot=3).parameters()["num_fewshot"] == 0


def test_identity_is_settings_and_documents_wherever_they_lie(barn, tmp_path):
    for name, settings in TASKS.items():
        write_task(tmp_path, name, settings)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    here, there = one("barn_say", barn), one("barn_say", tmp_path)

    assert {key: v for key, v in here.parameters().items() if key != "content"} == {
        "lm_eval": version("lm_eval"),
        "task_version": "3",
        "num_fewshot": 1,
    }
    # A tag is no part of what is asked.
    assert here.parameters() == there.parameters()
    changed = [{**ROWS[0], "letter": "q"}, *ROWS[1:]]
    write_task(tmp_path / "changed", "barn_say", TASKS["barn_say"], rows=changed)
    assert one("barn_say", tmp_path / "changed").parameters()["content"] != here.parameters()["content"]
    assert str(tmp_path) not in json.dumps(dict(there.parameters()))


def test_refuse_takes_the_length_that_the_longest_document_needs(barn):
    task = one("barn_say", barn, protocol="refuse")
    needed = task.minimum_length(READER)

    assert max(len(s.request.prompt_ids) for s in samples(task, context_length=needed)) == needed - 12
    with pytest.raises(TaskError, match=rf"context_length must be at least {needed} with protocol refuse"):
        task.samples(context_length=needed - 1, count=1, seed=0, tokenizer=READER)
    assert one("barn_say", barn).minimum_length(READER) == 13
    cut = samples(one("barn_say", barn, protocol="middle"), context_length=needed - 30)
    assert max(sample.tokens_truncated for sample in cut) == 30


def test_documents_are_scored_by_lm_eval(barn):
    choice, cloze, say, text = parts_of(create_task("lm_eval", {"name": "barn", "include_path": str(barn)}))

    def scores(task, output):
        return task.score(samples(task, count=2)[1], output)

    right = Chosen(nll=((1.0, 1.0), (5.0,), (9.0,)), greedy=(True, False, False))
    assert scores(choice, right).scores == {"acc": 1.0, "acc_norm": 1.0}
    assert scores(choice, Chosen(nll=((8.0,), (5.0,), (9.0,)), greedy=(False,) * 3)).scores["acc"] == 0.0
    assert scores(cloze, Chosen(nll=((1.5, 2.0),), greedy=(True,))).scores == {
        "log_perplexity": 3.5,
        "acc": 1.0,
    }
    said = scores(say, Generated(token_ids=(), text="Azure")).scores
    assert said == {"exact_match,whole": 0.0, "exact_match,letter": 1.0}
    rolled = scores(text, Scored(nll=((40.0, 30.0),)))
    assert (rolled.weight, rolled.scores["log_byte_perplexity"]) == (70.0, 1.0)
    assert rolled.scores["log_word_perplexity"] == pytest.approx(70 / 15)


@pytest.mark.parametrize(
    ("settings", "flags", "line"),
    [
        (
            {"dataset_path": "nobody/nothing", "dataset_kwargs": None},
            [],
            "data must be on this machine or within reach, got: Couldn't reach 'nobody/nothing' on the Hub",
        ),
        (
            {"test_split": None},
            [],
            "test_split or validation_split must be named, got neither. Name one in the task's file.",
        ),
        (
            {"output_type": "greedy_until"},
            [],
            "output_type must be one of loglikelihood, multiple_choice, loglikelihood_rolling, generate_until, "
            "got 'greedy_until'. Mend the task's file.",
        ),
        (
            {"test_split": "exam"},
            [],
            "task must be one that lm-eval loads, got KeyError: 'exam'. Mend the task",
        ),
        (
            {"generation_kwargs": {"do_sample": True, "until": []}},
            [],
            "task must decode greedily, got do_sample=True. Run it with lm-eval itself.",
        ),
        (
            {"unsafe_code": True},
            [],
            "task must score text without running it, got one that runs what a model writes",
        ),
        (
            {"metric_list": [{"metric": "bleu", "aggregation": "bleu", "higher_is_better": True}]},
            [],
            "task must have a metric with a value for every document, got bleu. Run it with lm-eval itself.",
        ),
        ({}, ["--metadata", "{"], "metadata must be a JSON object, got '{'."),
    ],
)
def test_a_task_that_cannot_be_run_is_one_line(tmp_path, capsys, settings, flags, line):
    write_task(tmp_path, "odd", {**TASKS["barn_say"], "filter_list": None, **settings})
    words = [
        "--tasks",
        "lm_eval/odd",
        "--include-path",
        str(tmp_path),
        "--lengths",
        "64",
        "--output",
        str(tmp_path / "run"),
    ]

    assert main([*words, *flags, "--dry-run"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert line in told.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["lm_eval"], "lm_eval: name must be given, got none. Write lm_eval/NAME.\n"),
        (
            ["passkey/hard"],
            '--tasks: passkey: has no parameter "name". Parameters: depths, max_new_tokens, protocol.\n',
        ),
        (
            ["lm_eval/x", "--include-path", "/none"],
            "lm_eval: include_path must be a folder, got '/none'. Name one with task files.\n",
        ),
        (
            ["passkey", "--include-path", "/none"],
            "--include-path: include_path must be left out where no task has it, got '/none'. lm_eval would.\n",
        ),
    ],
)
def test_a_name_that_says_too_little_is_one_line(capsys, words, line):
    assert main(["--tasks", *words, "--dry-run"]) == 2
    assert capsys.readouterr().err == line


def test_a_task_that_does_not_exist_is_told_with_the_nearest(barn, monkeypatch, capsys):
    # lm-eval's own 14,000 tasks take seconds to read: those of the barn stand in for them.
    monkeypatch.setattr("lm_eval.tasks.manager.__file__", str(barn / "manager.py"))

    assert main(["--tasks", "lm_eval/barn_sey", "--dry-run"]) == 2
    assert capsys.readouterr().err == (
        "lm_eval: name must be a task, group or tag that lm-eval finds, got 'barn_sey'. Did you mean \"barn_say\"?\n"
    )
    assert main(["--tasks", "lm_eval/9", "--dry-run"]) == 2
    assert capsys.readouterr().err.endswith("got '9'. `longbench-run lm-eval ls tasks` lists them.\n")


def test_a_group_of_a_folder_holds_tasks_of_lm_evals_own(barn, tmp_path, monkeypatch):
    monkeypatch.setattr("lm_eval.tasks.manager.__file__", str(barn / "manager.py"))
    (tmp_path / "yard.yaml").write_text("group: yard\ntask: [barn_say, barn_text]\nnum_fewshot: 2\n")

    parts = parts_of(create_task("lm_eval", {"name": "yard", "include_path": str(tmp_path)}))

    assert [task.info.name for task in parts] == ["lm_eval/barn_say", "lm_eval/barn_text"]
    assert {task.parameters()["num_fewshot"] for task in parts} == {2}
    with pytest.raises(TaskError, match="member must be one of barn_say, barn_text, got 'barn_cloze'"):
        one("yard", tmp_path, member="barn_cloze")


def test_a_task_that_makes_its_data_is_given_metadata_and_a_metric_can_be_chosen(tmp_path):
    (tmp_path / "made.py").write_text(
        "import random\nimport datasets\n\n\n"
        "def rows(max_seq_lengths, **rest):\n"
        "    found = [{'ask': f'{n} {random.random()}', 'n': n} for n in max_seq_lengths]\n"
        "    return {'test': datasets.Dataset.from_list(found)}\n\n\n"
        "def score(doc, results):\n"
        "    return {'8': float(doc['n'] == 8), '16': float(doc['n'] == 16) or -1.0}\n"
    )
    (tmp_path / "made.yaml").write_text(
        "task: made\ncustom_dataset: !function made.rows\ntest_split: test\ndoc_to_text: ask\ndoc_to_target: ask\n"
        "process_results: !function made.score\ngeneration_kwargs: {until: [], max_gen_toks: 2}\n"
        "metric_list: [{metric: '8', aggregation: mean, higher_is_better: true}, "
        "{metric: '16', aggregation: mean, higher_is_better: true}]\n"
    )
    state = random.getstate()
    task = one("made", tmp_path, metadata='{"max_seq_lengths": [8, 16]}', metrics="8")

    # Data is drawn with lm-eval's own seed, and nothing of that is left behind.
    assert [sample.target for sample in samples(task)] == [
        f"8 {random.Random(0).random()}",
        *[samples(task)[1].target],
    ]
    assert random.getstate() == state
    output = Generated(token_ids=(), text="x")
    assert [task.score(sample, output).scores for sample in samples(task)] == [{"8": 1.0}, {"8": 0.0}]
    assert task.parameters() != one("made", tmp_path, metadata='{"max_seq_lengths": [8]}').parameters()
    with pytest.raises(TaskError, match=r'lm_eval/made: has no metric "4"\. Metrics: 16, 8'):
        _ = one("made", tmp_path, metadata='{"max_seq_lengths": [8, 16]}', metrics="4").info


def test_without_lm_eval_its_tasks_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)

    with pytest.raises(TaskError, match=r'Run `pip install "longbench-run\[lm-eval\]"`'):
        create_task("lm_eval", {"name": "never_loaded"}).parts()


def test_neither_the_listing_nor_a_task_of_lm_eval_imports_torch(barn):
    code = (
        "import sys\n"
        "from longbench_run.harness.cli_list import listing\n"
        "listing('tasks', verbose=True)\n"
        "print('lm_eval' in sys.modules, 'datasets' in sys.modules)\n"
        "from longbench_run.tasks.registry import create_task, parts_of\n"
        f"parts_of(create_task('lm_eval', {{'name': 'barn', 'include_path': {str(barn)!r}}}))\n"
        "print('lm_eval' in sys.modules, 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False", "True", "False", "False"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "check", [check for check in checks_of(TaskContract) if not set(check.split("_")) & {"process", "says"}]
)
def test_a_task_of_lm_eval_keeps_the_promises_of_every_task(barn, check):
    members = {"task": one("barn_cloze", barn), "tokenizers": (READER,)}

    getattr(type("Contract", (TaskContract,), members)(), check)()


def test_the_generic_task_can_be_described_without_lm_eval():
    info = load_task("lm_eval").info

    assert info.protocols == ("lm-eval", "middle", "refuse")
    assert info.metrics == ()
