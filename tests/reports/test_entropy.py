"""Attention entropy in a report: curves, maps, slopes, and words that claim no more than the numbers do."""

import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from longbench_run.reports.content import LoadedRun, report_blocks
from longbench_run.reports.document import Figure, Heading, Paragraph, Table
from longbench_run.reports.entropy import entropies_of, entropy_alt_text, slope_rows
from longbench_run.reports.entropy_figures import entropy_figure
from longbench_run.reports.entropy_maps import entropy_maps, map_alt_text, map_figure
from longbench_run.reports.entropy_scale import scale_alt_text, scale_figure, scale_pairs, scale_rows
from longbench_run.reports.panels import panels
from longbench_run.results.entropy import entropy_cells
from longbench_run.results.records import (
    EntropyBucket,
    Failure,
    MetricInfo,
    ModelSummary,
    TaskIdentity,
    TaskSummary,
)
from longbench_run.results.store import read_header
from longbench_run.results.table import load

ENTROPY = TaskSummary(
    name="attention_entropy",
    protocol="plain",
    metrics=(MetricInfo(name="entropy_drift", higher_is_better=False, minimum=0.0),),
    source="Zhang et al. 2024.",
    licence="Apache-2.0",
)
EDGES = (0, 16, 32, 64, 128, 256, 512, 1024)
SPANS = tuple(pairwise(EDGES))
EVENS = [float(np.mean(np.log(np.arange(*span) + 1))) for span in SPANS]
HOSTILE = "$x$ <b>_&%#{}\\\n\u202e[x](javascript:1)"
DOCUMENTS = 10


def entropy_of(method, layer, place, index, layers):
    """Return nats: a part of ln n that grows with the layer, and differs a little between documents."""
    part = (0.1 + 0.7 * layer / max(1, layers - 1)) * (1 + 0.02 * len(method) % 0.2)
    return round(EVENS[place] * part + 0.01 * math.sin(7 * index + layer), 6)


def entropy_records(make, methods, *, layers=3, documents=DOCUMENTS, absent=()):
    for method in methods:
        template = make.perplexity(method=method, length=1024, index=0, nll=1.0)
        task = TaskIdentity(name=ENTROPY.name, version=1, protocol="plain", parameters={})
        cell = template.cell.model_copy(update={"task": task})
        for index in range(documents):
            buckets = tuple(
                EntropyBucket(
                    layer=layer,
                    start=start,
                    stop=stop,
                    heads=(entropy_of(method, layer, place, index, layers),) * 2,
                )
                for layer in range(layers)
                for place, (start, stop) in enumerate(SPANS)
            )
            changes = {
                "scores": {"entropy_drift": 0.1 * len(method) + 0.01 * index},
                "entropy_buckets": buckets,
            }
            if method in absent:
                failure = Failure(type="OutOfMemoryError", message="no")
                changes = {"scores": {}, "status": "out_of_memory", "failure": failure}
            yield template.model_copy(
                update={
                    "cell": cell,
                    "cell_id": cell.cell_id(),
                    "index": index,
                    "document": f"document-{index}",
                    "sample_key": f"key-{index}",
                    "weight": None,
                    "nll_buckets": (),
                    **changes,
                }
            )


def model_summary(unscaled=None):
    return ModelSummary(
        label="bundled",
        original_context_length=512,
        original_context_length_source="config.json: max_position_embeddings",
        unscaled=unscaled or {},
    )


@pytest.fixture
def shown_of(make, tmp_path):
    def build(methods, *, unscaled=None, **shape):
        run = make.run(
            tmp_path / "run",
            entropy_records(make, methods, **shape),
            methods=methods,
            models=(model_summary(unscaled),),
            tasks=(ENTROPY,),
            lengths=(1024,),
        )
        return entropies_of(panels(run)[1][0], entropy_cells(load(run)))

    return build


@pytest.fixture
def blocks_of(make, tmp_path):
    def build(methods, *, unscaled=None, **shape):
        losses = [
            make.perplexity(method=method, length=1024, index=index, nll=len(method) + 0.01 * index)
            for method in methods
            for index in range(shape.get("documents", DOCUMENTS))
        ]
        tasks = (ENTROPY, make.header().tasks[1])
        records = (*entropy_records(make, methods, **shape), *losses)
        run = make.run(
            tmp_path / "run",
            records,
            methods=methods,
            models=(model_summary(unscaled),),
            tasks=tasks,
            lengths=(1024,),
        )
        return list(report_blocks([LoadedRun("run", read_header(run), load(run))]))

    return build


def words(content):
    return "".join(span.text for span in content)


def titled(figure):
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def test_lines_are_the_means_of_each_layer_below_ln_n(shown_of):
    shown = shown_of(("none", "pi"))
    for method, axes in zip(("none", "pi"), titled(entropy_figure(shown)), strict=True):
        even, *layers, window = axes.lines
        np.testing.assert_allclose(even.get_ydata(), np.log(even.get_xdata()))
        assert list(window.get_xdata()) == [512, 512]
        assert len(layers) == 3
        for layer, line in enumerate(layers):
            np.testing.assert_allclose(np.log(line.get_xdata()), EVENS[1:])
            expected = [
                np.mean([entropy_of(method, layer, place, i, 3) for i in range(DOCUMENTS)])
                for place in range(1, len(SPANS))
            ]
            np.testing.assert_allclose(line.get_ydata(), expected)


def test_bands_are_the_intervals_of_the_first_and_the_last_layer(shown_of):
    shown = shown_of(("none",))
    (axes,) = titled(entropy_figure(shown))
    assert len(axes.collections) == 2
    for layer, band in zip((0, 2), axes.collections, strict=True):
        corners = band.get_paths()[0].vertices
        for point in (point for point in shown.points["none"] if point.layer == layer):
            heights = corners[np.isclose(corners[:, 0], math.exp(point.even)), 1]
            assert (heights.min(), heights.max()) == pytest.approx(point.mean.interval)


def test_maps_are_the_parts_of_ln_n_by_layer_and_position(shown_of):
    (maps,) = entropy_maps(shown_of(("none",)))
    (axes,) = titled(map_figure(maps))
    (mesh,) = (each for each in axes.collections if isinstance(each, QuadMesh))
    expected = [
        [
            np.mean([entropy_of("none", layer, place, i, 3) for i in range(DOCUMENTS)]) / EVENS[place]
            for place in range(1, len(SPANS))
        ]
        for layer in range(3)
    ]
    np.testing.assert_allclose(mesh.get_array().reshape(3, -1), expected)
    assert mesh.get_clim() == (0, 1)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], EDGES[1:])


@pytest.mark.parametrize(("layers", "style"), [(1, "paper"), (32, "report")])
def test_one_layer_and_many_are_drawn_told_apart_and_cover_nothing(
    shown_of, assert_nothing_covers_anything, layers, style
):
    methods = ("yarn:attention_factor=1.2079441541679836:beta_fast=32", HOSTILE, "pi")
    shown = shown_of(methods, layers=layers, absent=("pi",))
    figure = entropy_figure(shown, style)
    assert_nothing_covers_anything(figure)
    *drawn, absent = titled(figure)
    assert len({tuple(line.get_color()) for line in drawn[0].lines[1:-1]}) == layers
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts() if text.get_text().startswith("layer")]
    assert named == [f"layer {n}" for n in ((0,) if layers == 1 else (0, 6, 12, 19, 25, 31))]
    assert drawn[1].get_title(loc="left").isprintable() or "\n" in drawn[1].get_title(loc="left")
    assert "\u202e" not in drawn[1].get_title(loc="left")
    assert [text.get_text() for text in absent.texts] == ["out of memory"]
    (maps,) = entropy_maps(shown)
    drawn_maps = map_figure(maps, style)
    assert_nothing_covers_anything(drawn_maps)
    assert [text.get_text() for axes in titled(drawn_maps) for text in axes.texts] == ["out of memory"]


def mean_entropy(method, layer, place, layers=3):
    return np.mean([entropy_of(method, layer, place, i, layers) for i in range(DOCUMENTS)])


def test_maps_less_the_unmodified_model_are_differences_in_nats_and_hatched_where_it_is_spread_wider(
    shown_of, assert_nothing_covers_anything
):
    # Entropies grow with the length of the label modulo ten: the first is below that of none, the second above it.
    sharper, wider = "pi", "yarn:beta_fast=16"
    parts, maps = entropy_maps(shown_of((sharper, "none", wider)))
    assert (parts.methods, maps.methods) == ((sharper, "none", wider), (sharper, wider))
    figure = map_figure(maps)
    assert_nothing_covers_anything(figure)
    largest = 0.0
    for method, axes in zip(maps.methods, titled(figure), strict=True):
        mesh = next(each for each in axes.collections if isinstance(each, QuadMesh))
        expected = [
            [
                mean_entropy(method, layer, place) - mean_entropy("none", layer, place)
                for place in range(1, len(SPANS))
            ]
            for layer in range(3)
        ]
        np.testing.assert_allclose(mesh.get_array().reshape(3, -1), expected, atol=1e-9)
        largest = max(largest, np.abs(expected).max())
        hatched = {
            (round(path.vertices[:, 0].min()), round(path.vertices[:4, 1].mean()))
            for each in axes.collections
            if each.get_hatch()
            for path in each.get_paths()
        }
        assert hatched == {
            (EDGES[place + 1], layer)
            for layer, row in enumerate(expected)
            for place, value in enumerate(row)
            if value < -mesh.get_clim()[1] / 20
        }
        assert bool(hatched) is (method == sharper)
        assert f"{method} at the end from {min(row[-1] for row in expected):.2f} in layer" in map_alt_text(
            maps
        )
    assert mesh.get_clim() == pytest.approx((-largest, largest))


PLAIN, SCALED = "abf", "entropy_abf:skip_layers=0"


def test_a_method_stands_beside_the_one_without_its_scale_layer_by_layer(
    shown_of, assert_nothing_covers_anything
):
    shown = shown_of((PLAIN, SCALED, "pi"), unscaled={SCALED: PLAIN, "pi": "not measured"})
    (pair,) = scale_pairs(shown)
    figure = scale_figure(pair)
    assert_nothing_covers_anything(figure)
    for layer, axes in enumerate(titled(figure)):
        assert axes.get_title(loc="left") == f"layer {layer}"
        even, scaled, plain, _window = axes.lines
        np.testing.assert_allclose(even.get_ydata(), np.log(even.get_xdata()))
        for line, method, style in ((scaled, SCALED, "-"), (plain, PLAIN, "--")):
            np.testing.assert_allclose(np.log(line.get_xdata()), EVENS[1:])
            np.testing.assert_allclose(
                line.get_ydata(), [mean_entropy(method, layer, place) for place in range(1, len(SPANS))]
            )
            assert line.get_linestyle() == style
    before, after = (mean_entropy(method, 2, 6) for method in (PLAIN, SCALED))
    assert f"layer 2 ends at {before:.2f} nats without it, {after:.2f} with it" in scale_alt_text(pair)


def test_the_table_of_scales_has_slopes_before_and_after_and_their_difference(shown_of):
    shown = shown_of((PLAIN, SCALED), unscaled={SCALED: PLAIN})
    head, together, *layers = scale_rows(scale_pairs(shown))
    assert head == ["method", "without its scale", "layer", "slope without", "slope with", "difference"]
    slopes = {
        method: [
            np.polyfit(EVENS[1:], [mean_entropy(method, layer, place) for place in range(1, 7)], 1)[0]
            for layer in range(3)
        ]
        for method in (PLAIN, SCALED)
    }
    for layer, row in enumerate(layers):
        assert row[:3] == [SCALED, PLAIN, str(layer)]
        assert [float(row[3]), float(row[4]), float(row[5].split()[0])] == pytest.approx(
            [slopes[PLAIN][layer], slopes[SCALED][layer], slopes[SCALED][layer] - slopes[PLAIN][layer]],
            abs=6e-4,
        )
    assert together[2] == "all"
    assert [float(together[3]), float(together[4])] == pytest.approx(
        [np.abs(slopes[PLAIN]).mean(), np.abs(slopes[SCALED]).mean()], abs=6e-4
    )


def test_a_report_says_before_and_after_where_a_run_has_both(blocks_of):
    blocks = blocks_of((PLAIN, SCALED), unscaled={SCALED: PLAIN})
    figure = next(b for b in blocks if isinstance(b, Figure) and "-scale-" in b.name)
    assert f"{SCALED} (solid) and {PLAIN}, the same without its logit scale (dashed)" in words(figure.caption)
    table = next(b for b in blocks if isinstance(b, Table) and "-scale-" in b.name)
    assert "10 pairs of samples" in words(table.caption)
    assert not [b for b in blocks_of((PLAIN, "pi")) if isinstance(b, Figure | Table) and "-scale-" in b.name]


def test_the_table_has_the_slopes_of_the_first_the_last_and_the_steepest_layer(shown_of):
    head, none, pi = slope_rows(shown_of(("none", "pi"), absent=("pi",)))
    assert head == [
        "method", "entropy_drift", "first layer (0)", "last layer (2)", "steepest layer", "its slope",
    ]  # fmt: skip
    means = np.array(
        [
            [
                np.mean([entropy_of("none", layer, place, i, 3) for i in range(DOCUMENTS)])
                for place in range(7)
            ]
            for layer in range(3)
        ]
    )
    slopes = [np.polyfit(EVENS[1:], means[layer, 1:], 1)[0] for layer in range(3)]
    assert none[:1] + none[4:5] == ["none", "2"]
    assert none[1].startswith("0.445 [")
    assert [float(none[place].split()[0]) for place in (2, 3, 5)] == pytest.approx(
        [slopes[0], slopes[2], slopes[2]], abs=6e-4
    )
    assert pi == ["pi", "oom", "-", "-", "-", "-"]


def test_alt_texts_say_what_is_seen(shown_of):
    shown = shown_of(("none", HOSTILE))
    first, last = (np.mean([entropy_of("none", 2, p, i, 3) for i in range(DOCUMENTS)]) for p in (1, 6))
    least = np.mean([entropy_of("none", 0, 6, i, 3) for i in range(DOCUMENTS)]) / EVENS[6]
    said = entropy_alt_text(shown)
    assert f"layer 2 {first:.2f} nats from position 16, {last:.2f} at the end" in said
    assert f"Even attention ends at {EVENS[-1]:.2f}." in said
    assert f"none at the end from {least:.2f} in layer 0 to {last / EVENS[6]:.2f} in layer 2" in map_alt_text(
        entropy_maps(shown)[0]
    )
    assert said.isprintable()
    assert all(map_alt_text(maps).isprintable() for maps in entropy_maps(shown))


def test_a_report_has_figures_slopes_and_correlation_in_the_section_of_the_task(blocks_of):
    blocks = blocks_of(("none", "pi", "string", "entropy_abf", "rerope+log_n", "self_extend:group=2"))
    titles = [words(block.text) for block in blocks if isinstance(block, Heading) and block.level > 2]
    at = titles.index("attention_entropy: entropy_drift")
    assert titles.index("attention_entropy by position and layer") > at
    assert sum("by position and layer" in title for title in titles) == 1  # perplexity has no entropies
    assert titles.index("Does the method whose entropy drifts least lose least?") < titles.index("perplexity")
    figures = {block.name: block for block in blocks if isinstance(block, Figure)}
    for name in ("by-position", "part-of-ln-n", "less-none"):
        said = words(figures[f"attention_entropy-{name}-bundled"].caption)
        assert "protocol plain, factor policy fixed, n = 10" in said
        assert "Original window: 512 tokens. Run aaaaaaaaaaaa." in said
    table = next(block for block in blocks if isinstance(block, Table) and "drift-and-loss" in block.name)
    assert [words(cell.text) for cell in table.rows[0]] == [
        "perplexity", "nll", "1k", "6", "10", "10", "1.00 [1.00, 1.00]", "0.0028", "less loss",
    ]  # fmt: skip
    assert (
        "Of 1 rank correlations over 6 methods, 1 show that less drift goes with less loss, 0 that it goes with more, "
        "and 0 show neither. This is of these methods on this model, and says nothing of others."
    ) in [words(block.text) for block in blocks if isinstance(block, Paragraph)]


def test_three_methods_are_too_few_and_the_report_says_so(blocks_of):
    blocks = blocks_of(("none", "pi", "yarn"), documents=2)
    assert not [block for block in blocks if isinstance(block, Table) and "drift-and-loss" in block.name]
    said = [words(block.text) for block in blocks if isinstance(block, Paragraph)]
    assert any(each.startswith("This run does not say: it takes 4 methods or more") for each in said)
    figure = next(b for b in blocks if isinstance(b, Figure) and "part-of-ln-n" in b.name)
    assert "factor policy fixed, n = 2. Original" in words(figure.caption)
