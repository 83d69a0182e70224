"""The study of tuned variants: what it tunes with, and what its verdicts say."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from benchmarks.tuning_claim import __main__ as command
from benchmarks.tuning_claim.claims import Claim, claims, judged
from benchmarks.tuning_claim.compositions import _differences
from benchmarks.tuning_claim.conversations import TEMPLATE, turns_of, write_conversations
from benchmarks.tuning_claim.editions import EDITIONS, HALVES, LEARNING_RATES, MAIN
from benchmarks.tuning_claim.methods import _effects, _halves, _paper
from benchmarks.tuning_claim.page import Made, _introduction
from longbench_run.harness import reference_model
from longbench_run.harness.reference_model.row import Kind, Row
from longbench_run.harness.reference_model.tokenizer import load_tokenizer
from longbench_run.harness.tuning.conversations import read_conversations
from longbench_run.harness.tuning.samples import encode_all
from longbench_run.reports.document import Items, Table
from longbench_run.results.crossed import Contrast
from longbench_run.results.tuned import Place, TunedCell
from longbench_run.tasks.generated.names import belongs_to_tasks, first_key


@pytest.fixture(scope="module")
def tokenizer():
    loaded = load_tokenizer(reference_model.path())
    loaded.chat_template = TEMPLATE
    return loaded


def test_conversations_fit_the_context_teach_answers_alone_and_hold_nothing_that_tasks_ask_for(
    tokenizer, tmp_path
):
    path = tmp_path / "conversations.jsonl"
    write_conversations(path, tokenizer, count=12, shortest=1024, longest=2048)
    file = read_conversations(path)
    encoded = encode_all(file, tokenizer, context_length=2048)

    assert len(file.conversations) == len(encoded.samples) == 12
    assert not any(encoded.dropped.values())
    for conversation, sample in zip(file.conversations, encoded.samples, strict=True):
        assert conversation[-1].role == "assistant"
        assert all(first_key(turn.text) is None for turn in conversation)
        assert all(belongs_to_tasks(turn.text) is None for turn in conversation if turn.role == "assistant")
        assert 0 < sample.responses < len(sample) / 2
        learnt = tokenizer.decode([label for label in sample.labels if label >= 0])
        answers = [turn.text for turn in conversation if turn.role == "assistant"]
        assert learnt == "".join(f"{answer}</s>" for answer in answers)
    assert max(map(len, encoded.samples)) > 1024
    again = tmp_path / "again.jsonl"
    write_conversations(again, tokenizer, count=12, shortest=1024, longest=2048)
    assert again.read_bytes() == path.read_bytes()


def test_a_row_becomes_turns_up_to_its_last_answer(tokenizer):
    parts = [("Say it.", Kind.IGNORED), (" One.", Kind.ANSWER), (" And?", Kind.TEXT), (" Two.", Kind.ANSWER)]
    ids, kinds = [tokenizer.bos_token_id], [Kind.IGNORED]
    for text, kind in [*parts, (" The end.", Kind.TEXT)]:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids += tokens
        kinds += [kind] * len(tokens)
    ids += [tokenizer.eos_token_id]
    kinds += [Kind.ANSWER]
    turns = turns_of(Row(np.array(ids[:-1]), np.array(kinds[:-1])), tokenizer)

    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "Say it."), ("assistant", " One."), ("user", " And?"), ("assistant", " Two."),
    ]  # fmt: skip


class Fixed:
    """A run whose contrasts are given."""

    def __init__(self, *contrasts):
        self._contrasts = iter(contrasts)

    def contrast(self, place, cells):
        return next(self._contrasts)


def found(value, p):
    return Contrast(value=value, seeds=5, n=20, clusters=20, low=value - 1, high=value + 1, p=p)


def test_claims_are_judged_together_and_on_their_own_side():
    stated = [
        Claim(text=str(number), cells={}, says=says)
        for number, says in enumerate(
            ("above 0", "above 0", "near 0", "near 0", "above 0", "above 0", "above 0")
        )
    ]
    run = Fixed(
        found(0.2, 1e-5),
        found(-0.2, 1e-5),
        found(0.2, 1e-5),
        found(0.01, 0.8),
        found(0.2, 0.03),
        Contrast(value=-0.2, seeds=5, n=20, clusters=20),
        None,
    )

    assert [each.found for each in judged(run, None, stated)] == [
        "shown", "contradicted", "contradicted", "not shown", "not shown", "not tested", "not measured",
    ]  # fmt: skip


def test_where_less_is_better_signs_are_turned_and_stay_on_the_paper_s_side():
    class Nll:
        def contrast(self, place, cells):
            # ABF has 1.3 nats per token, PI 1.5.
            value = sum(sign * {"abf": 1.3, "pi": 1.5}[cell.method] for cell, sign in cells.items())
            return replace(found(0.0, 1e-5), value=value)

    cells = {TunedCell("abf", 32, 2048): 1.0, TunedCell("pi", 32, 2048): -1.0}
    (each,) = judged(
        Nll(), None, [Claim(text="abf - pi", cells=cells, says="above 0")], higher_is_better=False
    )
    assert each.contrast.value == pytest.approx(0.2)
    assert each.found == "shown"


def test_both_editions_tune_the_same_methods_with_five_seeds_and_hold_the_paper_s_and_the_released_form():
    assert {EDITIONS[name].methods for name in ("cpu", "bundled")} == {MAIN}
    assert {EDITIONS[name].halves for name in ("cpu", "bundled")} == {HALVES}
    assert {"entropy_abf", "entropy_abf:skip_layers=0"} <= set(MAIN)
    assert set(HALVES) - set(MAIN) == {"none", "log_n"}
    assert {len(edition.seeds) for edition in EDITIONS.values()} == {5}
    assert len({EDITIONS[name].samples for name in ("cpu", "bundled")}) == 1


class Additive:
    """A run in which base and scale add up, but for a little more where both are."""

    samples = (0, 32, 100)

    def __init__(self):
        self.values = dict(zip(HALVES, (0.1, 0.15, 0.3, 0.38), strict=True))

    def contrast(self, place, cells):
        value = sum(sign * self.values[cell.method] for cell, sign in cells.items())
        return Contrast(value=value, seeds=5, n=20, clusters=20, low=value - 0.01, high=value + 0.01, p=0.5)


def test_effects_are_what_a_half_adds_without_the_other_and_with_it():
    table = _effects(Additive(), None, 100, [512], name="effects")
    found = {row[0].text[0].text: float(row[1].text[0].text.split()[0]) for row in table.rows}

    assert found == {
        "base, without scale": 0.2,
        "base, with scale": 0.23,
        "scale, without base": 0.05,
        "scale, with base": 0.08,
        "interaction": 0.03,
    }


def test_what_the_paper_orders_is_asked_of_both_forms_at_every_number_of_samples():
    found = {claim.text: claim for claim in claims(Additive(), target=2048, longest=4096)}

    assert found["abf - pi, 32 samples"].cells == {
        TunedCell("abf", 32, 2048): 1.0, TunedCell("pi", 32, 2048): -1.0,
    }  # fmt: skip
    assert found["yarn - ntk_by_parts, 100 samples"].says == "near 0"
    for form in ("entropy_abf", "entropy_abf:skip_layers=0"):
        assert {f"{form} - abf, {count} samples" for count in (32, 100)} <= set(found)
        assert found[f"{form}: loss from 2048 to 4096 tokens, 100 samples"].says == "near 0"
        gap = found[f"({form} - abf) with 32 samples less that with 100"]
        assert gap.cells == {
            TunedCell(form, 32, 2048): 1.0, TunedCell("abf", 32, 2048): -1.0,
            TunedCell(form, 100, 2048): -1.0, TunedCell("abf", 100, 2048): 1.0,
        }  # fmt: skip


def test_the_paper_s_tables_stand_as_it_printed_them():
    four, five = (block for block in _paper() if isinstance(block, Table))
    rows = [[[cell.text[0].text for cell in row] for row in table.rows] for table in (four, five)]

    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    assert rows[0][-1][3] == rows[1][-1][4] == "39.1"
    assert rows[1] == [
        ["PI", "29.7", "33.8", "36.1", "36.3"], ["NTK-By-Parts", "24.5", "31.9", "34.5", "34.7"],
        ["YaRN", "25.0", "30.9", "35.2", "35.5"], ["ABF", "26.4", "35.1", "37.2", "38.6"],
        ["EABF", "31.3", "37.4", "38.3", "39.1"],
    ]  # fmt: skip


def test_the_rate_with_the_lowest_loss_of_the_last_step_is_taken_for_all_methods(tmp_path, monkeypatch):
    last = {str(rate): [0.4, 0.9, 0.2][place] for place, rate in enumerate(LEARNING_RATES)}
    started = []

    def done(commands, *, module="longbench_run.harness"):
        for asked in commands:
            started.append(asked)
            words = dict(zip(asked[1::2], asked[2::2], strict=True))
            for number, _ in enumerate(words["--methods"].split(",")):
                folder = Path(words["--output"]) / str(number)
                folder.mkdir(parents=True)
                losses = [0.1, last[words["--learning-rate"]] + number]
                (folder / "recipe.json").write_text(json.dumps({"result": {"losses": losses}}))

    monkeypatch.setattr(command, "_side_by_side", done)
    (tmp_path / "conversations.jsonl").touch()
    study = command.Study(EDITIONS["cpu"], tmp_path, workers=2)

    assert study._rate(tmp_path / "model") == str(LEARNING_RATES[2])
    assert len(started) == len(LEARNING_RATES)
    assert not {words[words.index("--seed") + 1] for words in started} & {
        str(seed) for seed in EDITIONS["cpu"].seeds
    }


def test_a_cut_chooses_its_rate_with_no_more_samples_than_it_tunes_with_and_on_the_device_that_was_asked_for(
    tmp_path,
):
    assert EDITIONS["bundled"].rate_samples == 100
    cut = replace(EDITIONS["bundled"], samples=(16, 32))
    assert cut.rate_samples == 32
    (tmp_path / "conversations.jsonl").touch()
    study = command.Study(cut, tmp_path, workers=1, device="cuda:1")
    asked = study._command(tmp_path, ["pi"], samples=[32], rate="1e-4", name="main")
    words = dict(zip(asked[1::2], asked[2::2], strict=True))
    assert (words["--device"], words["--samples"], words["--context-length"]) == ("cuda:1", "32", "4x")


def test_halves_that_are_not_tuned_are_measured_untuned_and_have_no_table_of_tuned_ones(
    tmp_path, monkeypatch
):
    asked = {}
    monkeypatch.setattr(command.Study, "run", lambda self: asked.update(study=self))
    monkeypatch.setattr(
        command, "write_page", lambda run, results, *, edition, made: asked.update(command=made.command)
    )
    monkeypatch.setattr(command.Study, "rate_losses", {})
    words = ["--seeds", "0,1", "--samples", "16", "--halves", "0", "--output", str(tmp_path)]
    assert command.main(["cpu", *words]) == 0

    assert asked["command"] == "python -m benchmarks.tuning_claim cpu --seeds 0,1 --samples 16 --halves 0"
    edition = asked["study"].edition
    assert list(asked["study"]._parts) == ["main"]
    assert (edition.halves, edition.halves_samples) == (HALVES, ())
    run = Additive()
    run.places = [Place("m"), Place("m", "perplexity", "plain", "nll")]
    names = [block.name for block in _halves(run, edition) if isinstance(block, Table)]
    assert names == ["halves-0", "effects-0", "halves-0-nll", "effects-0-nll"]


def test_seconds_are_of_all_calls_and_on_the_disk_while_one_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_TICK", 0.01)
    first = command.Study(EDITIONS["cpu"], tmp_path, workers=1)
    seen = threading.Event()
    monkeypatch.setattr(command, "replace_text", noting(command.replace_text, seen))
    with first._timed("tuning"):
        assert seen.wait(10)  # whatever ends it
        before = first.seconds["tuning"]
        assert before > 0
    with command.Study(EDITIONS["cpu"], tmp_path, workers=1)._timed("tuning"):
        time.sleep(0.05)
    assert first.seconds["tuning"] >= before + 0.05
    with first._timed("measuring"):
        pass
    assert set(first.seconds) == {"tuning", "measuring"}


def noting(function, seen):
    def noted(*arguments, **keywords):
        function(*arguments, **keywords)
        seen.set()

    return noted


def test_the_page_says_what_was_another_recipe_than_the_paper_s_and_how_the_rate_was_chosen(tmp_path):
    for name, deviations in (
        ("pi-32-seed0", {"precision": {"paper": "bfloat16", "here": "float32"}}),
        ("pi-300-seed0", {"batch_size": {"paper": 128, "here": 32}}),
    ):
        (tmp_path / "main" / name).mkdir(parents=True)
        recipe = json.dumps({"deviations_from_paper": deviations})
        (tmp_path / "main" / name / "recipe.json").write_text(recipe)
    study = command.Study(EDITIONS["cpu"], tmp_path, workers=2)
    assert study.deviations == {"precision": "float32", "batch_size": 32}
    made = Made(
        command="python -m benchmarks.tuning_claim cpu",
        seconds={"model": 120.0, "tuning": 60.0},
        rates={"2e-05": 1.5, "0.0001": 1.25},
        deviations=study.deviations,
        machine="2 processes",
    )
    (items,) = (block for block in _introduction(EDITIONS["cpu"], made) if isinstance(block, Items))
    said = ["".join(span.text for span in item) for item in items.items]
    assert "the paper's recipe but for batch size 32, precision float32" in said
    assert (
        "at every length, of each dataset: passkey 20 samples, perplexity 10 samples, longbench_synthetic 10 samples"
        in said
    )
    assert any(
        "100 samples of a seed of its own, among 2e-05 (1.500), 0.0001 (1.250)" in each for each in said
    )
    assert "time: model 2 min, tuning 1 min; 3 min in all, 2 processes" in said


class Composed:
    """A run of variants by composition, whose differences are given."""

    values = MappingProxyType({"none": 0.2, "short": 0.25, "long": 0.3, "short_then_long": 0.2})

    def contrast(self, place, cells):
        (length,) = {cell.context_length for cell in cells}
        assert {cell.samples for cell in cells} == {100}
        value = sum(
            sign * self.values[cell.method.removeprefix("entropy_abf, composition ")]
            for cell, sign in cells.items()
        )
        return Contrast(value=value, seeds=5, n=20, clusters=20, p=length / 1e6)


def test_compositions_are_compared_with_any_conversation_and_corrected_for_their_number():
    table = _differences(Composed(), None, EDITIONS["composition"], name="compositions", said="differences")
    rows = {row[0].text[0].text: [cell.text[0].text for cell in row[1:]] for row in table.rows}

    assert list(rows) == ["short - none", "long - none", "short_then_long - none"]
    assert [each.split()[0] for each in rows["long - none"]] == ["0.100"] * 4
    assert [each.split()[0] for each in rows["short - none"]] == ["0.050"] * 4
    # Holm: twelve p-values, the least of them 512e-6 three times.
    assert {each[0].rpartition(" ")[2] for each in rows.values()} == {f"{12 * 512 / 1e6:.2g}"}


def test_the_edition_of_compositions_has_enough_short_and_long_conversations(tokenizer, tmp_path):
    edition = EDITIONS["composition"]
    path, longest = tmp_path / "conversations.jsonl", 4 * edition.window
    count = 150  # a tenth of them
    write_conversations(
        path, tokenizer, count=count, shortest=int(edition.shortest * longest), longest=longest
    )
    lengths = [
        len(each) for each in encode_all(read_conversations(path), tokenizer, context_length=longest).samples
    ]
    per_tenth = max(edition.samples) * count / edition.conversations
    # Twice as many as a seed learns from: seeds take others.
    assert sum(length <= edition.window for length in lengths) > 2 * per_tenth
    assert sum(length > longest / 2 for length in lengths) > 2 * per_tenth
