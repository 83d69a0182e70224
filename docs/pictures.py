"""The pictures of concepts.md, drawn from what methods do to their axes: the code that runs, so that they cannot lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from longbench_run.harness.methods import parse_method
from longbench_run.harness.methods.base import RopeFacts
from longbench_run.harness.testing.formula import axes
from longbench_run.reports.figures import house_style, method_styles

HEAD_DIM, BASE, WINDOW, TARGET = 128, 10000.0, 4096, 16384
LLAMA = RopeFacts(
    family="llama",
    base=BASE,
    inv_freq=tuple(BASE ** (-2 * i / HEAD_DIM) for i in range(HEAD_DIM // 2)),
    original_context_length=WINDOW,
    layers=32,
)
"""Llama-2-7B's rotary facts: the pictures of the first two axes are true to scale."""
SMALL = RopeFacts(family="llama", base=BASE, inv_freq=LLAMA.inv_freq, original_context_length=16, layers=1)
"""A window of 16 tokens: maps and masks of 48 tokens can be seen pixel by pixel."""
TOKENS = 48


def frequencies() -> str:
    """Draw axis 1: each pair's inverse frequency under a method, relative to the model's own."""
    methods = ["pi", "ntk", "yarn", "abf"]
    styles = method_styles(methods)
    with house_style():
        figure = Figure(figsize=(7, 3))
        plot = figure.subplots()
        pairs = np.arange(HEAD_DIM // 2)
        plot.axhline(1, color="#222222", linestyle=(0, (3, 2)), label="none")
        for name in methods:
            method = parse_method(name).resolve(LLAMA, context_length=TARGET)
            ratio = method.frequencies(np.array(LLAMA.inv_freq), BASE) / np.array(LLAMA.inv_freq)
            plot.plot(pairs, ratio, color=styles[name].colour, linestyle=styles[name].line, label=name)
        # A pair whose wavelength exceeds the window never finished a turn in training.
        first = int(np.argmax(2 * np.pi / np.array(LLAMA.inv_freq) > WINDOW))
        plot.axvspan(first - 0.5, len(pairs) - 0.5, color="#eeeeee", zorder=0)
        plot.text(first, 1 / 56, "less than one turn in the window", fontsize=7, color="#555555")
        plot.set(xlabel="pair of dimensions, fastest first", ylabel="theta' / theta", yscale="log")
        plot.set_yticks([1, 1 / 4, 1 / 16, 1 / 64], ["1", "1/4", "1/16", "1/64"])
        plot.set_xlim(-0.5, len(pairs) - 0.5)
        plot.legend(loc="lower left")
        return _svg(
            figure, "Inverse frequencies of four methods for a window of 4k tokens and a target of 16k"
        )


def logit_scale() -> str:
    """Draw axis 2: the factor on the logits of a query, over its position."""
    methods = ["yarn", "yarn:temperature=per_query", "log_n"]
    styles = method_styles(methods)
    positions = np.arange(TARGET)
    with house_style():
        figure = Figure(figsize=(7, 2.6))
        plot = figure.subplots()
        plot.axhline(1, color="#222222", linestyle=(0, (3, 2)), label="none")
        for name in methods:
            tau = np.ones(TARGET)
            for scale in parse_method(name).resolve(LLAMA, context_length=TARGET).logit_scales():
                tau *= scale.values(positions, TARGET) if scale.values is not None else scale.constant
            label = "log_n, entropy_abf" if name == "log_n" else name
            plot.plot(positions, tau, color=styles[name].colour, linestyle=styles[name].line, label=label)
        plot.axvline(WINDOW, color="#999999", linewidth=0.8)
        plot.text(WINDOW * 1.02, 1.27, "the window ends", fontsize=7, color="#555555")
        plot.set(xlabel="position of the query p, tokens", ylabel="tau(p)")
        plot.set_xticks(range(0, TARGET + 1, 4096), ["0", "4k", "8k", "12k", "16k"])
        plot.legend(loc="center left", bbox_to_anchor=(0, 0.5))
        return _svg(
            figure, "The logit scale over the query's position, for a window of 4k and a target of 16k"
        )


def position_map() -> str:
    """Draw axis 3: the distance at which a query sees a key."""
    methods = ["none", "self_extend", "rerope", "leaky_rerope", "dca", "string:window=2"]
    return _maps(methods, "The distance rho(p, j) under six methods, for a window of 16 tokens and 48 tokens")


def mask() -> str:
    """Draw axis 4: which keys a query sees at all."""
    methods = ["none", "lm_infinite:window=12:sinks=2", "streaming_llm:window=12:sinks=2"]
    return _maps(
        methods, "Visible keys and their distances under two masks, for a window of 16 tokens and 48 tokens"
    )


PICTURES: Mapping[str, Callable[[], str]] = {
    "frequencies": frequencies,
    "logit-scale": logit_scale,
    "position-map": position_map,
    "mask": mask,
}
"""Name of an SVG -> what draws it."""


def _maps(methods: Sequence[str], description: str) -> str:
    """Draw rho(p, j) for each method: blue within the window, red beyond what the model has seen."""
    window = SMALL.original_context_length
    shades = np.linspace(0.15, 0.9, window)
    within = [(1 - s, 1 - 0.6 * s, 1 - 0.3 * s) for s in shades]
    colours = ListedColormap([*within, "#D55E00"]).with_extremes(bad="white")
    rows = -(-len(methods) // 3)
    with house_style():
        figure = Figure(figsize=(7, 2.5 * rows))
        plots = figure.subplots(rows, 3, squeeze=False, sharex=True, sharey=True).flat
        for name, plot in zip(methods, plots, strict=True):
            found = axes(parse_method(name).resolve(SMALL, context_length=TOKENS), SMALL, TOKENS)
            distance = np.where(found.times_seen == 1, found.rho, np.nan)
            image = plot.imshow(np.ma.masked_invalid(distance), cmap=colours, vmin=0, vmax=window + 1)
            plot.set_title(name.partition(":")[0])
            plot.set_xticks([0, 16, 32, 47])
            plot.set_yticks([0, 16, 32, 47])
            plot.grid(visible=False)
        figure.supxlabel("key j")
        figure.supylabel("query p")
        bar = figure.colorbar(image, ax=figure.axes, shrink=0.8, aspect=30)
        bar.set_ticks([0.5, 8.5, 15.5, 16.5], labels=["0", "8", "15", "beyond"])
        bar.set_label("distance rho")
        return _svg(figure, description)


def _svg(figure: Figure, description: str) -> str:
    with BytesIO() as file:
        metadata = {"Date": None, "Creator": None, "Title": description}
        figure.savefig(file, format="svg", metadata=metadata)
        return file.getvalue().decode()
