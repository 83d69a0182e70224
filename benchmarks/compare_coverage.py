"""How often `compare` is right: coverage of its intervals, false alarms, and planted bugs that it finds.

`python -m benchmarks.compare_coverage benchmarks/results/compare_coverage.md` writes the page; it takes about eight minutes
of one core. Everything is seeded; what the bundled model computes is the only input.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from scipy.stats import binomtest

from longbench_run.harness import run
from longbench_run.harness.methods import abf, frequencies, self_extend, yarn
from longbench_run.harness.methods.position_maps import far, near
from longbench_run.results.differences import Bounds, Scored, paired_difference, unpaired_difference
from longbench_run.results.pairing import Shared, changed_pairs
from longbench_run.results.records import Record
from longbench_run.results.shares import Difference
from longbench_run.results.store import read_run
from longbench_run.results.verdicts import Measured, decide, smallest_tail

CELLS, DRAWS = 2000, 2000
COUNTS = (10, 20, 50, 100)
ALPHA = 0.05
FAMILY = 24
"""Cells of the smoke preset with the methods of the main job: 6 methods, 2 tasks, 2 lengths."""
DOCUMENTS = 40
SEEDS = 80
TOKENS = 2047.0
NLL = Bounds(is_binary=False, minimum=0.0, maximum=None)
YES_NO = Bounds(is_binary=True, minimum=0.0, maximum=1.0)
SCORE = Bounds(is_binary=False, minimum=0.0, maximum=1.0)


class Pairs(NamedTuple):
    """Simulated samples of two runs."""

    baseline: list[float]
    candidate: list[float]
    clusters: list[int]
    weights: list[float] | None = None


class Case(NamedTuple):
    """A distribution of pairs and the mean difference of its population."""

    name: str
    bounds: Bounds
    truth: float
    draw: Callable[[np.random.Generator, int], Pairs]
    is_paired: bool = True


def nll_pairs(
    generator: np.random.Generator, n: int, *, noise: Callable[[np.random.Generator, int], object]
) -> Pairs:
    """Return nll of documents that differ among each other more than between the runs."""
    baseline = 2 + 0.3 * generator.lognormal(0, 0.6, n)
    return Pairs(
        baseline.tolist(),
        (baseline + np.asarray(noise(generator, n))).tolist(),
        list(range(n)),
        generator.integers(1000, 4000, n).astype(float).tolist(),
    )


def yes_no_pairs(generator: np.random.Generator, n: int, *, right: float, kept: float, other: float) -> Pairs:
    """Return yes/no scores: the candidate's are the baseline's with chance ``kept``, else drawn anew."""
    baseline = generator.random(n) < right
    candidate = np.where(generator.random(n) < kept, baseline, generator.random(n) < other)
    return Pairs(baseline.astype(float).tolist(), candidate.astype(float).tolist(), list(range(n)))


def independent_pairs(generator: np.random.Generator, n: int, *, added: float) -> Pairs:
    """Return nll of two groups of documents that have nothing to do with each other."""
    baseline, candidate = (2 + 0.3 * generator.lognormal(0, 0.6, n) for _ in range(2))
    return Pairs(baseline.tolist(), (candidate + added).tolist(), list(range(n)), [TOKENS] * n)


def clustered_pairs(generator: np.random.Generator, n: int, *, positions: int) -> Pairs:
    """Return yes/no scores of n questions at several positions; a question is easy or hard for both runs."""
    ease = np.repeat(generator.beta(1, 1, n), positions)
    drop = np.repeat(generator.choice([0.0, 0.4], n), positions)
    baseline = generator.random(n * positions) < ease
    candidate = generator.random(n * positions) < ease * (1 - drop)
    clusters = np.repeat(np.arange(n), positions)
    return Pairs(baseline.astype(float).tolist(), candidate.astype(float).tolist(), clusters.tolist())


def zero_inflated_pairs(generator: np.random.Generator, n: int, *, zeros: float, low: float) -> Pairs:
    """Return scores in [0, 1] most of which do not change; those that do change by something in [low, 1] / 2."""
    changed = generator.random(n) >= zeros
    difference = np.where(changed, generator.uniform(low, 1, n) / 2, 0)
    baseline = np.full(n, 0.5)
    return Pairs(baseline.tolist(), (baseline + difference).tolist(), list(range(n)))


CASES = (
    Case("nll, normal", NLL, 0.02, partial(nll_pairs, noise=lambda g, n: g.normal(0.02, 0.05, n))),
    Case(
        "nll, log-normal",
        NLL,
        0.05 * np.exp(0.32),
        partial(nll_pairs, noise=lambda g, n: 0.05 * g.lognormal(0, 0.8, n)),
    ),
    Case("yes/no, 9 of 10 kept", YES_NO, -0.04, partial(yes_no_pairs, right=0.9, kept=0.9, other=0.5)),
    Case("yes/no, 5 of 10 kept", YES_NO, -0.05, partial(yes_no_pairs, right=0.5, kept=0.5, other=0.4)),
    Case("yes/no, 5 positions a question", YES_NO, -0.1, partial(clustered_pairs, positions=5)),
    Case("score, 60 % unchanged, both ways", SCORE, 0.0, partial(zero_inflated_pairs, zeros=0.6, low=-1.0)),
    Case("score, 90 % unchanged, both ways", SCORE, 0.0, partial(zero_inflated_pairs, zeros=0.9, low=-1.0)),
    Case("score, 60 % unchanged, one way", SCORE, 0.1, partial(zero_inflated_pairs, zeros=0.6, low=0.0)),
    Case("score, 90 % unchanged, one way", SCORE, 0.025, partial(zero_inflated_pairs, zeros=0.9, low=0.0)),
    Case("unpaired nll, log-normal", NLL, 0.05, partial(independent_pairs, added=0.05), is_paired=False),
    Case(
        "unpaired yes/no",
        YES_NO,
        -0.3,
        partial(yes_no_pairs, right=0.9, kept=0.0, other=0.6),
        is_paired=False,
    ),
)


def difference_of(pairs: Pairs, bounds: Bounds, *, tail: float, is_paired: bool = True) -> Difference:
    """Return the difference that `compare` would look at."""
    candidate = Scored(pairs.candidate, pairs.weights, pairs.clusters)
    if is_paired:
        return paired_difference(pairs.baseline, candidate, bounds, tail=tail)
    return unpaired_difference(
        Scored(pairs.baseline, pairs.weights, pairs.clusters), candidate, bounds, tail=tail
    )


def coverage() -> Iterator[str]:
    """Yield a table of how often single 95 % intervals hold the truth."""
    yield f"| differences | {' | '.join(f'n = {n}' for n in COUNTS)} | widest, n = {COUNTS[0]} |"
    yield f"|---|{'---|' * (len(COUNTS) + 1)}"
    for case in CASES:
        generator = np.random.default_rng(0)
        shares, widest = [], 0.0
        for n in COUNTS:
            held = 0
            for _ in range(CELLS):
                found = difference_of(
                    case.draw(generator, n), case.bounds, tail=ALPHA / 2, is_paired=case.is_paired
                )
                interval, _ = found.interval(ALPHA / 2, ALPHA / 2)
                held += interval.low <= case.truth <= interval.high
                widest = max(widest, interval.high - interval.low) if n == COUNTS[0] else widest
            shares.append(rate(held, CELLS))
        yield f"| {case.name} | {' | '.join(shares)} | {widest:.2g} |"


def rate(hits: int, trials: int) -> str:
    """Return a rate with its Clopper-Pearson interval."""
    bounds = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    return f"{hits / trials:.3f} [{bounds.low:.3f}, {bounds.high:.3f}]"


def alarms(
    draw: Callable[[np.random.Generator], Sequence[Difference]], *, draws: int, tolerance: float
) -> str:
    """Return how often a comparison without any true difference finds one, regressed or improved."""
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(draws):
        cells = [Measured(found, higher_is_better=False) for found in draw(generator)]
        verdicts = {one.verdict for one in decide(cells, tolerance=tolerance, alpha=ALPHA)}
        wrong += bool(verdicts & {"regressed", "improved"})
    return rate(wrong, draws)


def simulated_null(generator: np.random.Generator) -> list[Difference]:
    """Return twelve cells of nll and twelve of yes/no without a difference, as the smoke preset has them."""
    tail = smallest_tail(ALPHA, FAMILY)
    cases = [
        (partial(nll_pairs, noise=lambda g, n: g.normal(0, 0.05, n)), NLL),
        (partial(yes_no_pairs, right=0.5, kept=0.5, other=0.5), YES_NO),
    ] * (FAMILY // 2)
    return [difference_of(draw(generator, 10), bounds, tail=tail) for draw, bounds in cases]


def flipped_null(generator: np.random.Generator, cells: Sequence[Pairs]) -> list[Difference]:
    """Return cells of real pairs, the two runs of each document swapped by the toss of one coin for all cells."""
    tail = smallest_tail(ALPHA, len(cells))
    swapped = generator.random(max(len(pairs.baseline) for pairs in cells)) < 0.5
    found = []
    for pairs in cells:
        one, other = np.array(pairs.baseline), np.array(pairs.candidate)
        swap = swapped[: len(one)]
        flipped = pairs._replace(
            baseline=np.where(swap, other, one).tolist(), candidate=np.where(swap, one, other).tolist()
        )
        found.append(difference_of(flipped, NLL, tail=tail))
    return found


def plant_other_factor() -> AbstractContextManager[object]:
    """Give YaRN the frequencies of a factor larger by a quarter."""

    def by_parts(inv_freq: object, *, factor: float, **rest: object) -> object:
        return frequencies.by_parts(inv_freq, factor=1.25 * factor, **rest)  # type: ignore[arg-type]

    return patch.object(yarn, "by_parts", by_parts)


def plant_longer_window() -> AbstractContextManager[object]:
    """Make the window of Self-Extend longer by one."""
    stack = ExitStack()
    stack.enter_context(patch.object(self_extend, "near", lambda window: near(window + 1)))
    stack.enter_context(patch.object(self_extend, "far", lambda window: far(window + 1)))
    return stack


def plant_gap() -> AbstractContextManager[object]:
    """Hide one key between the two bands of Self-Extend."""
    return patch.object(self_extend, "near", lambda window: near(window - 1))


def plant_shift() -> AbstractContextManager[object]:
    """Leave out the shift that joins the far band of Self-Extend to the near one."""
    own = self_extend.SelfExtend.bands

    def bands(method: self_extend.SelfExtend) -> object:
        first, second = own(method)
        return (first, replace(second, query_map=lambda p: p // method.group))

    return patch.object(self_extend.SelfExtend, "bands", bands)


BUGS: Mapping[str, tuple[str, Callable[[], AbstractContextManager[object]]]] = {
    "self_extend: window longer by one": ("self_extend", plant_longer_window),
    "self_extend: one key between the bands is hidden": ("self_extend", plant_gap),
    "self_extend: no shift": ("self_extend", plant_shift),
    "yarn: scale dropped": ("yarn", lambda: patch.object(yarn.Yarn, "logit_scale", lambda _self: None)),
    "yarn: frequencies of a factor larger by a quarter": ("yarn", plant_other_factor),
    "entropy_abf: scale dropped": (
        "entropy_abf",
        lambda: patch.object(abf.EntropyAwareAbf, "logit_scale", lambda _self: None),
    ),
}
"""What is wrong -> method, and how to plant it."""


def nll_of(folder: Path, **settings: object) -> list[Record]:
    """Return records of the bundled model's nll at twice its window, by seed and number."""
    asked = {"tasks": "perplexity", "lengths": "2x", "device": "cpu", "output": folder} | settings
    run(**asked)  # type: ignore[arg-type]
    return sorted(read_run(folder).records, key=lambda record: (record.cell.seed, record.index or 0))


def pairs_of(baseline: Sequence[Record], candidate: Sequence[Record], chosen: Sequence[int]) -> Pairs:
    """Return the pairs of some documents."""
    return Pairs(
        [baseline[place].scores["nll"] for place in chosen],
        [candidate[place].scores["nll"] for place in chosen],
        list(range(len(chosen))),
        [baseline[place].weight or TOKENS for place in chosen],
    )


def detection(folder: Path, methods: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    """Yield a table of how often the nll of documents shows a planted bug, in a comparison of `FAMILY` cells."""
    yield (
        "| bug | mean difference, nats | documents changed | detected, 10 documents | 20 documents "
        "| verdicts, 10 documents, tolerance 0.01 |"
    )
    yield "|---|---|---|---|---|---|"
    tail = smallest_tail(ALPHA, FAMILY)
    for place, (bug, (method, plant)) in enumerate(BUGS.items()):
        with plant():
            planted = nll_of(folder / f"bug-{place}", methods=method, baseline=False, samples=DOCUMENTS)
        generator = np.random.default_rng(2)
        columns, verdicts = [], Counter[str]()
        for n in (10, 20):
            shown = 0
            for _ in range(CELLS // 4):
                chosen = generator.permutation(DOCUMENTS)[:n].tolist()
                pairs = pairs_of(methods[method], planted, chosen)
                cell = Measured(difference_of(pairs, NLL, tail=tail), higher_is_better=False)
                (strict,) = decide([cell], tolerance=0.0, alpha=ALPHA, family=FAMILY)
                shown += strict.verdict in {"regressed", "improved"}
                if n == 10:
                    (usual,) = decide([cell], tolerance=0.01, alpha=ALPHA, family=FAMILY)
                    verdicts[usual.verdict] += 1
            columns.append(rate(shown, CELLS // 4))
        whole = pairs_of(methods[method], planted, range(DOCUMENTS))
        mean = np.average(np.subtract(whole.candidate, whole.baseline), weights=whole.weights)
        listed = ", ".join(
            f"{count / (CELLS // 4):.0%} {verdict}" for verdict, count in verdicts.most_common()
        )
        changed = changed_pairs(Shared(tuple(methods[method]), tuple(planted)), "nll")
        yield f"| {bug} | {mean:+.1e} | {changed} of {DOCUMENTS} | {' | '.join(columns)} | {listed} |"


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    started = time.monotonic()
    yield "# How often `compare` is right"
    yield ""
    yield "Written by `python -m benchmarks.compare_coverage`. In brackets: 95 % Clopper-Pearson intervals."
    yield ""
    yield f"## Coverage of single 95 % intervals of differences, {CELLS:,} cells each"
    yield ""
    yield from coverage()
    yield ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("none", "yarn", "self_extend", "entropy_abf", "abf")
        records = nll_of(folder / "real", methods=",".join(names[1:]), samples=DOCUMENTS)
        methods = {name: [r for r in records if r.method_label == name] for name in names}
        first = range(10)
        cells = [
            pairs_of(methods[one], methods[other], first)
            for place, one in enumerate(names)
            for other in names[place + 1 :]
        ]
        yield f"## False alarms, {DRAWS:,} comparisons each, alpha {ALPHA}, tolerance 0"
        yield ""
        yield "A comparison in which any cell regressed or improved although nothing differs:"
        yield ""
        simulated = alarms(simulated_null, draws=DRAWS, tolerance=0.0)
        yield f"- simulated, {FAMILY} cells of 10 samples, nll and yes/no: {simulated}"
        flipped = alarms(partial(flipped_null, cells=cells), draws=DRAWS, tolerance=0.0)
        yield (
            f"- real nll of 10 documents at twice the window, {len(cells)} pairs of methods, each document's two "
            f"values swapped at random: {flipped}"
        )
        yield f"- {seed_alarms(folder)}"
        yield ""
        yield "## Planted bugs, by the nll of fixed text at twice the window, paired by document"
        yield ""
        yield (
            f"Documents drawn {CELLS // 4} times from {DOCUMENTS}; in a comparison of {FAMILY} cells. Detected: not "
            "the same at tolerance 0. Changed: by more than 1e-5 of the value, which `compare` notes where model, "
            "method, task and versions are the same."
        )
        yield ""
        yield from detection(folder, methods)
    yield ""
    sys.stderr.write(f"{time.monotonic() - started:.0f} s\n")


def seed_alarms(folder: Path) -> str:
    """Return how often real runs of two seeds, compared as independent, differ by more than 0."""
    records = nll_of(
        folder / "seeds", methods="none", lengths="512", samples=10, seed=list(range(SEEDS)), baseline=True
    )
    by_seed = [[r for r in records if r.cell.seed == seed] for seed in range(SEEDS)]
    wrong = comparisons = 0
    for one, other in zip(by_seed[::2], by_seed[1::2], strict=True):
        found = difference_of(pairs_of(one, other, range(10)), NLL, tail=ALPHA / 2, is_paired=False)
        (decision,) = decide([Measured(found, higher_is_better=False)], tolerance=0.0, alpha=ALPHA)
        wrong += decision.verdict in {"regressed", "improved"}
        comparisons += 1
    return (
        f"real runs of {SEEDS} seeds, 10 documents of 512 tokens, unpaired in {comparisons} disjoint pairs: "
        f"{rate(wrong, comparisons)}"
    )


def main(output: str) -> None:
    """Write the page.

    Args:
        output: Path of the page; its folder exists.
    """
    Path(output).write_text("\n".join(page()).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
