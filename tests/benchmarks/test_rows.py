"""Every row runs from end to end, is stored when it is measured, and notices when the engine slows down."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import measures, speed, training
from benchmarks.memory import peak_mib
from benchmarks.rows import ROWS, Limit, Row
from benchmarks.speed import Figure, in_turn
from benchmarks.stored import Stored

BY_NAME = {row.name: row for row in ROWS}
IN_ITS_OWN_PROCESS = {
    "full-form-memory",
    "scoring-memory",
    "scoring-memory-peers",
    "entropy-memory",
    "tuning-memory",
}


def figures(folder):
    return json.loads((folder / "engine.json").read_text())["columns"]["cpu"]


def test_names_of_rows_are_unique():
    assert len(BY_NAME) == len(ROWS)


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - IN_ITS_OWN_PROCESS - {"outside-forward"}))
def test_a_row_runs_at_toy_sizes(bench, name):
    figure = BY_NAME[name].measure(bench)
    assert len(figure.values) == 1
    assert 0 < figure.values[0] < 1000


def test_time_outside_modules_is_a_share_of_the_run(bench):
    (share,) = BY_NAME["outside-forward"].measure(bench).values
    assert 0 < share < 1


@pytest.mark.slow
def test_memory_is_that_of_the_work_and_not_of_the_model(bench):
    """Full logits of 512 tokens over 131072 tokens take 256 MiB, and their log-softmax as much."""
    assert 500 < peak_mib(bench, "scoring full logits") < 900
    assert peak_mib(bench, "scoring streamed") < 300  # four times the tokens


@pytest.mark.slow
def test_full_form_takes_several_score_matrices(bench):
    matrix = 2 * 1024 * 1024 * 4 / 2**20
    assert peak_mib(bench, "self_extend in full") > 2 * matrix
    assert peak_mib(bench, "self_extend in blocks") < 2 * matrix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "size", "least", "most"),
    [
        # Of 3 layers with 2 heads, 2048 x 2048 probabilities take 96 MiB.
        ("attention entropy", "prefill", 5, 96),
        # The states between 3 layers of width 320 take 7.5 MiB at 2048 tokens: recomputed layers keep no more.
        ("tuning step", "scoring", 7.5, 320),
    ],
)
def test_memory_grows_as_the_tokens_do_and_not_as_their_square(bench, work, size, least, most):
    """Four times the tokens: sixteen times the memory by their square; a quarter more or less from process to process."""
    short, long = (
        peak_mib(replace(bench, column=sized(bench, **{size: tokens})), work) for tokens in (2048, 8192)
    )
    assert least < short < most, short
    assert short < long < 6 * short, (short, long)


def sized(bench, **sizes):
    return replace(bench.column, sizes=replace(bench.column.sizes, **sizes))


def test_what_other_ways_would_take_is_computed_from_the_shape(bench, monkeypatch):
    monkeypatch.setattr(measures, "peak_mib", lambda _bench, _work: 512.0)
    column = sized(bench, prefill=32768, scoring=32768)
    notes = {
        name: BY_NAME[name].measure(replace(bench, column=column))
        for name in ("entropy-memory", "tuning-memory")
    }
    assert notes["entropy-memory"] == Figure(
        values=(0.5,),
        note="one process; 3 layers x 2 heads x 32768^2 probabilities of 4 bytes: 24 GiB, computed",
    )
    assert notes["tuning-memory"] == Figure(
        values=(0.5,),
        note="one process; logits of 32768 positions x 2048 tokens x 4 bytes: 0.25 GiB, computed",
    )


def test_the_sample_of_a_step_of_tuning_has_about_the_tokens_asked_for_and_learns_nearly_all(bench, tmp_path):
    planned = training._planned(bench.column, tmp_path)
    assert planned.recipe.steps == len(planned.samples) == 2
    for sample in planned.samples:
        assert bench.column.sizes.scoring - 64 < len(sample) <= bench.column.sizes.scoring
        assert sample.responses > len(sample) - 64


def test_passkey_grid_computes_the_tokens_that_a_count_by_hand_gives(bench):
    prompts = sorted(request.prompt_ids for request in measures._passkey_grid(bench))
    computed = len(prompts[0])
    for before, prompt in pairwise(prompts):
        same = next(place for place, pair in enumerate(zip(before, prompt, strict=False)) if len({*pair}) > 1)
        computed += len(prompt) - same
    (share,) = BY_NAME["passkey-tokens"].measure(bench).values
    assert share == pytest.approx(computed / sum(map(len, prompts)))


def test_a_slower_candidate_flips_reached(bench, tmp_path, monkeypatch):
    row = Row(
        name="single-band-prefill",
        what="w",
        peers="p",
        cpu=Limit(3.0),
        measure=BY_NAME["single-band-prefill"].measure,
    )
    bench = replace(bench, repeats=3)

    def reached(folder):
        command.run_rows(bench, [row], output=folder, command="test")
        values = figures(folder)["rows"][row.name]["values"]
        return row.cpu.is_reached(speed_of(values))

    def speed_of(values):
        return sorted(values)[len(values) // 2]

    assert reached(tmp_path / "as it is")
    engine = measures.results

    def slow(*arguments, **named):
        return [
            replace(result, seconds_prefill=result.seconds_prefill + 3.0)
            for result in engine(*arguments, **named)
        ]

    monkeypatch.setattr(measures, "results", slow)
    assert not reached(tmp_path / "slowed down")


def test_rounds_alternate_which_way_goes_first(bench):
    order = []

    def way(name, seconds):
        def timed():
            order.append(name)
            return seconds

        return timed

    figure = in_turn(replace(bench, repeats=3), way("candidate", 2.0), way("baseline", 1.0), note="cut")
    assert order == ["candidate", "baseline", "baseline", "candidate"] * 2
    assert figure == Figure(values=(2.0, 2.0, 2.0), note="2 s / 1 s; cut")


def test_the_first_round_warms_up_and_two_more_run_however_long_they_take(bench):
    seconds = iter([5.0, 1.0, 1.0, 3.0, 4.0, 1.0])
    figure = in_turn(replace(bench, repeats=9, seconds=0.0), lambda: next(seconds), lambda: next(seconds))
    assert figure.values == (3.0, 4.0)
    assert next(seconds, None) is None


def test_a_forward_clock_tells_prompts_from_steps(bench):
    model = bench.column.load().model
    with speed.ForwardClock("cpu").of(model) as clock, torch.inference_mode():
        cache = model(input_ids=torch.tensor([[5, 6, 7]]), use_cache=True).past_key_values
        for _ in range(2):
            model(input_ids=torch.tensor([[8]]), past_key_values=cache, use_cache=True)
    model(input_ids=torch.tensor([[9]]))
    assert clock.steps == 2
    assert 0 < clock.prompts < clock.seconds


def test_time_inside_nested_modules_counts_once():
    class Slow(torch.nn.Module):
        def forward(self, x):
            time.sleep(0.05)
            return x

    nested = torch.nn.Sequential(Slow(), torch.nn.Sequential(Slow()))
    with speed.ForwardClock("cpu").of(None) as clock:
        nested(torch.zeros(1, 3))
    assert 0.1 <= clock.seconds < 0.19


def row_of(name, measure):
    return Row(name=name, what="w", peers="p", cpu=Limit(1.0), measure=measure)


def test_a_row_that_fails_is_stored_and_the_others_are_measured(bench, tmp_path):
    def broken(_bench):
        raise RuntimeError("no memory\nof any kind")

    rows = [row_of("decode", broken), row_of("matrix-rate", lambda _bench: Figure(values=(0.5,), note=""))]
    assert not command.run_rows(bench, rows, output=tmp_path, command="test")
    stored = figures(tmp_path)["rows"]
    assert stored["decode"]["failed"] == "RuntimeError: no memory"
    assert stored["matrix-rate"]["values"] == [0.5]


def test_a_killed_benchmark_goes_on_with_what_it_owes(bench, tmp_path):
    counted = []

    def count(name):
        def measure(_bench):
            counted.append(name)
            if counted == ["decode", "matrix-rate"]:
                raise KeyboardInterrupt
            return Figure(values=(1.0,), note="")

        return measure

    rows = [row_of(name, count(name)) for name in ("decode", "matrix-rate", "passkey-time")]
    with pytest.raises(KeyboardInterrupt):
        command.run_rows(bench, rows, output=tmp_path, command="test")
    assert figures(tmp_path)["pending"] == ["matrix-rate", "passkey-time"]
    assert command.run_rows(bench, rows, output=tmp_path, command="test")
    assert counted == ["decode", "matrix-rate", "matrix-rate", "passkey-time"]
    assert command.run_rows(bench, rows, output=tmp_path, command="test")
    assert counted[4:] == ["decode", "matrix-rate", "passkey-time"]


def test_rows_measured_in_between_do_not_cancel_what_is_owed(bench, tmp_path):
    stored = Stored(tmp_path / "engine.json")
    assert stored.begin(bench, ["decode", "matrix-rate"]) == ["decode", "matrix-rate"]
    assert stored.begin(bench, ["passkey-time"]) == ["passkey-time"]
    stored.add(bench, "passkey-time", {"values": [0.5]})
    assert stored.begin(bench, ["decode", "matrix-rate", "passkey-time"]) == ["decode", "matrix-rate"]


def test_a_run_keeps_the_other_column_and_its_own_other_rows(bench, tmp_path):
    stored = Stored(tmp_path / "engine.json")
    stored.begin(bench, ["decode"])
    stored.add(bench, "decode", {"values": [0.5]})
    stored.columns["gpu"] = {"machine": {}, "rows": {"decode": {"values": [0.25]}}, "pending": []}
    stored.add(bench, "decode", {"values": [0.5]})
    again = Stored(tmp_path / "engine.json")
    again.begin(bench, ["matrix-rate"])
    assert again.columns["gpu"]["rows"]["decode"]["values"] == [0.25]
    assert again.columns["cpu"]["rows"]["decode"]["values"] == [0.5]


def test_figures_of_other_sizes_are_not_kept(bench, tmp_path):
    stored = Stored(tmp_path / "engine.json")
    stored.begin(bench, ["decode"])
    stored.add(bench, "decode", {"values": [0.5]})
    sizes = replace(bench.column.sizes, decode_tokens=5)
    stored.begin(replace(bench, column=replace(bench.column, sizes=sizes)), ["matrix-rate"])
    assert stored.columns["cpu"]["rows"] == {}


def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path):
    (tmp_path / "engine.json").write_text("[]")
    with pytest.raises(
        SystemExit, match=r"engine\.json must hold figures of this benchmark\. Move it away\.\Z"
    ):
        Stored(tmp_path / "engine.json")


def test_without_a_gpu_its_column_is_refused_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["gpu", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "column gpu must be measured on a GPU that torch can use, got none.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "decode,nothing"], "got 'nothing'"),
        (["--repeats", "0"], "--repeats must be at least 1, got 0."),
        (["--threads", "0"], "--threads must be at least 1, got 0."),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit):
        command.main([*arguments, "--output", str(tmp_path)])
    assert message in capsys.readouterr().err
