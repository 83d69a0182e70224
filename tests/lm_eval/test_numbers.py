"""The same task files through lm-eval's own model, through a matrix, and through `hf-extended` inside lm-eval."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import pytest

from longbench_run.harness import run
from longbench_run.harness.chat import ChatTemplate, TaskTokenizer
from longbench_run.harness.cli import main
from longbench_run.harness.models.engine import run_group
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.results.store import read_run
from longbench_run.tasks.lm_eval.prompts import responses_of
from longbench_run.tasks.registry import create_task, parts_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from longbench_run.harness.lm_eval_model import ExtendedModel

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

CUT, WHOLE = 28, 256
"""Context lengths: one that prompts and texts are too long for, and one that they are not."""
KINDS = {"barn_say": "generate_until", "barn_text": "loglikelihood_rolling"}
TOLERANCE = 1e-3
"""Nats, of the log-likelihood of a text."""
OWN = "passkey,perplexity:protocol=sliding:tokens=700"
CHAT = (
    "{% for message in messages %}{{ '<s>' + message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


def evaluated(lm, names, folder, **options):
    """Return lm-eval's samples and results."""
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lm_eval.simple_evaluate(lm, tasks=names, task_manager=manager, bootstrap_iters=0, **options)


def answers(result, name):
    """Return lm-eval's responses to every request, document by document."""
    one = {sample["doc_id"]: [found[0] for found in sample["resps"]] for sample in result["samples"][name]}
    return [one[place] for place in sorted(one)]


@pytest.fixture(scope="module")
def loaded():
    return load_model(ModelSpec(device="cpu"))


@pytest.fixture(scope="module")
def theirs(loaded, barn):
    """lm-eval's own model, by context length."""
    return {
        length: evaluated(
            HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, max_length=length), ["barn"], barn
        )
        for length in (CUT, WHOLE)
    }


@pytest.fixture(scope="module")
def records(barn, tmp_path_factory):
    """A matrix with and without a method, by method, task and context length, each sorted by document."""
    folder = tmp_path_factory.mktemp("runs") / "barn"
    run(
        methods="self_extend",
        tasks="lm_eval/barn",
        include_path=barn,
        lengths=[CUT, WHOLE],
        factor=2,
        output=folder,
        device="cpu",
    )
    found = {}
    for record in sorted(read_run(folder).records, key=lambda record: record.index):
        key = (record.method_label, record.cell.task.name.partition("/")[2], record.cell.context_length)
        found.setdefault(key, []).append(record)
    return found


@pytest.mark.parametrize("name", ["barn_choice", "barn_cloze", "barn_text", "barn_say"])
@pytest.mark.parametrize("length", [CUT, WHOLE])
def test_every_request_is_answered_as_by_lm_evals_own_model(loaded, theirs, barn, name, length):
    (task,) = parts_of(create_task("lm_eval", {"name": name, "include_path": str(barn)}))
    tokenizer = TaskTokenizer(tokenizer=loaded.tokenizer)
    samples = list(task.samples(context_length=length, count=4, seed=0, tokenizer=tokenizer))
    results = run_group(loaded, [sample.request for sample in samples], prefix_causal=True)

    for sample, result, expected in zip(samples, results, answers(theirs[length], name), strict=True):
        for ours, other in zip(
            responses_of(KINDS.get(name, "loglikelihood"), result.output), expected, strict=True
        ):
            if isinstance(other, tuple):
                assert (ours[0], ours[1]) == (pytest.approx(other[0], abs=TOLERANCE), other[1])
            else:
                assert ours == (other if isinstance(other, str) else pytest.approx(other, abs=TOLERANCE))
        assert (sample.tokens_truncated > 0) == (length == CUT and name in {"barn_choice", "barn_say"})


@pytest.mark.parametrize("length", [CUT, WHOLE])
def test_records_hold_lm_evals_scores(theirs, records, length):
    samples = theirs[length]["samples"]
    seen = set()
    for name, metric, filter_ in [
        ("barn_choice", "acc", None),
        ("barn_choice", "acc_norm", None),
        ("barn_cloze", "acc", None),
        ("barn_say", "exact_match", "whole"),
        ("barn_say", "exact_match", "letter"),
    ]:
        ours = records["none", name, length]
        key = metric if filter_ is None else f"{metric},{filter_}"
        by_document = sorted(
            (s for s in samples[name] if filter_ in {None, s["filter"]}), key=lambda s: s["doc_id"]
        )
        assert [record.scores[key] for record in ours] == [float(s[metric]) for s in by_document]
        seen |= {(key, record.scores[key]) for record in ours}
    assert {("acc", 0.0), ("acc", 1.0)} < seen
    if length == WHOLE:
        assert {("exact_match,letter", 0.0), ("exact_match,letter", 1.0)} < seen
    said = [found[0] for found in answers(theirs[length], "barn_say")]
    assert [record.prediction for record in records["none", "barn_say", length]] == said


def test_perplexities_of_records_make_lm_evals_own(theirs, records):
    result = theirs[WHOLE]["results"]
    texts, clozes = records["none", "barn_text", WHOLE], records["none", "barn_cloze", WHOLE]

    def mean(metric):
        return sum(r.scores[metric] * r.weight for r in texts) / sum(r.weight for r in texts)

    assert mean("bits_per_byte") == pytest.approx(result["barn_text"]["bits_per_byte,none"], rel=1e-6)
    byte = result["barn_text"]["byte_perplexity,none"]
    assert math.exp(mean("log_byte_perplexity")) == pytest.approx(byte, rel=1e-6)
    word = [-s["word_perplexity"][0] / s["word_perplexity"][1] for s in theirs[WHOLE]["samples"]["barn_text"]]
    assert [r.scores["log_word_perplexity"] for r in texts] == pytest.approx(word, rel=1e-5)
    assert math.exp(sum(r.scores["log_perplexity"] for r in clozes) / len(clozes)) == pytest.approx(
        result["barn_cloze"]["perplexity,none"], rel=1e-4
    )


def test_records_say_what_was_cut(records):
    cut, whole = (records["none", "barn_say", length] for length in (CUT, WHOLE))

    assert {record.tokens_truncated for record in whole} == {0}
    for short, long in zip(cut, whole, strict=True):
        assert short.prompt_tokens == CUT - 12
        assert short.tokens_truncated == long.prompt_tokens - short.prompt_tokens
        assert short.truncated_at == 0
        assert long.prompt_head.endswith(short.prompt_head)
    assert {r.cell.task.protocol for r in cut} == {"lm-eval"}
    assert {r.cell.task.parameters["num_fewshot"] for r in records["none", "barn_choice", CUT]} == {2}


@pytest.fixture(scope="module")
def extended():
    """The model inside lm-eval, its window doubled as in the matrix."""
    return ExtendedModel(
        "reference", method="self_extend", factor=2, context_length=WHOLE, device="cpu", batch_size=1
    )


def test_the_model_inside_lm_eval_gives_what_a_matrix_gives(extended, records, barn):
    result = evaluated(extended, ["barn"], barn)

    for name in ("barn_choice", "barn_say"):
        ours = records["self_extend", name, WHOLE]
        metric, key, filter_ = {
            "barn_choice": ("acc", "acc", "none"),
            "barn_say": ("exact_match", "exact_match,letter", "letter"),
        }[name]
        by_document = sorted(
            (s for s in result["samples"][name] if s["filter"] == filter_), key=lambda s: s["doc_id"]
        )
        assert [record.scores[key] for record in ours] == [float(s[metric]) for s in by_document]
    said = [found[0] for found in answers(result, "barn_say")]
    assert said == [record.prediction for record in records["self_extend", "barn_say", WHOLE]]
    clozes = [-found[0][0] for found in answers(result, "barn_cloze")]
    expected = [record.scores["log_perplexity"] for record in records["self_extend", "barn_cloze", WHOLE]]
    assert clozes == pytest.approx(expected, abs=TOLERANCE)
    texts = [-found[0] for found in answers(result, "barn_text")]
    weighed = [r.scores["log_byte_perplexity"] * r.weight for r in records["self_extend", "barn_text", WHOLE]]
    assert texts == pytest.approx(weighed, abs=TOLERANCE)


def test_prompts_of_a_chat_are_lm_evals_own(loaded, barn):
    tokenizer = loaded.tokenizer
    before, tokenizer.chat_template = tokenizer.chat_template, CHAT
    try:
        lm = HFLM(pretrained=loaded.model, tokenizer=tokenizer)
        manager = TaskManager(include_path=str(barn), include_defaults=False)
        theirs = manager.load(["barn_choice", "barn_say"])["tasks"]
        reader = TaskTokenizer(tokenizer=tokenizer, chat=ChatTemplate(name="own"))
        for name, task in theirs.items():
            task.set_fewshot_seed(1234)
            task.build_all_requests(
                apply_chat_template=True, fewshot_as_multiturn=True, chat_template=lm.apply_chat_template
            )
            options = {"name": name, "include_path": str(barn), "chat": True}
            (ours,) = parts_of(create_task("lm_eval", options))
            prompts = [
                sample.request
                for sample in ours.samples(context_length=999, count=4, seed=0, tokenizer=reader)
            ]
            asked = [lm.tok_encode(instance.args[0]) for instance in task.instances if instance.idx == 0]
            ids = [
                list(request.prompt_ids)
                if name == "barn_say"
                else list(request.windows[0].token_ids[: request.windows[0].first_scored])
                for request in prompts
            ]
            assert ids == asked
            assert "user: Question" in tokenizer.decode(ids[0])
            assert ours.info.uses_chat_template
    finally:
        tokenizer.chat_template = before


def test_exported_tasks_have_the_scores_of_a_run(extended, tmp_path, capsys):
    flags = ["--tasks", OWN, "--lengths", "600", "--samples", "1"]

    assert main(["export-tasks", str(tmp_path / "exported"), *flags]) == 0
    told = capsys.readouterr()
    names = told.out.rpartition("--tasks ")[2].strip().split(",")
    assert [name.removeprefix("longbench_run_") for name in names] == [
        "passkey_passkey_v1_600",
        "perplexity_sliding_600",
    ]
    extended.max_length = 700
    result = evaluated(extended, names, tmp_path / "exported")["results"]
    folder = tmp_path / "run"
    run(methods="self_extend", tasks=OWN, lengths=[600], samples=1, factor=2, output=folder, device="cpu")
    ours = [r for r in read_run(folder).records if r.method_label == "self_extend"]

    def mean(protocol, metric):
        of_task = [r for r in ours if r.cell.task.protocol == protocol]
        weights = [r.weight or 1 for r in of_task]
        return sum(r.scores[metric] * w for r, w in zip(of_task, weights, strict=True)) / sum(weights)

    assert result[names[0]]["accuracy,none"] == mean("passkey-v1", "accuracy")
    assert result[names[1]]["nll,none"] == pytest.approx(mean("sliding", "nll"), rel=1e-5)
    assert told.err == ""  # every window is read as the tokens that it is made of
    assert main(["export-tasks", str(tmp_path / "exported"), *flags]) == 2
    assert capsys.readouterr().err.endswith(
        f"DIR: folder must be one without exported tasks, got {str(tmp_path / 'exported')!r}. Name another folder, or "
        "pass --overwrite.\n"
    )
    assert (
        main(["export-tasks", str(tmp_path / "exported"), *flags[:1], "passkey", *flags[2:], "--overwrite"])
        == 0
    )


def test_lm_evals_command_line_is_handed_the_words_and_knows_the_model(monkeypatch):
    import sys

    from lm_eval.api.registry import get_model

    seen = SimpleNamespace()
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: seen.__dict__.update(argv=list(sys.argv)))
    before = list(sys.argv)

    assert main(["lm-eval", "run", "--model", "hf-extended", "--tasks", "x", "--help"]) == 0
    assert seen.argv == ["lm-eval", "run", "--model", "hf-extended", "--tasks", "x", "--help"]
    assert sys.argv == before
    assert get_model("hf-extended") is ExtendedModel


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"factors": 4},
            '--model_args of hf-extended: unknown argument "factors". Did you mean "factor"? See docs/lm-eval.md.',
        ),
        (
            {"factor": "4x"},
            "--model_args of hf-extended: factor must be a number of at least 1, got '4x'. "
            "Write factor=4 for four original windows.",
        ),
        (
            {"context_length": "long"},
            "--model_args of hf-extended: context_length must be a number of tokens or of original windows, got 'long'. "
            "Write 16384, 16k or 4x.",
        ),
        ({"cut": "left"}, '--model_args of hf-extended: unknown cut "left". See docs/lm-eval.md.'),
    ],
)
def test_a_wrong_argument_of_the_model_is_one_line(arguments, line):
    with pytest.raises(ValueError, match=r"hf-extended") as caught:
        ExtendedModel("reference", **arguments)

    assert str(caught.value) == line
