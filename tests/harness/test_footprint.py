"""Memory told from the configuration: equal to what the tensors take, and refused where it cannot fit."""

from __future__ import annotations

import pytest
import torch

from longbench_run.harness import footprint as module
from longbench_run.harness.cli import main
from longbench_run.harness.footprint import footprint, gibibytes, memory_of
from longbench_run.harness.models.facts import inspect_model
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import REFERENCE, ModelSpec


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_and_cache_are_the_bytes_of_their_tensors(dtype):
    spec = ModelSpec(model=REFERENCE, dtype=dtype)
    inspected = inspect_model(spec)
    loaded = load_model(spec, inspected)
    with torch.inference_mode():
        cache = loaded.model(torch.ones(1, 100, dtype=torch.long), use_cache=True).past_key_values
    found = footprint(inspected, context_length=100, generates=True)

    assert found.weights == sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    assert found.cache == sum(
        states.numel() * states.element_size()
        for layer in cache.layers
        for states in (layer.keys, layer.values)
    )


def test_scoring_takes_no_cache_and_twice_the_context_twice_the_activations():
    inspected = inspect_model(ModelSpec(model=REFERENCE))
    short, long = (footprint(inspected, context_length=n, generates=False) for n in (1000, 2000))

    assert (short.cache, long.cache) == (0, 0)
    assert long.activations == 2 * short.activations
    assert long.certain == short.certain == long.weights


def test_a_map_of_keys_keeps_a_copy_of_them_while_tokens_are_generated():
    inspected = inspect_model(ModelSpec(model=REFERENCE))
    plain, banded, scored = (
        footprint(inspected, context_length=1000, generates=generates, key_maps=maps)
        for generates, maps in ((True, 0), (True, 1), (False, 1))
    )

    assert (plain.turned, banded.turned, scored.turned) == (0, plain.cache // 2, 0)
    assert banded.total == plain.total + banded.turned
    assert banded.certain == plain.certain


def test_layers_with_a_window_keep_no_more_than_that(tmp_path):
    inspected = inspect_model(ModelSpec(model=REFERENCE))
    whole = footprint(inspected, context_length=1000, generates=True)
    inspected.config.layer_types = ["full_attention"] + ["sliding_attention"] * (
        inspected.config.num_hidden_layers - 1
    )
    inspected.config.sliding_window = 100
    found = footprint(inspected, context_length=1000, generates=True)

    layers = inspected.config.num_hidden_layers
    assert found.cache * layers * 1000 == whole.cache * (1000 + (layers - 1) * 100)


def test_layers_of_another_kind_may_keep_nothing():
    inspected = inspect_model(ModelSpec(model=REFERENCE))
    whole = footprint(inspected, context_length=1000, generates=True)
    layers = inspected.config.num_hidden_layers
    inspected.config.layer_types = ["full_attention"] + ["linear_attention"] * (layers - 1)

    assert footprint(inspected, context_length=1000, generates=True).cache * layers == whole.cache


def test_this_machine_tells_how_much_memory_it_has():
    there = memory_of("cpu")

    assert there is None or there > 2**28


def test_a_cell_that_cannot_fit_is_refused_with_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "memory_of", lambda device: 2**20)
    output = tmp_path / "run"

    status = main(
        [
            "--tasks",
            "passkey",
            "--lengths",
            "2k,4k",
            "--no-baseline",
            "--methods",
            "pi",
            "--output",
            str(output),
        ]
    )

    errors = capsys.readouterr().err.splitlines()
    assert status == 2
    assert len(errors) == 2
    assert "reference at 2k must fit into the 1.0 MiB of cpu, needs" in errors[0]
    assert errors[1].endswith(
        "Ask for shorter lengths, or pass --dtype bfloat16, --quantization or --device-map."
    )
    assert not output.exists()


def test_a_dry_run_tells_the_memory_of_the_largest_cell(capsys):
    assert main(["--tasks", "passkey,perplexity", "--lengths", "2k,4k", "--samples", "2", "--dry-run"]) == 0

    assert "Memory of reference at 4k: about" in capsys.readouterr().out


def test_sizes_are_read_at_a_glance():
    assert [gibibytes(size) for size in (2**20, 3 * 2**29, 2**34)] == ["1.0 MiB", "1.5 GiB", "16.0 GiB"]
